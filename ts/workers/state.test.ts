import { expect, test } from "vitest";
import { isAlive, next, type WorkerEvent, type WorkerState } from "./state.ts";

const walk = (...events: WorkerEvent[]): WorkerState => events.reduce(next, "starting" as WorkerState);

test("a worker's life, undisturbed", () => {
  expect(walk("work", "idle", "welcomed", "work", "idle", "drain", "work", "idle", "exit")).toBe("stopped");
});

test("a process that ends unasked is lost, in every state", () => {
  expect(walk("exit")).toBe("lost");
  expect(walk("welcomed", "exit")).toBe("lost");
  expect(walk("welcomed", "work", "exit")).toBe("lost");
  expect(walk("welcomed", "exit", "idle", "drain", "exit")).toBe("lost");
});

test("the dead do not work, and are not welcomed", () => {
  for (const state of ["lost", "stopped"] as const) {
    expect(isAlive(state)).toBe(false);
    expect(() => next(state, "work")).toThrow(state);
    expect(() => next(state, "welcomed")).toThrow(state);
  }
});
