#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh park|raid...: lets spin search all interleavings of docs/models/park.pml or raid.pml. First the protocol as it is, in several small
# worlds: no run may go wrong. Then the same with one thing done wrong: spin must find a run that does. One line each; exit 0
# when all came out as they must, 77 without spin or a C compiler. As many searches at a time as there are CPUs, no more than four. WEFT_LONG=1 adds the large worlds (minutes), one at
# a time. Each search may take WEFT_MODEL_MB (2000; the largest needs 700) of memory and WEFT_MODEL_SECONDS (300; the longest takes 70).
set -euo pipefail
cc=${CC:-cc}
for tool in spin "$cc"; do
    command -v "$tool" >/dev/null || {
        echo "$tool is not here"
        exit 77
    }
done
models=$(cd "$(dirname "$0")/../../docs/models" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
number=0 model= vector= jobs=$(nproc)
[ "$jobs" -le 4 ] || jobs=4
[ "${WEFT_LONG:-0}" = 0 ] || jobs=1

# search PROPERTY DEPTH DEFINES...: prints "clean", "found" (a run that goes wrong) or what hindered it
search() {
    local property=$1 depth=$2 build=() run=()
    shift 2
    if [ "$property" = live ]; then
        build=(-DNFAIR=3) run=(-a -f) # weak fairness
        set -- "$@" -DLIVE
    else
        build=(-DSAFETY) run=(-E) # a monitor looks at the end states; or idle threads may be left standing there
    fi
    rm -f pan pan.* ./*.trail
    spin -a "$@" "$model" >spin.out 2>&1 || {
        tail -n 3 spin.out
        return
    }
    "$cc" "${optimize:--O1}" -w "-DVECTORSZ=$vector" -DCOLLAPSE -DMEMLIM="${WEFT_MODEL_MB:-2000}" "${build[@]}" pan.c -o pan
    local status=0
    timeout "${WEFT_MODEL_SECONDS:-300}" ./pan "${run[@]}" -m"$depth" >pan.out 2>&1 || status=$?
    if [ "$status" -eq 124 ]; then
        echo "not ended after ${WEFT_MODEL_SECONDS:-300} s"
    elif [ "$status" -gt 128 ]; then
        echo "killed by signal $((status - 128)), for want of memory?"
    elif grep -Eq 'invalid array index|out of memory|aborted|VECTORSZ' pan.out; then
        grep -E 'invalid array index|out of memory|aborted|VECTORSZ' pan.out | head -n 1
    elif grep -Eq 'errors: [1-9]' pan.out; then
        echo found
    elif grep -q 'max search depth too small' pan.out; then
        echo 'too deep'
    elif grep -q 'errors: 0' pan.out; then
        echo clean
    else
        echo "no result: $(tail -n 1 pan.out)"
    fi
}

# In a folder of its own, when fewer than $jobs are under way.
check() {
    local wanted=$1 name=$2 result
    shift 2
    while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do
        wait -n || true
    done
    number=$((number + 1))
    mkdir "$number"
    {
        cd "$number"
        result=$(search "$@")
        if [ "$result" = "$wanted" ]; then
            echo "ok      $name: $result"
        else
            echo "FAILED  $name: ${result:-nothing} where '$wanted' is right"
        fi >told
        cat told
        rm -f pan pan.*
    } &
}

good() { check clean "$@"; }
mutant() { optimize=${optimize:--O0} check found "$@"; } # found soon: most of the time is the compiler's

park() {
    model=$models/park.pml vector=256
    local one two spawner virtual io reactor
    one='-DWORKERS=1 -DSTART=0 -DSPAWNS=0'
    two='-DSTART=0 -DSPAWNS=0'
    spawner='-DSPAWNS=3 -DSUBMITS=0 -DEVENTS=0 -DSTUCK=1'
    virtual='-DVIRTUAL -DEVENTS=0 -DSPAWNS=0 -DTIMERS=1'
    io='-DIO -DSTUCK=0'
    reactor='-DREACTOR -DCOARSE -DSUBMITS=0 -DSTUCK=1'

    # shellcheck disable=SC2086 # the lists of definitions are lists
    {
        good 'one worker, two submitters, an event' safe 100000 $one -DFOREIGNS=2
        good 'two workers, submitter, event, spawns' safe 100000 -DSTART=0 -DSPAWNS=1
        good 'two workers, event, two spawns' safe 100000 -DSPAWNS=2 -DSUBMITS=0
        good 'two submits to a worker that gets stuck' safe 100000 $two -DSUBMITS=2 -DEVENTS=0 -DSTUCK=1
        good 'three spawns of a worker that gets stuck' safe 100000 $spawner
        good 'timer, submit, busy workers collect' safe 100000 $two -DTIMERS=1 -DLOOKS
        good 'virtual clock: timer, submit' safe 100000 $virtual -DCOARSE -DWAITS=1
        good 'virtual clock: timer, two writes' safe 100000 $virtual -DSUBMITS=0 -DWRITES=2
        good 'reactor: two events, a worker gets stuck' safe 100000 $reactor $two -DEVENTS=2
        good 'reactor: event, spawns, a worker gets stuck' safe 100000 $reactor -DLOOKS
        good 'reactor: timer of a worker that gets stuck' safe 100000 $reactor -DEVENTS=0 -DTIMERS=1
        good 'reactor: submit' safe 100000 -DREACTOR -DCOARSE $two -DEVENTS=0
        good 'I/O is waited for: event, spawns' safe 100000 $io -DSPAWNS=3 -DSUBMITS=0
        good 'I/O is waited for: submit, spawns' safe 100000 $io -DCOARSE -DSPAWNS=2 -DEVENTS=0
        good 'I/O is waited for, reactor: spawns, a worker gets stuck' safe 100000 $io -DREACTOR -DCOARSE -DSPAWNS=3 -DSUBMITS=0 -DEVENTS=0 -DSTUCK=1
        good 'bursts left alone: four spawns, a timer, a worker gets stuck' safe 100000 $spawner -DSPAWNS=4 -DTIMERS=1 -DFORKS=1
        good 'bursts left alone: submit, spawns' safe 100000 -DFORKS=2 -DSPAWNS=2 -DEVENTS=0
        good 'bursts left alone, reactor: spawns, a worker gets stuck' safe 100000 $reactor -DFORKS=2 -DSPAWNS=3 -DEVENTS=0
        good 'progress: one worker, two submitters, an event' live 100000 $one -DFOREIGNS=2
        good 'progress: two workers, submit, event' live 100000 $two
        if [ "${WEFT_LONG:-0}" != 0 ]; then
            export WEFT_MODEL_MB=6000
            good 'long: reactor, submit, event, a worker gets stuck' safe 200000 -DREACTOR -DCOARSE $two -DSTUCK=1
            good 'long: virtual clock in fine steps' safe 200000 $virtual -DWAITS=1
            good 'long: reactor in fine steps' safe 200000 -DREACTOR -DSPAWNS=0 -DSUBMITS=0 -DSTUCK=1
        fi

        mutant 'no second look after the bit' safe 1000 $one -DEVENTS=0 -DNO_RESCAN
        mutant 'the second look before the bit' safe 1000 $one -DEVENTS=0 -DLOOK_FIRST
        mutant 'who parks does not ask for work' safe 1000 $spawner -DNO_ASK
        mutant 'who parks asks before it is seen to sleep' safe 1000 $spawner -DASK_FIRST
        mutant 'the end of a burst left alone does not ask again' safe 10000 $spawner -DSPAWNS=4 -DTIMERS=1 -DFORKS=1 -DNO_ASK_AGAIN
        mutant 'hunger is taken back after the look for sleepers' safe 1000 $spawner -DSATISFIED_LATE
        mutant 'the leader looks for wakes before it has the token' safe 1000 $one -DEVENTS=0 -DCHECK_BEFORE_TOKEN
        mutant 'the leader is not kicked' safe 1000 $one -DEVENTS=0 -DNO_KICK
        mutant 'a woken worker is not counted as searching' safe 1000 $two -DSUBMITS=2 -DEVENTS=0 -DUNPAID
        mutant 'searching is counted before the bit is taken' safe 1000 $one -DFOREIGNS=2 -DPHANTOM
        mutant 'no look around when a search ends' safe 1000 $two -DSUBMITS=2 -DEVENTS=0 -DSTUCK=1 -DNO_LAST_LOOK
        mutant 'the reactor does not look again after asleep' safe 10000 $reactor $two -DEVENTS=2 -DNO_ASLEEP_RECHECK
        mutant 'who leaves does not look at asleep' safe 10000 $reactor $two -DEVENTS=2 -DNO_ASLEEP_LOOK
        mutant 'the reactor sleeps while nobody leads' safe 10000 $reactor $two -DEVENTS=2 -DNO_LEADER_CARE
        mutant 'virtual clock: parked workers are counted, not looked at' safe 1000 $virtual -DWAITS=1 -DCOUNT_ASKS
        mutant 'virtual clock: a leader may have events in its hands' safe 1000 $virtual -DSUBMITS=0 -DWRITES=2 -DNO_LEADER_CARE
        mutant 'virtual clock: a second look only if a task waits' safe 1000 $virtual -DSUBMITS=0 -DWRITES=1 -DLOOK_IF_WAITS
        mutant 'virtual clock: no second look after the collecting' safe 1000 $virtual -DSUBMITS=0 -DWRITES=2 -DNO_SECOND_LOOK
        mutant 'I/O is waited for: the tick looks at open work only' safe 10000 $io -DREACTOR -DCOARSE -DSPAWNS=3 -DSUBMITS=0 -DEVENTS=0 -DSTUCK=1 -DTICK_OPEN_ONLY
        mutant 'I/O is waited for: no second look after the bit' safe 1000 $io -DSPAWNS=1 -DEVENTS=0 -DNO_RESCAN
        optimize=-O1 mutant 'parked workers are counted, not looked at' safe 130 -DREACTOR -DCOARSE $two -DSTUCK=1 -DCOUNT_PARKED
    }
}

raid() {
    model=$models/raid.pml vector=512
    good 'joins: five children, one thief' safe 200000 -DPUSHES=5
    good 'joins: three children, two thieves' safe 200000 -DPUSHES=3 -DRAIDERS=2
    good 'ready: one thief' safe 200000 -DREADY
    good 'ready: two thieves' safe 200000 -DREADY -DRAIDERS=2

    mutant 'joins: a raid without the barrier' safe 200000 -DPUSHES=3 -DNO_BARRIER
    mutant 'joins: the slow way does not wait for a raid' safe 200000 -DPUSHES=3 -DNO_GUARD
    mutant 'joins: the end is shown before bottom is looked at again' safe 200000 -DPUSHES=2 -DRAIDERS=2 -DEND_EARLY
    mutant 'joins: bottom is not looked at again' safe 200000 -DPUSHES=3 -DOLD_BOTTOM
    mutant 'joins: the owner reads floor before it writes bottom' safe 200000 -DPUSHES=3 -DREAD_FIRST
    mutant 'joins: half is taken back without a look at top' safe 200000 -DPUSHES=4 -DBACK_UNCHECKED
    mutant 'ready: a raid without the barrier' safe 200000 -DREADY -DNO_BARRIER
    mutant 'ready: the owner looks before it says that it is inside' safe 200000 -DREADY -DREAD_FIRST
    mutant 'ready: who has waited does not look again' safe 200000 -DREADY -DRAIDERS=2 -DNO_RETRY
}

for which in "$@"; do
    case $which in
    park | raid) "$which" ;;
    *) echo "no model '$which'" && exit 2 ;;
    esac
done
wait
passed=$(cat ./*/told | grep -c '^ok ') || true
echo "$passed passed, $((number - passed)) failed"
[ "$passed" -eq "$number" ]
