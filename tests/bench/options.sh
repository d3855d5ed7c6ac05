#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# options.sh WEFT-BENCH: what weft-bench is told wrongly it refuses, with a sentence, before it does anything; where it cannot write it says so; on one
# CPU, and with more workers than CPUs, it works.
set -euo pipefail
bench=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# refused STATUS ARGS...: exit status, something on stderr, nothing on stdout.
refused() {
    local wanted=$1 status=0
    shift
    timeout 60 "$bench" "$@" >out 2>err || status=$?
    if [ "$status" -ne "$wanted" ] || [ ! -s err ] || [ -s out ]; then
        echo "weft-bench $*: exit status $status"
        cat err out
        exit 1
    fi
}
for workers in -1 1025 x 4x '' 99999999999999999999 1e3; do
    refused 2 run fib --n 5 --workers "$workers"
    refused 2 plan --workers "$workers"
    refused 2 topology --workers "$workers"
done
for arguments in '' 'run' 'run nothing' 'run fib more' 'what' 'list --n' 'run fib --n 0' 'run fib --n -3' 'run fib --n 5y' 'run fib --repeat 0' \
    'run fib --repeat two' 'run fib --pin cores' 'run fib --pin' 'run fib --stealing nearest' 'run fib --seed 0' 'run fib --what' \
    'plan more' 'plan --pin cpu' 'plan --spread wide' 'plan --what' 'plan --cpus' 'plan --cpus x' 'plan --cpus 0-' 'plan --cpus 3-1' 'plan --cpus 0,' \
    'plan --cpus 0,,1' 'plan --cpus -1' 'plan --cpus 0-99999999' 'plan --cpus 4294967296' 'topology --seconds 0' 'topology --seconds -1' \
    'topology --seconds nan' 'topology --seconds inf' 'topology --seconds 1h' 'topology --rounds 0' 'topology --rounds 1001' 'topology --rounds x' \
    'topology --only nothing' 'topology --only cores,,memory' 'topology more' 'compare' 'compare a.json' 'compare a.json b.json c.json' 'compare --html'; do
    # shellcheck disable=SC2086
    refused 2 $arguments
done
refused 2 plan --cpus ''
refused 2 topology --only ''
refused 2 topology --out ''
refused 2 run fib --n 5 --json no/such/folder
refused 1 topology --out no/such/folder/r --seconds 1 # before a second has been measured
mkdir r.json
refused 1 topology --out r --seconds 1

# A refusal names what is wrong; no command is known by two names.
names() {
    local text=$1
    shift
    refused "$@"
    grep -qF -- "$text" err || { echo "weft-bench ${*:2}: says nothing of: $text" && cat err && exit 1; }
}
names 'weft-bench plan: --cpus: CPU 65000 is not allowed here' 1 plan --cpus 65000
names "cores workers memory lateness scaling, not 'bogus'" 2 topology --only cores,bogus
names 'weft-bench compare: two reports are needed, not 1' 2 compare a.json
names 'nosuch.json: No such file' 2 compare nosuch.json nosuch.json
if grep -q "line -1" err; then exit 1; fi
for arguments in '--help' 'plan --help' 'topology --help' 'compare --help' 'run --help'; do
    # shellcheck disable=SC2086
    timeout 60 "$bench" $arguments >out 2>err && grep -q '^usage: weft-bench' out && [ ! -s err ] || { echo "weft-bench $arguments" && exit 1; }
done
export HWLOC_SYNTHETIC=bogus
names 'HWLOC_SYNTHETIC=bogus' 1 plan
export HWLOC_SYNTHETIC='numa:2 core:2 pu:1'
timeout 60 "$bench" plan >plan.txt && grep -q 'described, not this machine' plan.txt
unset HWLOC_SYNTHETIC

# The other programs: --help to stdout and 0; what is wrong is named, and 2.
others=$(dirname "$bench")
wrong() {
    local text=$1 status=0
    shift
    timeout 60 "$others/$1" "${@:2}" >out 2>err || status=$?
    [ "$status" -ne 0 ] && grep -qF -- "$text" err && [ ! -s out ] || { echo "$*: exit status $status" && cat err out && exit 1; }
}
for program in weft-stress weft-planted weft-measure weft-load weft-echo weft-chat weft-http weft-kv weft-proxy; do
    [ -x "$others/$program" ] || continue
    timeout 60 "$others/$program" --help >out 2>err && grep -q "^usage: $program" out && [ ! -s err ] || { echo "$program --help" && cat err && exit 1; }
    case $program in
    weft-echo | weft-chat | weft-http | weft-kv | weft-proxy)
        wrong "$program: --bogus: unknown option" "$program" --bogus
        wrong "$program: --port: a value is missing" "$program" --port
        wrong "$program: --workers takes a whole number up to 1000000000, not 'x'" "$program" --workers x
        ;;
    weft-load) wrong '--connections takes a whole number up to' weft-load open --port 1 --connections 99999999999 ;;
    weft-measure) wrong 'usage: weft-measure' weft-measure --what ;;
    weft-planted) wrong 'usage: weft-planted' weft-planted --what ;;
    weft-stress)
        wrong "weft-stress: --faults: 'garbage'" weft-stress run --faults garbage
        wrong "weft-stress: --faults: 'recv=EFOO@1'" weft-stress run --faults 'malloc=ENOMEM@1% recv=EFOO@1;send=EPIPE@2'
        # No invariant of this one allows for memory that is gone: it fails, and tells its replay in one form, with what was given.
        status=0
        timeout 60 "$others/weft-stress" run trees --seconds 0.5 --seed 7 --faults 'malloc=ENOMEM@30%' >out 2>err || status=$?
        replay=$(sed -n 's/^    replay: //p' out err | sort -u)
        if [ "$status" -ne 1 ] || ! [[ $replay =~ ^weft-stress\ run\ trees\ --seconds\ 0.5\ --seed\ [0-9]+\ --workers\ [0-9]+\ --faults\ \'malloc=ENOMEM@30%\'$ ]]; then
            echo "weft-stress's replay, exit status $status: $replay"
            exit 1
        fi
        ;;
    esac
done
[ ! -e --help.json ]

# A full disk.
if [ -w /dev/full ]; then
    for arguments in 'plan' 'plan --json' 'list' 'run fib --n 5' 'run fib --n 5 --json /dev/full'; do
        status=0
        to=/dev/full
        [[ $arguments == *--json\ * ]] && to=/dev/null
        # shellcheck disable=SC2086
        timeout 60 "$bench" $arguments >"$to" 2>err || status=$?
        [ "$status" -eq 1 ] && grep -q 'No space left' err || { echo "weft-bench $arguments >/dev/full: exit status $status" && cat err && exit 1; }
    done
fi

# One CPU; any number of workers.
one=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status)
for workers in 0 1 8 1000; do
    timeout 60 "$bench" plan --workers "$workers" >plan.txt
    [ "$workers" -eq 0 ] || [ "$(grep -c '^worker ' plan.txt)" -eq "$workers" ]
    timeout 60 "$bench" plan --workers "$workers" --json | python3 -c 'import json, sys; json.load(sys.stdin)'
done
for workers in 0 1 8 300; do
    timeout 100 taskset -c "$one" "$bench" run fib --n 10 --workers "$workers" >run.txt
    grep -q '^fib,10,' run.txt
done
timeout 100 taskset -c "$one" "$bench" plan --verify --workers 5 >verify.txt 2>err || { cat verify.txt err && exit 1; }
timeout 100 taskset -c "$one" "$bench" topology --out one --seconds 1 --rounds 1 >one.log
grep -q '^limit: one CPU: ' one.log && [ -s one.html ]
