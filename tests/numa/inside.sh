#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# inside.sh all|few|plan WORKERS HOMES BIN-FOLDER EXPECTED UNIT-TEST...: runs in a guest (numa.sh), where there is no more than a small
# shell. One line for each check; what failed shows its output. Exit status 1 when anything failed, but never 2, which is the launcher's.
how=$1 workers=$2 homes=$3 bin=$4 expected=$5
shift 5
failures=0
log=/tmp/log

check() { # NAME COMMAND...
    name=$1
    shift
    begun=$(date +%s)
    if "$@" >"$log" 2>&1; then
        echo "ok      $name, $(($(date +%s) - begun)) s"
    else
        echo "FAILED  $name (exit status $?), $(($(date +%s) - begun)) s"
        grep -v '^\[ *\(RUN\|OK\)' "$log" | tail -n 40
        failures=$((failures + 1))
    fi
}

# So many workers by default.
by_default() {
    "$bin/weft-bench" plan | tee /tmp/plan
    [ "$(grep -c '^worker ' /tmp/plan)" -eq "$workers" ]
}

# Pinned to one CPU each, one worker for each CPU: "worker 3: CPU 7, node 1; ..." as CPU:node.
at_home() {
    "$bin/weft-bench" plan --pin core --workers "$(nproc)" | tee /tmp/plan
    sed -n 's/^worker [0-9]*: CPU \([0-9]*\).*, node \([0-9]*\)\(;.*\)*$/\1:\2/p' /tmp/plan | sort -n | tr '\n' ',' | sed 's/,$/\n/' >/tmp/homes
    cat /tmp/homes
    [ "$(cat /tmp/homes)" = "$homes" ]
}

# What the kernel has said, in one line. $log: of plan --verify.
summary() {
    awk '/^worker [0-9]+: on CPU/ { workers++; touched += $13; elsewhere += $20 }
        /: WRONG/ { wrong++ }
        / pages on node / && !/it touched/ { match($0, /[0-9]+ pages/); own += substr($0, RSTART); match($0, /[0-9]+ elsewhere/); away += substr($0, RSTART) }
        / pages, anywhere/ { match($0, /[0-9]+ pages/); any += substr($0, RSTART) }
        END { printf "kernel: %d workers on their CPUs; pages they touched: %d at home, %d elsewhere; the runtime'"'"'s own: %d at home, %d elsewhere, %d of no node; mismatches: %d\n",
            workers, touched, elsewhere, own, away, any, wrong }' "$log"
}

intro() {
    WEFT_EXAMPLE_VIRTUAL=1 "$bin/intro-gather" >/tmp/said && cmp /tmp/said "$expected"
}

check 'plan' by_default
[ "$homes" = - ] || check 'homes' at_home
check 'plan --verify' "$bin/weft-bench" plan --verify
check 'plan --verify --pin core' "$bin/weft-bench" plan --verify --pin core --workers "$(nproc)"
summary
grep '^by distance' -A 5 "$log"
if [ "$how" != plan ]; then
    check 'plan --verify, compact' "$bin/weft-bench" plan --verify --pin core --spread compact --workers 3
    check 'plan --verify, nodes, more workers than CPUs' "$bin/weft-bench" plan --verify --pin node --workers "$(($(nproc) + 3))"
fi
if [ "$how" = all ]; then
    for unit in "$@"; do
        check "$unit" timeout 60 "$bin/$unit"
    done
    check intro-gather intro
fi
# A wrong sum makes them fail.
check 'weft-bench run fib' "$bin/weft-bench" run fib --n 18 --repeat 1 --workers "$(nproc)" --pin core
if [ "$how" = all ]; then
    check 'weft-bench run locality' "$bin/weft-bench" run locality --n 1000 --repeat 1 --workers "$(nproc)" --pin core
fi
check 'weft-bench run spawn_join' "$bin/weft-bench" run spawn_join --n 10000 --repeat 1 --workers "$(nproc)" --pin core
echo "$failures failed"
[ "$failures" -eq 0 ]
