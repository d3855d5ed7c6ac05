#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kv.sh WORKERS: the commands of weft-kv as redis-cli sends them, protocol errors in raw bytes, redis-benchmark.
. "$(dirname "$0")/lib.sh"
needs redis-cli redis-benchmark
serve weft-kv --workers "$1"
cli() { timeout 60 redis-cli -p "$PORT" "$@"; }

# `> command`, then what redis-cli prints for it, without empty lines at the end; `~ A-B`: a number from A to B.
check_script() {
    local line command= wanted= got range
    while IFS= read -r line; do
        if [[ "$line" == "> "* ]]; then
            got=$([ -z "$command" ] || eval "cli $command")
            if [[ "$wanted" == '~ '* ]]; then
                range=${wanted#'~ '} range=${range%$'\n'}
                [ "$got" -ge "${range%-*}" ] && [ "$got" -le "${range#*-}" ] || fail "$command: got '$got', wanted $range"
            elif [ -n "$command" ]; then
                expect "$command" "$got" "$(printf %s "$wanted")"
            fi
            command=${line#> }
            wanted=
        else
            wanted+=$line$'\n'
        fi
    done < <(grep -v '^#' "$1"; echo "> ")
}
check_script "$(dirname "$0")/kv.script"

# ---- pipelining, and the replies in one piece ----
got=$(for i in {1..1000}; do echo "set key:$i value:$i"; done | cli | sort | uniq -c | tr -s ' ')
expect "1000 SETs" "$got" " 1000 OK"
expect "DBSIZE" "$(cli dbsize)" 1000
got=$(ask 'PING\r\nSET a 1\r\nINCR a\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nQUIT\r\nPING\r\n')
expect "pipelined" "$(tr -d '\r' <<<"$got" | tr '\n' ' ')" '+PONG +OK :2 $1 2 +OK '
cli flushall >/dev/null
expect "FLUSHALL" "$(cli dbsize)" 0

# ---- large values ----
head -c 524288 /dev/urandom | base64 -w0 | head -c 524288 >"$SCRATCH/value"
expect "SET of 512 KiB" "$(cli -x set large <"$SCRATCH/value")" OK
cli get large | head -c 524288 >"$SCRATCH/back"
cmp -s "$SCRATCH/value" "$SCRATCH/back" || fail "GET of 512 KiB differs"
matches "SET of more" "$(ask '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$524289\r\n')" "-ERR Protocol error: invalid bulk length*"
{
    printf '*2001\r\n$4\r\nMSET\r\n'
    for i in {1..1000}; do
        printf '$%d\r\nkey:%d\r\n$%d\r\nvalue:%d\r\n' $((4 + ${#i})) "$i" $((6 + ${#i})) "$i"
    done
    printf 'DBSIZE\r\nQUIT\r\n'
} >"$SCRATCH/mset"
got=$(timeout 60 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; cat "$1" >&3; cat <&3' "$PORT" "$SCRATCH/mset")
expect "MSET of 1000" "$(tr -d '\r' <<<"$got" | tr '\n' ' ')" '+OK :1001 +OK '
expect "MGET of 1000" "$(cli mget $(seq -f 'key:%g' 1 1000) | md5sum)" "$(seq -f 'value:%g' 1 1000 | md5sum)"
expect "DEL of 1000" "$(cli del $(seq -f 'key:%g' 1 1000))" 1000

# ---- what is parsed and answered in one go, and what just is not: lengths of more digits, more arguments, a full batch of replies ----
command() { # its arguments as an array
    printf '*%d\r\n' $#
    for word; do printf '$%d\r\n%s\r\n' ${#word} "$word"; done
}
raw() { timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; cat >&3; cat <&3' "$PORT"; }
wanted=
for n in 0 1 9 10 99 100 999 1000 1001 4069 4070 4071 4094 4095 4096 5000; do
    value=$(printf '%*s' "$n" '' | tr ' ' v)
    command SET "length:$n" "$value" >>"$SCRATCH/set"
    command gEt "length:$n" >>"$SCRATCH/get"
    wanted+="\$$n"$'\r\n'"$value"$'\r\n'
done
cat "$SCRATCH/set" "$SCRATCH/get" <(command QUIT) | raw >"$SCRATCH/back"
{ for _ in {1..16}; do printf '+OK\r\n'; done; printf %s "$wanted"; printf '+OK\r\n'; } | cmp -s - "$SCRATCH/back" || fail "values of all lengths"
for i in {1..9}; do
    got=$({ command MGET $(seq 1 "$i"); command QUIT; } | raw | tr -d '\r' | tr '\n' ' ')
    expect "MGET of $i" "$got" "*$i $(for _ in $(seq 1 "$i"); do printf '$-1 '; done)+OK "
done
matches "a name with a blank" "$({ command 'GET ' a; command QUIT; } | raw)" "-ERR unknown command*"
matches "a name that begins as another" "$({ command GETS a; command FLUSHALLS; command QUIT; } | raw | tail -n 2 | head -n 1)" "-ERR unknown command*"
expect "a line end that is none" "$(ask '*1\r\n$4\r\nPINGxxPING\r\n' | tr -d '\r')" "-ERR Protocol error: a bulk string that does not end in CR LF"
expect "keys taken back" "$(cli del $(printf 'length:%d ' 0 1 9 10 99 100 999 1000 1001 4069 4070 4071 4094 4095 4096 5000))" 16

# ---- expiry ----
expect "PX" "$(cli set brief x px 60000)" OK
ttl=$(cli pttl brief)
[ "$ttl" -gt 0 ] && [ "$ttl" -le 60000 ] || fail "PTTL: $ttl"
cli set brief x px 150 >/dev/null
ttl=$(printf 'set kept x px 60000\nset kept y keepttl\npttl kept\n' | cli | tail -n 1)
[ "$ttl" -gt 0 ] || fail "KEEPTTL lost the expiry"
printf 'set kept x px 200\nset kept y xx keepttl\n' | cli >/dev/null # where a busy machine takes longer for it, there is none to keep
cli set freed x px 100 >/dev/null
cli set freed y >/dev/null
for i in {1..300}; do echo "set gone:$i x px 100"; done | cli >/dev/null
sleep 0.5
expect "GET of an expired key" "$(cli get brief)" ""
expect "KEEPTTL kept it" "$(cli get kept)" ""
expect "SET took the expiry off" "$(cli get freed)" y
only_two() { [ "$(cli dbsize)" = 2 ]; }
await "expired keys are removed without being asked for" only_two

# ---- what is no protocol ----
protocol() { matches "$1" "$(ask "$1")" "-ERR Protocol error: $2"*; }
protocol '*x\r\n' 'invalid multibulk length'
protocol '*1048577\r\n' 'invalid multibulk length'
protocol '*99999999999999999999\r\n' 'invalid multibulk length'
protocol '*1\n' 'invalid multibulk length'
protocol '*1\r\nPING\r\n' "expected '\$', got 'P'"
protocol '*1\r\n$x\r\n' 'invalid bulk length'
protocol '*1\r\n$-1\r\n' 'invalid bulk length'
protocol '*1\r\n$4\r\nPINGxx' 'a bulk string that does not end in CR LF'
protocol 'SET a "b\r\n' 'unbalanced quotes in request'
protocol 'SET a "b"c\r\n' 'unbalanced quotes in request'
protocol "$(printf 'a%.0s' {1..70000})" 'too big inline request'
protocol "*$(printf '1%.0s' {1..70000})" 'too big mbulk count string'
expect "nothing is answered after a protocol error" "$(ask 'PING\r\n*x\r\nPING\r\n' | tr -d '\r' | grep -c PONG)" 1
got=$(ask '\r\n*0\r\n*-1\r\n \r\nPING\r\nQUIT\r\n')
expect "empty commands are none" "$(tr -d '\r' <<<"$got" | tr '\n' ' ')" '+PONG +OK '
expect "an error is one line" "$(ask '*1\r\n$4\r\na\r\nb\r\nQUIT\r\n' | wc -l)" 2
"$WEFT_BIN/weft-test-clients" reset "$PORT" 100 || fail "resets"
(timeout 60 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "*3\r\n\$3\r\nSET\r\n" >&3; sleep 0.2' "$PORT")
expect "afterwards" "$(cli ping)" PONG

# ---- redis-benchmark ----
timeout 150 redis-benchmark -p "$PORT" -q -n 20000 -c 50 -P 16 -t ping,set,get,incr,mset 2>&1 | tr '\r' '\n' >"$SCRATCH/bench"
for name in PING_INLINE PING_MBULK SET GET INCR 'MSET (10 keys)'; do
    matches "redis-benchmark $name" "$(grep -aF "$name: " "$SCRATCH/bench" | tail -n1)" "$name: *requests per second*"
done
[[ "$(cat "$SCRATCH/bench")" != *[Ee]rror* ]] || fail "redis-benchmark: $(cat "$SCRATCH/bench")"
expect "INCR by redis-benchmark" "$(cli get counter:__rand_int__)" 20000
matches "INFO" "$(cli info | tr -d '\r')" "*redis_mode:standalone*db0:keys=*"

# SIGTERM: what was received is answered, the clients see a clean end.
timeout 100 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "PING\r\n" >&3; cat <&3; echo "end $?"' "$PORT" >"$SCRATCH/got" 2>&1 &
client=$!
await "PONG" grep -q PONG "$SCRATCH/got"
finish
wait "$client"
expect "a client during the drain" "$(tr -d '\r' <"$SCRATCH/got")" "+PONG"$'\n'"end 0"
done_testing
