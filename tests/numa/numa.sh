#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# numa.sh [--all | TOPOLOGY...]: topology, pinning, memory, stealing and pinned tasks on real kernels with several NUMA nodes, in
# virtual machines (inside.sh runs in the guest). Without arguments those that every change has to pass; --all: every one.
#
# WEFT_VM_RUN names the launcher. It is called as
#     $WEFT_VM_RUN --topology NAME --timeout SECONDS --file FILE... -- PROGRAM ARGS...
# and has to boot a guest of that topology, with FILEs and the shared objects they need at the same paths, run PROGRAM in it,
# hand its output through and exit with its status; 2 says that it is not set up, 124 that time ran out.
# Exits 77 (skipped) without a launcher that works. Time in a guest means nothing: nothing here is measured.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${WEFT_BIN:?the folder of the programs}" && pwd)
run=${WEFT_VM_RUN:-}

# What each topology is, and what must come out of it: workers by default, the home node of each CPU's worker when each is pinned to one
# (CPU:node, in ascending order of the CPUs), and the programs that run there. `all`: unit tests and benchmarks as well; few: where there
# are many CPUs, whose threads take turns in an emulated guest.
#   name       programs workers homes                                       what it is
table='
    n2           all     8  0:0,1:0,2:0,3:0,4:1,5:1,6:1,7:1                  two nodes, SMT
    n4           all    16  0:0,1:0,2:0,3:0,4:1,5:1,6:1,7:1,8:2,9:2,10:2,11:2,12:3,13:3,14:3,15:3  four nodes on two packages, SMT
    n8-uneven    few    16  0:0,1:0,2:1,3:1,4:2,5:2,6:3,7:3,8:4,9:4,10:5,11:5,12:6,13:6,14:7,15:7  eight nodes, uneven distances
    asym-dist    few     8  0:0,1:1,2:1,3:2,4:2,5:2,6:2,7:2                  distances that differ with the direction
    memless      all     6  0:0,1:0,2:2,3:2,4:2,5:2                          node 1 has no memory: node 2 is nearest
    memless0     all     4  0:1,1:1,2:1,3:1                                  node 0 has no memory
    cpuless      all     4  0:0,1:0,2:1,3:1                                  node 2 has no CPUs
    hmat         few     4  0:0,1:0,2:1,3:1                                  the same, told by a memory table
    offline      all     5  0:0,2:0,3:0,6:1,7:1                              offline: a sibling, and a core
    offline-node all     2  0:0,1:0                                          node 1 has no CPU online
    cgroup       all     2  1:0,2:0,5:1,6:1                                  four CPUs of two nodes, a quota of 1.5 CPUs
    cgroup1      all     1  3:0                                              one CPU, whose own memory is forbidden
    uma2         all     2  0:0,1:0                                          one node
    big64        plan   64  -                                                64 CPUs, eight nodes, SMT
    big128       plan  128  -                                                128 CPUs
'
every_change='n2 n4 memless cpuless offline cgroup big64'
units_in='n4' # the unit tests are long: for every change in one guest only

skip() {
    echo "skipped: $*"
    exit 77
}
[ -n "$run" ] || skip 'WEFT_VM_RUN names no launcher of guests'
[ -x "$run" ] || skip "WEFT_VM_RUN: $run is not a program"

# Not those that count on threads that really run side by side.
units=(test_base test_cgroup test_topology test_pinned test_pinned_waits test_task test_gather test_join)
programs=("${units[@]}" intro-gather weft-bench)
files=(--file "$here/../../examples/intro/gather.expected" --file "$here/../topologies")
for program in "${programs[@]}"; do
    [ -x "$bin/$program" ] || skip "there is no $bin/$program"
    files+=(--file "$bin/$program")
done

if [ "${1:-}" = --all ]; then
    # shellcheck disable=SC2046
    set -- $(awk 'NF { print $1 }' <<<"$table")
elif [ $# -eq 0 ]; then
    # shellcheck disable=SC2086
    set -- $every_change
    table=$(awk -v units="$units_in" 'NF && $2 == "all" && $1 != units { sub(/ all /, " few ") } { print }' <<<"$table")
fi
failures=0
for topology in "$@"; do
    read -r _ how workers homes what < <(awk -v name="$topology" '$1 == name' <<<"$table") || skip "no topology $topology"
    limit=120
    [ "$how" = few ] || limit=280
    begun=$SECONDS
    echo "== $topology: $what"
    "$run" --topology "$topology" --timeout "$limit" "${files[@]}" -- "$here/inside.sh" "$how" "$workers" "$homes" "$bin" \
        "$(cd "$here/../../examples/intro" && pwd)/gather.expected" "${units[@]}"
    status=$?
    echo "$topology: exit status $status after $((SECONDS - begun)) s"
    [ $status -ne 2 ] || skip "$run is not set up"
    [ $status -eq 0 ] || failures=$((failures + 1))
done
[ $failures -eq 0 ]
