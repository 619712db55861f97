/** `octavo chat` on a terminal, as a person meets it. If these fail, messages are torn apart, mixed up, or lost. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { CLI } from "./support/cli.ts";
import { Terminal } from "./support/terminal.ts";

const PROMPT = "> \x1b[3G"; // readline's, with the cursor after it.
const LONG = "Tell a very long story about a dragon.\r";

let chat: Terminal;
beforeAll(async () => {
  chat = new Terminal([process.execPath, ...CLI, "chat", "-m", "smollm2", "-n", "4000"]);
  await chat.until(PROMPT);
});
afterAll(() => chat.kill());

it("takes a pasted text of several lines as one message", async () => {
  chat.type("\x1b[200~What is the capital of France?\rAnswer in one word.\x1b[201~ Please.");
  await chat.until("Please.");
  chat.type("\r");
  const shown = await chat.until(PROMPT);
  expect(shown.match(/\(prompt \d+ tokens/g)?.length).toBe(1);
  expect(shown).toContain("Paris");
});

it("keeps what is typed during an answer out of it, and for the next message", async () => {
  chat.type(LONG);
  await chat.until("dragon.\r\r\n");
  await chat.until(" ");
  chat.type("TYPED\x03");
  const answer = await chat.until("(stopped)");
  expect(answer).not.toContain("TYPED");
  await chat.until("> TYPED");
});

it("discards a line with Ctrl-C", async () => {
  chat.type("\x03");
  await chat.until(PROMPT);
});

it("runs what is typed and sent during an answer afterwards, and shows it then", async () => {
  // The conversation holds an answer that was stopped wherever it was: what follows from that might end by itself.
  chat.type("/clear\r");
  await chat.until("/clear\r\r\n"); // Of the prompts that were shown, the one after it.
  await chat.until(PROMPT);
  chat.type(LONG);
  await chat.until("dragon.\r\r\n");
  await chat.until(" ");
  chat.type("/frob\r\x03");
  expect(await chat.until("(stopped)")).not.toContain("frob");
  expect(await chat.until("OCTAVO_BAD_ARGUMENT")).toContain("> /frob");
});

it("refuses a command that there is not, with those there are", async () => {
  expect(await chat.until(PROMPT)).toMatch(/there is no command \/frob; \/clear .*\/exit.* a space before \//);
});

it("leaves with Ctrl-C at the prompt, and leaves the terminal as it was", async () => {
  chat.type("\x03");
  expect(await chat.ended()).toBe(130);
  expect(chat.output).toContain("\x1b[?2004h");
  expect(chat.output.lastIndexOf("\x1b[?2004l")).toBeGreaterThan(chat.output.lastIndexOf("\x1b[?2004h"));
});
