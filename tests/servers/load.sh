#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weft-load against the servers: an overloaded weft-http sheds and still does what it can; a worker that is blocked delays
# nobody for long, and is named; clients that never read cost little; weft-proxy passes everything on; more listeners than one.
# What a busy machine may do to times is not judged: only what would be there without the feature.
. "$(dirname "$0")/lib.sh"
needs curl
load() { "$WEFT_BIN/weft-load" "$@" --port "$PORT" --bare; }
field() { cut -d, -f"$2" <<<"$1"; }

# ---- overload: three times what two workers can do ----
serve weft-http --workers 2 --shed-ms 10
line=$(load open --path '/cpu?us=2000' --rate 3000 --seconds 3 --connections 100 --patience 20)
echo "overload: ok $(field "$line" 8), refused $(field "$line" 9), lost $(field "$line" 10), p99 $(field "$line" 13) us"
[ "$(field "$line" 8)" -gt 0 ] && [ "$(field "$line" 9)" -gt 0 ] || fail "nothing served, or nothing refused: $line"
expect "lost in overload" "$(field "$line" 10)" 0
matches "what tells about the server is not refused" "$(curl -sS --max-time 60 "http://127.0.0.1:$PORT/metrics")" "*weft_queue_delay *"
# And afterwards nothing is refused.
for ((i = 0; i < 600; i++)); do
    code=$(curl -sS --max-time 60 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/")
    [ "$code" != 200 ] || break
    sleep 0.1
done
expect "after the overload" "$code" 200
finish

# ---- one worker of two is blocked ----
serve weft-http --workers 2
curl -sS --max-time 60 "http://127.0.0.1:$PORT/block?ms=4000" -o "$SCRATCH/blocked" &
blocked=$!
sleep 0.2
line=$(load open --rate 500 --seconds 1 --warmup 0 --patience 3)
wait "$blocked"
expect "beside a blocked worker: refused, lost" "$(cut -d, -f9,10 <<<"$line")" "0,0"
echo "beside a blocked worker: p50 $(field "$line" 12) us, p99 $(field "$line" 13) us"
expect "the blocking request" "$(cat "$SCRATCH/blocked")" blocked
matches "the report" "$(cat "$SCRATCH/err")" "*is blocked: a task in http() has run for*"

# ---- what a request costs the server ----
line=$(load closed --connections 8 --seconds 1 --warmup 0.1 --pid "$SERVER")
cost=$(field "$line" 24)
echo "CPU time a request: ${cost:-none} us"
awk -v cost="$cost" 'BEGIN { exit !(cost > 0 && cost < 1e6) }' || fail "CPU time a request: ${cost:-none}"
line=$("$WEFT_BIN/weft-load" closed --port "$PORT" --pid 1,x 2>&1) && fail "a wrong --pid is taken"
matches "a wrong --pid" "$line" "*--pid: 1,x is no list*"

# ---- clients that send and never read ----
line=$(load stalled --connections 200 --seconds 1 --pid "$SERVER")
each=$(field "$line" 22)
echo "a client that never reads: ${each:-0} bytes, $(field "$line" 23) sent"
[ -n "${WEFT_SANITIZED:-}" ] || [ "${each:-0}" -le 51200 ] || fail "$each bytes for a client that never reads"
finish

# ---- a server that stands still: the requests that were due meanwhile leave no later, and show how long they waited ----
serve weft-http --workers 2
"$WEFT_BIN/weft-load" open --port "$PORT" --bare --rate 1000 --seconds 3 --warmup 0 --patience 30 >"$SCRATCH/open" &
client=$!
sleep 1
kill -STOP "$SERVER"
sleep 0.7
kill -CONT "$SERVER"
wait "$client" || fail "weft-load open"
line=$(cat "$SCRATCH/open")
expect "beside a server that stood still: sent, ok, refused, lost" "$(cut -d, -f7-10 <<<"$line")" "3000,3000,0,0"
awk -v p50="$(field "$line" 12)" -v p99="$(field "$line" 13)" 'BEGIN { exit !(p99 >= 500e3 && p50 < p99) }' ||
    fail "a server that stood still for 0.7 s: p50 $(field "$line" 12), p99 $(field "$line" 13) us"
finish

# ---- GET and SET with replies that are compared, of one hot key and of many ----
serve weft-kv --workers 2
for zipf in 0 1 20; do
    line=$(load resp --keys 1000 --zipf "$zipf" --depth 16 --set-share 0.3 --connections 8 --seconds 0.6 --warmup 0 --pid "$SERVER")
    [ "$(field "$line" 8)" -gt 0 ] && [ "$(field "$line" 8)" = "$(field "$line" 7)" ] || fail "resp, zipf $zipf: $line"
done
line=$(load resp --keys 10 --bytes 3 --depth 1 --connections 1 --seconds 0.1 --warmup 0) || fail "resp with short values"
finish
# A server that takes connections and answers nothing, while the keys are set and while it is measured.
serve weft-kv --workers 2
kill -STOP "$SERVER"
line=$(timeout 30 "$WEFT_BIN/weft-load" resp --port "$PORT" --keys 100 --connections 4 --patience 0.5 2>&1)
expect "resp at a server that answers nothing: status" "$?" 1
matches "resp at a server that answers nothing" "$line" "*the server has answered nothing for 0.5 s, while 100 keys were to be set (4 were sent)*"
kill -CONT "$SERVER"
timeout 60 "$WEFT_BIN/weft-load" resp --port "$PORT" --keys 10 --connections 4 --seconds 2 --warmup 0 --patience 0.5 2>"$SCRATCH/resp" &
client=$!
sleep 1
kill -STOP "$SERVER"
wait "$client"
expect "resp at a server that falls silent: status" "$?" 1
matches "resp at a server that falls silent" "$(cat "$SCRATCH/resp")" "*replies of 4 connections are missing*"
kill -CONT "$SERVER"
finish
# A server that leaves in the middle: the figures so far, what failed last, and a status that says so.
for mode in closed 'open --rate 1000' 'resp --keys 10'; do
    case $mode in
    resp*) serve weft-kv --workers 1 ;;
    *) serve weft-http --workers 1 ;;
    esac
    # shellcheck disable=SC2086
    timeout 60 "$WEFT_BIN/weft-load" $mode --port "$PORT" --connections 4 --pid "$SERVER" --bare --seconds 2 --warmup 0 --patience 1 >"$SCRATCH/left" 2>"$SCRATCH/said" &
    client=$!
    sleep 1
    kill -KILL "$SERVER"
    wait "$client"
    expect "$mode at a server that leaves: status" "$?" 1
    wait "$SERVER" 2>/dev/null
    [ "$(field "$(cat "$SCRATCH/left")" 8)" -gt 0 ] || fail "$mode at a server that leaves: no figures"
    matches "$mode at a server that leaves" "$(cat "$SCRATCH/said")" "*the server has left*"
    matches "$mode at a server that leaves" "$(cat "$SCRATCH/said")" "*the last that failed: *"
done
line=$("$WEFT_BIN/weft-load" closed --port "$PORT" --patience 1 2>&1) && fail "nobody listens, and weft-load is content"
matches "nobody listens" "$line" "*0 connections of 64 were made in time; the last that failed: connect: Connection refused*"

serve weft-echo --workers 1
line=$("$WEFT_BIN/weft-load" resp --port "$PORT" --keys 10 --connections 1 --seconds 0.1 2>&1) && fail "an echo is taken for a reply"
matches "a wrong reply" "$line" "*a wrong reply: '\*3*"
line=$("$WEFT_BIN/weft-load" resp --port "$PORT" --zipf 21 2>&1) && fail "--zipf 21 is taken"
finish

# ---- two listeners ----
serve weft-http --workers 2 --listeners 2
line=$(load storm --rate 1000 --seconds 1 --patience 20)
expect "two listeners: refused, lost" "$(cut -d, -f9,10 <<<"$line")" "0,0"
finish

# ---- the proxy in front of weft-echo and weft-http ----
serve weft-echo --workers 2
echo_server=$SERVER
serve weft-proxy --workers 2 --upstream-port "$PORT"
"$WEFT_BIN/weft-test-clients" echo "$PORT" 20 1048576 || fail "1 MiB through the proxy, 20 times at once"
finish
SERVER=$echo_server
finish
serve weft-proxy --workers 2 --upstream-port 1
expect "no upstream" "$(ask 'hello' | wc -c)" 0
done_testing
