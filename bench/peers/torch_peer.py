"""transformers in fp32, bitsandbytes LLM.int8() and torchao int8 on the CPU, by the same loop.

Usage: python torch_peer.py KIND JOB.json MODEL_DIR; KIND is fp32, bitsandbytes or torchao.
Prints one JSON document (SpeedJob and Speed of ts/bench/speed.ts).
MODEL_DIR holds the demo model's weights, written by prepare.py.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, DynamicCache


def load(kind: str, folder: str):
    if kind == "bitsandbytes":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=6.0)
        return AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=config, dtype=torch.float32, device_map="cpu"
        )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if kind == "torchao":
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return model


def prefill(model, job: dict) -> float:
    ids = torch.tensor([job["prefill"]])
    start = time.perf_counter()
    model(input_ids=ids, use_cache=True, past_key_values=DynamicCache(), logits_to_keep=1)
    return ids.shape[1] / (time.perf_counter() - start)


def decode(model, prompts: list[list[int]], tokens: int) -> float:
    """Greedy, all rows in step; the clock starts when every row has its first token."""
    cache = DynamicCache()
    out = model(input_ids=torch.tensor(prompts), use_cache=True, past_key_values=cache, logits_to_keep=1)
    ids = out.logits[:, -1].argmax(-1, keepdim=True)
    start = time.perf_counter()
    for _ in range(tokens - 1):
        out = model(input_ids=ids, use_cache=True, past_key_values=cache, logits_to_keep=1)
        ids = out.logits[:, -1].argmax(-1, keepdim=True)
    return len(prompts) * (tokens - 1) / (time.perf_counter() - start)


def main() -> None:
    kind, job_file, folder = sys.argv[1:4]
    with open(job_file) as file:
        job = json.load(file)
    torch.set_num_threads(job["threads"])
    with torch.inference_mode():
        model = load(kind, folder).eval()
        repeats = range(job["repeats"])
        result = {
            "prefill": [prefill(model, job) for _ in repeats],
            "decode": {
                str(len(d["prompts"])): [decode(model, d["prompts"], d["tokens"]) for _ in repeats]
                for d in job["decode"]
            },
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
