#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each public header compiles alone, in strict C17 and in C++17, and every macro of them in strict C17 and in C++20
# (macros.c), with every compiler that is here.
. "$(dirname "$0")/lib.sh"

strict=(-Wall -Wextra -Wpedantic -Wconversion -Wundef -Werror -fsyntax-only -Iinclude)
compilers=0

# macros COMPILER LANGUAGE FLAGS...
macros() {
    local compiler=$1 language=$2
    shift 2
    command -v "$compiler" >/dev/null 2>&1 && [ -f tests/lint/macros.c ] || return 0
    if ! out=$("$compiler" -x "$language" "$@" "${strict[@]}" tests/lint/macros.c 2>&1); then
        finding "tests/lint/macros.c: does not compile with $compiler $1"
        printf '%s\n' "$out" | head -n 20
    fi
}

# try COMPILER LANGUAGE FLAGS...
try() {
    local compiler=$1 language=$2 header
    shift 2
    command -v "$compiler" >/dev/null 2>&1 || return 0
    compilers=$((compilers + 1))
    for header in include/weft.h include/weft/*.h; do
        if ! out=$(printf '#include <%s>\nextern int not_empty_;\n' "${header#include/}" |
            "$compiler" -x "$language" "$@" "${strict[@]}" - 2>&1); then
            finding "$header: does not compile alone with $compiler $1"
            printf '%s\n' "$out" | head -n 20
        fi
    done
}

for compiler in gcc clang; do
    try "$compiler" c -std=c17 -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes
    macros "$compiler" c -std=c17 -Wshadow
done
for compiler in g++ clang++; do
    try "$compiler" c++ -std=c++17
    # In C++ the function of a coroutine hides the struct's constructor, and fields left out are counted as forgotten.
    macros "$compiler" c++ -std=c++20 -Wno-missing-field-initializers
done
[ "$compilers" -ne 0 ] || finding 'no compiler found'
finish
