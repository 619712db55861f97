/** What follows `is`, and the tests that `select` and its like take by name. */
import type { Budget } from "./budget.ts";
import { contains } from "./operators.ts";
import {
  Callable,
  compare,
  equal,
  Float,
  Iterable,
  isDict,
  isList,
  Markup,
  numeric,
  Range,
  Tuple,
  Undefined,
  type Value,
} from "./values.ts";

type Test = (value: Value, args: readonly Value[], budget: Budget) => boolean;

const isText = (value: Value) => typeof value === "string" || value instanceof Markup;
const isSequence = (value: Value) =>
  isText(value) ||
  isList(value) ||
  value instanceof Tuple ||
  value instanceof Range ||
  isDict(value) ||
  value instanceof Undefined;

const none = (test: (value: Value) => boolean): Test => {
  return (value, args) => {
    if (args.length > 0) throw new Error("a test with an argument that it does not take");
    return test(value);
  };
};

const one = (test: (value: Value, other: Value, budget: Budget) => boolean): Test => {
  return (value, args, budget) => {
    const [other] = args;
    if (other === undefined || args.length !== 1) throw new Error("a test that takes one argument");
    return test(value, other, budget);
  };
};

const odd = (value: Value): number => {
  if (typeof value !== "number") throw new Error("odd or even of what is no whole number");
  return Math.abs(value % 2);
};

const eq = one(equal);
const ne = one((a, b, budget) => !equal(a, b, budget));
const lt = one((a, b, budget) => compare(a, b, budget) < 0);
const le = one((a, b, budget) => compare(a, b, budget) <= 0);
const gt = one((a, b, budget) => compare(a, b, budget) > 0);
const ge = one((a, b, budget) => compare(a, b, budget) >= 0);

const TESTS: Readonly<Record<string, Test>> = {
  defined: none((value) => !(value instanceof Undefined)),
  undefined: none((value) => value instanceof Undefined),
  none: none((value) => value === null),
  string: none(isText),
  boolean: none((value) => typeof value === "boolean"),
  true: none((value) => value === true),
  false: none((value) => value === false),
  integer: none((value) => typeof value === "number"),
  float: none((value) => value instanceof Float),
  number: none((value) => numeric(value) !== undefined),
  mapping: none((value) => isDict(value)),
  sequence: none(isSequence),
  iterable: none((value) => isSequence(value) || value instanceof Iterable),
  callable: none((value) => value instanceof Callable || value instanceof Undefined),
  odd: none((value) => odd(value) === 1),
  even: none((value) => odd(value) === 0),
  in: one((value, container, budget) => contains(container, value, budget)),
  eq,
  equalto: eq,
  "==": eq,
  ne,
  "!=": ne,
  lt,
  lessthan: lt,
  "<": lt,
  le,
  "<=": le,
  gt,
  greaterthan: gt,
  ">": gt,
  ge,
  ">=": ge,
};

export function test(name: string, value: Value, args: readonly Value[], budget: Budget): boolean {
  const found = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined;
  if (found === undefined) throw new Error(`the test "${name}" is not supported`);
  return found(value, args, budget);
}
