"""Writes a model with planted outlier features, whose function is that of the model it was made of.

usage: plant_outliers.py OUTPUT_FOLDER --gain G [--model FOLDER_OR_GGUF] [--channels 6] [--seed 0]

The same few channels of the weight of every norm before linears are multiplied by G, and the columns of the linears
that read them are divided by G: their activations are G times as large, as the outlier features of large models are,
and every product is what it was. Then `octavo eval -m OUTPUT_FOLDER --thresholds 0,6,adaptive,all --scheme
absmax-vector,absmax-vector-decomposed` shows what each way of int8 makes of them: docs/llm-int8.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import torch
from eval_oracle import load, locate
from transformers import AutoTokenizer

#: The norms of a llama layer, and the linears that read each.
READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--gain", type=float, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    folder, arguments = locate(options.model)
    model = load(folder, arguments.get("gguf_file"))
    channels = np.random.default_rng(options.seed).choice(model.config.hidden_size, options.channels, replace=False)
    plant(model, torch.from_numpy(np.sort(channels)), options.gain)
    model.to(torch.float16).save_pretrained(options.output)
    AutoTokenizer.from_pretrained(folder, **arguments).save_pretrained(options.output)
    print(json.dumps({"output": options.output, "gain": options.gain, "channels": sorted(channels.tolist())}))
    return 0


@torch.no_grad()
def plant(model: torch.nn.Module, channels: torch.Tensor, gain: float) -> None:
    """In place. `channels`: indices of the hidden dimension, the same in every layer."""
    for layer in model.get_submodule("model.layers").children():
        for norm, readers in READERS.items():
            layer.get_submodule(norm).weight[channels] *= gain
            for reader in readers:
                layer.get_submodule(reader).weight[:, channels] /= gain


if __name__ == "__main__":
    sys.exit(main())
