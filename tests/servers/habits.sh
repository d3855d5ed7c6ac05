#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# habits.sh CONNECTIONS RATE SECONDS [SEED]: so many connections to weft-http at once, of clients of every habit (habits.c), of which RATE a
# second are new. Afterwards nothing may be left: descriptors, tasks, memory. A low rate asks little of the machine: 10,000
# connections at 100 a second take some percent of a CPU.
. "$(dirname "$0")/lib.sh"
needs curl
ulimit -n "$(ulimit -Hn)"
serve weft-http --workers 2 --header-ms 2000
descriptors() { find "/proc/$SERVER/fd" -mindepth 1 | wc -l; }
memory() { awk '/^VmRSS|^VmPTE/ { sum += $2 } END { print sum }' "/proc/$SERVER/status"; }
metric() { curl -sS --max-time 60 "http://127.0.0.1:$PORT/metrics" | sed -n "s/^$1 //p"; }
cpu() { awk '{ print ($14 + $15) * 10 }' "/proc/$SERVER/stat"; } # ms; a clock tick is 10
before=$(descriptors)
cold=$(memory)
began=$(cpu)
# In halves: what the first one leaves is caches, the second one must add nothing to them.
for half in 1 2; do
    "$WEFT_BIN/weft-test-habits" "$PORT" "$1" "$2" $((($3 + 1) / 2)) $((${4:-1} + half)) || fail "half $half, seed $((${4:-1} + half))"
    for ((i = 0; i < 600; i++)); do
        [ "$(descriptors)" -gt "$before" ] || break
        sleep 0.1
    done
    [ "$(descriptors)" -le "$before" ] || fail "$(descriptors) descriptors are left, there were $before"
    [ "$half" = 2 ] || warm=$(memory)
done
now=$(memory)
# Those that are there when nobody is: the main task, the acceptor, the watch, this client. A task ends a little later than its connection.
few_tasks() {
    created=$(metric weft_tasks_created_total) finished=$(metric weft_tasks_finished_total)
    [ $((created - finished)) -le 6 ] && [ "$(metric http_connections)" = 1 ]
}
await "no tasks and no connections are left" few_tasks
echo "descriptors $before -> $(descriptors); memory $cold KiB, $warm after one half, $now after both;" \
    "tasks left $((created - finished)) of $created; server's CPU time $(($(cpu) - began)) ms in $3 s"
[ -n "${WEFT_SANITIZED:-}" ] || [ "$now" -le $((warm + warm / 10 + 2048)) ] || fail "memory grew from $warm to $now KiB"
done_testing
