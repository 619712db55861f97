/** The lines of a stream that somebody else writes. */
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/** Characters of a line that are kept. Node's own reader of lines keeps all, and throws at half a gigabyte. */
export const MAX_LINE = 65_536;

/**
 * `onLine` is called with each line, without its end (`\n`, `\r\n`, or the `\r` of a progress bar); of a longer one with its first `MAX_LINE` characters and
 * how many more there were.
 */
export function eachLine(stream: Readable, onLine: (line: string) => void): void {
  const decoder = new StringDecoder("utf8");
  let line = "";
  let cut = 0;
  let afterReturn = false;
  const add = (text: string) => {
    const room = MAX_LINE - line.length;
    line += text.length > room ? text.slice(0, room) : text;
    cut += Math.max(0, text.length - room);
  };
  const end = () => {
    const text = cut === 0 ? line : `${line}... (${cut} more characters)`;
    line = "";
    cut = 0;
    onLine(text);
  };
  stream.on("data", (chunk: Buffer) => {
    const text = decoder.write(chunk);
    if (text === "") return; // A part of a character.
    const parts = (afterReturn && text.startsWith("\n") ? text.slice(1) : text).split(/\r\n|\r|\n/);
    afterReturn = text.endsWith("\r");
    for (const [index, part] of parts.entries()) {
      add(part);
      if (index < parts.length - 1) end();
    }
  });
  stream.on("end", () => {
    add(decoder.end());
    if (line !== "") end();
  });
}
