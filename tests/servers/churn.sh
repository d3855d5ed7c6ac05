#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# churn.sh SERVER SECONDS [SEED]: connections come and go in every way there is, for so long, in rounds of some 10,000 (at least three):
# storms, resets, garbage, half-closes, clients that never read. After each round nothing may be left: descriptors, tasks and memory
# are what they were after the first one.
. "$(dirname "$0")/lib.sh"
server=$1
seed=${3:-1}
share=${WEFT_CHURN_SHARE:-1} # of a round's connections, one in so many: for slow builds
case $server in
weft-kv) protocol=ping rude=resp ;;
weft-http) protocol=http rude=http ;;
*) protocol=echo rude= ;;
esac
serve "$server" --workers 2 $([ "$server" != weft-http ] || echo --header-ms 2000 --body-ms 2000 --idle-ms 5000)

descriptors() { find "/proc/$SERVER/fd" -mindepth 1 | wc -l; }
memory() { awk '/^VmRSS|^VmPTE/ { sum += $2 } END { print sum }' "/proc/$SERVER/status"; }
load() { "$WEFT_BIN/weft-load" "$1" --port "$PORT" --protocol "$protocol" --bare "${@:2}"; }

one_round() {
    local line
    line=$(load storm --rate $((8000 / share)) --seconds 1 --patience 20) || fail "storm"
    # Nobody may be lost: mode,protocol,target,connections,rate,seconds,sent,ok,refused,lost
    expect "a storm: refused, lost" "$(cut -d, -f9,10 <<<"$line")" "0,0"
    line=$(load closed --connections 200 --seconds 0.5 --warmup 0) || fail "closed"
    expect "beside it: refused, lost" "$(cut -d, -f9,10 <<<"$line")" "0,0"
    load stalled --connections $((100 / share)) --seconds 0.5 >"$SCRATCH/stalled" || fail "clients that never read"
    "$WEFT_BIN/weft-test-clients" reset "$PORT" $((1000 / share)) || fail "resets"
    if [ -n "$rude" ]; then
        "$WEFT_BIN/weft-test-rude" garbage "$rude" "$PORT" $((1000 / share)) $((seed++)) || fail "garbage, seed $((seed - 1))"
        "$WEFT_BIN/weft-test-rude" halves "$rude" "$PORT" $((500 / share)) 1 || fail "half-closes"
    fi
}
# All have left: no more descriptors than `$1`, within a minute (the server waits a second for a peer's end).
left() {
    local i
    for ((i = 0; i < 600; i++)); do
        [ "$(descriptors)" -gt "$1" ] || return 0
        sleep 0.1
    done
    fail "$(descriptors) descriptors are left, there were $1"
}

before=$(descriptors)
one_round
left "$before"
one_round # caches are warm now
left "$before"
warm=$(memory)
began=$SECONDS
rounds=2
while [ $((SECONDS - began)) -lt "$2" ] || [ "$rounds" -lt 3 ]; do
    one_round
    left "$before"
    rounds=$((rounds + 1))
    [ "$FAILURES" -eq 0 ] || break
done
now=$(memory)
echo "$rounds rounds; $before descriptors; $warm KiB after two rounds, $now KiB at the end"
[ "$now" -le $((warm + warm / 4 + 4096)) ] || fail "memory grew from $warm to $now KiB in $rounds rounds"
if [ "$server" = weft-http ] && command -v curl >/dev/null; then
    # Every task has ended but those that are there when nobody is: the main task, the acceptor, the watch, this client.
    few_tasks() {
        got=$(curl -sS --max-time 60 "http://127.0.0.1:$PORT/metrics")
        created=$(sed -n 's/^weft_tasks_created_total //p' <<<"$got") finished=$(sed -n 's/^weft_tasks_finished_total //p' <<<"$got")
        [ $((created - finished)) -le 6 ] && [ "$(sed -n 's/^http_connections //p' <<<"$got")" = 1 ]
    }
    await "no tasks and no connections are left" few_tasks
fi
done_testing
