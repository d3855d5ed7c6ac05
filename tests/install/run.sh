#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh BUILD-FOLDER CC [CXX]: installs the build to a scratch prefix, moves that prefix, and there builds and runs a client
# in C and in C++, with the shared and the static library, by pkg-config and by find_package. Without a C++ compiler, C only.
set -euo pipefail
build=$1 cc=$2 cxx=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
[[ ${TMPDIR:-} != *[[:space:]]* ]] || export TMPDIR=/tmp # what pkg-config answers is split at blanks
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log

# What is said on failure: the command and what it printed.
run() {
    if ! "$@" >"$log" 2>&1; then
        printf 'failed: %s\n' "$*"
        cat "$log"
        exit 1
    fi
}

# expect TEXT PROGRAM...: it exits 0 and prints exactly that.
expect() {
    local text=$1
    shift
    run "$@"
    if [ "$(cat "$log")" != "$text" ]; then
        printf 'wrong output of %s: %s\n' "$*" "$(cat "$log")"
        exit 1
    fi
    printf 'ok: %s\n' "$(basename "${@: -1}")"
}

run cmake --install "$build" --prefix "$scratch/installed"
prefix=$scratch/moved
mv "$scratch/installed" "$prefix"

pkgconfig=$(dirname "$(find "$prefix" -name weft.pc)")
export PKG_CONFIG_PATH=$pkgconfig
libdir=$(pkg-config --variable=libdir weft)
export LD_LIBRARY_PATH=$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
[ "$(realpath "$(pkg-config --variable=prefix weft)")" = "$(realpath "$prefix")" ] || {
    echo 'weft.pc does not follow its prefix'
    exit 1
}
[ "$(pkg-config --libs-only-l weft | tr -d ' ')" = -lweft ] || {
    echo "pkg-config --libs weft asks for more than weft: $(pkg-config --libs weft)"
    exit 1
}

read -ra flags < <(pkg-config --cflags weft)
read -ra shared < <(pkg-config --libs weft)
read -ra static < <(pkg-config --static --libs weft | sed 's/-lweft/-l:libweft.a/')
strict=(-Wall -Wextra -Wpedantic -Wconversion -Werror -O2)
# g++ counts the fields that a named initialiser leaves out as forgotten.
strict_cxx=("${strict[@]}" -Wno-missing-field-initializers)

c_says='answer 42'
cxx_says='answer 42, caught -1'
run "$cc" -std=c17 "${strict[@]}" "${flags[@]}" "$here/consumer.c" -o "$scratch/pkg-config-c-shared" "${shared[@]}"
expect "$c_says" "$scratch/pkg-config-c-shared"
run "$cc" -std=c17 "${strict[@]}" "${flags[@]}" "$here/consumer.c" -o "$scratch/pkg-config-c-static" "${static[@]}"
expect "$c_says" env -u LD_LIBRARY_PATH "$scratch/pkg-config-c-static"
if [ -f "$pkgconfig/weft-testing.pc" ]; then
    for name in weft-testing weft_testing; do
        read -ra testing < <(pkg-config --cflags --libs "$name")
        run "$cc" -std=c17 "${strict[@]}" "$here/testing.c" -o "$scratch/pkg-config-$name" "${testing[@]}"
        expect swept "$scratch/pkg-config-$name"
    done
fi
run "$cc" -std=c17 "${strict[@]}" -DWEFT_NO_TESTING "${flags[@]}" "$here/testing.c" -o "$scratch/pkg-config-plain" "${shared[@]}"
expect swept "$scratch/pkg-config-plain"
if [ -f "$pkgconfig/weft_bench.pc" ]; then
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$here/../../docs/benchmarking.md" >"$scratch/page.c"
    run "$cc" -std=c17 "${strict[@]}" -c "$scratch/page.c" -o "$scratch/page.o" -I"$prefix/include"
    [ "$(pkg-config --libs weft-bench)" = "$(pkg-config --libs weft_bench)" ]
    read -ra bench < <(pkg-config --cflags --libs weft-bench)
    run "$cc" -std=c17 "${strict[@]}" "$here/bench.c" -o "$scratch/pkg-config-bench" "${bench[@]}"
    expect 'measured, and failed as it should' "$scratch/pkg-config-bench" "$scratch/report"
    [ -s "$scratch/report.html" ]
fi
[ -n "$cxx" ] || exit 0
for standard in 17 20; do
    program=$scratch/pkg-config-c++$standard
    run "$cxx" -std=c++$standard "${strict_cxx[@]}" "${flags[@]}" "$here/consumer.cpp" -o "$program-shared" "${shared[@]}"
    expect "$cxx_says" "$program-shared"
    run "$cxx" -std=c++$standard "${strict_cxx[@]}" "${flags[@]}" "$here/consumer.cpp" -o "$program-static" "${static[@]}"
    expect "$cxx_says" env -u LD_LIBRARY_PATH "$program-static"
done

mkdir "$scratch/project"
cp "$here/bench.c" "$here/testing.c" "$here/consumer.c" "$here/consumer.cpp" "$scratch/project/"
cp "$here/consumer.cmake" "$scratch/project/CMakeLists.txt"
unset PKG_CONFIG_PATH LD_LIBRARY_PATH
run cmake -S "$scratch/project" -B "$scratch/project/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_CXX_COMPILER="$cxx"
run cmake --build "$scratch/project/build"
for kind in weft weft_static; do
    expect "$c_says" "$scratch/project/build/c_$kind"
    expect "$cxx_says" "$scratch/project/build/cxx_$kind"
done
for program in c_testing c_weft_testing c_plain; do
    if [ -x "$scratch/project/build/$program" ]; then expect swept "$scratch/project/build/$program"; fi
done
if [ -x "$scratch/project/build/c_bench" ]; then
    expect 'measured, and failed as it should' "$scratch/project/build/c_bench" "$scratch/report"
fi
