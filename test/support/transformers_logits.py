"""The oracle of the families: logits of model folders by transformers in float32, for ids given on the command line.

usage: transformers_logits.py ID,ID,... FOLDER...      writes float32 [ids, vocabulary] to FOLDER/logits.bin

Attention is that of the integers that Octavo multiplies, so that what remains is the order of float32 sums.
"""

from __future__ import annotations

import math
import os
import sys

import torch
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM
from transformers.masking_utils import eager_mask


def integers(x: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row as integers up to `most`, and its step."""
    largest = x.abs().amax(-1, keepdim=True)
    return torch.round(x * (most / largest)), largest / most


def attention(module, query, key, value, attention_mask, scaling: float, **_):
    """In float, of the integers of docs/numerics.md; up to 128 keys, which are one block there."""
    groups = module.num_key_value_groups
    (q, q_step), (k, k_step), (v, v_step) = integers(query, 8191), integers(key, 4095), integers(value, 2047)
    k, k_step, v, v_step = (x.repeat_interleave(groups, 1) for x in (k, k_step, v, v_step))
    scores = (q @ k.mT) * k_step.mT * q_step * (scaling / math.log(2)) + attention_mask[..., : k.shape[-2]]
    p = torch.exp2(scores - scores.amax(-1, keepdim=True).ceil())
    weights = p * v_step.mT
    unit = torch.exp2(weights.amax(-1, keepdim=True).log2().ceil() - 13)
    total = torch.round(p * 2**16).sum(-1, keepdim=True) / 2**16
    y = (torch.round(weights / unit) @ v) * unit / total
    return y.transpose(1, 2).contiguous(), None


def write_logits(folder: str, tokens: torch.Tensor) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="integers").eval()
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
    with open(os.path.join(folder, "logits.bin"), "wb") as file:
        file.write(logits[0].float().numpy().tobytes())


if __name__ == "__main__":
    AttentionInterface.register("integers", attention)
    AttentionMaskInterface.register("integers", eager_mask)
    ids = torch.tensor([[int(word) for word in sys.argv[1].split(",")]])
    for path in sys.argv[2:]:
        write_logits(path, ids)
