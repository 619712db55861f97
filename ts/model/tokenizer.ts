export { StreamDecoder } from "./tokenizer/stream-decoder.ts";
export { type DecodeOptions, type EncodeOptions, Tokenizer } from "./tokenizer/tokenizer.ts";
