"""The oracle of the families: logits of model folders by transformers in float32, for ids given on the command line.

usage: transformers_logits.py ID,ID,... FOLDER...      writes float32 [ids, vocabulary] to FOLDER/logits.bin

K and V are rounded to float16 as Octavo's pages keep them, so that what remains is the order of float32 sums.
"""

from __future__ import annotations

import os
import sys

import torch
from transformers import AutoModelForCausalLM, DynamicCache


class HalfCache(DynamicCache):
    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        return super().update(key_states.half().float(), value_states.half().float(), layer_idx, *args, **kwargs)


def write_logits(folder: str, tokens: torch.Tensor) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        # Without the config the cache keeps every key, and a window is the mask's work alone.
        logits = model(tokens, past_key_values=HalfCache(), use_cache=True).logits
    with open(os.path.join(folder, "logits.bin"), "wb") as file:
        file.write(logits[0].float().numpy().tobytes())


if __name__ == "__main__":
    ids = torch.tensor([[int(word) for word in sys.argv[1].split(",")]])
    for path in sys.argv[2:]:
        write_logits(path, ids)
