/** `kernels/octavo_kernels/generated/ops.py`: the op table as frozen dataclasses. */
import {
  ATTENTION_BLOCK,
  type Attribute,
  BYTES_PER_ELEMENT,
  DTYPES,
  KV_LEVELS,
  LAYOUTS,
  MAX_LOGPROBS,
  OPS,
  type Operand,
  type OpSpec,
  PACKED_COLUMNS,
  PACKED_ROWS,
  PAGE_SIZE,
  type Rule,
} from "../ops.ts";
import { SIZE_NAMES } from "../sizes.ts";
import { errorCode } from "./errors-python.ts";
import { bracketed, float, HEADER, text, tuple } from "./python.ts";

const TYPES = `@dataclass(frozen=True)
class Operand:
    """\`shape\` holds expressions over shape symbols and attributes; see protocol/ops.ts."""

    dtypes: tuple[str, ...]
    shape: tuple[str, ...]
    optional: bool = False
    #: The op writes into this input.
    mutated: bool = False
    #: Layout "packed" is accepted beside "plain".
    packed: bool = False


@dataclass(frozen=True)
class Attribute:
    """\`type\` is number, integer, boolean or enum. An attribute whose \`default\` is None must be given."""

    type: str
    min: float | None = None
    max: float | None = None
    default: float | bool | str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """What must hold beyond dtypes and shapes; see protocol/ops.ts."""

    relation: str
    left: str
    right: str
    code: ErrorCode
    text: str


@dataclass(frozen=True)
class OpSpec:
    """Operands and attributes in the order of their indices in the C++ backend; \`code\` is its OpCode."""

    code: int
    inputs: dict[str, Operand] = field(default_factory=dict)
    outputs: dict[str, Operand] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    #: For a fused op: the ops that it equals, bit for bit.
    fuses: tuple[str, ...] = ()
`;

function operand(spec: Operand): string {
  const flags = (["optional", "mutated", "packed"] as const).filter((flag) => spec[flag]).map((flag) => `${flag}=True`);
  return `Operand(${[tuple(spec.dtypes.map(text)), tuple(spec.shape.map(text)), ...flags].join(", ")})`;
}

function attribute(spec: Attribute): string {
  const parts = [text(spec.type)];
  const number = spec.type === "number" ? float : String;
  if (spec.type === "number" || spec.type === "integer") {
    if (spec.min !== undefined) parts.push(`min=${number(spec.min)}`);
    if (spec.max !== undefined) parts.push(`max=${number(spec.max)}`);
    if (spec.default !== undefined) parts.push(`default=${number(spec.default)}`);
  } else if (spec.type === "boolean") {
    if (spec.default !== undefined) parts.push(`default=${spec.default ? "True" : "False"}`);
  } else {
    if (spec.default !== undefined) parts.push(`default=${text(spec.default)}`);
    parts.push(`values=${tuple(spec.values.map(text))}`);
  }
  return `Attribute(${parts.join(", ")})`;
}

function entries<T>(label: string, record: Readonly<Record<string, T>>, print: (item: T) => string): string[] {
  const items = Object.entries(record);
  if (items.length === 0) return [];
  return [
    `        ${label}={`,
    ...items.map(([key, item]) => `            ${text(key)}: ${print(item)},`),
    "        },",
  ];
}

function rule({ relation, left, right, code, text: message }: Rule): string {
  const parts = [text(relation), text(left), text(right), errorCode(code), text(message)];
  return bracketed("", "Rule(", parts, "),", 12);
}

function op(name: string, spec: OpSpec, code: number): string {
  return [
    `    ${text(name)}: OpSpec(`,
    `        code=${code},`,
    ...entries("inputs", spec.inputs, operand),
    ...entries("outputs", spec.outputs, operand),
    ...entries("attributes", spec.attributes, attribute),
    ...(spec.rules ? ["        rules=(", ...spec.rules.map(rule), "        ),"] : []),
    ...(spec.fuses ? [`        fuses=${tuple(spec.fuses.map(text))},`] : []),
    "    ),",
  ].join("\n");
}

function byPages(value: (levels: (typeof KV_LEVELS)[keyof typeof KV_LEVELS]) => number): string {
  return Object.entries(KV_LEVELS)
    .map(([dtype, levels]) => `${text(dtype)}: ${value(levels)}`)
    .join(", ");
}

export function opsPython(): string {
  const bytes = DTYPES.map((dtype) => `${text(dtype)}: ${BYTES_PER_ELEMENT[dtype]}`);
  return `"""The op table. ${HEADER}"""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import ErrorCode

${bracketed("DTYPES = ", "(", DTYPES.map(text), ")")}
${bracketed("LAYOUTS = ", "(", LAYOUTS.map(text), ")")}
${bracketed("BYTES_PER_ELEMENT = ", "{", bytes, "}")}

#: Sizes that a step brings. "S+1" and "B+1" may stand in shapes and follow from S and B.
${bracketed("SIZES = ", "(", SIZE_NAMES.map(text), ")")}

PACKED_ROWS = ${PACKED_ROWS}
PACKED_COLUMNS = ${PACKED_COLUMNS}
PAGE_SIZE = ${PAGE_SIZE}
ATTENTION_BLOCK = ${ATTENTION_BLOCK}
#: Largest integers of K and V in pages of each type.
KV_LEVELS = {
${Object.entries(KV_LEVELS)
  .map(([dtype, { keys, values }]) => `    ${text(dtype)}: (${keys}, ${values}),`)
  .join("\n")}
}
#: The largest integer of q with them, unless a score would not fit int32.
QUERY_LEVELS = {${byPages(({ queries }) => queries)}}
#: Weights of values have 2^bits levels with them.
WEIGHT_BITS = {${byPages(({ weightBits }) => weightBits)}}
MAX_LOGPROBS = ${MAX_LOGPROBS}


${TYPES}

OPS: dict[str, OpSpec] = {
${Object.entries(OPS)
  .map(([name, spec], code) => op(name, spec, code))
  .join("\n")}
}
`;
}
