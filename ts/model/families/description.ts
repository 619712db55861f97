/** What a model is, whatever its family: sizes that plans, limits and reports need. */
export interface ModelDescription {
  readonly family: string;
  /** As transformers names it: "LlamaForCausalLM". */
  readonly architecture: string;
  /** Elements of all tensors in the files. */
  readonly parameters: number;
  readonly layers: number;
  /** Elements of a row between layers. */
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabulary: number;
  /** Positions that the model was trained for. */
  readonly context: number;
  readonly eosTokenIds: readonly number[];
}
