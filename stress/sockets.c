/* SPDX-License-Identifier: Apache-2.0 */
/* stress/sockets.c -- connections over loopback and Unix sockets with random sizes, limits, half-closes and resets,
 * so that descriptors are reused all the time; and a server that runs out of descriptors. Both ends know from the
 * connection's number what every byte must be and which end will misbehave when: a byte of another connection, a
 * lost or doubled one is seen at once. An undisturbed connection carries all its bytes both ways. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "stress.h"

#define CHUNK 4096

enum fault { NONE, CLIENT_ABORTS, CLIENT_CLOSES, CLIENT_CANCELLED, SERVER_ABORTS, SERVER_CLOSES, FAULTS };

/* What a connection is, all of it from its number. */
struct plan {
    enum fault fault;
    size_t total, fault_at; /* bytes */
};

static struct plan plan_of(uint64_t id)
{
    struct rng r = rng_make(id, 11);
    struct plan p = {.fault = rng_chance(&r, 60) ? NONE : (enum fault)rng_below(&r, FAULTS)};
    p.total = rng_chance(&r, 50) ? rng_below(&r, 200) : rng_below(&r, 200000);
    p.fault_at = rng_below(&r, (uint32_t)p.total + 1);
    return p;
}

static unsigned char pattern(uint64_t id, size_t at)
{
    return (unsigned char)(((uint64_t)at + id) * UINT64_C(0x9e3779b97f4a7c15) >> 41);
}

struct service {
    uint64_t seed;
    unsigned clients, connections; /* of each client */
    char address[108];
    weft_listener *listener;
    _Atomic(uint32_t) served, done;
};

/* A read, at times under a short limit: a read that was cancelled has taken nothing. */
static ssize_t read_some(weft_stream *s, struct rng *r, void *buf, size_t n)
{
    if (rng_chance(r, 80))
        return weft_read(s, buf, n);
    weft_timeout limit;
    ssize_t got = 0;
    int rc = weft_timeout_begin(&limit, WEFT_US(rng_below(r, 200)));
    CHECK(rc == 0, "timeout_begin: %d", rc);
    got = weft_read(s, buf, n);
    rc = weft_timeout_end(&limit, got < 0 ? (int)got : 0);
    return rc < 0 ? rc : got;
}

/* All of it, at times under a short limit: then the stream knows how far it came. */
static int write_all(weft_stream *s, struct rng *r, const unsigned char *buf, size_t n)
{
    uint64_t before = weft_stream_written(s);
    for (size_t at = 0;;) {
        weft_timeout limit;
        int rc = weft_timeout_begin(&limit, rng_chance(r, 80) ? WEFT_FOREVER : WEFT_US(rng_below(r, 200)));
        CHECK(rc == 0, "timeout_begin: %d", rc);
        size_t half = (n - at) / 2;
        struct iovec parts[2] = {{(void *)(uintptr_t)(buf + at), half},
                                 {(void *)(uintptr_t)(buf + at + half), n - at - half}};
        rc = rng_chance(r, 50) ? weft_write(s, buf + at, n - at) : weft_writev(s, parts, 2);
        rc = weft_timeout_end(&limit, rc);
        at = (size_t)(weft_stream_written(s) - before);
        CHECK(at <= n && (rc != 0 || at == n), "write of %zu: %d with %zu written", n, rc, at);
        if (rc != -ETIMEDOUT)
            return rc;
    }
}

static bool peer_gone(ssize_t rc)
{
    return rc == -EPIPE || rc == -ECONNRESET;
}

static void check_bytes(uint64_t id, size_t at, const unsigned char *buf, size_t n, const char *who)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char right = pattern(id, at + i);
        if (buf[i] != right) {
            CHECK(buf[i] == right, "%s, connection %" PRIu64 ": byte %zu is %u, not %u", who, id, at + i, buf[i],
                  right);
            return;
        }
    }
}

/* ---- the server: sends back what comes -------------------------------------------------------------------------*/

struct serve {
    WEFT_FRAME;
    weft_stream *stream;
    struct service *service;
};

/* 0 at the end of the stream, 1 after having misbehaved, or a negative errno. */
static int serve_stream(weft_stream *s, uint64_t id, size_t *at)
{
    struct plan p = plan_of(id);
    struct rng r = rng_make(id, 12);
    unsigned char buf[CHUNK];
    for (;;) {
        ssize_t n = read_some(s, &r, buf, 1 + rng_below(&r, CHUNK));
        if (n == -ETIMEDOUT)
            continue;
        if (n <= 0)
            return (int)n;
        check_bytes(id, *at, buf, (size_t)n, "server");
        int rc = write_all(s, &r, buf, (size_t)n);
        if (rc != 0)
            return rc;
        *at += (size_t)n;
        if (*at >= p.fault_at && (p.fault == SERVER_ABORTS || p.fault == SERVER_CLOSES))
            return 1;
        stress_progress(1);
    }
}

static int serve(struct serve *f)
{
    uint64_t id = 0;
    size_t at = 0;
    ssize_t n = weft_read_exactly(f->stream, &id, sizeof id);
    CHECK(n == sizeof id || n == -ECANCELED || peer_gone(n), "server: header: %zd", n);
    int rc = n == sizeof id ? serve_stream(f->stream, id, &at) : 0;
    struct plan p = plan_of(id);
    if (n == sizeof id && p.fault == NONE)
        CHECK(rc == -ECANCELED || (rc == 0 && at == p.total),
              "server: connection %" PRIu64 ": %d after %zu bytes of %zu", id, rc, at, p.total);
    CHECK(rc >= 0 || rc == -ECANCELED || peer_gone(rc), "server: %d", rc);
    if (rc == 0 && id % 2 == 0)
        (void)weft_shutdown(f->stream, WEFT_WRITABLE);
    if (rc == 1 && p.fault == SERVER_ABORTS)
        weft_stream_abort(f->stream);
    else
        weft_close(f->stream);
    atomic_fetch_add(&f->service->served, 1);
    return 0;
}
WEFT_CORO(serve);

struct acceptor {
    WEFT_FRAME;
    struct service *service;
};
static int acceptor(struct acceptor *f)
{
    weft_group g;
    int rc = weft_group_begin(&g);
    while (rc == 0) {
        weft_stream *s = NULL;
        rc = weft_accept(f->service->listener, &s);
        CHECK(rc == 0 || rc == -ECANCELED, "accept: %d", rc);
        if (rc == 0) {
            rc = weft_group_start(&g, serve, .stream = s, .service = f->service);
            CHECK(rc == 0, "group_start: %d", rc);
        }
    }
    return weft_group_join(&g, rc == -ECANCELED ? 0 : rc);
}
WEFT_CORO(acceptor);

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct sending {
    WEFT_FRAME;
    weft_stream *stream;
    uint64_t id;
};
static int sending(struct sending *f)
{
    struct plan p = plan_of(f->id);
    struct rng r = rng_make(f->id, 13);
    unsigned char buf[CHUNK];
    for (size_t at = 0; at < p.total;) {
        size_t n = 1 + rng_below(&r, CHUNK);
        n = n < p.total - at ? n : p.total - at;
        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(f->id, at + i);
        int rc = write_all(f->stream, &r, buf, n);
        if (rc != 0)
            return rc;
        at += n;
        if (rng_chance(&r, 5) && weft_yield() != 0)
            return -ECANCELED;
    }
    return weft_shutdown(f->stream, WEFT_WRITABLE);
}
WEFT_CORO(sending);

/* The reading half: 0 at the end of the stream, 1 when it is time to misbehave, or a negative errno. */
static int receive(weft_stream *s, uint64_t id, struct rng *r, size_t *at)
{
    struct plan p = plan_of(id);
    unsigned char buf[CHUNK];
    for (;;) {
        if (*at >= p.fault_at && (p.fault == CLIENT_ABORTS || p.fault == CLIENT_CLOSES || p.fault == CLIENT_CANCELLED))
            return 1;
        ssize_t n = read_some(s, r, buf, 1 + rng_below(r, CHUNK));
        if (n == -ETIMEDOUT)
            continue;
        if (n <= 0)
            return (int)n;
        check_bytes(id, *at, buf, (size_t)n, "client");
        *at += (size_t)n;
        stress_progress(1);
    }
}

static void one_connection(struct service *service, uint64_t id)
{
    struct plan p = plan_of(id);
    struct rng r = rng_make(id, 14);
    weft_stream *s = NULL;
    int rc = weft_connect(&s, service->address);
    CHECK(rc == 0 || rc == -EADDRNOTAVAIL, "connect to %s: %d", service->address, rc);
    if (rc != 0)
        return; /* all ports are waiting out their last connection */
    size_t at = 0;
    rc = weft_write(s, &id, sizeof id);
    CHECK(rc == 0 || peer_gone(rc), "header: %d", rc);
    weft_task *sender = weft_create_task(sending, .stream = s, .id = id);
    rc = receive(s, id, &r, &at);
    CHECK(rc >= 0 || peer_gone(rc), "client: %d", rc);
    if (p.fault == NONE)
        CHECK(rc == 0 && at == p.total, "client: connection %" PRIu64 ": %d after %zu bytes of %zu", id, rc, at,
              p.total);
    else
        (void)weft_cancel(sender);
    rc = weft_await_release(sender);
    CHECK(rc == 0 || (p.fault != NONE && (rc == -ECANCELED || peer_gone(rc) || rc == -ENOTCONN)), "sender: %d", rc);
    if (p.fault == CLIENT_ABORTS)
        weft_stream_abort(s);
    else
        weft_close(s);
}

struct client {
    WEFT_FRAME;
    struct service *service;
    unsigned number;
};
static int client(struct client *f)
{
    struct rng r = rng_make(f->service->seed, 100 + f->number);
    for (unsigned i = 0; i < f->service->connections && !stress_failed(); i++)
        one_connection(f->service, rng_next(&r));
    return 0;
}
WEFT_CORO(client);

static int open_service(struct service *s, struct rng *r)
{
    char address[64] = "127.0.0.1:0";
    static _Atomic(unsigned) count;
    bool local = rng_chance(r, 30);
    if (local)
        snprintf(address, sizeof address, "unix:@weft-stress-%d-%u", (int)getpid(), atomic_fetch_add(&count, 1));
    int rc = weft_listen(&s->listener, address);
    CHECK(rc == 0, "listen on %s: %d", address, rc);
    if (rc != 0)
        return rc;
    if (local)
        snprintf(s->address, sizeof s->address, "%s", address);
    else
        rc = weft_listener_address(s->listener, s->address, sizeof s->address);
    CHECK(rc == 0, "listener_address: %d", rc);
    return rc;
}

static void close_service(struct service *s, weft_task *server)
{
    (void)weft_cancel(server);
    int rc = weft_await_release(server);
    CHECK(rc == 0 || rc == -ECANCELED, "acceptor: %d", rc);
    weft_close(s->listener);
}

static int sockets_body(void *arg)
{
    struct service *s = arg;
    struct rng r = rng_make(s->seed, 1);
    int rc = open_service(s, &r);
    if (rc != 0)
        return rc;
    weft_task *server = weft_create_task(acceptor, .service = s);
    weft_group g;
    rc = weft_group_begin(&g);
    for (unsigned i = 0; i < s->clients && rc == 0; i++)
        rc = weft_group_start(&g, client, .service = s, .number = i);
    rc = weft_group_join(&g, rc);
    close_service(s, server);
    return rc;
}

static void sockets(struct round *r)
{
    struct service s = {.seed = r->seed};
    s.clients = 1 + rng_below(&r->rng, 24);
    s.connections = 1 + rng_below(&r->rng, 6);
    int rc = stress_run(r, sockets_body, &s);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- exhaustion -------------------------------------------------------------------------------------------------- */

/* A connection under a short limit: who waits for a server without descriptors gives up its own and comes again. */
static int try_connection(struct service *s, uint64_t id)
{
    weft_stream *stream = NULL;
    uint64_t back = 0;
    weft_timeout limit;
    int rc = weft_timeout_begin(&limit, WEFT_MS(20));
    CHECK(rc == 0, "timeout_begin: %d", rc);
    rc = weft_connect(&stream, s->address);
    if (rc == 0)
        rc = weft_write(stream, &id, sizeof id);
    if (rc == 0) {
        ssize_t n = weft_read_exactly(stream, &back, sizeof back);
        rc = n < 0 ? (int)n : 0;
    }
    rc = weft_timeout_end(&limit, rc);
    CHECK(rc != 0 || back == id, "sent %" PRIu64 ", got %" PRIu64, id, back);
    if (stream != NULL)
        weft_close(stream);
    return rc;
}

static int patient(struct client *f)
{
    struct rng r = rng_make(f->service->seed, 100 + f->number);
    for (unsigned i = 0; i < f->service->connections && !stress_failed();) {
        int rc = try_connection(f->service, rng_next(&r));
        CHECK(rc == 0 || rc == -EMFILE || rc == -ETIMEDOUT || rc == -EADDRNOTAVAIL || rc == -EAGAIN || peer_gone(rc),
              "connection: %d", rc);
        i += rc == 0;
        if (rc == 0)
            stress_progress(1);
        else
            (void)weft_sleep(WEFT_MS(1 + rng_below(&r, 20)));
    }
    return 0;
}
struct patient_client {
    WEFT_FRAME;
    struct client client;
};
static int patient_client(struct patient_client *f)
{
    return patient(&f->client);
}
WEFT_CORO(patient_client);

struct reply {
    WEFT_FRAME;
    weft_stream *stream;
};
static int reply(struct reply *f)
{
    uint64_t id;
    ssize_t n = weft_read_exactly(f->stream, &id, sizeof id);
    if (n == sizeof id)
        (void)!weft_write(f->stream, &id, sizeof id);
    weft_close(f->stream);
    return 0;
}
WEFT_CORO(reply);

struct narrow {
    WEFT_FRAME;
    struct service *service;
};
static int narrow(struct narrow *f)
{
    weft_group g;
    int rc = weft_group_begin(&g);
    while (rc == 0) {
        weft_stream *s = NULL;
        rc = weft_accept(f->service->listener, &s);
        CHECK(rc == 0 || rc == -ECANCELED, "accept without descriptors: %d", rc);
        if (rc == 0)
            rc = weft_group_start(&g, reply, .stream = s);
    }
    return weft_group_join(&g, rc == -ECANCELED ? 0 : rc);
}
WEFT_CORO(narrow);

static rlim_t descriptors_open(void)
{
    DIR *d = opendir("/proc/self/fd");
    rlim_t highest = 0;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        rlim_t fd = (rlim_t)strtoul(e->d_name, NULL, 10);
        highest = fd > highest ? fd : highest;
    }
    if (d != NULL)
        closedir(d);
    return highest; /* that of the folder was most likely the highest */
}

static int exhaustion_body(void *arg)
{
    struct service *s = arg;
    struct rng r = rng_make(s->seed, 1);
    int rc = open_service(s, &r);
    if (rc != 0)
        return rc;
    struct rlimit before, less;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0, "getrlimit: errno %d", errno);
    less = before;
    less.rlim_cur = descriptors_open() + 3 + rng_below(&r, 16);
    CHECK(setrlimit(RLIMIT_NOFILE, &less) == 0, "setrlimit: errno %d", errno);
    weft_task *server = weft_create_task(narrow, .service = s);
    weft_group g;
    rc = weft_group_begin(&g);
    for (unsigned i = 0; i < s->clients && rc == 0; i++)
        rc = weft_group_start(&g, patient_client, .client = {.service = s, .number = i});
    rc = weft_group_join(&g, rc);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0, "setrlimit: errno %d", errno);
    close_service(s, server);
    return rc;
}

static void exhaustion(struct round *r)
{
    struct service s = {.seed = r->seed};
    s.clients = 8 + rng_below(&r->rng, 24);
    s.connections = 1 + rng_below(&r->rng, 5);
    int rc = stress_run(r, exhaustion_body, &s);
    CHECK(rc == 0, "the run: %d", rc);
}

const struct stressor socket_stressors[] = {
    {"sockets", "partial reads and writes, half-closes, resets, descriptors reused", sockets},
    {"exhaustion", "a server and its clients without enough descriptors", exhaustion},
    {NULL, NULL, NULL},
};
