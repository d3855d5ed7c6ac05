/* SPDX-License-Identifier: Apache-2.0 */
/* weft-chat: each line that a client sends goes to all clients, to each in the same order.
 *     nc 127.0.0.1 7008
 * `weft-chat --help` tells its options.
 *
 * A client has two tasks. Its own reads lines and hands them to everybody; it is parked while nothing comes. The other writes what waits in
 * the client's queue. The queue is bounded, and who speaks never waits for one who does not read: he is cut off when his queue is full. But who speaks
 * faster than the others can be written to is slowed down before. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/server.h"

#define LAST_WORDS WEFT_SEC(1) /* so long a client that leaves takes what still waits for it */

static long waiting = 256;

/* A line, for all who have not been sent it yet. */
struct line {
    atomic_size_t holders;
    size_t n;
    char text[];
};

struct guest {
    WEFT_FRAME;
    struct client client;
    weft_queue *lines; /* struct line * */
    weft_task *writer;
    bool slow;                /* under the room's guard, and so are: */
    struct guest *next, **at; /* all who are in the room */
};

static struct {
    pthread_mutex_t guard;
    struct guest *guests;
} room = {PTHREAD_MUTEX_INITIALIZER, NULL};

static void put_away(struct line *line)
{
    if (atomic_fetch_sub(&line->holders, 1) == 1)
        free(line);
}

static bool give(struct guest *g, struct line *line)
{
    atomic_fetch_add(&line->holders, 1);
    if (weft_queue_put_nowait(g->lines, &line) == 0)
        return true;
    put_away(line);
    return false;
}

/* 0: go on; 1: some of them are behind; -ENOMEM. */
static int say(const char *text, size_t n)
{
    struct line *line = malloc(sizeof *line + n);
    size_t most = 0;
    weft_batch all; /* nobody begins to write while the guard is held */
    if (line == NULL)
        return -ENOMEM;
    atomic_init(&line->holders, 1);
    line->n = n;
    memcpy(line->text, text, n);
    weft_batch_begin(&all);
    pthread_mutex_lock(&room.guard);
    for (struct guest *g = room.guests; g != NULL; g = g->next) {
        if (!g->slow && !give(g, line)) {
            g->slow = true;
            weft_cancel(g->client.task); /* not the server's word (client_told): it ends */
        } else if (!g->slow && weft_queue_size(g->lines) > most) {
            most = weft_queue_size(g->lines);
        }
    }
    pthread_mutex_unlock(&room.guard);
    weft_batch_end(&all);
    put_away(line);
    return waiting != 0 && most > (size_t)waiting / 2;
}

struct writes {
    WEFT_FRAME;
    struct guest *guest;
};
static int writes(struct writes *f)
{
    struct line *line;
    int rc;
    while ((rc = weft_queue_get(f->guest->lines, &line)) == 0) {
        rc = weft_write(f->guest->client.stream, line->text, line->n);
        put_away(line);
        if (rc < 0)
            break;
    }
    return rc == -ESHUTDOWN ? 0 : rc; /* all is written */
}
WEFT_CORO(writes);

static int come_in(struct guest *g)
{
    g->lines = weft_queue_create(sizeof(struct line *), (size_t)waiting);
    g->writer = g->lines != NULL ? weft_create_task(writes, .guest = g) : NULL;
    if (g->writer == NULL) {
        weft_queue_destroy(g->lines);
        return -ENOMEM;
    }
    pthread_mutex_lock(&room.guard);
    g->next = room.guests;
    g->at = &room.guests;
    if (g->next != NULL)
        g->next->at = &g->next;
    room.guests = g;
    pthread_mutex_unlock(&room.guard);
    return 0;
}

/* The writer writes what is left, unless the guest is cut off; the server's word does not reach it. */
static void go_out(struct guest *g, bool cut_off)
{
    struct client *c = &g->client;
    weft_ns until = weft_now() + (cut_off ? 0 : LAST_WORDS);
    struct line *line;
    int rc;
    pthread_mutex_lock(&room.guard);
    *g->at = g->next;
    if (g->next != NULL)
        g->next->at = g->at;
    pthread_mutex_unlock(&room.guard);
    weft_queue_shutdown(g->lines, false);
    do {
        weft_timeout limit;
        weft_timeout_begin_at(&limit, until);
        rc = weft_timeout_end(&limit, weft_shield(g->writer));
    } while (rc == -ECANCELED && !weft_done(g->writer) && client_told(c));
    c->deaf =
        cut_off || !weft_done(g->writer) || weft_status(g->writer) < 0; /* cancelled with us at the drain limit, say */
    weft_cancel(g->writer);
    weft_await_release(g->writer);
    while (weft_queue_get_nowait(g->lines, &line) == 0)
        put_away(line);
    weft_queue_destroy(g->lines);
}

static ssize_t next_line(struct client *c, const char **line)
{
    const char *end = NULL;
    ssize_t n = client_next(c, line);
    while (n > 0 && (end = memchr(*line, '\n', (size_t)n)) == NULL)
        n = client_peek(c, (size_t)n, line, WEFT_FOREVER);
    return n > 0 ? end + 1 - *line : n;
}

static int guest(struct guest *g)
{
    struct client *c = client_enter(&g->client);
    const char *line;
    ssize_t n;
    int rc = g->writer == NULL ? come_in(g) : 0;
    if (rc < 0)
        return client_leave(c, rc);
    while ((n = next_line(c, &line)) > 0) {
        rc = say(line, (size_t)n);
        weft_consume(c->stream, (size_t)n);
        if (rc > 0)
            rc = client_sleep(c, WEFT_MS(1));
        if (rc < 0) {
            n = rc;
            break;
        }
    }
    if (n == WEFT_PARK)
        return WEFT_PARK;
    go_out(g, n == -ECANCELED);
    return client_leave(c, n);
}

static void guest_unstarted(struct guest *g)
{
    client_unstarted(&g->client);
}
WEFT_CORO_OWNING(guest, guest_unstarted);

static weft_task *start(weft_stream *stream)
{
    return weft_create_task(guest, .client = {.stream = stream});
}

int main(int argc, char **argv)
{
    const struct server_option options[] = {
        {"waiting", &waiting, "lines that may wait for a client; with one more it is cut off. 0: no limit"},
        {NULL, NULL, NULL},
    };
    return server_main(argc, argv,
                       &(struct server_kind){.name = "weft-chat", .port = "7008", .start = start, .options = options});
}
