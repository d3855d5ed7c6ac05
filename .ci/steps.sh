# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by run and nightly: steps, each one line with its time; a failed step shows the end of its log and the run goes
# on. Logs are in build/ci/.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
mkdir -p build/ci
passed=0
failed=0
started=$SECONDS

# step NAME SECONDS COMMAND...: the command may take that long. Fails when the command does, so that what needs it can be
# left out: step 'build' ... && step 'test' ...
step() {
    local name=$1 limit=$2 status=0 begun=$SECONDS
    shift 2
    local log=build/ci/${name//[^A-Za-z0-9]/-}.log
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'ok      %4d s  %s\n' $((SECONDS - begun)) "$name"
    elif [ "$status" -eq 77 ]; then
        printf 'skipped %4d s  %s (%s)\n' $((SECONDS - begun)) "$name" "$(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        printf 'FAILED  %4d s  %s (exit code %d, %s)\n' $((SECONDS - begun)) "$name" "$status" "$log"
        tail -n 30 "$log" | sed 's/^/        | /'
        return 1
    fi
}

# build PRESET: configured anew and built; warnings are errors in every preset.
build() {
    cmake --preset "$1" && cmake --build --preset "$1"
}
export -f build

summary() {
    printf 'total   %4d s\n' $((SECONDS - started))
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
