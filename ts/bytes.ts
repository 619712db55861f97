/** Numbers of bytes as people write and read them. Pure. */
import { badArgument } from "./errors.ts";

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/** `24GiB`, `1.5 GB`, `1000` (bytes). */
export function parseBytes(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = match === null ? undefined : UNITS[(match[2] || "B").toUpperCase()];
  if (match === null || unit === undefined)
    throw badArgument(`"${text}" is not a number of bytes; write 24GiB, 500MB or 1000`);
  return Math.floor(Number(match[1]) * unit);
}

/** `1.50 GiB`: for people. Negative numbers keep their sign. */
export function formatBytes(bytes: number): string {
  const sign = bytes < 0 ? "-" : "";
  let size = Math.abs(bytes);
  let unit = 0;
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  while (size >= 1024 && unit < names.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${sign}${unit === 0 ? size : size.toFixed(2)} ${names[unit]}`;
}
