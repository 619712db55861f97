"""How far attention in integers is from float32 attention: KL divergence of a model's logits, by the type of KV pages.

usage: kv_error.py [--model FOLDER_OR_GGUF] [--text FILE] [--window N] [--windows N] [--gains 1,10,40] [--kv int16,int8]

The model runs in transformers in float32, once with its own attention and once for each type with Octavo's ops `append`
and `attention` of the cpu backend in its place; nothing else differs. `--gains`: in each layer and kv head, one channel
of k (and the one that rope turns it with) is multiplied by the gain, and those of q are divided by it. The function is
the same, and keys have an outlier channel, as those of many models have. Prints a table: mean and largest KL of a token
in nats, and the share of tokens for which the likeliest next token is the same; pages of float32 are what rounding of
the planted weights does. docs/numerics.md has the numbers.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys

import numpy as np
import torch
from eval_oracle import DEFAULT_TEXT, load, locate
from transformers import AttentionInterface, AttentionMaskInterface, AutoTokenizer
from transformers.masking_utils import sdpa_mask

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "kernels"))
from octavo_kernels import open_backend
from octavo_kernels.generated.ops import PAGE_SIZE
from proofs.conformance.case import Case, run_case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--text", default=DEFAULT_TEXT)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--gains", default="1,10,40")
    parser.add_argument("--kv", default="int16,int8")
    options = parser.parse_args()

    folder, arguments = locate(options.model)
    tokenizer = AutoTokenizer.from_pretrained(folder, **arguments)
    model = load(folder, arguments.get("gguf_file")).eval()
    with open(options.text, encoding="utf-8") as file:
        ids = tokenizer(file.read(), add_special_tokens=False)["input_ids"][: options.window * options.windows]
    windows = torch.tensor(ids).split(options.window)
    expected = [log_probabilities(model, window) for window in windows]
    print("| K's outlier channel | pages | mean KL | largest | same first choice |\n|---|---|---|---|---|")
    for gain in map(float, options.gains.split(",")):
        planted = copy.deepcopy(model)
        plant(planted, gain)
        for kv in ["float32", *options.kv.split(",")]:
            attend_with(planted, kv)
            found = [
                compare(e, log_probabilities(planted, window)) for e, window in zip(expected, windows, strict=True)
            ]
            kl, same = (torch.cat(parts) for parts in zip(*found, strict=True))
            print(f"| {gain:g} | {kv} | {kl.mean():.2e} | {kl.max():.1e} | {same.double().mean():.4f} |", flush=True)
    return 0


@torch.no_grad()
def log_probabilities(model: torch.nn.Module, window: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(model(window[None], use_cache=False).logits[0].double(), -1)


def compare(expected: torch.Tensor, found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each token: KL, and whether the first choice is the same."""
    kl = (expected.exp() * (expected - found)).sum(-1)
    return kl, expected.argmax(-1) == found.argmax(-1)


@torch.no_grad()
def plant(model: torch.nn.Module, gain: float) -> None:
    """In place; another channel in every layer, one of those that are turned least."""
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rng = np.random.default_rng(0)
    for layer in model.get_submodule("model.layers").children():
        channel = int(rng.integers(size // 4, size // 2))
        for name, factor in (("q_proj", 1 / gain), ("k_proj", gain)):
            projection = layer.get_submodule(f"self_attn.{name}")
            for parameter in projection.parameters():  # weight, and bias where there is one
                heads = parameter.view(-1, size, *parameter.shape[1:])
                heads[:, [channel, channel + size // 2]] *= factor


def attend_with(model: torch.nn.Module, kv: str) -> None:
    if kv == "float32":
        model.set_attn_implementation("sdpa")
        return
    backend = open_backend("cpu", len(os.sched_getaffinity(0)))

    def attention(module, query, key, value, attention_mask, scaling: float, **_):
        y = octavo_attention(backend, kv, query[0], key[0], value[0], scaling)
        return y[None], None

    AttentionInterface.register(f"octavo_{kv}", attention)
    AttentionMaskInterface.register(f"octavo_{kv}", sdpa_mask)
    model.set_attn_implementation(f"octavo_{kv}")


def octavo_attention(backend, kv: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """float32 [heads, T, headDim] of q, of k and v -> [T, heads, headDim]; causal."""
    (heads, length, size), kv_heads = q.shape, k.shape[0]
    pages = -(-length // PAGE_SIZE)
    rows = {"q": q, "k": k, "v": v}
    rows = {name: np.ascontiguousarray(x.transpose(0, 1).reshape(length, -1).numpy()) for name, x in rows.items()}
    cache = {
        "keys": np.zeros((pages, kv_heads, PAGE_SIZE * size), kv),
        "values": np.zeros((pages, kv_heads, PAGE_SIZE * size), kv),
        "steps": np.zeros((pages, kv_heads, 2 * PAGE_SIZE), np.float32),
    }
    shape = {"kvHeads": kv_heads, "headDim": size}
    q = rows.pop("q")
    slots = np.arange(length, dtype=np.int32)
    cache |= run(backend, "append", {**rows, "slots": slots, **cache}, {}, shape)
    table = {
        "pages": np.arange(pages, dtype=np.int32)[None],
        "lengths": np.array([length], np.int32),
        "starts": np.array([0, length], np.int32),
    }
    wanted = {"y": ("float32", (length, heads * size))}
    attributes = {**shape, "heads": heads, "scale": scale, "causal": True, "window": 0, "softcap": 0.0}
    y = run(backend, "attention", {"q": q, **cache, **table}, wanted, attributes)["y"]
    return torch.from_numpy(y).reshape(length, heads, size)


def run(backend, op: str, inputs: dict, outputs: dict, attributes: dict) -> dict[str, np.ndarray]:
    dtypes = {name: str(array.dtype) for name, array in inputs.items()}
    return run_case(backend, Case(op, op, inputs, dtypes, outputs, attributes)).arrays


if __name__ == "__main__":
    sys.exit(main())
