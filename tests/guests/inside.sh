#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# inside.sh BIN-FOLDER EXPECTED UNIT-TEST...: runs in a guest (guests.sh), where there is no more than a small shell. One line
# for each check; what failed shows its output. Exit status 1 when anything failed, but never 2, which is the launcher's.
bin=$1 expected=$2
shift 2
failures=0
log=/tmp/log

check() { # NAME COMMAND...
    name=$1
    shift
    if "$@" >"$log" 2>&1; then
        echo "ok      $name"
    else
        echo "FAILED  $name (exit status $?)"
        grep -v '^\[ *\(RUN\|OK\)' "$log" | tail -n 20
        failures=$((failures + 1))
    fi
}

# Every worker is where it was to be, there is one for each CPU, and they are on all nodes that have CPUs.
plan() {
    "$bin/weft-bench" plan | tee /tmp/plan
    workers=$(grep -c '^worker ' /tmp/plan)
    confirmed=$(grep -c '(confirmed by the kernel)' /tmp/plan)
    nodes=$(sed -n 's/^worker .*, node \([0-9]*\)$/\1/p' /tmp/plan | sort -u | wc -l)
    wanted=0
    for list in /sys/devices/system/node/node*/cpulist; do
        [ -z "$(cat "$list")" ] || wanted=$((wanted + 1))
    done
    echo "$workers workers, $confirmed confirmed, on $nodes nodes; the kernel has $(nproc) CPUs on $wanted nodes"
    [ "$workers" -eq "$(nproc)" ] && [ "$confirmed" -eq "$workers" ] && [ "$nodes" -eq "$wanted" ] && [ "$nodes" -gt 1 ]
}

intro() {
    WEFT_EXAMPLE_VIRTUAL=1 "$bin/intro-gather" >/tmp/said && cmp /tmp/said "$expected"
}

check 'weft-bench plan' plan
tail -n 1 "$log"
for unit in "$@"; do
    check "$unit" timeout 20 "$bin/$unit"
done
check intro-gather intro
# A wrong sum makes them fail.
check 'weft-bench run fib' "$bin/weft-bench" run fib --n 18 --repeat 1 --workers "$(nproc)"
tail -n 1 "$log"
check 'weft-bench run spawn_join' "$bin/weft-bench" run spawn_join --n 10000 --repeat 1 --workers "$(nproc)"
tail -n 1 "$log"
echo "$failures failed"
[ "$failures" -eq 0 ]
