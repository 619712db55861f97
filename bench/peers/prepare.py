"""Writes a form of a model that a peer needs from a GGUF file. All hold the same weights: the file's, dequantised.

Usage: python prepare.py MODEL.gguf OUT FORM
FORM: `q8_0` or `q4_0`, a GGUF file; `transformers`, a folder of fp32 safetensors; `w8a8`, a folder of int8 safetensors
as compressed-tensors stores them, for which MODEL is the folder that `transformers` wrote.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

FILE_TYPES = {
    gguf.GGMLQuantizationType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    gguf.GGMLQuantizationType.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
}


def write_gguf(source: Path, target: Path, kind: gguf.GGMLQuantizationType) -> None:
    """The same tensors and metadata; every matrix as `kind`, vectors as F32."""
    reader = gguf.GGUFReader(source)
    architecture = reader.get_field("general.architecture").contents()
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        if field.name == "general.file_type":
            writer.add_file_type(FILE_TYPES[kind])
            continue
        type_ = field.types[0]
        sub = field.types[-1] if type_ == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), type_, sub)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if len(tensor.shape) > 1:
            writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_folder(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # The weights are plain fp32 by now; only the mark of their origin keeps transformers from saving them.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def write_w8a8(source: Path, target: Path) -> None:
    """Linears of layers as int8 with a scale per row, inputs to be quantised per token; all else in bfloat16."""
    import torch
    from safetensors.torch import load_file, save_file

    target.mkdir()
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(source.glob("*.safetensors")):
        for name, weight in load_file(file).items():
            if not name.endswith("_proj.weight"):
                tensors[name] = weight.to(torch.bfloat16)
                continue
            scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
            tensors[name] = (weight / scale).round().to(torch.int8)
            tensors[name + "_scale"] = scale
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    integers = {"num_bits": 8, "type": "int", "symmetric": True}
    linears = {
        "targets": ["Linear"],
        "format": "int-quantized",
        "weights": integers | {"strategy": "channel", "dynamic": False},
        "input_activations": integers | {"strategy": "token", "dynamic": True},
    }
    config["dtype"] = "bfloat16"
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": linears},
        "ignore": ["lm_head"],
    }
    (target / "config.json").write_text(json.dumps(config, indent=2))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(source / name, target / name)


def main() -> None:
    source, target, form = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if form == "transformers":
        write_folder(source, target)
    elif form == "w8a8":
        write_w8a8(source, target)
    else:
        write_gguf(source, target, gguf.GGMLQuantizationType[form.upper()])


if __name__ == "__main__":
    main()
