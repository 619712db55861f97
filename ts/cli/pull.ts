/** `octavo pull`: fetch a model from the Hugging Face hub into the local cache. */
import { Command } from "commander";
import { jsonOption } from "./options.ts";
import { ProgressLine } from "./progress.ts";
import { printData, printJson } from "./screen.ts";

export function pullCommand(): Command {
  return new Command("pull")
    .description(
      "Fetch a model from the Hugging Face hub (HF_TOKEN and HF_ENDPOINT are honoured) into the local cache.",
    )
    .argument("<model>", "hub id: org/name or org/name@revision")
    .addOption(jsonOption())
    .action(pull);
}

/** Ctrl-C just ends it: what was fetched stays, and the next pull goes on from there. */
async function pull(model: string, flags: { json?: boolean }): Promise<void> {
  const { downloadModel } = await import("../model/source/download.ts");
  const progress = new ProgressLine();
  console.debug = () => {}; // The library writes its own log there, which is stdout.
  try {
    const folder = await downloadModel(model, {
      onFile: (file, index, files) => progress.show(`fetching ${file} (${index + 1} of ${files})`),
    });
    if (flags.json) printJson({ model, folder });
    else printData(`${folder}\n`);
  } finally {
    progress.clear();
  }
}
