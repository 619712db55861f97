#!/usr/bin/env bash
# The CPU library under sanitizers: every conformance case, and random programs and messages against worker processes.
# `tools/sanitize.sh short` is the part of `make test`: addresses and undefined behaviour, fewer cases.
# Needs GCC's runtimes (libasan, libtsan); without them it says so and does nothing. Leaks are not looked for: Python's are.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
short=${1:-}

if [ "$(uname -s)" != Linux ]; then echo "   sanitizers: on Linux only"; exit 0; fi
runtime() { "${CXX:-g++}" -print-file-name="$1" 2> /dev/null || true; }

# What went before matters only when something is found.
quietly() {
  local log
  log=$(mktemp)
  "$@" > "$log" 2>&1 || { tail -n 120 "$log"; rm -f "$log"; return 1; }
  rm -f "$log"
}

# sanitized NAME RUNTIME every-nth-case fuzz-cases
sanitized() {
  local name=$1 library
  library=$(runtime "$2")
  if [ ! -e "$library" ]; then echo "   sanitizer $name: no $2 here (it comes with GCC), skipped"; return; fi
  export OCTAVO_CPU_SANITIZE=$name
  quietly "$python" -m octavo_kernels.cpu.build
  # The runtimes want the addresses that they expect, and Python must have them before anything else.
  under=(setarch -R env "LD_PRELOAD=$library" PYTHONDONTWRITEBYTECODE=1 PYTHONMALLOC=malloc PYTHONPATH=$PWD/kernels)
  echo "   sanitizer $name: conformance"
  quietly "${under[@]}" "$python" kernels/tests/guarded.py --plain --threads 3 --every "$3"
  echo "   sanitizer $name: fuzz"
  (cd worker/tests && quietly "${under[@]}" "$python" -m fuzz.run --cases "$4")
}

export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:hard_rss_limit_mb=8000
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:report_signal_unsafe=0:ignore_noninstrumented_modules=1
if [ "$short" = short ]; then
  sanitized address libasan.so 12 200
else
  sanitized address libasan.so 1 5000
  sanitized thread libtsan.so 2 1000
fi
