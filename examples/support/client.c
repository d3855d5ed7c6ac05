/* SPDX-License-Identifier: Apache-2.0 */
/* support/client.c -- one client of a server: waits that survive being told something by the server. See server.h.
 *
 * The server tells a client's task that it drains, or that nothing has moved for long, by weft_cancel. A wait of the
 * task then ends with -ECANCELED, having done nothing (or, a write, having sent a part). client_told finds out
 * whether that was all, takes the requests back and lets the wait begin anew; a cancellation by anybody else (the
 * drain limit, the end of the program) stays, and ends the client. */
#include "support/server.h"

#include <errno.h>

/* How long the peer's end is waited for. */
#define LINGER WEFT_SEC(1)

static void note_activity(struct client *c)
{
    unsigned tick = atomic_load_explicit(&the_server.tick, memory_order_relaxed);
    atomic_store_explicit(&c->active, tick, memory_order_relaxed);
}

static bool idle_too_long(struct client *c)
{
    unsigned tick = atomic_load_explicit(&the_server.tick, memory_order_relaxed);
    return tick - atomic_load_explicit(&c->active, memory_order_relaxed) >= 8;
}

/* The instant up to which a new request is waited for. Who reads it too early is told, and looks again. */
static weft_ns leave_by(void)
{
    return atomic_load_explicit(&the_server.leave_by, memory_order_relaxed);
}

/* After -ECANCELED. True: it was only the server's word, wait again. */
bool client_told(struct client *c)
{
    struct server *s = &the_server;
    pthread_mutex_lock(&s->guard);
    unsigned left = weft_cancelling(c->task);
    for (; c->asked > 0; c->asked--) {
        left = weft_uncancel(c->task);
    }
    pthread_mutex_unlock(&s->guard);
    return left == 0;
}

/* ---- coming and going ---- */

/* One less. Under the guard; true: to be said, after it, to whoever waits until nobody is left. */
static bool gone(struct server *s)
{
    return --s->connected == 0 && s->awaited;
}

int server_admit(weft_stream *stream)
{
    struct server *s = &the_server;
    pthread_mutex_lock(&s->guard);
    s->connected++;
    pthread_mutex_unlock(&s->guard);
    weft_task *t = s->kind->start(stream);
    weft_release(t);
    if (t == NULL) {
        client_unstarted(&(struct client){.stream = stream});
        return -ENOMEM;
    }
    return 0;
}

int server_wait_clients(void)
{
    struct server *s = &the_server;
    pthread_mutex_lock(&s->guard);
    s->awaited = true;
    bool nobody = s->connected == 0;
    pthread_mutex_unlock(&s->guard);
    return nobody ? 0 : weft_event_wait(&s->nobody);
}

size_t server_connected(void)
{
    pthread_mutex_lock(&the_server.guard);
    size_t n = the_server.connected;
    pthread_mutex_unlock(&the_server.guard);
    return n;
}

void client_unstarted(struct client *c)
{
    struct server *s = &the_server;
    weft_close(c->stream);
    pthread_mutex_lock(&s->guard);
    bool last = gone(s);
    pthread_mutex_unlock(&s->guard);
    if (last) {
        weft_event_set(&s->nobody);
    }
}

struct client *client_enter(struct client *c)
{
    struct server *s = &the_server;
    if (c->task != NULL) {
        return c; /* called again, after it was parked */
    }
    c->task = weft_current_task();
    note_activity(c);
    pthread_mutex_lock(&s->guard);
    c->link = &s->clients;
    c->next = s->clients;
    if (c->next != NULL) {
        c->next->link = &c->next;
    }
    s->clients = c;
    pthread_mutex_unlock(&s->guard);
    return c;
}

int client_leave(struct client *c, ssize_t last)
{
    struct server *s = &the_server;
    if (!c->deaf && (last > 0 || last == -ETIMEDOUT)) {
        int rc = weft_shutdown(c->stream, WEFT_WRITABLE);
        weft_ns until = weft_now() + LINGER;
        while (rc == 0) {
            rc = weft_drain_until_end(c->stream, until - weft_now());
            rc = rc == -ECANCELED && client_told(c) ? 0 : 1;
        }
    }
    if (c->deaf) {
        weft_stream_abort(c->stream);
    } else {
        weft_close(c->stream);
    }
    pthread_mutex_lock(&s->guard);
    *c->link = c->next;
    if (c->next != NULL) {
        c->next->link = c->link;
    }
    bool nobody = gone(s);
    pthread_mutex_unlock(&s->guard);
    if (nobody) {
        weft_event_set(&s->nobody);
    }
    return 0;
}

static ssize_t peek_until(struct client *c, size_t have, const char **data, weft_ns deadline)
{
    if (deadline == WEFT_FOREVER) {
        return weft_peek(c->stream, have, data);
    }
    weft_timeout limit;
    weft_timeout_begin_at(&limit, deadline);
    ssize_t n = weft_peek(c->stream, have, data);
    return weft_timeout_end(&limit, (int)n);
}

ssize_t client_peek(struct client *c, size_t have, const char **data, weft_ns deadline)
{
    for (;;) {
        weft_ns until = deadline == WEFT_FOREVER ? leave_by() : deadline;
        ssize_t n = peek_until(c, have, data, until);
        if (n != -ECANCELED) {
            note_activity(c);
            return n;
        }
        bool quiet = idle_too_long(c);
        if (!client_told(c)) {
            return -ECANCELED;
        }
        if (quiet) {
            return -ETIMEDOUT;
        }
    }
}

ssize_t client_next(struct client *c, const char **data)
{
    for (;;) {
        weft_ns until = leave_by();
        ssize_t n = weft_peek_or_park(c->stream, 0, data, until == WEFT_FOREVER ? until : until - weft_now());
        if (n != -ECANCELED) {
            if (n != WEFT_PARK) {
                note_activity(c);
            }
            return n;
        }
        bool quiet = idle_too_long(c);
        if (!client_told(c)) {
            return -ECANCELED;
        }
        if (quiet) {
            return -ETIMEDOUT;
        }
    }
}

/* After a write that was cancelled, of which some bytes may have gone: 0 when the rest shall be sent. */
static int write_again(struct client *c, bool moved)
{
    bool quiet = !moved && idle_too_long(c);
    if (!client_told(c)) {
        return -ECANCELED;
    }
    if (moved) {
        note_activity(c);
    }
    c->deaf = quiet;
    return quiet ? -ETIMEDOUT : 0;
}

int client_write(struct client *c, const void *bytes, size_t n)
{
    const char *at = bytes;
    uint64_t before = weft_stream_written(c->stream);
    int rc;
    while ((rc = weft_write(c->stream, at, n)) == -ECANCELED) {
        uint64_t now = weft_stream_written(c->stream);
        rc = write_again(c, now != before);
        if (rc < 0) {
            return rc;
        }
        at += now - before;
        n -= (size_t)(now - before);
        before = now;
        if (n == 0) {
            break; /* cancelled at the very end: all is sent */
        }
    }
    note_activity(c);
    return rc;
}

int client_writev(struct client *c, const struct iovec *parts, int n)
{
    uint64_t before = weft_stream_written(c->stream);
    int rc = weft_writev(c->stream, parts, n);
    if (rc != -ECANCELED) {
        note_activity(c);
        return rc;
    }
    uint64_t now = weft_stream_written(c->stream);
    rc = write_again(c, now != before);
    size_t sent = (size_t)(now - before);
    for (int i = 0; i < n && rc == 0; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= skip;
        if (skip < parts[i].iov_len) {
            rc = client_write(c, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
        }
    }
    return rc;
}

int client_sleep(struct client *c, weft_ns duration)
{
    weft_ns until = weft_now() + duration;
    int rc;
    while ((rc = weft_sleep_until(until)) == -ECANCELED && client_told(c)) {
    }
    note_activity(c);
    return rc;
}
