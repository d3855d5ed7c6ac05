/* SPDX-License-Identifier: Apache-2.0 */
/* weft-test-drain PORT PID N: does a draining server lose requests?
 *
 * N connections are kept busy with requests of several kinds. After a second N more connect and send a request each,
 * and at the same moment PID gets SIGTERM. From then on nobody connects. Allowed for each request that was sent in
 * whole:
 *   - a whole right answer; the connection ends after one with `Connection: close`;
 *   - if it was sent after the signal: the clean end of the connection before any byte of an answer (it crossed the
 *     server's word that it leaves; the client would ask elsewhere).
 * Anything else is a lost request: a reset, half an answer, the end before an answer to a request that was sent
 * before. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

enum { MOST = 1024 };

struct connection {
    struct net_answer answer;
    bool late;      /* the current request was sent after the signal */
    unsigned asked; /* requests so far */
};

static struct pollfd fds[MOST];
static struct connection connections[MOST];
static bool signalled;
static long answered, answered_late, ended_between, last_words;

/* The next request: mostly the plain one, sometimes one that takes a while or has a body. */
static void ask(int i)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /sleep?ms=30 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    };
    struct connection *c = &connections[i];
    unsigned kind = (c->asked++ * 7u + (unsigned)i) % 16u;
    const char *request = requests[kind < 4 ? kind : 0];
    memset(&c->answer, 0, sizeof c->answer);
    c->late = signalled;
    int error = net_send(fds[i].fd, request, strlen(request));
    if (error != 0 && !(c->late && error == EPIPE)) {
        net_die(error, "connection %d: sending request %u", i, c->asked);
    }
}

static void end(int i)
{
    close(fds[i].fd);
    fds[i].fd = -1;
}

static void receive(int i)
{
    struct connection *c = &connections[i];
    char bytes[8192];
    ssize_t n = recv(fds[i].fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n < 0) {
        net_die(errno, "connection %d: request %u, sent %s the signal", i, c->asked, c->late ? "after" : "before");
    }
    if (n == 0) {
        if (!c->late || c->answer.have > 0) {
            net_die(0, "connection %d: the end after %zu bytes of the answer to request %u, sent %s the signal", i,
                    c->answer.have + c->answer.body, c->asked, c->late ? "after" : "before");
        }
        ended_between++;
        end(i);
        return;
    }
    bool done;
    if (net_take(&c->answer, bytes, (size_t)n, &done) != (size_t)n) {
        net_die(0, "connection %d: bytes behind the answer", i);
    }
    if (!done) {
        return;
    }
    if (c->answer.status != 200) {
        net_die(0, "connection %d: status %d", i, c->answer.status);
    }
    if (c->answer.close && !signalled) {
        net_die(0, "connection %d: closed before the signal", i);
    }
    answered++;
    answered_late += signalled;
    if (c->answer.close) {
        last_words++;
        end(i);
    } else {
        ask(i);
    }
}

/* Serve what is ready, until `until` or until all have ended. */
static void run(int n, int64_t until)
{
    for (int open = n; open > 0 && net_ms() < until;) {
        int ready = poll(fds, (nfds_t)n, 50);
        open = 0;
        for (int i = 0; i < n; i++) {
            if (fds[i].fd >= 0 && ready > 0 && fds[i].revents != 0) {
                receive(i);
            }
            open += fds[i].fd >= 0;
        }
    }
}

int main(int argc, char **argv)
{
    int n = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 0;
    if (n < 1 || 2 * n > MOST) {
        fprintf(stderr, "usage: weft-test-drain PORT PID N   (N up to %d)\n", MOST / 2);
        return 2;
    }
    int port = (int)strtol(argv[1], NULL, 10);
    for (int i = 0; i < n; i++) {
        fds[i] = (struct pollfd){.fd = net_connect(port), .events = POLLIN};
        ask(i);
    }
    run(n, net_ms() + 1000);
    for (int i = n; i < 2 * n; i++) { /* some of these wait in the kernel's queue when the signal comes */
        fds[i] = (struct pollfd){.fd = net_connect(port), .events = POLLIN};
        ask(i);
    }
    signalled = true;
    if (kill((pid_t)strtol(argv[2], NULL, 10), SIGTERM) != 0) {
        net_die(errno, "kill");
    }
    run(2 * n, net_ms() + 60000);
    int left = 0;
    for (int i = 0; i < 2 * n; i++) {
        left += fds[i].fd >= 0;
    }
    printf("%ld answers, %ld after the signal; %ld last ones, %ld ended between two requests, %d still open\n",
           answered, answered_late, last_words, ended_between, left);
    return left == 0 && last_words > 0 ? 0 : 1;
}
