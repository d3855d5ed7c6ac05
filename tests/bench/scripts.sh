#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts.sh BIN: the scripts that measure servers (bench-io, bench-kv, bench-calls, bench-memory, bench-peers): each runs, short, and prints a whole
# table; what they are told wrongly they refuse, with a sentence, before they do anything. Figures are not judged.
set -euo pipefail
bin=$1
scripts=$(cd "$(dirname "$0")/../../scripts" && pwd)
command -v python3 >/dev/null || { echo "skipped: no python3" && exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

die() {
    echo "FAILED: $*"
    cat out err
    exit 1
}
# refused TEXT SCRIPT ARGS...: status 2, the text on stderr, nothing on stdout.
refused() {
    local text=$1 script=$2 status=0
    timeout 60 "$scripts/$script" --bin "$bin" "${@:3}" >out 2>err || status=$?
    [ "$status" -eq 2 ] && grep -qF -- "$text" err && [ ! -s out ] || die "$script ${*:3}: exit status $status, wanted: $text"
}
# runs ROWS SCRIPT ARGS...: status 0, nothing on stderr, and so many lines of tables in which every cell is filled that has to be.
runs() {
    local rows=$1 script=$2 got
    timeout 200 "$scripts/$script" --bin "$bin" "${@:3}" >out 2>err || die "$script ${*:3}"
    got=$(grep -c '^| [a-z]' out) || true
    [ "$got" -eq "$rows" ] && [ ! -s err ] && ! grep -qE 'nan|failed' out || die "$script ${*:3}: $got lines, not $rows"
}

for script in bench-io bench-kv bench-calls bench-memory; do
    timeout 60 "$scripts/$script" --help >out 2>err && grep -q "^usage: $script" out && [ ! -s err ] || die "$script --help"
    what=()
    [ "$script" != bench-kv ] || what=(hot)
    refused '--rounds: invalid whole number above 0 value' "$script" --rounds 0 "${what[@]}"
    refused '--seconds: invalid number above 0 value' "$script" --seconds nan "${what[@]}"
    refused '--bogus' "$script" --bogus "${what[@]}"
    refused "no weft-load in $scratch" "$script" --bin "$scratch" "${what[@]}"
done
for script in bench-io bench-calls bench-memory; do
    refused '--peer nonsense: neither NAME=COMMAND nor one of' "$script" --peer nonsense
    refused "--peer a: no kind 'smtp'" "$script" --peer 'a:smtp=a {port}'
    refused '--peer a: its command has no {port}' "$script" --peer 'a=server'
    refused '--peer a: twice' "$script" --peer 'a=server {port}' --peer 'a=server {port}'
done
for script in bench-io bench-calls bench-memory; do
    refused "--peer a: there is no program 'no-such-server'" "$script" --peer 'a=no-such-server {port}'
done
refused 'there is nothing to compare' bench-io
refused "no cell 'http-c63'" bench-io http-c63
refused "no cell 'resp-c64'" bench-calls resp-c64
refused "resp-c64: no --peer has a server of the kind 'resp': a has echo; b has http, full" bench-io --peer 'a:echo=cat {port}' --peer 'b:http,full=cat {port}' resp-c64
refused "echo-c64: no --peer has a server of the kind 'echo': a has http" bench-calls --peer 'a:http=cat {port}' echo-c64
refused '--rate-of-capacity is a share' bench-io --rate-of-capacity 1.5
refused 'requests leave one by one' bench-io --rate-of-capacity 0.5 http-c512-p16
refused '--set-share: invalid' bench-kv hot --set-share 2
refused 'invalid choice' bench-kv cold
refused "'more' is none of" bench-memory more

raw="$bin/weft-raw {kind} {port} {threads}"
short=(--rounds 2 --seconds 0.12 --warmup 0.05)
runs 3 bench-io "${short[@]}" --peer other="$raw" echo-c64 # two servers and the head of the table
grep -q "^weft's CPU time to other: [0-9.]* " out || die "bench-io: no mean"
timeout 60 "$scripts/bench-io" --bin "$bin" --rounds 1 --seconds 0.12 --warmup 0.05 --peer other="$raw" --peer web:full=cat\ '{port}' echo-c64 >out 2>err || die "bench-io"
[ "$(cat err)" = "bench-io: echo-c64: web is left out: it has no server of the kind 'echo', only full" ] || die "a peer without the cell"
runs 3 bench-io "${short[@]}" --rate-of-capacity 0.3 --peer other="$raw" http-c64
grep -q "^\*\*http-c64\*\* at [0-9,]* requests/s: 0.3 of what" out || die "bench-io: no rate"
runs 8 bench-kv hot "${short[@]}" --connections 8 --depth 2
if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    runs 6 bench-kv redis --rounds 1 --seconds 0.1 --depth 16 --threads 2
fi
if command -v perf >/dev/null || command -v strace >/dev/null; then
    runs 3 bench-calls --rounds 1 --seconds 0.1 --peer other:echo="$raw" echo-c64
fi
runs 9 bench-memory --rounds 1 --connections 100 --stalled 10 --seconds 0.1 idle tasks
runs 5 bench-memory --rounds 1 --stalled 10 --seconds 0.1 stalled
# One round has no interval and no spread, and says so by leaving them out.
runs 3 bench-io --rounds 1 --seconds 0.12 --warmup 0.05 --peer other="$raw" echo-c64
! grep -E '^\| (weft|other) ' out | grep -q '(' || die "an interval of one round"

# bench-peers: weft-bench and its peers. Its option for the program is another.
peers() {
    local status=0
    timeout 60 "$scripts/bench-peers" --bench "$bin/weft-bench" "$@" >out 2>err || status=$?
    return "$status"
}
not_peers() {
    local text=$1 status=0
    shift
    peers "$@" || status=$?
    [ "$status" -eq 2 ] && grep -qF -- "$text" err && [ ! -s out ] || die "bench-peers $*: exit status $status, wanted: $text"
}
peers --help && grep -q '^usage: bench-peers' out && [ ! -s err ] || die "bench-peers --help"
not_peers '--rounds: invalid whole number above 0 value' --rounds 0 fib
not_peers '--rounds: invalid whole number above 0 value' --rounds five fib
not_peers '--workers: invalid list of worker counts' --workers 0 fib
not_peers '--workers: invalid list of worker counts' --workers 1,x fib
not_peers '--limit: invalid number above 0' --limit nan fib
not_peers "no row 'fibb'" fib fibb
not_peers "--only: no peer 'perl' (of: rayon" --only rayon,perl fib
not_peers '--peers: no/such is no folder' --peers no/such fib
not_peers '--bench: there is no program no/such' --bench no/such fib
not_peers '--bench: ' --bench "$(command -v false)" fib
not_peers '--against: there is no program no/such' --against no/such fib
not_peers '--prefix: there is no program no-such-program' --prefix 'no-such-program 1' fib
not_peers '--csv: ' --csv no/such/file fib
not_peers 'none of these rows' idle
peers --check || die "bench-peers --check"
peers --only '' --rounds 1 --workers 1 idle fan_out_in || die "bench-peers beside a row without a target"
grep -q '^bench-peers: idle: left out' err && grep -q '^| fan_out_in | 1 |' out || die "bench-peers: idle is not left out with a word"

# A server that ends, one that does not listen, and one that is no server of this kind are told.
status=0
timeout 60 "$scripts/bench-io" --bin "$bin" --rounds 1 --peer 'other=false {port}' echo-c64 >out 2>err || status=$?
[ "$status" -eq 1 ] && grep -q '^bench-io: other: ended with 1' err || die "a peer that ends"
timeout 60 "$scripts/bench-io" --bin "$bin" "${short[@]}" --peer other:http="$bin/weft-raw echo {port} {threads}" http-c64 >out 2>err || status=$?
grep -q '^| other | failed |' out && grep -q '^bench-io: other: ' err || die "a peer of another kind"
# What happened in a run: a line for each number of workers, each cell filled.
timeout 60 "$scripts/bench-why" --bench "$bin/weft-bench" fan_out_in >out 2>err || die "bench-why"
[ "$(grep -c '^| fan_out_in |' out)" -eq 2 ] && [ ! -s err ] && ! grep -q '|  *|' out || die "bench-why: a line or a cell is missing"
status=0
timeout 60 "$scripts/bench-why" --bench "$bin/weft-bench" nonsense >out 2>err || status=$?
[ "$status" -eq 2 ] && grep -q 'no such row: nonsense' err || die "bench-why nonsense"
echo "all checks passed"
