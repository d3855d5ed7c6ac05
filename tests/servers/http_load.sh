#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# http_load.sh WORKERS: wrk for two seconds, without a single wrong answer; pipelined requests; then SIGTERM under load.
. "$(dirname "$0")/lib.sh"
needs wrk curl
serve weft-http --workers "$1" --account

report=$(timeout 100 wrk -t1 -c64 -d2s --timeout 30s "http://127.0.0.1:$PORT/")
matches "wrk ran" "$report" "*requests in*"
[[ "$report" != *"Non-2xx"* ]] || fail "wrk: $report"
[[ "$report" != *"Socket errors"* ]] || fail "wrk: $report"
grep -E 'Requests/sec|Latency' <<<"$report"

"$WEFT_BIN/weft-test-clients" pipeline "$PORT" 40 || fail "40 requests in one write"

# SIGTERM while requests are under way: none that was accepted may be lost.
"$WEFT_BIN/weft-test-drain" "$PORT" "$SERVER" 64 || fail "requests were lost while draining"
await_server
expect "exit status" "$STATUS" 0
expect "stderr" "$(complaints)" ""
[ "$(wc -l <"$SCRATCH/out")" -gt 3 ] || fail "--account printed nothing"

# And under wrk, which does not stop: the server ends, soon and with 0.
serve weft-http --workers "$1"
timeout 100 wrk -t1 -c64 -d3s --timeout 30s "http://127.0.0.1:$PORT/" >"$SCRATCH/wrk" &
load=$!
sleep 1
kill -TERM "$SERVER"
await_server
expect "exit status under wrk" "$STATUS" 0
expect "stderr under wrk" "$(complaints)" ""
wait "$load"
[[ "$(cat "$SCRATCH/wrk")" != *"Non-2xx"* ]] || fail "wrk: $(cat "$SCRATCH/wrk")"
# wrk comes again at once when it is told that a connection ends. Once the listener is closed it is refused (told as
# connect or write errors), but no connection that was made may end without an answer.
errors=$(sed -n 's/.*Socket errors: connect [0-9]*, read \([0-9]*\),.*/\1/p' "$SCRATCH/wrk")
expect "wrk: read errors" "${errors:-0}" 0
done_testing
