"""LLM.int8() in a transformers model, and what it changes. In the repository, after `make test`:
.venv/bin/python examples/int8_transformers.py MODEL, a folder or a name on the Hugging Face hub."""

import sys

import torch
from octavo_kernels.nn import replace_linears
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
text = tokenizer("The sky is blue because the air scatters", return_tensors="pt")
with torch.no_grad():
    before = model(**text).logits.log_softmax(-1)
    print(replace_linears(model))
    after = model(**text).logits.log_softmax(-1)
    print(f"KL per token: {(before.exp() * (before - after)).sum(-1).mean():.5f} nats")
    print(tokenizer.decode(model.generate(**text, max_new_tokens=24, do_sample=False)[0]))
