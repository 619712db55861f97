"""The example that readers copy runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

EXAMPLE = Path(__file__).parents[3] / "examples" / "int8_transformers.py"


def test_the_example_quantises_a_model_and_compares_its_output(tmp_path: Path):
    words = {word: index for index, word in enumerate(["?", "The", "sky", "is", "blue", "because", "the", "air"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?").save_pretrained(tmp_path)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes)).save_pretrained(tmp_path)
    command = [sys.executable, str(EXAMPLE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "7 linear layers in int8" in done.stdout and "kept lm_head" in done.stdout
    divergence = done.stdout.split("KL per token: ")[1].split()[0]
    assert 0 <= float(divergence) < 0.01
