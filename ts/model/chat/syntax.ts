/** A template's source as a tree. Parsed by @huggingface/jinja; what it reads otherwise than Jinja does is refused. */
import { parse } from "@huggingface/jinja";
import { type Token, tokenize } from "./lexer.ts";

export type Identifier = { readonly type: "Identifier"; readonly value: string };
export type Call = { readonly type: "CallExpression"; readonly callee: Node; readonly args: readonly Node[] };
export type Keyword = { readonly type: "KeywordArgumentExpression"; readonly key: Identifier; readonly value: Node };
export type Slice = {
  readonly type: "SliceExpression";
  readonly start?: Node;
  readonly stop?: Node;
  readonly step?: Node;
};
export type Select = { readonly type: "SelectExpression"; readonly lhs: Node; readonly test: Node };
export type Member = {
  readonly type: "MemberExpression";
  readonly object: Node;
  readonly property: Node;
  readonly computed: boolean;
};
export type Binary = {
  readonly type: "BinaryExpression";
  readonly operator: Token;
  readonly left: Node;
  readonly right: Node;
};
export type For = {
  readonly type: "For";
  readonly loopvar: Node;
  readonly iterable: Node;
  readonly body: readonly Node[];
  readonly defaultBlock: readonly Node[];
};
export type SetNode = {
  readonly type: "Set";
  readonly assignee: Node;
  readonly value: Node | null;
  readonly body: readonly Node[];
};
export type Macro = {
  readonly type: "Macro";
  readonly name: Identifier;
  readonly args: readonly Node[];
  readonly body: readonly Node[];
};
export type CallBlock = {
  readonly type: "CallStatement";
  readonly call: Call;
  readonly callerArgs: readonly Node[] | null;
  readonly body: readonly Node[];
};

/** The classes of @huggingface/jinja's tree, which it does not export. */
export type Node =
  | { readonly type: "Program"; readonly body: readonly Node[] }
  | { readonly type: "If"; readonly test: Node; readonly body: readonly Node[]; readonly alternate: readonly Node[] }
  | For
  | { readonly type: "Break" }
  | { readonly type: "Continue" }
  | SetNode
  | Macro
  | CallBlock
  | { readonly type: "FilterStatement"; readonly filter: Node; readonly body: readonly Node[] }
  | Identifier
  | { readonly type: "StringLiteral"; readonly value: string }
  | { readonly type: "IntegerLiteral"; readonly value: number }
  | { readonly type: "FloatLiteral"; readonly value: number }
  | { readonly type: "ArrayLiteral"; readonly value: readonly Node[] }
  | { readonly type: "TupleLiteral"; readonly value: readonly Node[] }
  | { readonly type: "ObjectLiteral"; readonly value: ReadonlyMap<Node, Node> }
  | Member
  | Call
  | Binary
  | { readonly type: "UnaryExpression"; readonly operator: Token; readonly argument: Node }
  | { readonly type: "FilterExpression"; readonly operand: Node; readonly filter: Node }
  | { readonly type: "TestExpression"; readonly operand: Node; readonly negate: boolean; readonly test: Identifier }
  | { readonly type: "Ternary"; readonly condition: Node; readonly trueExpr: Node; readonly falseExpr: Node }
  | Select
  | Slice
  | Keyword
  | { readonly type: "SpreadExpression"; readonly argument: Node }
  | { readonly type: "KeywordSpreadExpression"; readonly argument: Node };

const LENGTH_LIMIT = 2 ** 20;

/** Throws an Error for what is no template, or what the parser reads otherwise than Jinja. */
export function parseTemplate(source: string): Node {
  if (source.length > LENGTH_LIMIT) throw new Error(`it has ${source.length} characters; at most ${LENGTH_LIMIT}`);
  const tokens = tokenize(source);
  refuseChains(tokens);
  return parse([...tokens]) as unknown as Node;
}

const COMPARISONS = new Set(["==", "!=", "<", ">", "<=", ">=", "in"]);
/** What begins another expression. */
const BREAKS = new Set(["and", "or", "if", "else", ",", ":", "=", "{%", "{{"]);

/** `a < b < c` means `a < b and b < c` in Jinja, and comes out of the parser as `(a < b) < c`. */
function refuseChains(tokens: readonly Token[]): void {
  const compared = [false];
  for (const { type, value } of tokens) {
    if (type === "Text" || type === "StringLiteral") continue;
    if (BREAKS.has(value)) compared[compared.length - 1] = false;
    else if ("([{".includes(value)) compared.push(false);
    else if (")]}".includes(value)) compared.pop();
    else if (COMPARISONS.has(value)) {
      if (compared.at(-1)) throw new Error("a chain of comparisons (a == b == c)");
      compared[compared.length - 1] = true;
    }
  }
}

/** The nodes right below one. */
export function children(node: Node): Node[] {
  const found: Node[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit);
    else if (value instanceof Map) for (const pair of value) pair.forEach(visit);
    else if (typeof value === "object" && value !== null && "type" in value) found.push(value as Node);
  };
  // An operator is a token, not a node.
  for (const [name, value] of Object.entries(node)) if (name !== "operator") visit(value);
  return found;
}
