/** The sizes that a step of a program brings, in the order in which every side keeps them. The `generated/ops` files have them. */
export const SIZES = {
  T: "tokens",
  S: "sampled rows",
  B: "sequences",
  J: "KV pages of a sequence, at most",
  H: "ids that penalties count, of all rows",
  D: "biased ids, of all rows",
  Q: "masks",
} as const;
export type SizeName = keyof typeof SIZES;
export const SIZE_NAMES = Object.keys(SIZES) as [SizeName, ...SizeName[]];

/** What may stand in a value's shape beside numbers: a size, or one more, as arrays of starts have it. */
export const SIZE_SYMBOLS: readonly SizeSymbol[] = SIZE_NAMES.flatMap((name) =>
  name === "S" || name === "B" ? [name, `${name}+1` as const] : [name],
);
export type SizeSymbol = SizeName | "S+1" | "B+1";

export const NO_SIZES: Readonly<Record<SizeName, number>> = { T: 0, S: 0, B: 0, J: 0, H: 0, D: 0, Q: 0 };
