#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Framing: what is refused, with which status, and that the connection is closed then; what is accepted.
. "$(dirname "$0")/lib.sh"
serve weft-http --workers 2
H='Host: x\r\n'
C='Connection: close\r\n'

# refused STATUS REQUEST: one answer with that status, "Connection: close", and the end, although a good request follows.
refused() {
    local got
    got=$(ask "$2GET / HTTP/1.1\r\n${H}${C}\r\n" | tr -d '\r')
    matches "refused $1 for $2" "$got" "HTTP/1.1 $1 *"
    matches "closed after $2" "$got" *$'\n'"Connection: close"$'\n'*
    expect "answers to $2" "$(grep -ac '^HTTP/1.1' <<<"$got")" 1
}
# accepted BODY REQUEST: a 200 with this body. The request has to ask for the end of the connection.
accepted() {
    local got
    got=$(ask "$2" | tr -d '\r')
    matches "accepted $2" "$got" "HTTP/1.1 200 OK"$'\n'*
    expect "body of $2" "${got#*$'\n\n'}" "$1"
}

# ---- request line ----
refused 400 'garbage\r\n\r\n'
refused 400 '\x16\x03\x01\x02\x00\x01\x00'
refused 400 'GET /\r\n\r\n'
refused 400 "GET  / HTTP/1.1\r\n$H\r\n"
refused 400 "GET /  HTTP/1.1\r\n$H\r\n"
refused 400 "GET / HTTP/1.1 \r\n$H\r\n"
refused 400 " GET / HTTP/1.1\r\n$H\r\n"
refused 400 "GET / http/1.1\r\n$H\r\n"
refused 400 "GET / HTTP/1.10\r\n$H\r\n"
refused 400 "G@T / HTTP/1.1\r\n$H\r\n"
refused 400 "GET x HTTP/1.1\r\n$H\r\n"
refused 400 "GET http:// HTTP/1.1\r\n$H\r\n"
refused 400 "GET * HTTP/1.1\r\n$H\r\n"
refused 400 "GET /#part HTTP/1.1\r\n$H\r\n"
refused 400 "GET /\x01 HTTP/1.1\r\n$H\r\n"
refused 400 "GET /\xc3\xa4 HTTP/1.1\r\n$H\r\n"
refused 400 "GET / HTTP/1.1\n$H\r\n"
refused 400 "GET /\r HTTP/1.1\r\n$H\r\n"
refused 400 "\r\n\r\nGET / HTTP/1.1\r\n$H\r\n"
refused 505 "GET / HTTP/2.0\r\n$H\r\n"
refused 505 "PRI * HTTP/2.0\r\n\r\n"
refused 501 "CONNECT x:1 HTTP/1.1\r\n$H\r\n"
refused 414 "GET /$(printf 'a%.0s' {1..9000}) HTTP/1.1\r\n$H\r\n"
refused 414 "GET /$(printf 'a%.0s' {1..17000})"

# ---- header section ----
refused 400 "GET / HTTP/1.1\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n$H$H\r\n"
refused 400 "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\nHost : x\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}A\t: x\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H} folded\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}A: x\r\n folded\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}A: x\r\n\tfolded\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}no colon\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}: no name\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}A: x\rB: y\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}A: x\nB: y\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}A: \x00\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n${H}A: \x7f\r\n\r\n"
refused 400 "GET / HTTP/1.1\r\n$H\n"
refused 417 "POST /echo HTTP/1.1\r\n${H}Expect: a miracle\r\nContent-Length: 1\r\n\r\nx"
refused 431 "GET / HTTP/1.1\r\n$H$(printf 'A: b\\r\\n%.0s' {1..100})\r\n"
refused 431 "GET / HTTP/1.1\r\n${H}A: $(printf 'a%.0s' {1..20000})\r\n\r\n"
refused 431 "GET / HTTP/1.1\r\n${H}$(printf 'Aaaa: bbbbbbbbbb%.0s' {1..1300})"

# ---- where the request ends ----
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: 3, 3\r\n\r\nabc"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: +3\r\n\r\nabc"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: -3\r\n\r\nabc"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: 0x3\r\n\r\nabc"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: 3 3\r\n\r\nabc"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length:\r\n\r\nabc"
refused 413 "POST /echo HTTP/1.1\r\n${H}Content-Length: 1048577\r\n\r\nabc"
refused 413 "POST /echo HTTP/1.1\r\n${H}Content-Length: 99999999999999999999999999999\r\n\r\nabc"
refused 413 "POST /echo HTTP/1.1\r\n${H}Content-Length: 18446744073709551616\r\n\r\n"
refused 413 "POST /echo HTTP/1.1\r\n${H}Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n"
refused 400 "POST /echo HTTP/1.1\r\n${H}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
refused 400 "POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
refused 400 "POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
refused 400 "POST /echo HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
for coding in gzip 'gzip, chunked' 'chunked, gzip' 'chunked, chunked' identity xchunked 'chunked;q=1' '"chunked"' ''; do
    refused 501 "POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: $coding\r\n\r\n0\r\n\r\n"
done
refused 400 "POST /echo HTTP/1.1\r\n${H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
refused 400 "POST /echo HTTP/1.1\r\n${H}Transfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n"

# ---- chunks ----
chunked() { refused "$1" "POST /echo HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n$2"; }
chunked 400 '\r\n'
chunked 400 'x\r\n'
chunked 400 '-1\r\n'
chunked 400 '0x1\r\na\r\n0\r\n\r\n'
chunked 400 ' 1\r\na\r\n0\r\n\r\n'
chunked 400 '1 \r\na\r\n0\r\n\r\n'
chunked 400 '1\na\n0\n\n'
chunked 400 '1\r\nab\r\n0\r\n\r\n'
chunked 400 '2\r\nab0\r\n\r\n'
chunked 400 '1;a\rb\r\na\r\n0\r\n\r\n'
chunked 400 '1;a\nb\r\na\r\n0\r\n\r\n'
chunked 400 '1111111111111111\r\n'
chunked 400 "1;$(printf 'a%.0s' {1..5000})\r\na\r\n0\r\n\r\n"
chunked 413 '100001\r\n'
chunked 413 'fffffffffffffff\r\n'
chunked 400 '0\r\nTrailer\r\n\r\n'
chunked 400 '0\r\nA: b\n\r\n'
chunked 400 '0\r\n folded: b\r\n\r\n'
chunked 400 '0\r\n\n'
chunked 431 "0\r\nA: $(printf 'a%.0s' {1..5000})\r\n\r\n"

# ---- accepted ----
hello='Hello, World!'
accepted "$hello" "GET / HTTP/1.1\r\n$H$C\r\n"
accepted "$hello" "\r\nGET / HTTP/1.1\r\n$H$C\r\n"
accepted "$hello" "GET / HTTP/1.0\r\n\r\n"
accepted "$hello" "GET / HTTP/1.9\r\n$H$C\r\n"
accepted "$hello" "GET /?a=b HTTP/1.1\r\n$H$C\r\n"
accepted "$hello" "GET http://example.com/ HTTP/1.1\r\n$H$C\r\n"
accepted "$hello" "GET HTTP://example.com HTTP/1.1\r\n$H$C\r\n"
accepted "$hello" "GET https://example.com?a=b HTTP/1.1\r\n$H$C\r\n"
accepted "$hello" "GET / HTTP/1.1\r\nhOST:\t x \t\r\nconnection: Upgrade, CLOSE\r\n\r\n"
accepted "$hello" "GET / HTTP/1.1\r\nHost:\r\nA: \xe4\tb\r\n$C\r\n"
accepted abc "POST /echo HTTP/1.1\r\n$H${C}Content-Length: 003\r\n\r\nabc"
accepted abcde "POST /echo HTTP/1.1\r\n$H${C}Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n02;x=\"y z\"\r\nde\r\n0\r\n\r\n"
accepted abc "POST /echo HTTP/1.1\r\n$H${C}Transfer-Encoding: chunked\r\n\r\n3 ; x\r\nabc\r\n0\r\nA: b\r\nContent-Length: 7\r\n\r\n"
accepted 0123456789 "POST /echo HTTP/1.1\r\n$H${C}Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n000\r\n\r\n"

# ---- the connection's life ----
got=$(ask "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n")
expect "HTTP/1.0: kept while asked for" "$(grep -ao 'HTTP/1.1 200' <<<"$got" | wc -l)" 2
matches "HTTP/1.0: told so" "$got" "*Connection: keep-alive*Connection: close*"
got=$(ask "POST / HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nGET /GET /nothing HTTP/1.1\r\n$H\r\nGET / HTTP/1.1\r\n$H$C\r\n")
expect "405 and 404 keep the connection and skip the body" "$(grep -a '^HTTP/1.1' <<<"$got" | cut -c10-12 | tr '\n' ' ')" "405 404 200 "
got=$(ask "GET / HTTP/1.1\r\n$H$C\r\nGET / HTTP/1.1\r\n$H\r\n")
expect "nothing is answered after close" "$(grep -ao 'HTTP/1.1' <<<"$got" | wc -l)" 1
done_testing
