/** `docs/environment.md`, and the names that Python reads. */
import { ENVIRONMENT, RENAMED, type Variable } from "../environment.ts";
import { HEADER, NOTICE, text } from "./python.ts";

const variables: readonly (readonly [string, Variable])[] = Object.entries(ENVIRONMENT);

/** OCTAVO_ISA -> ISA: the module says the rest. */
function constant(name: string): string {
  return name.replace(/^OCTAVO_/, "");
}

/** `generated/environment.py` of a Python package. */
export function environmentPython(reader: "kernels" | "worker"): string {
  const own = variables.filter(([, variable]) => variable.reader === reader);
  const former = Object.entries(RENAMED).filter(([, now]) => own.some(([name]) => name === now));
  const renamed = former.map(([before, now]) => `${text(before)}: ${constant(now)}`).join(", ");
  return `"""Environment variables; what they mean is in docs/environment.md. ${HEADER}"""

from __future__ import annotations

${own.map(([name]) => `${constant(name)} = ${text(name)}`).join("\n")}
${renamed === "" ? "" : `\n#: Former names; what now says it.\nRENAMED = {${renamed}}\n`}`;
}

const READERS = {
  package: "package",
  cli: "command line",
  worker: "worker",
  kernels: "kernels",
  repository: "this repository's tools",
} as const satisfies Record<Variable["reader"], string>;

function table(chosen: typeof variables): string {
  const rows = chosen.map(
    ([name, { reader, accepts, meaning }]) => `| \`${name}\` | ${meaning} | ${accepts} | ${READERS[reader]} |`,
  );
  return ["| variable | meaning | accepts | read by |", "|---|---|---|---|", ...rows].join("\n");
}

export function environmentMarkdown(): string {
  const own = variables.filter(([name]) => name.startsWith("OCTAVO_"));
  const others = variables.filter(([name]) => !name.startsWith("OCTAVO_"));
  return `${NOTICE}
# Environment variables

None is needed. Empty is as good as unset. A worker inherits the environment of the process that starts it.

${table(own)}

Former names: ${Object.entries(RENAMED).map(([before, now]) => `\`${before}\` is \`${now}\` now, and refused`)}.

Variables of others that Octavo minds:

${table(others)}
`;
}
