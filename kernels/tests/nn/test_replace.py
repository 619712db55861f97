"""replace_linears: what becomes int8 in a model, and what must not."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalSubscript=false

from __future__ import annotations

import pytest
import torch
from octavo_kernels import KernelError
from octavo_kernels.nn import Int8Linear, replace_linears
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM


def llama(**options) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "vocab_size": 300}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, **options)).eval()


def names(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, Int8Linear)}


@pytest.mark.parametrize("tied", [False, True])
def test_a_transformers_model_keeps_its_head_and_its_embeddings(tied: bool):
    """The layers that decide the next token stay as they are, as bitsandbytes has it; tied ones are the embeddings."""
    model = llama(tie_word_embeddings=tied)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        expected = model(ids).logits
        report = replace_linears(model)
        got = model(ids).logits
    assert len(report.replaced) == 2 * 7 and names(model) == {layer.name for layer in report.replaced}
    assert report.kept == {"lm_head": "skipped by name"}
    assert type(model.lm_head) is nn.Linear
    if tied:
        assert model.lm_head.weight is model.model.embed_tokens.weight
    assert (got - expected).abs().mean() < 0.02 * expected.abs().mean()
    assert "14 linear layers in int8" in str(report) and report.bytes_saved > 0


def test_the_head_is_kept_by_what_it_is_when_nothing_is_skipped_by_name():
    for tied in (False, True):
        report = replace_linears(llama(tie_word_embeddings=tied), skip=())
        assert report.kept == {"lm_head": "the output layer"}


def test_layers_that_share_a_weight_are_kept():
    """Quantised apart they would drift apart, and the memory would grow."""
    model = nn.ModuleDict({"embedding": nn.Embedding(30, 16), "first": nn.Linear(16, 16), "last": nn.Linear(16, 30)})
    model["last"].weight = model["embedding"].weight
    report = replace_linears(model)
    assert [layer.name for layer in report.replaced] == ["first"]
    assert report.kept == {"last": "its weight is another module's too"}


def test_a_layer_that_hangs_in_two_places_stays_one_layer():
    shared = nn.Linear(16, 16)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    report = replace_linears(model)
    assert model[0] is model[2] and isinstance(model[0], Int8Linear) and len(report.replaced) == 1


def test_blocks_are_skipped_by_name():
    model = llama()
    report = replace_linears(model, skip=("lm_head", "model.layers.0", "down_proj"))
    assert names(model) == {layer.name for layer in report.replaced}
    assert len(names(model)) == 6 and not any(".layers.0." in name or "down" in name for name in names(model))
    assert sum(reason == "skipped by name" for reason in report.kept.values()) == 1 + 7 + 1


def test_gpt2_is_quantised_along_its_outputs():
    """Its Conv1D holds the weight transposed: quantised as it lies, scales would belong to inputs."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=300, n_positions=32)).eval()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        expected = model(ids).logits
        report = replace_linears(model)
        got = model(ids).logits
    assert len(report.replaced) == 2 * 4
    attention = next(layer for layer in report.replaced if layer.name.endswith("c_attn"))
    assert (attention.in_features, attention.out_features) == (64, 192)
    assert (got - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_layers_whose_weights_another_module_reads_are_kept():
    """nn.MultiheadAttention and nn.TransformerEncoderLayer take .weight of their layers into kernels of their own."""
    model = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    x = torch.randn(2, 5, 32)
    with torch.no_grad():
        expected = model(x)
        report = replace_linears(model)
        assert torch.equal(model(x), expected)
    assert not report.replaced and len(report.kept) == 3


def test_the_settings_reach_every_layer_and_training_goes_on():
    model = llama().train()
    replace_linears(model, threshold=6.0, mode="published")
    layers = [module for module in model.modules() if isinstance(module, Int8Linear)]
    assert {(layer.threshold, layer.mode, layer.training) for layer in layers} == {(6.0, "published", True)}
    model(torch.arange(6)[None], labels=torch.arange(6)[None]).loss.backward()
    assert model.model.embed_tokens.weight.grad.abs().sum() > 0


def test_a_replaced_model_is_saved_and_loaded(tmp_path):
    """By state dict, into a model that was built without memory and replaced there."""
    model = llama()
    replace_linears(model)
    torch.save(model.state_dict(), tmp_path / "model")
    with torch.device("meta"):
        again = llama()
    replace_linears(again)
    again.load_state_dict(torch.load(tmp_path / "model"), assign=True)
    again.model.rotary_emb = model.model.rotary_emb  # its buffers are not saved
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)


def test_wrong_settings_and_models_are_refused_before_anything_is_replaced():
    model = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(KernelError, match="threshold"):
        replace_linears(model, threshold=-1)
    with pytest.raises(KernelError, match="from_linear"):
        replace_linears(nn.Linear(8, 8))
    assert not names(model)
