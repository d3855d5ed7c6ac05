#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# late.sh LATE.SO: a server that has left as it was told ends with status 0, also when SIGTERM comes again while it exits.
. "$(dirname "$0")/lib.sh"
for server in weft-echo weft-chat weft-http weft-kv; do
    LD_PRELOAD=$1 serve "$server" --workers 2
    finish
done
# It does come: a program that has done nothing about it.
LD_PRELOAD=$1 "$WEFT_BIN/weft-echo" --help >/dev/null
expect "without a server" "$?" 143
done_testing
