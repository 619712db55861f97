/** The KV cache as a room. If these fail, a running answer finds no memory, or shared pages are written by two. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { pagesFor } from "./pages.ts";
import { type Eviction, KvRoom } from "./room.ts";
import type { SequencePages } from "./sequence-pages.ts";

const operations = fc.array(
  fc.record({
    kind: fc.constantFrom("reserve", "grow", "grow", "fork", "release"),
    tokens: fc.nat(100),
    pick: fc.nat(),
  }),
  { maxLength: 120 },
);

test("whatever comes and goes: what was reserved can be had, no page has two writers, and the books agree", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), operations, (total, list) => {
      const room = new KvRoom(total);
      const live = new Map<SequencePages, { readonly reserved: number; readonly shared: number }>();
      for (const { kind, tokens, pick } of list) {
        const pages = [...live.keys()][pick % live.size];
        const before = room.available;
        if (kind === "reserve") {
          const made = room.reserve(tokens);
          expect(made === undefined).toBe(pagesFor(tokens) > before);
          if (made) live.set(made, { reserved: tokens, shared: 0 });
        } else if (pages === undefined) continue;
        else if (kind === "grow") expect(room.grow(pages, Math.min(tokens, live.get(pages)!.reserved))).toBe(true);
        else if (kind === "fork") {
          const common = Math.min(pages.ids.length * 16, tokens);
          const made = room.fork(pages, common, tokens);
          const whole = Math.floor(common / 16);
          expect(made === undefined).toBe(pagesFor(tokens) - whole > before);
          expect(made?.ids ?? []).toEqual(made ? pages.ids.slice(0, whole) : []);
          if (made) live.set(made, { reserved: tokens, shared: whole });
          else expect(room.available).toBe(before);
        } else {
          room.release(pages);
          room.release(pages);
          live.delete(pages);
        }
        expect(room.audit(live.keys())).toEqual([]);
        expect(room.available).toBeGreaterThanOrEqual(0);
        const written = [...live].flatMap(([{ ids }, { shared }]) => ids.slice(shared));
        expect(new Set(written).size).toBe(written.length);
      }
      for (const pages of live.keys()) room.release(pages);
      expect(room.available).toBe(total);
      expect(room.audit([])).toEqual([]);
    }),
  );
});

test("pages are taken when positions reach them, and what was promised to others stays theirs", () => {
  const room = new KvRoom(5);
  const first = room.reserve(48)!;
  expect([first.ids.length, room.available]).toEqual([0, 2]);
  room.grow(first, 17);
  expect([first.ids.length, room.available]).toEqual([2, 2]);
  const second = room.reserve(17)!;
  expect(room.grow(second, 33)).toBe(false); // Two were reserved; the fifth page is the first sequence's.
  expect(room.grow(first, 48)).toBe(true);
  room.release(first);
  expect(room.grow(second, 33)).toBe(true);
});

test("a fork shares full pages only: the page that its parent still writes is its own to compute", () => {
  const room = new KvRoom(8);
  const parent = room.reserve(60)!;
  room.grow(parent, 40);
  const child = room.fork(parent, 40, 64)!;
  expect(child.ids).toEqual(parent.ids.slice(0, 2));
  room.grow(child, 64);
  expect(child.ids[2]).not.toBe(parent.ids[2]);
  const table = new Int32Array(5).fill(-1);
  child.writeTable(table, 1, 33);
  expect([...table]).toEqual([-1, ...child.ids.slice(0, 3), -1]);
  expect(child.slot(33)).toBe(child.ids[2]! * 16 + 1);
  room.release(parent);
  expect(room.audit([child])).toEqual([]); // The shared pages live on.
});

test("whoever keeps pages of old sequences is asked for as many as are missing, and only then", () => {
  const kept: SequencePages[] = [];
  const asked: number[] = [];
  const eviction: Eviction = {
    evict(count) {
      asked.push(count);
      for (let freed = 0; freed < count && kept.length > 0; ) {
        freed += kept[0]!.ids.length;
        room.release(kept.shift()!);
      }
    },
  };
  const room = new KvRoom(6, eviction);
  for (const _ of [1, 2]) {
    const pages = room.reserve(32)!;
    room.grow(pages, 32);
    kept.push(pages);
  }
  const pages = room.reserve(48)!;
  expect([asked, kept.length, room.available]).toEqual([[1], 1, 1]);
  expect(room.reserve(96)).toBeUndefined();
  expect(room.grow(pages, 96)).toBe(true);
  expect([asked, kept.length]).toEqual([[1, 5], 0]);
});

test("the audit names what differs", () => {
  const room = new KvRoom(4);
  const pages = room.reserve(40)!;
  room.grow(pages, 20);
  expect(room.audit([])).toEqual(["used KV pages: 2 instead of 0", "promised KV pages: 1 instead of 0"]);
  expect(room.audit([pages, pages])).toEqual([
    "promised KV pages: 1 instead of 2",
    `references to KV page ${pages.ids[0]}: 1 instead of 2`,
    `references to KV page ${pages.ids[1]}: 1 instead of 2`,
  ]);
});
