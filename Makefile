# `make demo` and `make test` set up what they need; both are quick when repeated.
.PHONY: help demo test setup lint sanitize bench soak gpu-check kernels-report kernels-programs generate requirements clean
.DEFAULT_GOAL := help

help: ## What there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' Makefile

demo: setup ## Set up, then let a small model answer
	npx octavo run -m smollm2 "Explain in short why the sky is blue."

test: ## Set up with torch, then all checks and tests
	@tools/setup.sh torch test
	@tools/check.sh

setup: ## Set up; TORCH=1 adds torch
	@tools/setup.sh $(if $(TORCH),torch)

lint: ## Checks without tests
	@tools/setup.sh torch test
	@tools/check.sh lint

sanitize: ## The CPU library under ASan, UBSan and TSan, with a fuzz of worker processes
	@tools/setup.sh test
	@tools/sanitize.sh

bench: setup ## Speed against peers; MODEL=qwen2.5-coder-1.5b for a larger one
	npx tsx bench/run.ts $(if $(MODEL),--model $(MODEL))

soak: setup ## Long run with faults
	npx tsx bench/soak.ts

gpu-check: ## Everything on a real GPU
	@tools/setup.sh torch
	@PYTHONPATH=kernels .venv/bin/python -m proofs.gpu_check --json bench/results/gpu-check.json

kernels-report: ## What the Triton kernels would cost on GPUs: tables, and docs/gpu-costs.md
	@tools/setup.sh torch
	@PYTHONPATH=kernels .venv/bin/python -m proofs.costs

kernels-programs: ## The programs that proofs run, as files: for a GPU machine without Node
	@tools/setup.sh test
	@PYTHONPATH=kernels .venv/bin/python -m proofs.programs.folder

generate: ## Write what is generated from protocol/
	npm run --silent generate

UV = .venv/bin/python -m uv pip compile --quiet --generate-hashes --universal --python-version 3.10 --no-emit-index-url --custom-compile-command "make requirements"
requirements: setup ## Pin the Python packages again from requirements/*.in
	cd requirements && for name in worker torch test; do ../$(UV) $$name.in -o $$name.txt || exit 1; done
	cd requirements && for name in model compiler; do ../$(UV) --no-deps $$name.in -o $$name.txt || exit 1; done

clean: ## Remove what setup and builds made
	rm -rf .venv node_modules dist kernels/*.egg-info worker/*.egg-info kernels/octavo_kernels/cpu/build kernels/proofs/build
