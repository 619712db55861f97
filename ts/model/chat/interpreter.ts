/** Runs a template's tree as Jinja does, with Python's values; what it does not know throws. */
import type { Keywords } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { filter } from "./filters.ts";
import { GENERATION } from "./lexer.ts";
import { dotted, subscript } from "./methods.ts";
import { binary, number, sliced, unary } from "./operators.ts";
import { toText } from "./print.ts";
import type { Call, CallBlock, For, Macro, Node, SetNode } from "./syntax.ts";
import { test } from "./tests.ts";
import {
  Callable,
  Float,
  isDict,
  iterate,
  key,
  Loop,
  Namespace,
  Tuple,
  truthy,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #parent: Scope | undefined;

  constructor(parent: Scope | undefined) {
    this.#parent = parent;
  }

  get(name: string): Value | undefined {
    return this.#variables.get(name) ?? (this.#variables.has(name) ? null : this.#parent?.get(name));
  }

  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }
}

/** What a list of statements did: went through, or left the loop around it. */
type Flow = "through" | "break" | "continue";

/** Text as it is printed. */
class Output {
  text = "";
}

const CONSTANTS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);

/** What Jinja has and this has not: not to be taken for undefined. */
const UNSUPPORTED = new Set(["lipsum", "cycler", "joiner", "self", "super", "varargs", "kwargs"]);

/** Throws an Error for what Python or Jinja refuses, for what is not supported, and when the budget is used up. */
export function interpret(tree: Node, variables: ReadonlyMap<string, Value>, budget: Budget): string {
  return new Interpreter(budget).run(tree, variables);
}

class Interpreter {
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  run(tree: Node, variables: ReadonlyMap<string, Value>): string {
    const globals = new Scope(undefined);
    for (const [name, value] of variables) globals.set(name, value);
    globals.set(
      GENERATION,
      new Callable(GENERATION, (_, keywords) => (keywords.get("caller") as Callable).call([], new Map())),
    );
    globals.set("namespace", new Callable("namespace", (args, keywords) => this.#namespace(args, keywords)));
    if (tree.type !== "Program") throw new Error(`the statement ${tree.type}`);
    return this.#capture(tree.body, new Scope(globals));
  }

  // Statements

  #capture(body: readonly Node[], scope: Scope): string {
    const output = new Output();
    if (this.#block(body, scope, output) !== "through") throw new Error("break or continue outside of a loop");
    return output.text;
  }

  #print(text: string, output: Output): void {
    this.#budget.text(output.text.length + text.length, text.length);
    output.text += text;
  }

  #block(body: readonly Node[], scope: Scope, output: Output): Flow {
    for (const node of body) {
      this.#budget.step();
      const flow = this.#statement(node, scope, output);
      if (flow !== "through") return flow;
    }
    return "through";
  }

  #statement(node: Node, scope: Scope, output: Output): Flow {
    switch (node.type) {
      case "If":
        return this.#block(truthy(this.#value(node.test, scope)) ? node.body : node.alternate, scope, output);
      case "For":
        return this.#for(node, scope, output);
      case "Break":
        return "break";
      case "Continue":
        return "continue";
      case "Set":
        this.#set(node, scope);
        return "through";
      case "Macro":
        scope.set(node.name.value, this.#macro(node.name.value, node, scope));
        return "through";
      case "CallStatement":
        this.#print(toText(this.#callBlock(node, scope), this.#budget), output);
        return "through";
      case "FilterStatement": {
        const text = this.#capture(node.body, new Scope(scope));
        this.#print(toText(this.#filtered(text, node.filter, scope), this.#budget), output);
        return "through";
      }
      default:
        this.#print(toText(this.#value(node, scope), this.#budget), output);
        return "through";
    }
  }

  #for(node: For, scope: Scope, output: Output): Flow {
    const loop = new Loop(this.#items(node, scope));
    let completed = false;
    for (let item = loop.advance(); item !== undefined; item = loop.advance()) {
      const inner = new Scope(scope);
      inner.set("loop", loop);
      this.#assign(node.loopvar, item, inner);
      const flow = this.#block(node.body, inner, output);
      if (flow === "break") break;
      if (flow === "through") completed = true;
    }
    // As in Jinja, where an iteration counts when it has come to its end.
    return !completed ? this.#block(node.defaultBlock, new Scope(scope), output) : "through";
  }

  *#items({ iterable, loopvar }: For, scope: Scope): Generator<Value, void> {
    if (iterable.type !== "SelectExpression") {
      yield* iterate(this.#value(iterable, scope), this.#budget);
      return;
    }
    for (const item of iterate(this.#value(iterable.lhs, scope), this.#budget)) {
      const inner = new Scope(scope);
      this.#assign(loopvar, item, inner);
      if (truthy(this.#value(iterable.test, inner))) yield item;
    }
  }

  #set(node: SetNode, scope: Scope): void {
    const value = node.value ? this.#value(node.value, scope) : this.#capture(node.body, new Scope(scope));
    this.#assign(node.assignee, value, scope);
  }

  #assign(target: Node, value: Value, scope: Scope): void {
    if (target.type === "Identifier") {
      if (CONSTANTS.has(target.value)) throw new Error(`an assignment to ${target.value}`);
      scope.set(target.value, value);
    } else if (target.type === "TupleLiteral") {
      const items = iterate(value, this.#budget);
      const { length } = target.value;
      if (items.length !== length) throw new Error(`${items.length} values for ${length} names`);
      for (const [index, name] of target.value.entries()) this.#assign(name, items[index] as Value, scope);
    } else if (target.type === "MemberExpression" && !target.computed && target.property.type === "Identifier") {
      const owner = this.#value(target.object, scope);
      const name = target.property.value;
      if (!(owner instanceof Namespace) || name.startsWith("_")) throw new Error(`an assignment to .${name}`);
      owner.attributes.set(name, value);
    } else throw new Error(`an assignment to ${target.type}`);
  }

  #namespace(args: readonly Value[], keywords: Keywords): Namespace {
    const made = new Namespace();
    const [given] = args;
    if (args.length > 1 || (given !== undefined && !isDict(given))) throw new Error("namespace() of other than a dict");
    for (const [name, value] of [...(given ?? []), ...keywords]) {
      if (typeof name !== "string" || name.startsWith("_")) throw new Error(`namespace() with ${String(name)}`);
      made.attributes.set(name, value);
    }
    return made;
  }

  // Macros

  #macro(name: string, node: Pick<Macro, "args" | "body">, outer: Scope): Callable {
    const parameters = node.args.map((parameter) => {
      if (parameter.type === "Identifier") return { name: parameter.value, otherwise: undefined };
      if (parameter.type === "KeywordArgumentExpression")
        return { name: parameter.key.value, otherwise: parameter.value };
      throw new Error(`a macro's parameter that is ${parameter.type}`);
    });
    return new Callable(name, (args, keywords) => {
      this.#budget.step(1 + parameters.length);
      if (args.length > parameters.length) throw new Error(`${name}() with ${args.length} arguments`);
      const scope = new Scope(outer);
      const known = new Set(["caller", ...parameters.map((parameter) => parameter.name)]);
      for (const keyword of keywords.keys()) {
        const place = parameters.findIndex((parameter) => parameter.name === keyword);
        if (!known.has(keyword) || (place >= 0 && place < args.length)) throw new Error(`${name}() with ${keyword}`);
      }
      scope.set("caller", keywords.get("caller") ?? new Undefined("caller"));
      for (const [index, { name: parameter, otherwise }] of parameters.entries()) {
        const given = index < args.length ? args[index] : keywords.get(parameter);
        if (given !== undefined) scope.set(parameter, given);
        else scope.set(parameter, otherwise ? this.#value(otherwise, scope) : new Undefined(parameter));
      }
      return this.#capture(node.body, scope);
    });
  }

  #callBlock(node: CallBlock, scope: Scope): Value {
    const caller = this.#macro("caller", { args: node.callerArgs ?? [], body: node.body }, scope);
    const { args, keywords } = this.#arguments(node.call.args, scope);
    return this.#callable(this.#value(node.call.callee, scope)).call(args, new Map([...keywords, ["caller", caller]]));
  }

  #callable(value: Value): Callable {
    if (value instanceof Callable) return value;
    throw new Error(`${typeName(value)} is called`);
  }

  #arguments(nodes: readonly Node[], scope: Scope): { args: Value[]; keywords: Map<string, Value> } {
    const args: Value[] = [];
    const keywords = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === "KeywordArgumentExpression") keywords.set(node.key.value, this.#value(node.value, scope));
      else if (node.type === "SpreadExpression") args.push(...iterate(this.#value(node.argument, scope), this.#budget));
      else if (node.type === "KeywordSpreadExpression") throw new Error("** in a call is not supported");
      else args.push(this.#value(node, scope));
    }
    return { args, keywords };
  }

  // Expressions

  #value(node: Node, scope: Scope): Value {
    this.#budget.step();
    switch (node.type) {
      case "StringLiteral":
      case "IntegerLiteral":
        return node.type === "IntegerLiteral" ? number(node.value, false) : node.value;
      case "FloatLiteral":
        return new Float(node.value);
      case "ArrayLiteral":
        return node.value.map((item) => this.#value(item, scope));
      case "TupleLiteral":
        return new Tuple(node.value.map((item) => this.#value(item, scope)));
      case "ObjectLiteral":
        return new Map(
          [...node.value].map(([name, item]) => [key(this.#value(name, scope)), this.#value(item, scope)]),
        );
      case "Identifier":
        return this.#identifier(node.value, scope);
      case "MemberExpression": {
        const object = this.#value(node.object, scope);
        const { property } = node;
        if (!node.computed && property.type === "Identifier") return dotted(object, property.value, this.#budget);
        if (property.type !== "SliceExpression") return subscript(object, this.#value(property, scope), this.#budget);
        const bounds = [property.start, property.stop, property.step];
        return sliced(
          object,
          bounds.map((bound) => (bound ? this.#value(bound, scope) : null)),
          this.#budget,
        );
      }
      case "CallExpression":
        return this.#call(node, scope);
      case "BinaryExpression": {
        const left = this.#value(node.left, scope);
        const operator = node.operator.value;
        if (operator === "and") return truthy(left) ? this.#value(node.right, scope) : left;
        if (operator === "or") return truthy(left) ? left : this.#value(node.right, scope);
        return binary(operator, left, this.#value(node.right, scope), this.#budget);
      }
      case "UnaryExpression": {
        const value = this.#value(node.argument, scope);
        return node.operator.value === "not" ? !truthy(value) : unary(node.operator.value, value);
      }
      case "FilterExpression":
        return this.#filtered(this.#value(node.operand, scope), node.filter, scope);
      case "TestExpression":
        return test(node.test.value, this.#value(node.operand, scope), [], this.#budget) !== node.negate;
      case "Ternary":
        return this.#value(truthy(this.#value(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope);
      case "SelectExpression":
        if (truthy(this.#value(node.test, scope))) return this.#value(node.lhs, scope);
        return new Undefined("a condition without else");
      default:
        throw new Error(`${node.type} is not supported`);
    }
  }

  #identifier(name: string, scope: Scope): Value {
    const constant = CONSTANTS.get(name);
    if (constant !== undefined) return constant;
    const found = scope.get(name);
    if (found !== undefined) return found;
    if (UNSUPPORTED.has(name)) throw new Error(`${name} is not supported`);
    return new Undefined(name);
  }

  #call(node: Call, scope: Scope): Value {
    const callee = this.#callable(this.#value(node.callee, scope));
    const { args, keywords } = this.#arguments(node.args, scope);
    return callee.call(args, keywords);
  }

  #filtered(value: Value, node: Node, scope: Scope): Value {
    if (node.type === "Identifier") return filter(node.value, value, [], new Map(), this.#budget);
    if (node.type !== "CallExpression" || node.callee.type !== "Identifier")
      throw new Error(`a filter by ${node.type}`);
    const { args, keywords } = this.#arguments(node.args, scope);
    return filter(node.callee.value, value, args, keywords, this.#budget);
  }
}
