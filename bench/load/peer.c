/* SPDX-License-Identifier: Apache-2.0 */
/* load/peer.c -- one connection of weft-load: connecting from one of many loopback addresses, sending requests, counting the
 * answers, each against the instant at which its request was due. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define ENDLESS UINT64_MAX /* of `queued`: a stalled client sends for ever */

struct account account;
int epoll_fd = -1;

static char *blob; /* the request, many times */
static size_t request_n, blob_n;

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "weft-load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

void failed(const char *call, int error)
{
    account.last_call = call;
    account.last_error = error;
}

const char *last_failure(void)
{
    static char text[160];
    if (account.last_call == NULL) {
        return "";
    }
    snprintf(text, sizeof text, "; the last that failed: %s: %s", account.last_call,
             account.last_error != 0 ? strerror(account.last_error) : "closed by the server");
    return text;
}

static void not_connected(const char *call, int error)
{
    account.connect_errors++;
    account.gone = error == ECONNREFUSED;
    failed(call, error);
}

void peer_prepare(void)
{
    enum { COPIES = 64 };
    size_t most = options.protocol == ECHO ? (size_t)options.bytes : strlen(options.path) + strlen(options.host) + 128;
    char *one = malloc(most);
    if (one == NULL) {
        die("out of memory");
    }
    if (options.protocol == HTTP) {
        request_n = (size_t)snprintf(one, most, "GET %s HTTP/1.1\r\nHost: %s:%ld\r\n\r\n", options.path, options.host,
                                     options.port);
    } else if (options.protocol == PING) {
        request_n = (size_t)snprintf(one, most, "*1\r\n$4\r\nPING\r\n");
    } else {
        request_n = most;
        for (size_t i = 0; i < most; i++) {
            one[i] = (char)('a' + i % 26);
        }
    }
    blob_n = request_n * COPIES;
    blob = malloc(blob_n);
    if (blob == NULL) {
        die("out of memory");
    }
    for (size_t i = 0; i < COPIES; i++) {
        memcpy(blob + i * request_n, one, request_n);
    }
    free(one);
}

static bool measured(uint64_t due)
{
    return due >= account.measure_from && due < account.measure_to;
}

static void want(struct peer *p, bool writable)
{
    if (p->writable_wanted != writable) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | (writable ? EPOLLOUT : 0), .data.ptr = p};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, p->fd, &e);
        p->writable_wanted = writable;
    }
}

bool peer_open(struct peer *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    if (inet_pton(AF_INET, options.host, &to.sin_addr) != 1) {
        die("%s is no IPv4 address", options.host);
    }
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0) {
        not_connected("socket", errno);
        return false;
    }
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (options.sources > 0) { /* 127.3.x.y: each has its own 28,000 ports */
        uint32_t n = p->index % (uint32_t)options.sources;
        struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(0x7f030001u + (n / 200 << 8) + n % 200)};
        setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
        if (bind(p->fd, (struct sockaddr *)&from, sizeof from) != 0) {
            die("bind to a loopback address: %s", strerror(errno));
        }
    }
    account.connects++;
    p->connecting = true;
    p->writable_wanted = true;
    p->head_n = p->offset = p->body_left = 0;
    p->in_body = p->close_after = false;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLOUT, .data.ptr = p};
    if ((connect(p->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, p->fd, &e) != 0) {
        not_connected("connect", errno);
        close(p->fd);
        p->fd = -1;
        return false;
    }
    return true;
}

static uint64_t take_due(struct peer *p)
{
    uint64_t due = p->due[p->first];
    p->first = (p->first + 1) % p->room;
    p->waiting--;
    return due;
}

void peer_close(struct peer *p)
{
    while (p->waiting > 0) {
        account.lost += measured(take_due(p));
    }
    p->queued = 0;
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
}

/* Send of what is queued as much as the kernel takes. False: the connection is broken. */
static bool push(struct peer *p)
{
    while (p->queued > 0) {
        uint64_t left = p->queued == ENDLESS ? ENDLESS : p->queued * request_n - p->offset;
        size_t n = left < blob_n - p->offset ? (size_t)left : blob_n - p->offset;
        ssize_t sent = send(p->fd, blob + p->offset, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            want(p, true);
            return true;
        }
        if (sent < 0) {
            failed("send", errno);
            return false;
        }
        p->sent_bytes += (uint64_t)sent;
        size_t total = p->offset + (size_t)sent;
        p->queued -= p->queued == ENDLESS ? 0 : total / request_n;
        p->offset = total % request_n;
    }
    want(p, false);
    return true;
}

bool peer_pour(struct peer *p)
{
    p->queued = ENDLESS;
    return push(p);
}

bool peer_request(struct peer *p, uint64_t due, uint64_t now)
{
    if (p->waiting == p->room) {
        size_t room = p->room > 0 ? 2 * p->room : 8;
        uint64_t *larger = malloc(room * sizeof *larger);
        if (larger == NULL) {
            die("out of memory");
        }
        for (size_t i = 0; i < p->waiting; i++) {
            larger[i] = p->due[(p->first + i) % p->room];
        }
        free(p->due);
        p->due = larger;
        p->first = 0;
        p->room = room;
    }
    p->due[(p->first + p->waiting++) % p->room] = due;
    if (measured(due)) {
        account.sent++;
        histogram_add(&account.late, now > due ? now - due : 0);
    }
    p->queued++;
    if (p->connecting || push(p)) {
        return true;
    }
    account.resets++;
    peer_close(p);
    return false;
}

/* The answer is complete. */
static void answered(struct peer *p, bool ok, uint64_t now)
{
    if (p->waiting == 0) {
        die("an answer that nobody asked for");
    }
    uint64_t due = take_due(p);
    p->in_body = false;
    p->head_n = 0;
    if (measured(now)) {
        account.ok_arrived += ok;
        p->answers++;
    }
    if (!measured(due)) {
        return;
    }
    if (ok) {
        account.ok++;
    } else {
        account.refused++;
    }
    histogram_add(ok ? &account.ok_latency : &account.refused_latency, now - due);
}

/* The head in p->head is complete. */
static void read_head(struct peer *p)
{
    p->head[p->head_n] = '\0';
    const char *length = strcasestr(p->head, "\r\nContent-Length:");
    if (sscanf(p->head, "HTTP/1.%*d %d", &p->status) != 1 || length == NULL) {
        die("this is no answer with a length: %.60s", p->head);
    }
    p->body_left = strtoul(length + sizeof "\r\nContent-Length:" - 1, NULL, 10);
    p->close_after = strcasestr(p->head, "\r\nConnection: close") != NULL;
    p->in_body = true;
}

/* Take received bytes: how many answers ended in them. */
static int take_bytes(struct peer *p, const char *at, size_t n, uint64_t now)
{
    int answers = 0;
    while (n > 0) {
        size_t used = 1;
        if (options.protocol == ECHO || p->in_body) {
            if (!p->in_body) {
                p->body_left = request_n;
                p->in_body = true;
            }
            used = n < p->body_left ? n : p->body_left;
            p->body_left -= used;
        } else { /* a head, or a line of RESP */
            const char *end = memchr(at, '\n', n);
            used = end != NULL ? (size_t)(end - at) + 1 : n;
            if (used > sizeof p->head - 1 - p->head_n) {
                die("the head of an answer is too long");
            }
            memcpy(p->head + p->head_n, at, used);
            p->head_n += used;
            if (options.protocol == PING && end != NULL) {
                p->status = p->head[0] == '+' ? 200 : 500;
                p->in_body = true;
                p->body_left = 0;
            } else if (end != NULL && p->head_n >= 4 && memcmp(p->head + p->head_n - 4, "\r\n\r\n", 4) == 0) {
                read_head(p);
            }
        }
        at += used;
        n -= used;
        if (p->in_body && p->body_left == 0) {
            answered(p, options.protocol == ECHO || (p->status >= 200 && p->status < 300), now);
            answers++;
        }
    }
    return answers;
}

int peer_event(struct peer *p, uint32_t events, uint64_t now)
{
    static char bytes[256 * 1024];
    int answers = 0;
    bool over = false;
    if (p->connecting) {
        int error = 0;
        getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
        p->connecting = false;
        if (error != 0) {
            not_connected("connect", error);
            peer_close(p);
            return -1;
        }
        account.gone = false;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        ssize_t n;
        do {
            n = recv(p->fd, bytes, sizeof bytes, 0);
            if (n > 0) {
                answers += take_bytes(p, bytes, (size_t)n, now);
            }
        } while (n == (ssize_t)sizeof bytes);
        over = n == 0 || (n < 0 && errno != EAGAIN) || (p->close_after && !p->in_body);
        if (over && n < 0 && errno != EAGAIN) {
            failed("recv", errno);
            account.resets++;
        } else if (over && n == 0 && p->waiting > 0) {
            failed("recv", 0);
        }
    }
    if (!over && !push(p)) {
        account.resets++;
        over = true;
    }
    if (!over) {
        return answers;
    }
    peer_close(p);
    return -1;
}

void peer_wait(uint64_t until, void (*each)(struct peer *p, uint32_t events, uint64_t now))
{
    static struct epoll_event events[512];
    uint64_t now = now_ns();
    uint64_t ns = until > now ? until - now : 0;
    struct timespec limit = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    int n = epoll_pwait2(epoll_fd, events, 512, &limit, NULL);
    if (n < 0 && errno != EINTR) {
        die("epoll_pwait2: %s", strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        struct peer *p = events[i].data.ptr;
        if (p->fd >= 0) {
            each(p, events[i].events, now_ns());
        }
    }
}
