#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh [FOLDER]: builds the peers whose tools are here into FOLDER (default: build/peers at the root of the tree), and
# says which were left out. `scripts/install-packages peers` installs what Debian has for them.
#   LACE=DIR    also Lace: its source with a CMake build in DIR/build
#   MYTH=DIR    also MassiveThreads, installed under DIR
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
to=${1:-$here/../../build/peers}
mkdir -p "$to" && to=$(cd "$to" && pwd) || exit 1
failed=0

# peer NAME COMMAND...
peer() {
    local name=$1
    shift
    if ("$@") >"$to/$name.log" 2>&1; then
        echo "$name: built"
    else
        echo "$name: left out, see $to/$name.log"
        failed=1
    fi
}

cc -O3 -Wall -Wextra -c "$here/../kernels.c" -o "$to/kernels.o" || exit 1

go_build() {
    cd "$here/go" && GOCACHE=$to/go-cache go build -o "$to/peer-go" .
}
rust() {
    cd "$here/rust" &&
        CARGO_TARGET_DIR=$to/rust RUSTFLAGS="-Ctarget-cpu=native -Clink-arg=$to/kernels.o" \
            cargo build --release --offline -j 2 && cp "$to/rust/release/peer-rayon" "$to/rust/release/peer-tokio" "$to"
}
peer rust rust
peer tbb g++ -O3 -march=native -std=c++17 -Wall -Wextra "$here/cpp/tbb.cpp" "$to/kernels.o" -o "$to/peer-tbb" -ltbb
peer go go_build
peer epoll gcc -O2 -Wall -Wextra -pthread "$here/c/epoll_server.c" -o "$to/peer-epoll"
peer libuv-http gcc -O2 -Wall -Wextra -pthread "$here/c/libuv_http.c" -o "$to/peer-libuv-http" -luv -lhttp_parser
if [ -n "${LACE:-}" ]; then
    peer lace gcc -O3 -march=native -Wall -Wextra -I"$LACE/src" -I"$LACE/build" "$here/c/lace.c" -o "$to/peer-lace" \
        "$LACE/build/lib/liblace.a" -lpthread
fi
if [ -n "${MYTH:-}" ]; then
    peer massivethreads gcc -O3 -march=native -Wall -Wextra -I"$MYTH/include" "$here/c/massivethreads.c" \
        -o "$to/peer-massivethreads" "$MYTH/lib/libmyth.a" -lpthread -ldl
fi
exit "$failed"
