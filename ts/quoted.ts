/** Text that is somebody else's (of a file, a user, a worker) inside a message: bounded, whatever it was. */

/** The first `limit` characters, and how many more there were. */
export function cut(text: string, limit = 200): string {
  if (text.length <= limit) return text;
  return `${text.slice(0, limit)}... (${text.length - limit} more characters)`;
}

/** A value as JSON would write it, cut; for what is no JSON, as a string. */
export function quoted(value: unknown, limit = 80): string {
  if (typeof value === "string") {
    const rest = value.length - limit;
    return rest <= 0 ? JSON.stringify(value) : `${JSON.stringify(value.slice(0, limit))}... (${rest} more characters)`;
  }
  return cut(json(value, limit) ?? (typeof value === "object" ? "something that is no JSON" : String(value)), limit);
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
