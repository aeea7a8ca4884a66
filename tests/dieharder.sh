#!/usr/bin/env bash
# Those tests of dieharder (Debian's package) that are quick, on one generator: tests/dieharder.sh ars
#
# Each test reads a stream of its own, so the same version of dieharder gives the same p-values every time. It calls a
# p-value FAILED if it lies within 1e-6 of 0 or 1, WEAK within 0.005: of good words one in a hundred is WEAK, and one in
# half a million FAILED. So this script fails on FAILED alone, and if a p-value is missing.
set -euo pipefail
bit_generator=$1
results=$(
  # Diehard's tests, monobit and runs, serial; then those that need the length of a tuple. 14 is marked "do not use", 5-7
  # "suspect" by dieharder itself; 2, 3, 13, 17 and 205-209 take long.
  for test in 0 1 4 8 9 10 11 12 15 16 100 101 102 "200 -n 1" "200 -n 3" "201 -n 2" "202 -n 4" "203 -n 0" 204; do
    # shellcheck disable=SC2086
    python -m fastinit bits --bit-generator "$bit_generator" --seed 1 --stream "dieharder $test" | dieharder -g 200 -p 100 -d $test
  done | grep -E "PASSED|WEAK|FAILED"
)
echo "$results" | grep -E "WEAK|FAILED" || true
count() { echo "$results" | grep -c "$1" || true; }
echo "$bit_generator: $(count PASSED) passed, $(count WEAK) weak (of $(count .), one in a hundred is expected), $(count FAILED) failed"
[ "$(count FAILED)" = 0 ] && [ "$(count .)" = 50 ]
