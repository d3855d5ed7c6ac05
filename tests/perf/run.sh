#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [--record] [BIN-FOLDER]: the gate on cost. Counts instructions per operation (callgrind: the same on every machine
# and under every load) of weft-bench's spawn_join, fib, yield and ping_pong and of one HTTP request, and compares them with
# expected.txt: more than 5 % above the recorded figure fails, with both figures. --record writes the figures of this
# compiler there instead: to be done in the change that means to change them, with the reason.
#
# Each figure is a difference of two runs that differ only in n, so that starting and ending do not count (a warm-up that
# weft-bench makes with the same n does).
# Exits 77 (skipped) when valgrind, the programs, or figures for the compiler that built them are missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
record=
if [ "${1:-}" = --record ]; then
    record=1
    shift
fi
bin=${1:-$here/../../build/release/bin}
figures=$here/expected.txt
percent=5

scratch=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

skip() {
    echo "skipped: $*"
    exit 77
}
command -v valgrind >/dev/null || skip 'valgrind is not here'
[ -x "$bin/weft-bench" ] || skip "there is no $bin/weft-bench"

# Who compiled the library, from the program itself: "x86_64 GCC: (Debian 12.2.0-14+deb12u1) 12.2.0".
compiler="$(uname -m) $(readelf -p .comment "$bin/weft-bench" | sed -nE 's/^ *\[ *[0-9a-f]+\] +(.*[^ ]) *$/\1/p' | sort -u | head -n 1)"
if [ -z "$record" ] && ! { [ -f "$figures" ] && grep -qF "$compiler | " "$figures"; }; then
    skip "no figures for $compiler: run $0 --record"
fi

# instructions COMMAND...: how many the program executed, all threads.
instructions() {
    valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$@" >"$scratch/stdout" 2>"$scratch/stderr" || {
        echo "failed: $*" >&2
        cat "$scratch/stderr" >&2
        return 1
    }
    awk '/^(summary|totals):/ { print $2; exit }' "$scratch/out"
}

# bench NAME FEW MANY: instructions per operation. How many operations a run has is told by its own CSV line
# (name,n,workers,seconds,ns_per_op,...), as workloads count differently.
bench() {
    local cost=() operations=() n
    for n in "$2" "$3"; do
        cost+=("$(instructions "$bin/weft-bench" run "$1" --n "$n" --workers 1 --repeat 1)")
        operations+=("$(awk -F, -v name="$1" '$1 == name && $5 > 0 { printf "%.0f\n", $4 * 1e9 / $5; exit }' "$scratch/stdout")")
    done
    awk -v few="${cost[0]}" -v many="${cost[1]}" -v a="${operations[0]}" -v b="${operations[1]}" 'BEGIN {
        if (b <= a) exit 1
        printf "%.1f\n", (many - few) / (b - a)
    }'
}

# ask ADDRESS N: N requests one after the other on one connection, each after the whole answer to the one before.
ask() {
    local host=${1%:*} port=${1##*:} left=$2 line length answer
    # By cat, in one piece: bash writes line by line, and the kernel would wait for acknowledgements between them.
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n' >"$scratch/request"
    exec 3<>"/dev/tcp/$host/$port"
    while [ "$left" -gt 0 ]; do
        cat "$scratch/request" >&3
        length=
        while IFS= read -r -t 20 line <&3 && [ "$line" != $'\r' ]; do
            case ${line,,} in content-length:*) length=${line//[^0-9]/} ;; esac
        done
        IFS= read -r -t 20 -N "$length" answer <&3 && [ -n "$answer" ] || return 1
        left=$((left - 1))
    done
    exec 3>&-
}

# serve N: instructions of weft-http for a life with N requests.
serve() {
    local address='' status=0
    : >"$scratch/stdout"
    valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$bin/weft-http" --port 0 --workers 1 \
        >"$scratch/stdout" 2>"$scratch/stderr" &
    server=$!
    for _ in $(seq 300); do
        address=$(sed -n 's/^listening on //p' "$scratch/stdout")
        [ -z "$address" ] || break
        sleep 0.1
    done
    [ -n "$address" ] && ask "$address" "$1" || status=1
    kill -TERM "$server" 2>/dev/null || status=1
    wait "$server" || status=1
    server=
    if [ "$status" -ne 0 ]; then
        echo 'failed: weft-http under callgrind' >&2
        cat "$scratch/stderr" >&2
        return 1
    fi
    awk '/^(summary|totals):/ { print $2; exit }' "$scratch/out" >"$scratch/count"
}

recorded() { # NAME
    [ ! -f "$figures" ] || awk -F' [|] ' -v compiler="$compiler" -v name="$1" '$1 == compiler && $2 == name { print $3 }' "$figures"
}

# The least of some rounds, because every program also looks at its clock while it waits, and on a busy machine waits longer: it can only become
# more by that. Three, or until it is near what is recorded, for which a busy machine has eight.
least() { # NAME COMMAND..., which prints a figure
    local name=$1 least='' was figure round
    shift
    was=$(recorded "$name")
    for round in 1 2 3 4 5 6 7 8; do
        "$@" >"$scratch/figure"
        figure=$(cat "$scratch/figure")
        least=$(awk -v figure="$figure" -v least="$least" 'BEGIN { print least == "" || figure < least + 0 ? figure : least }')
        if [ -n "$record" ] || [ -z "$was" ]; then
            [ "$round" -lt 3 ] || break
        elif awk -v least="$least" -v was="$was" -v percent=$percent 'BEGIN { exit !(100 * (least - was) <= percent / 2 * was) }'; then
            break
        fi
    done
    measured+=("$name $least")
}

http() {
    local few
    serve "$1"
    few=$(cat "$scratch/count")
    serve "$2"
    awk -v few="$few" -v many="$(cat "$scratch/count")" -v n=$(($2 - $1)) 'BEGIN { printf "%.1f\n", (many - few) / n }'
}

measured=()
least spawn_join bench spawn_join 1000 11000
least fib bench fib 12 19
least yield bench yield 100 1100
least ping_pong bench ping_pong 1000 11000
if [ -x "$bin/weft-http" ]; then
    least http_request http 100 600 # all in this shell, so that an interruption ends the server too
fi

if [ -n "$record" ]; then
    {
        if [ -f "$figures" ]; then
            grep -vF "$compiler | " "$figures" || true
        else
            echo '# Instructions per operation, by the compiler that built the library. Written by run.sh --record.'
        fi
        for line in "${measured[@]}"; do printf '%s | %s | %s\n' "$compiler" "${line% *}" "${line#* }"; done
    } >"$scratch/figures"
    cp "$scratch/figures" "$figures"
    grep -F "$compiler | " "$figures"
    exit
fi

failed=0
for line in "${measured[@]}"; do
    name=${line% *} figure=${line#* }
    was=$(recorded "$name")
    if [ -z "$was" ]; then
        echo "$name: $figure instructions, nothing recorded"
        continue
    fi
    verdict=$(awk -v now="$figure" -v was="$was" -v percent=$percent 'BEGIN {
        change = 100 * (now - was) / was
        printf "%s %+.1f %%", (change > percent) ? "FAILED" : "ok", change
    }')
    echo "$name: $figure instructions, recorded $was: $verdict"
    [[ $verdict == ok* ]] || failed=1
done
exit "$failed"
