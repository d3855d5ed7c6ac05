#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh PROGRAM SCRIPT: gdb with weft-gdb.py sees the tasks of PROGRAM (sleepers.c), and the stacks of those that wait: live, in a core
# file, and goes on afterwards. Exits 77 (skipped) where gdb is missing, has no Python, or may not trace.
set -euo pipefail
program=$(realpath "$1") script=$(realpath "$2")
skip() {
    echo "skipped: $*"
    exit 77
}
command -v gdb >/dev/null || skip 'gdb is not here'
gdb -nx -batch -ex 'python import gdb.unwinder' >/dev/null 2>&1 || skip 'gdb has no Python'
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export DEBUGINFOD_URLS= ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0
base=(gdb -nx -batch -iex 'set auto-load safe-path /' -ex 'set pagination off' -ex 'set confirm off' -ex 'set width 0')
"${base[@]}" -ex 'break main' -ex run -ex 'print 6 * 7' "$program" >"$scratch/try" 2>&1 || true
grep -q '^\$1 = 42' "$scratch/try" && grep -q '^Breakpoint 1, ' "$scratch/try" || skip "gdb cannot run a program here: $(tail -n 1 "$scratch/try")"

status=0
expect() { # FILE PATTERN: a line like that
    grep -qE -- "$2" "$1" || { echo "$1 has no: $2"; sed 's/^/    /' "$1"; status=1; }
}
asked=(-ex "source $script" -ex 'echo == tasks\n' -ex 'weft tasks' -ex 'echo == workers\n' -ex 'weft workers'
    -ex 'echo == digger\n' -ex 'weft bt digger' -ex 'echo == doze\n' -ex 'weft bt 4' -ex 'echo == main\n' -ex 'weft bt Task-1'
    -ex 'echo == frame\n' -ex 'weft bt 8' -ex 'print $weft_frame("Task-8")->requests' -ex 'print $weft_frame(4)'
    -ex 'echo == fresh\n' -ex 'weft bt fresh' -ex 'echo == selected\n' -ex 'weft select digger' -ex 'frame function digs'
    -ex 'info locals' -ex 'weft select' -ex 'echo == again\n' -ex 'backtrace' -ex 'echo == all\n' -ex 'weft bt all' -ex 'echo == over\n')
part() { # FILE NAME: what was said to it
    awk -v name="== $2" '$0 == name { on = 1; next } /^== / { on = 0 } on' "$1" >"$1.$2"
    echo "$1.$2"
}
look() { # FILE
    local f
    f=$(part "$1" tasks)
    expect "$f" '^Task-1 +looks\(\) runs on worker 0 \[0x'
    expect "$f" '^digger#2 +digs\(\) waits for event 0x'
    expect "$f" '^Task-3 +wants_the_lock\(\) waits for lock 0x'
    local still='( 9[0-9]{2}\.[0-9]{3} s more|, until [0-9]+\.[0-9]{3} s of CLOCK_MONOTONIC)'
    expect "$f" "^Task-4 +dozes\\(\\) sleeps$still \\["
    expect "$f" "^Task-5 +parks\\(\\) parked, sleeps$still \\[0x[0-9a-f]+\\] \\*\\(struct parks \\*\\)0x"
    still=${still/( /(, at most }
    expect "$f" "^Task-8 +serves\\(\\) parked, waits for a stream \\(read\\), descriptor [0-9]+$still \\[0x[0-9a-f]+\\] \\*\\(struct serves "
    expect "$f" '^Task-9 +watches\(\) parked, waits for descriptor [0-9]+ to be readable \['
    expect "$f" "^Task-10 +reads\\(\\) waits for descriptor [0-9]+ to be readable$still \\["
    expect "$f" '^Task-6 +forks\(\) (waits for task 0x|awaits child 0x)'
    expect "$f" '^Task-7 +parent\(\) waits for event 0x'
    expect "$f" '^fresh#11 +dozes\(\) ready, not begun'
    # Children come after the task that they belong to: one on its parent's stack, two on stacks of their own, one that nobody has begun.
    expect "$f" '^  child 0x[0-9a-f]+ digs\(\) waits for event 0x[0-9a-f]+; forked by Task-6$'
    expect "$f" '^  child 0x[0-9a-f]+ forks_again\(\) waits for event 0x[0-9a-f]+; forked by Task-7$'
    expect "$f" '^    child 0x[0-9a-f]+ stays\(\) waits for event 0x[0-9a-f]+; forked by child 0x'
    expect "$f" '^  child 0x[0-9a-f]+ ends\(\) ready, not begun; forked by Task-1$'
    local order
    order=$(sed -nE 's/^ *(child 0x[0-9a-f]+|[^ ]+) +([a-z_]+)\(.*/\2/p' "$f" | tr '\n' ' ')
    [ "$order" = 'looks ends digs wants_the_lock dozes parks forks digs parent forks_again stays serves watches reads dozes ' ] ||
        { echo "$f: not these tasks in this order: $order"; status=1; }
    expect "$(part "$1" workers)" '^worker 0 +thread [0-9]+  runs looks\(\) in Task-1'
    f=$(part "$1" digger)
    expect "$f" '^#.* (weft_event_wait|wait_slow) '
    for depth in 0 1 2 3; do expect "$f" "^#.* deep \\(depth=(depth@entry=)?$depth,"; done
    expect "$f" '^#.* digs \(f='
    expect "$f" '^#.* weft__fiber_main '
    expect "$(part "$1" doze)" '^#.* dozes \(f='
    expect "$(part "$1" main)" '^#.* look_now \('
    expect "$(part "$1" main)" '^#.* looks \(f='
    expect "$(part "$1" fresh)" 'it has no stack: ready, not begun'
    expect "$(part "$1" selected)" '^kept = 0'
    f=$(part "$1" frame)
    expect "$f" '^Task-8 +serves\(\) parked, '
    expect "$f" '^ +it has no stack: parked, .*; its frame: \*\(struct serves \*\)0x'
    expect "$f" '^\$[0-9]+ = 7$'
    expect "$f" '^\$[0-9]+ = \(struct dozes \*\) 0x'
    f=$(part "$1" again)
    expect "$f" '^#.* looks \(f='
    ! grep -q 'deep (' "$f" || { echo "$f: the selected task is still there"; status=1; }
    f=$(part "$1" all)
    expect "$f" '^#.* wants_the_lock \(f='
    expect "$f" '^#.* forks_again \(f='
    [ "$(grep -cE '^#.* stays \(f=' "$f")" -eq 1 ] || { echo "$f: not one stack of stays"; status=1; }
    [ "$(grep -cE '^#.* forks \(f=' "$f")" -eq 1 ] || { echo "$f: not one stack of forks"; status=1; }
}
"${base[@]}" -ex 'break look_now' -ex run "${asked[@]}" -ex 'delete' -ex continue "$program" >"$scratch/live" 2>&1 || true
look "$scratch/live"
expect "$scratch/live" 'exited normally'
# By the kernel: gdb's own generate-core-file stops at the first guard page of a mapping.
(cd "$scratch" && ulimit -c unlimited && exec "$program" dies >"$scratch/said" 2>&1) || true
core=$(find "$scratch" -name 'core*' -size +0 | head -n 1)
if [ -n "$core" ]; then
    "${base[@]}" "${asked[@]}" "$program" "$core" >"$scratch/dead" 2>&1 || true
    look "$scratch/dead"
else
    echo "no core file was written here (core_pattern, limits): only the live process was looked at"
fi
# Of gdb's own core file, which has no stacks: what is known without them, and that nothing is made up.
"${base[@]}" -ex 'break look_now' -ex run -ex "generate-core-file $scratch/gcore" "$program" >"$scratch/gcore.said" 2>&1 || true
if [ -s "$scratch/gcore" ]; then
    "${base[@]}" "${asked[@]}" "$program" "$scratch/gcore" >"$scratch/short" 2>&1 || true
    f=$(part "$scratch/short" tasks)
    if grep -q 'waits for event' "$f"; then
        look "$scratch/short" # a gdb that keeps stacks
    else
        expect "$f" '^Task-1 +looks\(\) runs on worker 0 \(its stack is not in this core file\) \[0x'
        expect "$f" '^digger#2 +digs\(\) has begun \(its stack is not in this core file\) \[0x'
        expect "$f" '^Task-5 +parks\(\) parked'
        expect "$f" '^fresh#11 +dozes\(\) ready, not begun'
        ! grep -q ' ready \[' "$f" || { echo "$f: somebody is ready"; status=1; }
        expect "$(part "$scratch/short" workers)" '^worker 0 +thread [0-9]+  runs looks\(\)'
        expect "$(part "$scratch/short" digger)" 'its stack is not here: has begun'
        ! grep -q Traceback "$scratch/short" || { echo 'the script fails of a core file without stacks'; status=1; }
    fi
fi
exit $status
