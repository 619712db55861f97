/** Both ends of a program that all families share: ids to rows, and rows to logits, drawn ids or scores. */
import type { ValueId } from "../../program/program.ts";
import type { ModelWriter } from "./blocks.ts";
import { headForm } from "./options.ts";

/** The table [vocabulary, hidden] under its name, and rows of it for the tokens; ids just drawn come from `sampled`. */
export function embedding(m: ModelWriter, name: string, tokens: ValueId, vocabulary: number, hidden: number) {
  const { builder, options } = m;
  const table = m.weight(name, vocabulary, hidden, "float");
  const sampled =
    options.output.type === "sample" ? builder.state("sampled", "io", "int32", [options.rows]) : undefined;
  return { name, table, sampled, x: builder.embed(tokens, table, { sampled, label: "embed" }) };
}
export type Embedding = ReturnType<typeof embedding>;

/** Logits of `last`, and what the program gives of them. `tied`: the config says that the embedding is the head. */
export function finish(
  m: ModelWriter,
  last: ValueId,
  embedded: Embedding,
  { vocabulary, hidden, tied }: { readonly vocabulary: number; readonly hidden: number; readonly tied: boolean },
): void {
  const { builder, options, tensors } = m;
  const { headThreshold, scheme, output, rows } = options;
  const head = headForm(options);
  const own = "lm_head.weight";
  // A head that the files hold is the model's, whatever the config says of tied embeddings: as transformers 5 takes it.
  const shared = tied && !tensors.has(own);
  const form = head === "int8" && scheme === undefined ? "int8" : "float";
  const weight =
    shared && head === "16bit" ? embedded.table : m.weight(own, vocabulary, hidden, form, shared ? embedded.name : own);
  const reference =
    output.type === "score" && output.reference
      ? builder.state("reference", "io", "float32", [rows, vocabulary])
      : undefined;
  const logits = builder.linear(last, weight, {
    threshold: headThreshold,
    scheme: head === "int8" ? scheme : undefined,
    label: "logits",
    ...(output.type === "score" && output.reference === "write" && reference !== undefined ? { into: reference } : {}),
  });
  if (output.type === "score") score(m, logits, output.reference === "read" ? reference : undefined);
  if (output.type === "sample") sample(m, logits, embedded.sampled!, vocabulary);
  if (output.type === "logits" || (output.type === "sample" && output.logits)) builder.output("logits", logits);
}

function score({ builder, options }: ModelWriter, logits: ValueId, reference: ValueId | undefined): void {
  const targets = builder.input("targets", "int32", [options.rows]);
  const judged = builder.call("score", { logits, targets, reference });
  for (const name of ["nll", "kl", "top1"] as const) builder.output(name, judged[name]);
}

function sample({ builder }: ModelWriter, logits: ValueId, sampled: ValueId, vocabulary: number): void {
  const maskWords = Math.ceil(vocabulary / 32);
  const drawn = builder.call(
    "sample",
    {
      logits,
      settings: builder.input("settings", "float32", ["S", 6]),
      counters: builder.input("counters", "int32", ["S", 7]),
      historyStarts: builder.input("historyStarts", "int32", ["S+1"]),
      history: builder.input("history", "int32", ["H"]),
      biasStarts: builder.input("biasStarts", "int32", ["S+1"]),
      biasIds: builder.input("biasIds", "int32", ["D"]),
      biasValues: builder.input("biasValues", "float32", ["D"]),
      masks: builder.input("masks", "int32", ["Q", maskWords]),
      sampled,
    },
    { maskWords },
  );
  for (const name of ["ids", "logprob", "topIds", "topLogprobs"] as const) builder.output(name, drawn[name]);
}
