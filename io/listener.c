/* SPDX-License-Identifier: Apache-2.0 */
/* io/listener.c -- accepting connections, also when descriptors or memory run out.
 *
 * The memory of the next stream is sought before the connection is taken from the kernel's queue. When accept says that
 * descriptors or memory are short, the acceptor neither fails nor spins: it enters the list of the starved, tries once more
 * (a descriptor closed before it entered would not be told), and waits for one of two things: a stream, listener or other
 * descriptor of this runtime is closed (weft__listeners_retry), or 100 ms have passed; twice as long each further time, at
 * most a second. It waits on the writing direction of the listener's registration, which epoll never touches for a listening
 * socket, so that connections arriving meanwhile do not wake it in vain.
 *
 * When more comes than is worked off (weft_queue_delay is above the listener's limit) a connection is left in the kernel's queue,
 * whose length is bounded and where it costs nothing, until the delay has fallen, but no longer than HOLD_BACK: a few are let in
 * all the same, so that nobody is locked out for ever by those who came before. Looked at every HOLD_LOOK. It waits as the starved do.
 *
 * In a storm of connections the acceptor gives way after every 64 of them (weft__budget_spent): what was accepted runs before
 * more is taken on, so one turn of the queue brings no more than that. That alone keeps the queue short where each connection
 * brings work; the rule above is for what it cannot see. (16 at a time left new connections waiting for seconds behind 1,000 busy ones;
 * 256 brought nothing more.)
 *
 * The descriptor may be closed while its acceptor waits (listen.c: sever): it asks to be let in, as a guest, before each
 * system call, and close waits for the guest that it meets.
 *
 * Threads: accept by one task at a time; retry from any thread. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/metrics.h>

#include "executor/guard.h"
#include "io/listener.h"

#define FIRST_PAUSE WEFT_MS(100)
#define LAST_PAUSE WEFT_SEC(1)
#define HOLD_BACK WEFT_MS(100)
#define HOLD_LOOK WEFT_MS(10)

static const struct weft__wait_kind accept_wait = {"a connection (accept)", NULL, weft__registration_tell};
static const struct weft__wait_kind starved_wait = {.name = "a free descriptor (accept)"};
static const struct weft__wait_kind calm_wait = {.name = "a shorter queue delay (accept)"};

static void starve(struct weft__io *io, struct weft_listener *l)
{
    weft__guard_lock(&io->guard);
    if (!l->starved) {
        l->starved = true;
        l->next_starved = io->starved;
        io->starved = l;
        weft__fetch_add_seq_cst(&io->starved_count, 1); /* pairs: STARVED */
    }
    weft__guard_unlock(&io->guard);
}

static void unlist_locked(struct weft__io *io, struct weft_listener **place)
{
    struct weft_listener *l = *place;
    *place = l->next_starved;
    l->starved = false;
    weft__fetch_sub_seq_cst(&io->starved_count, 1); /* pairs: STARVED */
}

static void feed(struct weft__io *io, struct weft_listener *l)
{
    weft__guard_lock(&io->guard);
    for (struct weft_listener **place = &io->starved; *place != NULL; place = &(*place)->next_starved) {
        if (*place == l) {
            unlist_locked(io, place);
            break;
        }
    }
    weft__guard_unlock(&io->guard);
}

void weft__listeners_retry(struct weft__io *io)
{
    if (weft__likely(weft__load_seq_cst(&io->starved_count) == 0)) /* pairs: STARVED */
        return;
    weft__guard_lock(&io->guard);
    while (io->starved != NULL) {
        /* Listed only while its acceptor is inside the call: the registration is alive. */
        (void)weft__interest_notify(&io->starved->reg->interest[WEFT__WRITE], WEFT__READY);
        unlist_locked(io, &io->starved);
    }
    weft__guard_unlock(&io->guard);
}

/* A connection's descriptor; -EAGAIN: none waits; -ENOMEM: something is short; else a lasting error. */
static int take_connection(struct weft_listener *l)
{
    for (;;) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            return fd;
        int error = errno;
        switch (error) {
        case EAGAIN:
            return -EAGAIN;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return -ENOMEM;
        case EINVAL:
        case EBADF:
        case ENOTSOCK:
        case EFAULT:
            return -error;
        default: /* the connection died in the queue (ECONNABORTED, ENETDOWN, EPROTO ...), or EINTR: the next one */
            break;
        }
    }
}

/* One connection as a stream. 0, -EAGAIN, -ENOMEM, or a lasting error. */
static int accept_one(struct weft_listener *l, struct weft_stream **out)
{
    if (l->spare == NULL)
        l->spare = weft__stream_new(l->reg->io);
    if (l->spare == NULL)
        return -ENOMEM;
    int fd = weft__registration_enter(l->reg, WEFT__GUEST);
    if (fd < 0)
        return fd; /* closed */
    fd = take_connection(l);
    weft__registration_leave(l->reg, WEFT__GUEST);
    if (fd < 0)
        return fd;
    int rc = weft__stream_open(l->spare, fd, l->tcp ? WEFT__STREAM_TCP : WEFT__STREAM_SOCKET);
    if (rc < 0) { /* epoll's memory or its limit on watches: this connection is lost, later ones need not be */
        close(fd);
        return rc == -ENOSPC ? -ENOMEM : rc;
    }
    *out = l->spare;
    l->spare = NULL;
    return 0;
}

/* Wait until something may have become free. */
static int wait_starved(struct weft_listener *l, struct weft__fiber *f, weft_ns pause)
{
    weft_ns deadline = weft__deadline_after(l->reg->io->rt, pause);
    int rc = weft__registration_wait(l->reg, f, 1u << WEFT__WRITE, &starved_wait, deadline);
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* A connection is there, maybe: shall it wait? 0: no; 1: it has waited, look again; or a negative errno. *until is when it has
 * waited enough, 0: not yet begun. */
static int hold_back(struct weft_listener *l, struct weft__fiber *f, weft_ns *until)
{
    struct weft_runtime *rt = l->reg->io->rt;
    if (weft__likely(weft_queue_delay(rt) <= l->most_delay))
        return 0;
    weft_ns now = weft__runtime_now(rt);
    if (*until == 0) {
        *until = now + HOLD_BACK;
        weft__metrics_accepted(rt, true);
    }
    if (now >= *until)
        return 0;
    int rc = weft__registration_wait(l->reg, f, 1u << WEFT__WRITE, &calm_wait, now + HOLD_LOOK);
    return rc == 0 || rc == -ETIMEDOUT ? 1 : rc;
}

static int accept_stream(struct weft_listener *l, struct weft__fiber *f, struct weft_stream **out)
{
    struct weft__registration *reg = l->reg;
    weft_ns pause = FIRST_PAUSE, held_until = 0;
    bool listed = false;
    int rc;
    for (;;) {
        if ((weft__interest_consume(reg, WEFT__WRITE) & WEFT__CLOSED) != 0) {
            rc = -EBADF;
            break;
        }
        uint64_t told = weft__interest_consume(reg, WEFT__READ);
        rc = -EAGAIN;
        if ((told & (WEFT__READY | WEFT__HANGUP)) != 0) {
            rc = hold_back(l, f, &held_until);
            if (rc != 0) {
                weft__interest_more(reg, WEFT__READ);
                if (rc < 0)
                    break;
                continue;
            }
            rc = accept_one(l, out);
        }
        if (rc == -EAGAIN) {
            rc = weft__registration_wait(reg, f, 1u << WEFT__READ, &accept_wait, WEFT_FOREVER);
            if (rc < 0)
                break;
            continue;
        }
        weft__interest_more(reg, WEFT__READ); /* there may be more, and if not, the next call finds out */
        if (rc != -ENOMEM)
            break;
        if (!listed) {
            starve(reg->io, l);
            listed = true;
            continue;
        }
        rc = wait_starved(l, f, pause);
        if (rc < 0)
            break;
        pause = pause * 2 < LAST_PAUSE ? pause * 2 : LAST_PAUSE;
        starve(reg->io, l);
    }
    if (listed)
        feed(reg->io, l);
    if (rc == 0)
        weft__metrics_accepted(reg->io->rt, false);
    return rc;
}

int weft_accept(weft_listener *l, weft_stream **out)
{
    struct weft__fiber *f = weft__fiber_require("weft_accept");
    if (l->reg == NULL)
        return -EBADF;
    int rc = weft__registration_enter(l->reg, WEFT__READER);
    if (rc < 0)
        return rc;
    if (weft__budget_spent(f))
        rc = weft__yield(f);
    if (rc == 0)
        rc = accept_stream(l, f, out);
    weft__registration_leave(l->reg, WEFT__READER);
    return rc;
}
