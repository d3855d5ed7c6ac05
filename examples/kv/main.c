/* SPDX-License-Identifier: Apache-2.0 */
/* weft-kv: a key-value server that speaks RESP2, as redis-cli and redis-benchmark send it. Every client is one task, parked (weft/park.h)
 * between two commands. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kv/commands.h"

static long bulk_max = 512 * 1024, command_max = 16 * 1024 * 1024;

/* The commands a client has sent so far: data[0..n), of which data[0..used) is dealt with. On the stack only while
 * there is something to answer. */
struct batch {
    struct client *client;
    struct resp resp;
    const char *data;
    size_t used, n;
    weft_ns now;
    bool last;
    unsigned run; /* commands, not counted yet */
    struct reply out;
};

static int protocol_error(struct batch *b, const char *error)
{
    reply_error(&b->out, "ERR Protocol error: %s", error);
    b->last = true;
    return 0;
}

static void run(struct batch *b)
{
    if (b->resp.argc > 0) {
        struct call call = {.out = &b->out, .now = b->now, .argc = b->resp.argc, .argv = b->resp.argv, .run = &b->run};
        command_run(&call);
        b->last = call.quit;
    }
    resp_reset(&b->resp);
}

/* Make room for n bytes in the buffer. */
static int reserve(char **buffer, size_t *room, size_t n)
{
    if (n <= *room) {
        return 0;
    }
    size_t wanted = *room == 0 ? 4 * WEFT_STREAM_BUFFER : 2 * *room;
    char *larger = realloc(*buffer, wanted < n ? n : wanted);
    if (larger == NULL) {
        return -ENOMEM;
    }
    *buffer = larger;
    *room = wanted < n ? n : wanted;
    return 0;
}

/* A command that does not fit into the stream's own buffer is collected in memory, which grows with what comes. All of
 * data[0..n) is the beginning of it. What is behind it stays in the stream. */
static int large_command(struct batch *b)
{
    char *buffer = NULL;
    size_t room = 0, have = 0;
    for (;;) {
        int rc = reserve(&buffer, &room, have + b->n);
        if (rc < 0 || have + b->n > (size_t)command_max) {
            free(buffer);
            return protocol_error(b, rc < 0 ? "memory is short" : "too big a command");
        }
        memcpy(buffer + have, b->data, b->n);
        have += b->n;
        long length = have >= resp_wanted(&b->resp) ? resp_parse(&b->resp, buffer, have) : 0;
        if (length != 0) {
            b->used = length > 0 ? b->n - (have - (size_t)length) : b->n;
            if (length < 0) {
                protocol_error(b, b->resp.error);
            } else {
                b->now = weft_now();
                run(b);
            }
            free(buffer);
            return 0;
        }
        weft_consume(b->client->stream, b->n);
        b->n = 0;
        ssize_t n = client_peek(b->client, 0, &b->data, WEFT_FOREVER);
        if (n <= 0) {
            free(buffer);
            return n < 0 ? (int)n : -EPIPE;
        }
        b->n = (size_t)n;
    }
}

/* Wait for the rest of the command that starts at data[used]. */
static int more(struct batch *b)
{
    reply_flush(&b->out);
    weft_consume(b->client->stream, b->used);
    b->n -= b->used;
    b->used = 0;
    ssize_t n = b->out.rc < 0 ? b->out.rc : client_peek(b->client, b->n, &b->data, WEFT_FOREVER);
    if (n == -ENOBUFS) {
        return large_command(b);
    }
    if (n <= 0) {
        return n < 0 ? (int)n : -EPIPE; /* the client left in the middle of a command */
    }
    b->n = (size_t)n;
    b->now = weft_now();
    return 0;
}

/* Answer all commands that have come. 0: the connection stays; 1: it ends well; else a negative errno. Not inlined: its
 * frame must not be on the stack of a client that waits. */
static __attribute__((noinline)) int commands(struct client *client, const char *data, size_t n)
{
    struct batch b;
    b.client = client;
    resp_init(&b.resp, (size_t)bulk_max);
    b.data = data;
    b.used = 0;
    b.n = n;
    b.now = weft_now();
    b.last = false;
    b.run = 0;
    b.out.client = client;
    b.out.rc = 0;
    b.out.n = 0;
    int rc = 0;
    while (b.used < b.n && !b.last && rc == 0) {
        long length = resp_parse(&b.resp, b.data + b.used, b.n - b.used);
        if (length > 0) {
            run(&b);
            b.used += (size_t)length;
        } else if (length < 0) {
            rc = protocol_error(&b, b.resp.error);
        } else {
            rc = more(&b);
        }
        rc = rc == 0 ? b.out.rc : rc;
    }
    commands_count(&b.run);
    reply_flush(&b.out);
    weft_consume(client->stream, b.used);
    resp_free(&b.resp);
    rc = rc == 0 ? b.out.rc : rc;
    return rc < 0 ? rc : b.last ? 1 : 0;
}

struct kv {
    WEFT_FRAME;
    struct client client;
};
static int kv(struct kv *f)
{
    struct client *c = client_enter(&f->client);
    const char *data;
    ssize_t n;
    while ((n = client_next(c, &data)) > 0) {
        n = commands(c, data, (size_t)n);
        if (n != 0) {
            break;
        }
    }
    return n == WEFT_PARK ? WEFT_PARK : client_leave(c, n);
}

static void kv_unstarted(struct kv *f)
{
    client_unstarted(&f->client);
}
WEFT_CORO_OWNING(kv, kv_unstarted);

static weft_task *start(weft_stream *stream)
{
    return weft_create_task(kv, .client = {.stream = stream});
}

static int prepare(void)
{
    int rc = store_init();
    if (rc == 0) {
        weft_release(weft_create_task(store_sweep));
    }
    return rc;
}

int main(int argc, char **argv)
{
    const struct server_option options[] = {
        {"bulk-max", &bulk_max, "most bytes of one argument"},
        {"command-max", &command_max, "most bytes of one command"},
        {NULL, NULL, NULL},
    };
    struct server_kind kind = {
        .name = "weft-kv", .port = "6379", .start = start, .prepare = prepare, .options = options};
    int status = server_main(argc, argv, &kind);
    store_free();
    return status;
}
