/* SPDX-License-Identifier: Apache-2.0 */
/* load/resp.c -- weft-load resp: GET and SET at a key-value server, keys by Zipf's law. First each key is set once; then each connection sends
 * --depth commands at once, waits for all replies, compares every byte of them with what they have to be, and sends the next. A
 * key's value is always the same, so a reply is known before it comes. A server that answers nothing for --patience seconds, from the
 * connection on, ends the program with a sentence; so does one that has not set the keys in FILL seconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "load.h"
#include "zipf.h"

enum { FILL = 60 };                   /* seconds for the keys to be set */
enum { DIGITS = 12, OVERHEAD = 128 }; /* bytes of a command, or of a reply, that are not its value: fewer than that */

struct client {
    int fd;
    uint64_t begun;
    long commands; /* of the batch under way; 0: none */
    char *out, *wanted;
    size_t out_n, out_at, wanted_n, got;
};

static struct client *clients;
static long busy, filled; /* connections with a batch; keys that were set */
static bool filling;
static bool heard; /* bytes came */
static struct zipf ranks;
static uint64_t chance;
static char head[2][OVERHEAD], value_head[OVERHEAD]; /* of GET, of SET, and "$N\r\n" */

static char *put(char *to, const char *text)
{
    return stpcpy(to, text);
}

static char *put_digits(char *to, long key)
{
    for (int i = DIGITS; i-- > 0; key /= 10) {
        to[i] = (char)('0' + key % 10);
    }
    return to + DIGITS;
}

/* The key's number, as far as it fits from its last digit on, and then x. */
static char *put_value(char *to, long key)
{
    char digits[DIGITS];
    put_digits(digits, key);
    size_t n = options.bytes < DIGITS ? (size_t)options.bytes : DIGITS;
    memcpy(to, digits + DIGITS - n, n);
    memset(to + n, 'x', (size_t)options.bytes - n);
    return put(to + options.bytes, "\r\n");
}

static void add_command(struct client *c, bool set, long key)
{
    char *at = put_digits(put(c->out + c->out_n, head[set]), key), *wanted = c->wanted + c->wanted_n;
    at = put(at, "\r\n");
    if (set) {
        at = put_value(put(at, value_head), key);
        wanted = put(wanted, "+OK\r\n");
    } else {
        wanted = put_value(put(wanted, value_head), key);
    }
    c->out_n = (size_t)(at - c->out);
    c->wanted_n = (size_t)(wanted - c->wanted);
    c->commands++;
}

static void push(struct client *c)
{
    while (c->out_at < c->out_n) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return; /* edge-triggered: the next event tells when there is room */
        }
        if (n < 0) {
            failed("send", errno);
            die_midway("the server has left%s", last_failure());
        }
        c->out_at += (size_t)n;
    }
}

static void next_batch(struct client *c, uint64_t now)
{
    c->out_n = c->out_at = c->wanted_n = c->got = 0;
    c->commands = 0;
    for (long i = 0; i < options.depth && (!filling || filled < options.keys); i++) {
        if (filling) {
            add_command(c, true, filled++);
        } else {
            bool set = (double)(random_bits(&chance) >> 11) * 0x1p-53 < options.set_share;
            add_command(c, set, zipf_draw(&ranks, random_bits(&chance)));
        }
    }
    if (c->commands == 0) {
        busy--;
        return;
    }
    c->begun = now;
    push(c);
}

/* Take the replies that came; the batch is complete: the next one. */
static void hear(struct client *c)
{
    char bytes[65536];
    ssize_t n;
    while (c->commands > 0 && (n = recv(c->fd, bytes, sizeof bytes, 0)) != 0) {
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0) {
            failed("recv", errno);
            die_midway("the server has left%s", last_failure());
        }
        if ((size_t)n > c->wanted_n - c->got || memcmp(bytes, c->wanted + c->got, (size_t)n) != 0) {
            size_t rest = c->wanted_n - c->got;
            die("a wrong reply: '%.*s', and not '%.*s'", n < 80 ? (int)n : 80, bytes, rest < 80 ? (int)rest : 80,
                c->wanted + c->got);
        }
        c->got += (size_t)n;
        heard = true;
        if (c->got < c->wanted_n) {
            continue;
        }
        uint64_t now = now_ns();
        if (now >= account.measure_from && now < account.measure_to) {
            account.sent += (uint64_t)c->commands;
            account.ok += (uint64_t)c->commands;
            account.ok_arrived += (uint64_t)c->commands;
            histogram_add(&account.ok_latency, now - c->begun);
        }
        if (filling || now < account.measure_to) {
            next_batch(c, now);
        } else {
            c->commands = 0;
            busy--;
        }
    }
    if (c->commands > 0) {
        failed("recv", 0);
        die_midway("the server has left%s", last_failure());
    }
}

/* Of a server that keeps us waiting: `silent` ns without a byte, `since` the start. Dies, or not. */
static void be_patient(uint64_t now, uint64_t silent, uint64_t since)
{
    if (filling && (double)silent > options.patience * 1e9) {
        die("the server has answered nothing for %g s, while %ld keys were to be set (%ld were sent)", options.patience,
            options.keys, filled);
    }
    if (filling && since > FILL * UINT64_C(1000000000)) {
        die("the server has not set the keys in %d s: %ld of %ld were sent; --keys takes fewer", FILL, filled,
            options.keys);
    }
    if (!filling && now > account.measure_to && (double)(now - account.measure_to) > options.patience * 1e9) {
        die_midway("replies of %ld connections are missing", busy);
    }
}

/* Deal with what happens until all connections have nothing under way, or dies. */
static void all_batches(void)
{
    struct epoll_event events[256];
    uint64_t start = now_ns(), last = start;
    busy = options.connections;
    for (long i = 0; i < options.connections; i++) {
        next_batch(&clients[i], now_ns());
    }
    while (busy > 0) {
        int n = epoll_wait(epoll_fd, events, 256, 10);
        uint64_t now = now_ns();
        if (!filling) {
            server_edge(now);
        }
        last = heard ? now : last;
        heard = false;
        be_patient(now, now - last, now - start);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            push(c);
            hear(c);
        }
    }
}

static void connect_to(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    size_t room = (size_t)options.depth * (size_t)(options.bytes + OVERHEAD);
    c->out = malloc(room);
    c->wanted = malloc(room);
    if (c->out == NULL || c->wanted == NULL) {
        die("out of memory");
    }
    if (inet_pton(AF_INET, options.host, &to.sin_addr) != 1) {
        die("%s is no IPv4 address", options.host);
    }
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    long us = (long)(options.patience * 1e6) + 1; /* 0 would be for ever */
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){us / 1000000, us % 1000000}, sizeof(struct timeval));
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        if (errno == EINPROGRESS) {
            die("connect: the server has not answered for %g s", options.patience);
        }
        die("connect: %s", strerror(errno));
    }
    account.connects++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0) {
        die("epoll_ctl: %s", strerror(errno));
    }
}

void resp_run(struct result *r)
{
    r->connections = options.connections;
    snprintf(head[0], sizeof head[0], "*2\r\n$3\r\nGET\r\n$%d\r\nkey:", 4 + DIGITS);
    snprintf(head[1], sizeof head[1], "*3\r\n$3\r\nSET\r\n$%d\r\nkey:", 4 + DIGITS);
    snprintf(value_head, sizeof value_head, "$%ld\r\n", options.bytes);
    chance = (uint64_t)options.seed;
    clients = calloc((size_t)options.connections, sizeof *clients);
    if (clients == NULL || !zipf_make(&ranks, (uint32_t)options.keys, options.zipf)) {
        die("out of memory");
    }
    for (long i = 0; i < options.connections; i++) {
        connect_to(&clients[i]);
    }
    filling = true;
    account.measure_from = UINT64_MAX;
    all_batches();
    filling = false;
    account.measure_from = now_ns() + (uint64_t)(options.warmup * 1e9);
    account.measure_to = account.measure_from + (uint64_t)(options.seconds * 1e9);
    all_batches();
    server_edge(now_ns());
    for (long i = 0; i < options.connections; i++) {
        close(clients[i].fd);
        free(clients[i].out);
        free(clients[i].wanted);
    }
    free(clients);
    zipf_free(&ranks);
}
