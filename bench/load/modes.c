/* SPDX-License-Identifier: Apache-2.0 */
/* load/modes.c -- what weft-load does with its connections: see the texts in main.c. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

static struct peer *peers;
static unsigned peer_count;

static uint64_t from_seconds(double s)
{
    return (uint64_t)(s * 1e9);
}

static void make_peers(void)
{
    peer_count = (unsigned)options.connections;
    peers = calloc(peer_count, sizeof *peers);
    if (peers == NULL) {
        die("out of memory");
    }
    for (unsigned i = 0; i < peer_count; i++) {
        peers[i].fd = -1;
        peers[i].index = i;
    }
}

static void plain_event(struct peer *p, uint32_t events, uint64_t now)
{
    (void)peer_event(p, events, now);
}

static unsigned connected(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < peer_count; i++) {
        n += peers[i].fd >= 0 && !peers[i].connecting;
    }
    return n;
}

static uint64_t outstanding(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < peer_count; i++) {
        n += peers[i].waiting;
    }
    return n;
}

/* All of them, a hundred at a time so that no queue of a listener overflows. */
static void connect_all(void)
{
    enum { STEP = 100 };
    uint64_t until = now_ns() + from_seconds(options.patience);
    for (unsigned opened = 0; opened < peer_count;) {
        for (unsigned i = 0; i < STEP && opened < peer_count; i++) {
            if (!peer_open(&peers[opened++])) {
                die("only %u connections could be opened%s", opened - 1, last_failure());
            }
        }
        while (connected() < opened && now_ns() < until) {
            peer_wait(until, plain_event);
        }
    }
    if (connected() < peer_count) {
        die("%u connections of %u were made in time%s", connected(), peer_count, last_failure());
    }
}

static void wait_for_answers(void)
{
    uint64_t until = now_ns() + from_seconds(options.patience);
    while (outstanding() > 0 && now_ns() < until) {
        peer_wait(until, plain_event);
    }
}

static void measure_now(double seconds)
{
    account.measure_from = now_ns() + from_seconds(options.warmup);
    account.measure_to = account.measure_from + from_seconds(seconds);
}

static void count_memory(struct result *r, long before)
{
    long after = server_memory();
    if (before > 0 && after > 0) {
        r->bytes_each = (double)(after - before) * 1024.0 / (double)peer_count;
    }
}

/* All requests have left: to the end of the measured time. */
static void end_window(void (*each)(struct peer *p, uint32_t events, uint64_t now))
{
    uint64_t now;
    while ((now = now_ns()) < account.measure_to) {
        peer_wait(account.measure_to, each);
    }
    server_edge(now);
}

/* ---- open: requests leave on schedule, whatever the answers do ---- */

static void run_open(struct result *r)
{
    (void)r;
    connect_all();
    measure_now(options.seconds);
    uint64_t start = now_ns(), n = 0;
    unsigned turn = 0;
    for (;;) {
        uint64_t due = start + (uint64_t)((double)n * 1e9 / options.rate), now = now_ns();
        server_edge(now);
        if (due >= account.measure_to) {
            break;
        }
        if (due > now) {
            peer_wait(due, plain_event);
            continue;
        }
        struct peer *p = &peers[turn];
        turn = turn + 1 < peer_count ? turn + 1 : 0;
        n++;
        if (p->fd < 0 && !peer_open(p)) {
            account.sent += due >= account.measure_from;
            account.lost += due >= account.measure_from;
            continue;
        }
        peer_request(p, due, now);
        if (n % 16 == 0) { /* behind schedule or not, answers are read */
            peer_wait(0, plain_event);
        }
    }
    end_window(plain_event);
    wait_for_answers();
}

/* ---- closed: each connection has `depth` requests under way; the next one when an answer comes ---- */

static void closed_event(struct peer *p, uint32_t events, uint64_t now)
{
    int answers = peer_event(p, events, now);
    if (answers < 0) {
        if (account.gone && connected() == 0) {
            die_midway("the server has left%s", last_failure());
        }
        if (now >= account.measure_to || !peer_open(p)) {
            return;
        }
        answers = (int)options.depth;
    }
    for (; answers > 0 && p->fd >= 0 && now < account.measure_to; answers--) {
        peer_request(p, now, now);
    }
}

/* What was asked before the measured time and is not answered yet: such a server has stood still all the while. */
static void count_stuck(void)
{
    for (unsigned i = 0; i < peer_count; i++) {
        const struct peer *p = &peers[i];
        for (unsigned k = 0; k < p->waiting; k++) {
            account.lost += p->due[(p->first + k) % p->room] < account.measure_from;
        }
    }
}

static void run_closed(struct result *r)
{
    connect_all();
    measure_now(options.seconds);
    for (unsigned i = 0; i < peer_count; i++) {
        for (long d = 0; d < options.depth && peers[i].fd >= 0; d++) {
            uint64_t now = now_ns();
            peer_request(&peers[i], now, now);
        }
    }
    for (uint64_t now; (now = now_ns()) < account.measure_to;) {
        server_edge(now);
        peer_wait(now < account.measure_from ? account.measure_from : account.measure_to, closed_event);
    }
    server_edge(now_ns());
    uint64_t least = UINT64_MAX, sum = 0;
    for (unsigned i = 0; i < peer_count; i++) {
        least = peers[i].answers < least ? peers[i].answers : least;
        sum += peers[i].answers;
    }
    r->slowest_share = sum > 0 ? (double)least * peer_count / (double)sum : 0;
    wait_for_answers();
    count_stuck();
}

/* ---- storm: `rate` new connections a second, one request on each ---- */

static struct peer **idle_peers;
static unsigned idle_count;

static void rest(struct peer *p)
{
    idle_peers[idle_count++] = p;
}

static void storm_event(struct peer *p, uint32_t events, uint64_t now)
{
    int answers = peer_event(p, events, now);
    if (answers > 0) {
        peer_close(p);
    }
    if (answers != 0) {
        rest(p);
    }
}

static void give_up_old(uint64_t now)
{
    for (unsigned i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        if (p->fd >= 0 && p->waiting > 0 && now > p->due[p->first] + from_seconds(options.patience)) {
            peer_close(p);
            rest(p);
        }
    }
}

static void run_storm(struct result *r)
{
    (void)r;
    idle_peers = calloc(peer_count, sizeof(struct peer *));
    if (idle_peers == NULL) {
        die("out of memory");
    }
    for (unsigned i = peer_count; i > 0; i--) {
        rest(&peers[i - 1]);
    }
    measure_now(options.seconds);
    uint64_t start = now_ns(), n = 0, look = start;
    unsigned source = 0;
    for (;;) {
        uint64_t due = start + (uint64_t)((double)n * 1e9 / options.rate), now = now_ns();
        server_edge(now);
        if (due >= account.measure_to) {
            break;
        }
        if (now > look + 100000000u) {
            look = now;
            give_up_old(now);
        }
        if (due > now) {
            peer_wait(due, storm_event);
            continue;
        }
        n++;
        struct peer *p = idle_count > 0 ? idle_peers[--idle_count] : NULL;
        if (p != NULL) {
            p->index = source++;
        }
        if (p == NULL || !peer_open(p)) {
            account.sent += due >= account.measure_from;
            account.lost += due >= account.measure_from;
            if (p != NULL) {
                rest(p);
            }
        } else if (!peer_request(p, due, now)) {
            rest(p);
        }
        if (n % 16 == 0) {
            peer_wait(0, storm_event);
        }
    }
    end_window(storm_event);
    uint64_t until = now_ns() + from_seconds(options.patience);
    while (idle_count < peer_count && now_ns() < until) {
        peer_wait(until, storm_event);
    }
}

/* ---- stalled: connections that send for ever and read nothing ---- */

static void stalled_event(struct peer *p, uint32_t events, uint64_t now)
{
    (void)now;
    p->connecting = false;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0 || !peer_pour(p)) {
        account.resets++;
        peer_close(p);
        return;
    }
    struct epoll_event e = {.events = EPOLLOUT | EPOLLET, .data.ptr = p}; /* what there is to read stays unread */
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, p->fd, &e);
}

static void run_stalled(struct result *r)
{
    connect_all();
    long before = server_memory();
    measure_now(options.seconds);
    for (unsigned i = 0; i < peer_count; i++) {
        stalled_event(&peers[i], EPOLLOUT, 0);
    }
    while (now_ns() < account.measure_to) {
        peer_wait(account.measure_to, stalled_event);
    }
    count_memory(r, before);
    uint64_t sum = 0;
    for (unsigned i = 0; i < peer_count; i++) {
        sum += peers[i].sent_bytes;
    }
    r->poured_each = sum / peer_count;
}

/* ---- idle: connections that are answered once, held, and answered again ---- */

static void run_idle(struct result *r)
{
    long before = server_memory();
    connect_all();
    account.measure_to = UINT64_MAX;
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < peer_count; i++) {
            uint64_t now = now_ns();
            if (peers[i].fd < 0) {
                account.lost++;
            } else {
                peer_request(&peers[i], now, now);
            }
            if (i % 16 == 0) {
                peer_wait(0, plain_event);
            }
        }
        wait_for_answers();
        if (round == 0) {
            count_memory(r, before);
            uint64_t until = now_ns() + from_seconds(options.seconds);
            while (now_ns() < until) {
                peer_wait(until, plain_event);
            }
        }
    }
}

void mode_run(struct result *r)
{
    static const struct {
        const char *name;
        void (*run)(struct result *r);
    } modes[] = {{"open", run_open},       {"closed", run_closed}, {"storm", run_storm},
                 {"stalled", run_stalled}, {"idle", run_idle},     {"resp", resp_run}};
    *r = (struct result){.slowest_share = -1, .bytes_each = -1, .seconds = options.seconds};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(options.mode, modes[i].name) == 0) {
            make_peers();
            modes[i].run(r);
            r->connections = (long)connected();
            for (unsigned k = 0; k < peer_count; k++) {
                peer_close(&peers[k]);
            }
            return;
        }
    }
    die("there is no mode %s", options.mode);
}
