/* SPDX-License-Identifier: Apache-2.0 */
/* support/server.h -- what the example servers share: arguments, accepting, and leaving in good order.
 *
 * A server is one task that accepts and one task for each client. On SIGTERM or SIGINT it drains:
 *   1. `draining` becomes true: a protocol that can say "this is the last answer" says so from now on.
 *   2. New connections are held off, those in the kernel's queue are accepted, then the listener is closed.
 *   3. Every client's task is told, by a cancellation that the client_ functions below take note of and go on: what was
 *      received is answered, a client that is between two requests has a moment left to send one more.
 *   4. When all clients have left, or at the drain limit, the program ends with status 0: the end of the run cancels those who are left.
 *      A SIGTERM that comes once more changes nothing, not even when the run is over.
 *
 * The client_ functions are for the client's own task. `struct client` lives in that task's frame. */
#ifndef EXAMPLES_SUPPORT_SERVER_H
#define EXAMPLES_SUPPORT_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>
#include <weft.h>

/* A command line option with a number: its name, the number (the default before, the value after), and a line of
 * help. */
struct server_option {
    const char *name;
    long *value;
    const char *help;
};

/* One program. */
struct server_kind {
    const char *name, *port;                  /* the program's name, the default port */
    weft_task *(*start)(weft_stream *stream); /* a client's task, with `stream` in its struct client; NULL: memory */
    int (*prepare)(void);                /* NULL, or called in the main task before the listener opens: 0 or -errno */
    const struct server_option *options; /* NULL, or more options; the last one has no name */
    const long *idle_ms;                 /* NULL, or: clients that do nothing for this long are closed; 0: never */
};

/* With the frame's own word 48 bytes: so much a task's descriptor has room for, and an idle connection is 224 bytes, the task and its
 * stream. So there is no pointer to the server, and nothing that only a request needs. */
struct client {
    weft_stream *stream;
    weft_task *task;             /* NULL: it has not entered yet */
    struct client *next, **link; /* the server's list; under its guard */
    atomic_uint active;          /* the server's tick when bytes last moved; written by this task */
    uint16_t asked;              /* cancellations by the server that were not yet met; under its guard */
    bool deaf;                   /* it took nothing for the idle limit, so it will not take a polite end either */
};
_Static_assert(sizeof(weft_frame) + sizeof(struct client) <= 48, "a client's task is two cache lines");

/* Clients are counted here and not a weft_group's: a group's record is 80 bytes for each. Who has fewer clients takes a group, which also
 * cancels them and waits (docs/draining.md). */
struct server {
    const struct server_kind *kind;
    atomic_bool draining;
    _Atomic(weft_ns) leave_by; /* the instant up to which clients wait for a new request; WEFT_FOREVER: not told yet */
    atomic_uint tick;          /* counts eighths of the idle limit */
    /* Of the next four, on a line of their own, as each request looks at those above. Nothing suspends under it, so a plain mutex is right: it
     * is held for a moment. */
    _Alignas(64) pthread_mutex_t guard;
    struct client *clients; /* those that have entered */
    size_t connected;       /* all, from before the task is made until it has left */
    bool awaited;           /* whoever leaves last sets `nobody` */
    weft_event nobody;
    bool started; /* the main task ran: it has said what went wrong */
};
#define SERVER_INIT                                                                                                    \
    {                                                                                                                  \
        .leave_by = WEFT_FOREVER, .guard = PTHREAD_MUTEX_INITIALIZER, .nobody = WEFT_EVENT_INIT                        \
    }
extern struct server the_server; /* a program has one */

/* The whole program: returns its exit status. */
int server_main(int argc, char **argv, const struct server_kind *kind);

/* Is the server draining? (Then an answer should say that it is the last.) */
static inline bool server_draining(void)
{
    return atomic_load_explicit(&the_server.draining, memory_order_relaxed);
}
/* How many clients there are. */
size_t server_connected(void);

/* Start a client's task. 0; or -ENOMEM: the stream is closed, this client has to come again. */
int server_admit(weft_stream *stream);
/* Wait until every client has left, when no more are admitted. 0 or -ECANCELED. */
int server_wait_clients(void);

/* First and last in a client's task; client_enter also when it is called again after it was parked. `stream` is set by whoever starts the
 * task. client_leave takes the result of the last call: on 0 (the peer has closed) or an error of the connection it closes at once; otherwise
 * it ends its own side, and waits a little for the peer's end, so that no reset destroys an answer on its way. A
 * client that did not take its answers is reset. Returns 0. */
struct client *client_enter(struct client *c);
int client_leave(struct client *c, ssize_t last);
/* Instead of both, in a task that was cancelled before it began (WEFT_CORO_OWNING). */
void client_unstarted(struct client *c);

/* Between two requests: what has come of the next one, as weft_peek_or_park. WEFT_PARK: to be returned, so that a client that does
 * nothing holds no stack. Besides its errors: -ETIMEDOUT when the idle limit, or the moment left by a drain has passed; -ECANCELED: end at once. */
ssize_t client_next(struct client *c, const char **data);
/* Within a request: as weft_peek, until `deadline` (an instant, or WEFT_FOREVER). Besides its errors: -ETIMEDOUT when the deadline, the
 * idle limit, or (without a deadline) the moment left by a drain has passed; -ECANCELED: end at once. */
ssize_t client_peek(struct client *c, size_t have, const char **data, weft_ns deadline);
/* As weft_write and weft_writev (at most 4 parts); -ETIMEDOUT when the client takes nothing for the idle limit. */
int client_write(struct client *c, const void *bytes, size_t n);
int client_writev(struct client *c, const struct iovec *parts, int n);
/* As weft_sleep; neither a drain nor the idle limit ends it. */
int client_sleep(struct client *c, weft_ns duration);
/* For a wait of another kind that ended with -ECANCELED. True: it was only the server's word, wait again; false:
 * end. */
bool client_told(struct client *c);

#endif
