/** `octavo pull`: fetch a model from the Hugging Face hub into the local cache. */
import { Command } from "commander";
import { interruptible } from "./interrupt.ts";
import { jsonOption } from "./options.ts";
import { ProgressLine } from "./progress.ts";

export function pullCommand(): Command {
  return new Command("pull")
    .description(
      "Fetch a model from the Hugging Face hub (HF_TOKEN and HF_ENDPOINT are honoured) into the local cache.",
    )
    .argument("<model>", "hub id: org/name or org/name@revision")
    .addOption(jsonOption())
    .action((model: string, flags: { json?: boolean }) => interruptible(() => pull(model, flags)));
}

async function pull(model: string, flags: { json?: boolean }): Promise<void> {
  const { downloadModel } = await import("../model/source/download.ts");
  const progress = new ProgressLine();
  console.debug = () => {}; // The library writes its own log there, which is stdout.
  try {
    const folder = await downloadModel(model, {
      onFile: (file, index, files) => progress.show(`fetching ${file} (${index + 1} of ${files})`),
    });
    process.stdout.write(flags.json ? `${JSON.stringify({ model, folder })}\n` : `${folder}\n`);
  } finally {
    progress.clear();
  }
}
