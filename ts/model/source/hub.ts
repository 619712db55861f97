/** Models of the Hugging Face hub, in the cache that Python's and JavaScript's libraries share. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { readText } from "../../regular-file.ts";

export interface HubModel {
  readonly name: string;
  readonly revision: string;
}

/** `org/name` or `name`, with an optional `@revision`; undefined for what cannot be an id. */
export function parseHubId(text: string): HubModel | undefined {
  const part = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?";
  const match = new RegExp(`^((?:${part}/)?${part})(?:@([A-Za-z0-9._/-]{1,100}))?$`).exec(text);
  if (!match?.[1] || match[2]?.split("/").includes("..")) return undefined;
  return { name: match[1], revision: match[2] ?? "main" };
}

/** Folder of the model's files in the local cache; undefined when it is not there. Uses no network. */
export async function findInCache({ name, revision }: HubModel): Promise<string | undefined> {
  const { getHFHubCachePath, getRepoFolderName } = await import("@huggingface/hub");
  const repository = join(getHFHubCachePath(), getRepoFolderName({ type: "model", name }));
  // A branch or a tag is a file with the commit in it; a commit is its own name.
  const reference = await readText(join(repository, "refs", revision)).catch(() => revision);
  const snapshot = join(repository, "snapshots", reference.trim());
  const found = await stat(snapshot).catch(() => undefined);
  return found?.isDirectory() ? snapshot : undefined;
}
