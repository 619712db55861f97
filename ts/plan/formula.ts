/** The formulas of `protocol/workspace.ts`: `+ - *`, `//`, integers, names and the five functions, as Python reads them. */

const FUNCTIONS: Readonly<Record<string, (...numbers: number[]) => number>> = {
  min: Math.min,
  max: Math.max,
  pad: (n, multiple) => Math.ceil(n! / multiple!) * multiple!,
  ceil: (n, divisor) => Math.ceil(n! / divisor!),
  pow2: (n) => 2 ** Math.ceil(Math.log2(n!)),
};

/** The number that a formula means; `names` has all that it uses. */
export function evaluateFormula(formula: string, names: Readonly<Record<string, number>>): number {
  const tokens = formula.match(/\d+|[A-Za-z]\w*|\/\/|[-+*(),]/g) ?? [];
  let at = 0;
  const sum = (): number => {
    let value = product();
    while (tokens[at] === "+" || tokens[at] === "-")
      value = tokens[at++] === "+" ? value + product() : value - product();
    return value;
  };
  const product = (): number => {
    let value = factor();
    while (tokens[at] === "*" || tokens[at] === "//")
      value = tokens[at++] === "*" ? value * factor() : Math.floor(value / factor());
    return value;
  };
  const factor = (): number => {
    const token = tokens[at++]!;
    if (token === "(") return list()[0]!;
    if (/^\d/.test(token)) return Number(token);
    if (tokens[at] === "(") {
      at++;
      return FUNCTIONS[token]!(...list());
    }
    const value = names[token];
    if (value === undefined) throw new Error(`the formula ${formula} needs ${token}`);
    return value;
  };
  /** After "(", up to and with ")". */
  const list = (): number[] => {
    const items = [sum()];
    while (tokens[at++] === ",") items.push(sum());
    return items;
  };
  return sum();
}
