"""Putting Int8Linear in the place of a model's linear layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..errors import ErrorCode, KernelError
from .module import Int8Linear
from .threshold import Threshold, check_mode


@dataclass(frozen=True)
class Replaced:
    """A layer that became int8: its name, and the bytes of its parameters and buffers before and after."""

    name: str
    in_features: int
    out_features: int
    bytes_before: int
    bytes_after: int


@dataclass
class Report:
    """What `replace_linears` did: `kept` has the reason for each linear layer that stayed as it was."""

    replaced: list[Replaced] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def bytes_saved(self) -> int:
        """Of parameters and buffers."""
        return sum(layer.bytes_before - layer.bytes_after for layer in self.replaced)

    def __str__(self) -> str:
        before, after = (
            sum(getattr(layer, f"bytes_{when}") for layer in self.replaced) for when in ("before", "after")
        )
        text = f"{len(self.replaced)} linear layers in int8: {_megabytes(before)} became {_megabytes(after)}"
        return "\n".join([text, *(f"kept {name}: {reason}" for name, reason in self.kept.items())])


def replace_linears(
    model: nn.Module, *, threshold: Threshold = "adaptive", mode: str = "exact", skip: Collection[str] = ("lm_head",)
) -> Report:
    """Quantise the linear layers inside `model`, one after the other, each where it lies, and put them in their places.

    `skip` has names of layers or of blocks of them to keep: `"lm_head"` is any module of this name,
    `"model.layers.0"` everything in it. Kept too: the output layer (`get_output_embeddings`), layers that share their
    weight with another module, as bitsandbytes keeps them, and subclasses of nn.Linear, which mean something else by
    it. transformers' Conv1D (GPT-2) is a linear layer with a transposed weight, and replaced as well.
    Raises KernelError OCTAVO_BAD_ARGUMENT before any layer is replaced, except for a weight with NaN or Inf.
    """
    check_mode(mode, threshold)
    if isinstance(model, nn.Linear):
        text = "the model is a linear layer itself, which cannot be replaced in place: use Int8Linear.from_linear"
        raise KernelError(ErrorCode.BAD_ARGUMENT, text)
    report = Report()
    output, shared = _output_layer(model), _shared(model)
    for places in _linear_places(model):
        layer: Any = places[0].layer
        reason = next(filter(None, (_reason_to_keep(place, skip, output, shared) for place in places)), None)
        if reason:
            report.kept[places[0].name] = reason
            continue
        weight = layer.weight.T if _is_conv1d(layer) else layer.weight
        new = Int8Linear.from_weight(weight, layer.bias, threshold=threshold, mode=mode).train(layer.training)
        for place in places:
            setattr(place.parent, place.attribute, new)
        sizes = (new.in_features, new.out_features, _bytes(layer), _bytes(new))
        report.replaced.append(Replaced(places[0].name, *sizes))
    return report


@dataclass(frozen=True)
class _Place:
    """Where a layer hangs. It is asked for when its turn comes: a list of layers would keep old weights alive."""

    name: str
    parent: nn.Module
    attribute: str

    @property
    def layer(self) -> nn.Module:
        return getattr(self.parent, self.attribute)


def _linear_places(model: nn.Module) -> list[list[_Place]]:
    """All places of each linear layer: a layer that a model uses in two places stays one layer."""
    found: dict[int, list[_Place]] = {}
    for parent_name, parent in model.named_modules():
        for attribute, layer in parent._modules.items():
            if isinstance(layer, nn.Linear) or _is_conv1d(layer):
                name = f"{parent_name}.{attribute}" if parent_name else attribute
                found.setdefault(id(layer), []).append(_Place(name, parent, attribute))
    return list(found.values())


def _reason_to_keep(place: _Place, skip: Collection[str], output: nn.Module | None, shared: set[int]) -> str | None:
    layer: Any = place.layer
    if any(f".{name}." in f".{place.name}." for name in skip):
        return "skipped by name"
    if layer is output:
        return "the output layer"
    if id(layer.weight) in shared:
        return "its weight is another module's too"
    if type(layer) is not nn.Linear and not _is_conv1d(layer):
        return f"a {type(layer).__name__}, not a plain Linear"
    if isinstance(place.parent, nn.TransformerEncoderLayer):
        return "torch.nn.TransformerEncoderLayer reads the weights of its layers itself"
    return None


def _output_layer(model: nn.Module) -> nn.Module | None:
    """What a transformers model calls its output embeddings."""
    ask: Any = getattr(model, "get_output_embeddings", None)
    found = ask() if callable(ask) else None
    return found if isinstance(found, nn.Module) else None


def _shared(model: nn.Module) -> set[int]:
    """Ids of the parameters that several modules have."""
    owners = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
    return {parameter for parameter, count in owners.items() if count > 1}


def _is_conv1d(layer: nn.Module | None) -> bool:
    """transformers' linear layer of GPT-2, its weight [in, out]; named, for transformers need not be installed."""
    return (type(layer).__module__, type(layer).__name__) == ("transformers.pytorch_utils", "Conv1D")


def _bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
