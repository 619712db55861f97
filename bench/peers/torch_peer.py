"""transformers in fp32, bitsandbytes LLM.int8() and torchao int8 on the CPU, by the same loop.

Usage: python torch_peer.py JOB.json MODEL_DIR KIND; KIND is fp32, bitsandbytes or torchao; see job.py.
MODEL_DIR holds the model's weights, written by prepare.py.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import torch
from job import read_job, run
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, DynamicCache

PACKAGES = {"fp32": "transformers", "bitsandbytes": "bitsandbytes", "torchao": "torchao"}


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


def main() -> None:
    job_file, folder, kind = sys.argv[1:4]
    job = read_job(job_file)
    torch.set_num_threads(job["threads"])
    with torch.inference_mode():
        model = load(kind, folder).eval()

        def steps(prompts: list[list[int]], limit: int):
            cache = DynamicCache()
            ids = torch.tensor(prompts)
            for _ in range(limit):
                out = model(input_ids=ids, use_cache=True, past_key_values=cache, logits_to_keep=1)
                ids = out.logits[:, -1].argmax(-1, keepdim=True)
                yield list(enumerate(ids[:, 0].tolist()))

        run(job, version(PACKAGES[kind]), steps)


if __name__ == "__main__":
    main()
