/** Text that is somebody else's (of a file, a user, a worker) inside a message: bounded, whatever it was. */

/** The first `limit` characters, and how many more there were. */
export function cut(text: string, limit = 200): string {
  if (text.length <= limit) return text;
  return `${text.slice(0, limit)}... (${text.length - limit} more characters)`;
}

/** A value as it stands in code, cut. */
export function quoted(value: unknown, limit = 80): string {
  if (typeof value === "string") {
    const rest = value.length - limit;
    return rest <= 0 ? JSON.stringify(value) : `${JSON.stringify(value.slice(0, limit))}... (${rest} more characters)`;
  }
  // JSON turns NaN and infinities into null.
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "function")
    return cut(String(value), limit);
  // An object that is no JSON (a circle, a bigint in it) may be no string either.
  return cut(json(value, limit) ?? (typeof value === "object" ? kindOf(value) : String(value)), limit);
}

/** What a value is, without its content when that may be large. */
export function kindOf(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return quoted(value);
  const { constructor: maker } = value as { constructor?: { name?: unknown } | null };
  const name = maker?.name;
  return typeof name === "string" && name !== "" ? `a ${cut(name, 40)}` : "an object";
}

/** What is long is not written out in full only to be cut. */
function json(value: unknown, limit: number): string | undefined {
  const shorten = (_key: string, inner: unknown) => {
    if (typeof inner === "string" && inner.length > limit) return inner.slice(0, limit);
    return Array.isArray(inner) && inner.length > limit ? inner.slice(0, limit) : inner;
  };
  try {
    return JSON.stringify(value, shorten);
  } catch {
    return undefined; // A bigint, a circle, or something nested too deep.
  }
}
