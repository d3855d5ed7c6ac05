/* SPDX-License-Identifier: Apache-2.0 */
/* weft-test-habits PORT CONNECTIONS RATE SECONDS SEED: so many connections to weft-http at once, of clients of every habit, for so
 * long; RATE a second are new, so one lives for CONNECTIONS / RATE seconds in the mean. One thread; a tick every 20 ms looks at all.
 * Status 0 if everybody got what is due to him:
 *   polite   a request every few seconds: each is answered within ten (of weft-http's own text), nobody is thrown out
 *   silent   says nothing until it leaves
 *   sipping  600 requests at once, and reads 300 bytes of the answers (80 KB) five times a second, through a small buffer
 *   loris    a byte of a head every 200 ms: the server must end it (within ten seconds of its --header-ms, 2 s)
 *   reset    a request, or a part of one, and then a reset
 *   half     a request, then a half-close: the whole answer, then the end
 *   garbage  noise, then an end, a reset, or a half-close: after this the server ends its side within ten seconds */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

enum kind { POLITE, SILENT, SIPPING, LORIS, RESET, HALF, GARBAGE, KINDS };
static const char *const names[KINDS] = {"polite", "silent", "sipping", "loris", "reset", "half", "garbage"};
static const unsigned shares[KINDS] = {40, 20, 10, 10, 10, 5, 5}; /* of a hundred */

enum { TICK = 20, PATIENCE = 10000, HEADER = 2000, SIPS = 600, SIP = 300 };
static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
enum { GET_N = sizeof get - 1 };

struct client {
    int fd; /* -1: none */
    enum kind kind;
    int64_t act, over; /* ms: when to do the next thing; when to leave */
    bool expecting;    /* the server has to do something: until `act` */
    unsigned step;
    struct net_answer answer;
};

static struct client *clients;
static long client_count, open_count, most, answers, ended;
static long opened[KINDS];
static int ep, port;
static uint64_t state;
static char sips[SIPS * GET_N];

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((state >> 33) * below) >> 31);
}

static void leave(struct client *c, bool reset)
{
    if (reset) {
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    }
    close(c->fd);
    c->fd = -1;
    open_count--;
}

/* False: the server has gone, which only some may be shown. */
static bool say(struct client *c, const char *bytes, size_t n)
{
    return send(c->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}

static enum kind draw_kind(void)
{
    unsigned at = draw(100), k = 0;
    while (at >= shares[k]) {
        at -= shares[k++];
    }
    return (enum kind)k;
}

static void enter(struct client *c, int64_t now, int64_t mean)
{
    long index = c - clients;
    *c = (struct client){.kind = draw_kind(), .over = now + draw((uint32_t)(2 * mean)), .act = now + draw(1000)};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        net_die(errno, "socket");
    }
    if (c->kind == SIPPING) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
    }
    /* 127.4.0.x: each address has ports of its own, or those that rest after a close would run out. */
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f040001u + (uint32_t)index % 64)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        net_die(errno, "connection with %ld open", open_count);
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (c->kind != SIPPING && epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) != 0) { /* who sips looks by the tick */
        net_die(errno, "epoll_ctl");
    }
    opened[c->kind]++;
    most = ++open_count > most ? open_count : most;
}

/* The server has ended it. */
static void over(struct client *c)
{
    if (c->kind == POLITE || (c->kind == HALF && (c->step < 2 || c->expecting))) {
        net_die(0, "a %s client was thrown out, %s", names[c->kind], c->step == 0 ? "unasked" : "waiting");
    }
    ended++;
    leave(c, false);
}

static void hear(struct client *c, int64_t now)
{
    char bytes[4096];
    ssize_t n = recv(c->fd, bytes, c->kind == SIPPING ? SIP : sizeof bytes, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        over(c);
        return;
    }
    if (c->kind == SIPPING || c->kind == LORIS || c->kind == GARBAGE || c->kind == RESET) {
        return;
    }
    bool done = false;
    if (net_take(&c->answer, bytes, (size_t)n, &done) != (size_t)n || !c->expecting) {
        net_die(0, "a %s client got more than it asked for", names[c->kind]);
    }
    if (!done) {
        return;
    }
    if (c->answer.status != 200 || c->answer.body_n != 13) {
        net_die(0, "a %s client: status %d, %zu bytes", names[c->kind], c->answer.status, c->answer.body_n);
    }
    answers++;
    memset(&c->answer, 0, sizeof c->answer);
    c->expecting = false;
    if (c->kind == HALF) { /* now the end */
        c->step = 2;
        c->act = now + PATIENCE;
    } else {
        c->act = now + 3000 + draw(5000);
    }
}

static void make_noise(struct client *c)
{
    char bytes[600];
    size_t n = 1 + draw(sizeof bytes - 1), from = 0;
    if (draw(2) == 0) {
        memcpy(bytes, get, GET_N);
        from = draw(GET_N);
        n = n > GET_N ? n : GET_N;
    }
    for (size_t i = from; i < n; i++) {
        bytes[i] = (char)draw(256);
    }
    (void)say(c, bytes, n); /* it may have had enough of us already */
}

/* It is time for this one to do something. */
static void act(struct client *c, int64_t now)
{
    if (c->expecting || (c->kind == HALF && c->step == 2)) {
        net_die(0, "a %s client waited for ten seconds", names[c->kind]);
    }
    bool leaving = now >= c->over;
    c->act = now + TICK;
    switch (c->kind) {
    case POLITE:
        if (leaving) {
            leave(c, draw(8) == 0);
            return;
        }
        c->step = 1;
        c->expecting = true;
        c->act = now + PATIENCE;
        if (!say(c, get, GET_N)) {
            over(c);
        }
        return;
    case SILENT:
        c->act = c->over;
        break;
    case SIPPING:
        if (c->step++ == 0) {
            (void)say(c, sips, sizeof sips);
        }
        c->act = now + 200;
        hear(c, now);
        break;
    case LORIS:
        if (c->step == 0) {
            c->over = now + HEADER + PATIENCE;
        } else if (leaving) {
            net_die(0, "a loris is still there");
        }
        c->act = now + 200;
        if (!say(c, get + c->step % 14, 1)) { /* no line ends */
            over(c);
            return;
        }
        c->step++;
        return;
    case RESET:
        if (c->step++ == 0) {
            (void)say(c, get, 1 + draw(GET_N));
            c->over = c->act = now + draw(500);
            return;
        }
        leave(c, true);
        return;
    case HALF:
        c->step = 1;
        c->expecting = true;
        c->act = now + PATIENCE;
        if (!say(c, get, GET_N)) {
            over(c);
            return;
        }
        shutdown(c->fd, SHUT_WR);
        return;
    default: /* GARBAGE */
        make_noise(c);
        if (draw(2) == 0) {
            shutdown(c->fd, SHUT_WR);
            c->expecting = true;
            c->act = now + PATIENCE;
        } else {
            leave(c, draw(2) == 0);
        }
        return;
    }
    if (c->fd >= 0 && leaving) {
        leave(c, draw(4) == 0);
    }
}

static void tick(int64_t now)
{
    for (long i = 0; i < client_count; i++) {
        if (clients[i].fd >= 0 && now >= clients[i].act) {
            act(&clients[i], now);
        }
    }
}

static void run(double rate, int64_t seconds)
{
    int64_t start = net_ms(), end = start + 1000 * seconds, last = 0, now;
    int64_t mean = (int64_t)((double)client_count / rate * 2000); /* of those who stay; a third leaves soon */
    long entered = 0, at = 0;
    struct epoll_event events[256];
    while ((now = net_ms()) < end) {
        for (; open_count < client_count && (double)entered < rate * (double)(now - start) / 1e3; entered++) {
            while (clients[at].fd >= 0) {
                at = (at + 1) % client_count;
            }
            enter(&clients[at], now, mean);
        }
        if (now >= last + TICK) {
            last = now;
            tick(now);
        }
        int n = epoll_wait(ep, events, 256, TICK);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c->fd >= 0) {
                hear(c, net_ms());
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: weft-test-habits PORT CONNECTIONS RATE SECONDS SEED\n");
        return 2;
    }
    port = (int)strtol(argv[1], NULL, 10);
    client_count = strtol(argv[2], NULL, 10);
    state = strtoul(argv[5], NULL, 10) * 2654435761u + 1;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    clients = calloc((size_t)client_count, sizeof *clients);
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (clients == NULL || ep < 0) {
        net_die(errno, "memory, or epoll");
    }
    for (long i = 0; i < client_count; i++) {
        clients[i].fd = -1;
    }
    for (int i = 0; i < SIPS; i++) {
        memcpy(sips + i * GET_N, get, GET_N);
    }
    run(strtod(argv[3], NULL), strtol(argv[4], NULL, 10));
    for (int k = 0; k < KINDS; k++) {
        printf("%s %ld, ", names[k], opened[k]);
    }
    printf("at most %ld at once; %ld answers, %ld ended by the server\n", most, answers, ended);
    for (long i = 0; i < client_count; i++) {
        if (clients[i].fd >= 0) {
            leave(&clients[i], i % 2 == 0);
        }
    }
    return answers == 0;
}
