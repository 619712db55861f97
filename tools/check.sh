#!/usr/bin/env bash
# Every check and test, each with its time; stops at the first that fails. `tools/check.sh lint` stops before the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1

run() {
  local label=$1 start
  shift
  start=$(date +%s)
  echo "== $label"
  "$@"
  echo "   $label: $(($(date +%s) - start)) s"
}

run "generated files" npm run --silent generate -- --check
run "biome" npx biome check .
run "floors" node tools/floors.mjs
run "knip" npx knip
run "ruff" .venv/bin/python -m ruff check .
run "ruff format" .venv/bin/python -m ruff format --check .
run "import floors" env PYTHONPATH=kernels:worker .venv/bin/python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-cache
run "pyright" .venv/bin/python -m pyright
run "tsc" npm run --silent typecheck
[ "${1:-}" = lint ] && exit 0
run "vitest" npx vitest run
run "kernels for GPUs" env PYTHONPATH=kernels .venv/bin/python -m proofs.compile
run "sanitizers" tools/sanitize.sh short
run "pytest" .venv/bin/python -m pytest -n auto --maxprocesses=4 --dist loadgroup
