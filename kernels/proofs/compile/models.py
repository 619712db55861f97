"""The models at whose sizes kernels are compiled and counted: their published configurations, in `proofs/models`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..programs.folder import MODELS as FOLDER


@dataclass(frozen=True)
class Model:
    """Sizes in elements. Its program is exported under the same name."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    @property
    def qkv(self) -> int:
        """Columns of the stacked projections of q, k and v."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


def _model(name: str) -> Model:
    config = json.loads((FOLDER / f"{name}.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    sizes = [config[key] for key in ("num_key_value_heads", "vocab_size")]
    head_dim = config.get("head_dim", hidden // heads)
    layers, intermediate = config["num_hidden_layers"], config["intermediate_size"]
    return Model(name, layers, hidden, intermediate, heads, sizes[0], head_dim, sizes[1])


MODELS = tuple(_model(one.stem) for one in sorted(FOLDER.glob("*.json")))
LLAMA_8B, LLAMA_70B, SMOLLM2 = (_model(name) for name in ("Llama-3-8B", "Llama-3-70B", "SmolLM2-135M"))
