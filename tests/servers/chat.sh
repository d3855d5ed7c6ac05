#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# chat.sh WORKERS: all hear the same; who does not read is cut off, and nobody else; who leaves, and who is there when the server is told to, has what
# was said before.
. "$(dirname "$0")/lib.sh"
serve weft-chat --workers "$1" --waiting 100000
"$WEFT_BIN/weft-test-chat" talk "$PORT" 12 200 || fail "12 talk at once"
# Its own end sent, it still gets what it said.
expect "last words" "$(timeout 60 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "one\ntwo\nhalf" >&3; head -n2 <&3' "$PORT" | tr '\n' ' ')" "one two "
finish
serve weft-chat --workers "$1" --waiting 64
"$WEFT_BIN/weft-test-chat" slow "$PORT" || fail "one who does not read"
timeout 100 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; echo hello >&3; cat <&3; echo "end $?"' "$PORT" >"$SCRATCH/got" 2>&1 &
client=$!
await "the line" grep -q hello "$SCRATCH/got"
finish
wait "$client"
expect "a client during the drain" "$(cat "$SCRATCH/got")" "hello"$'\n'"end 0"
done_testing
