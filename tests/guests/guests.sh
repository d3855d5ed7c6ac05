#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# guests.sh [TOPOLOGY...]: the programs on real kernels with several NUMA nodes, in virtual machines: some core unit tests,
# an example, two benchmarks, and where the workers are put (inside.sh, which runs in the guest). n4 and n8-uneven unless
# others are named.
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
limit=60

skip() {
    echo "skipped: $*"
    exit 77
}
[ -n "$run" ] || skip 'WEFT_VM_RUN names no launcher of guests'
[ -x "$run" ] || skip "WEFT_VM_RUN: $run is not a program"

# Those that do little: a guest's CPUs may be threads that take turns, and its threads that wait for each other take long.
units=(test_base test_cgroup test_topology test_task test_gather test_join test_lock)
programs=("${units[@]}" intro-gather weft-bench)
files=(--file "$here/../../examples/intro/gather.expected" --file "$here/../topologies")
for program in "${programs[@]}"; do
    [ -x "$bin/$program" ] || skip "there is no $bin/$program"
    files+=(--file "$bin/$program")
done

[ $# -gt 0 ] || set -- n4 n8-uneven
failures=0
for topology in "$@"; do
    begun=$SECONDS
    "$run" --topology "$topology" --timeout "$limit" "${files[@]}" -- \
        "$here/inside.sh" "$bin" "$(cd "$here/../../examples/intro" && pwd)/gather.expected" "${units[@]}"
    status=$?
    echo "$topology: exit status $status after $((SECONDS - begun)) s"
    [ $status -ne 2 ] || skip "$run is not set up"
    [ $status -eq 0 ] || failures=$((failures + 1))
done
[ $failures -eq 0 ]
