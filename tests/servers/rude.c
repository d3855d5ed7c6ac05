/* SPDX-License-Identifier: Apache-2.0 */
/* weft-test-rude MODE PROTOCOL PORT N SEED: N connections, 32 at a time, of clients that do everything but behave:
 *   garbage  requests with bytes changed, cut, doubled, or nothing but noise; then an end, a half-close or a reset. After a
 *            half-close the server has to end its side within a minute, whatever it was sent.
 *   halves   a request, then a half-close: the whole answer has to come, then the end.
 * PROTOCOL: http, resp. Status 0 if the server dealt with them. The same seed sends the same bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

enum { AT_ONCE = 32, MOST = 4096 };

static uint64_t state;
static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((state >> 33) * below) >> 31);
}

static const char *const seeds[2][4] = {
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
     "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\nHost: x\r\n\r\n",
     "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\n",
     "GET /sleep?ms=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
    {"*1\r\n$4\r\nPING\r\n", "SET a b\r\nGET a\r\nINCR n\r\n", "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
     "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$0\r\n\r\n"},
};

static size_t make_garbage(int protocol, char *to)
{
    size_t n = 0;
    for (uint32_t parts = 1 + draw(4); parts > 0; parts--) {
        const char *seed = seeds[protocol][draw(4)];
        size_t length = strlen(seed);
        memcpy(to + n, seed, length);
        n += length;
    }
    if (draw(8) == 0) {
        n = 1 + draw(MOST - 1);
        for (size_t i = 0; i < n; i++) {
            to[i] = (char)draw(256);
        }
    }
    for (uint32_t changes = draw(6); changes > 0; changes--) {
        static const char liked[] = "\r\n\0 :$*-0123456789,;xX\xff";
        to[draw((uint32_t)n)] = liked[draw(sizeof liked - 1)];
    }
    return draw(3) == 0 ? 1 + draw((uint32_t)n) : n;
}

/* Read to the end. False: it did not come in time. */
static bool to_the_end(int fd, char *last, size_t *total)
{
    char bytes[65536];
    ssize_t n;
    *total = 0;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        *total += (size_t)n;
        last[0] = bytes[n - 1];
    }
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void garbage(int protocol, int port, long n)
{
    int fds[AT_ONCE];
    char bytes[MOST];
    for (long done = 0; done < n; done += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            fds[i] = net_connect(port);
            size_t length = make_garbage(protocol, bytes), cut = draw(2) == 0 ? draw((uint32_t)length) : length;
            (void)net_send(fds[i], bytes, cut); /* it may have had enough of us already */
            (void)net_send(fds[i], bytes + cut, length - cut);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            uint32_t how = draw(4);
            if (how == 0) {
                struct linger now = {.l_onoff = 1, .l_linger = 0};
                setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &now, sizeof now);
            } else if (how == 1) {
                char last;
                size_t total;
                shutdown(fds[i], SHUT_WR);
                if (!to_the_end(fds[i], &last, &total)) {
                    net_die(0, "connection %ld: no end within a minute of ours", done + i);
                }
            }
            close(fds[i]);
        }
    }
}

static void halves(int protocol, int port, long n)
{
    int fds[AT_ONCE];
    const char *request = seeds[protocol][0];
    size_t wanted = protocol == 0 ? 0 : sizeof "+PONG\r\n" - 1;
    for (long done = 0; done < n; done += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            fds[i] = net_connect(port);
            if (net_send(fds[i], request, strlen(request)) != 0) {
                net_die(errno, "send");
            }
            shutdown(fds[i], SHUT_WR);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            char last = 0;
            size_t total;
            if (!to_the_end(fds[i], &last, &total)) {
                net_die(0, "connection %ld: no end", done + i);
            }
            wanted = wanted == 0 ? total : wanted; /* of HTTP: as many as the first time */
            if (total < 7 || total != wanted) {
                net_die(0, "connection %ld: %zu bytes, not %zu", done + i, total, wanted);
            }
            close(fds[i]);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 6 && (strcmp(argv[1], "garbage") == 0 || strcmp(argv[1], "halves") == 0)) {
        int protocol = strcmp(argv[2], "resp") == 0;
        state = strtoul(argv[5], NULL, 10) * 2654435761u + 1;
        (argv[1][0] == 'g' ? garbage : halves)(protocol, (int)strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10));
        return 0;
    }
    fprintf(stderr, "usage: weft-test-rude garbage|halves http|resp PORT N SEED\n");
    return 2;
}
