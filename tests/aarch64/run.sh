#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh SOURCE-FOLDER: the aarch64 context switch, compiled by a cross compiler and run by an emulator. 77: tools missing.
set -euo pipefail
source=$1
compiler=${AARCH64_CC:-aarch64-linux-gnu-gcc}
emulator=
for candidate in ${AARCH64_RUN:-qemu-aarch64 qemu-aarch64-static}; do
    if command -v "$candidate" >/dev/null; then
        emulator=$candidate
        break
    fi
done
if [ "$(uname -m)" = aarch64 ]; then
    compiler=${AARCH64_CC:-cc} emulator=env
fi
if ! command -v "$compiler" >/dev/null || [ -z "$emulator" ]; then
    echo "needs $compiler and qemu-aarch64"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for optimize in -O0 -O2 '-O2 -fPIC -mbranch-protection=standard'; do
    # shellcheck disable=SC2086 # several options
    "$compiler" -std=gnu17 $optimize -static -Wall -Wextra -Werror -DWEFT_NO_VALGRIND -I"$source" -I"$source/include" \
        "$source/tests/aarch64/context.c" "$source/executor/context.c" "$source/executor/context_aarch64.S" \
        -o "$scratch/context"
    echo "context, $optimize:"
    timeout 60 "$emulator" "$scratch/context"
done
