/* SPDX-License-Identifier: Apache-2.0 */
/* support/server.c -- the program around a server: arguments, accepting, the idle limit, draining. See server.h. */
#include "support/server.h"

#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MOST_LISTENERS 64
/* How long an idle client may still send a request, from when all have been told. */
#define GRACE WEFT_MS(200)

struct server the_server = SERVER_INIT;

/* What the command line says. */
static const char *host = "127.0.0.1", *port;
#define MOST_VALUE 1000000000L /* of an option: as seconds in nanoseconds it is still a number */

static long workers, account, seconds, drain_ms = 30000, hold_ms, backlog = 4096, listeners = 1;

static const struct server_option common[] = {
    {"workers", &workers, "worker threads; 0: one per CPU that may be used"},
    {"drain-ms", &drain_ms, "longest time from SIGTERM to the end"},
    {"listeners", &listeners, "listening sockets, each with a queue and an accepting task of its own (SO_REUSEPORT)"},
    {"backlog", &backlog, "most connections that wait in the kernel to be accepted"},
    {"hold-ms", &hold_ms,
     "leave them there while ready tasks wait longer than this for their turn; 0: the library's default"},
    {"seconds", &seconds, "leave by itself after so long, as on SIGTERM; 0: never"},
    {NULL, NULL, NULL},
};

/* ---- clients that do nothing ---- */

/* Tell a client's task that something has changed. Under the guard, which keeps c alive and the count right. */
static void tell(struct client *c)
{
    if (c->asked == UINT16_MAX) {
        return; /* that many are enough */
    }
    c->asked++;
    weft_cancel(c->task);
}

/* Looks at all clients now and then. Cheaper than a timer for each: a client only notes the tick when bytes move. */
struct watch {
    WEFT_FRAME;
};
static int watch(struct watch *w)
{
    (void)w;
    struct server *s = &the_server;
    for (;;) {
        int rc = weft_sleep(WEFT_MS(*s->kind->idle_ms) / 8);
        if (rc < 0) {
            return rc;
        }
        unsigned now = atomic_fetch_add_explicit(&s->tick, 1, memory_order_relaxed) + 1;
        pthread_mutex_lock(&s->guard);
        for (struct client *c = s->clients; c != NULL; c = c->next) {
            /* Once at the limit; then again each full limit, for a task that was busy with something else. */
            unsigned quiet = now - atomic_load_explicit(&c->active, memory_order_relaxed);
            if (quiet != 0 && quiet % 8 == 0) {
                tell(c);
            }
        }
        pthread_mutex_unlock(&s->guard);
    }
}
WEFT_CORO(watch);

/* ---- the main task ---- */

static int accept_clients(weft_listener *listener)
{
    for (;;) {
        weft_stream *stream;
        int rc = weft_accept(listener, &stream);
        if (rc < 0) {
            return rc;
        }
        (void)server_admit(stream);
    }
}

struct reception {
    WEFT_FRAME;
    weft_listener *listener;
};
static int reception(struct reception *r)
{
    return accept_clients(r->listener);
}
WEFT_CORO(reception);

static int wait_for_signal(weft_ns limit)
{
    weft_timeout timeout;
    weft_timeout_begin(&timeout, limit);
    int rc = weft_signal_wait((const int[]){SIGTERM, SIGINT}, 2);
    return weft_timeout_end(&timeout, rc);
}

/* Accept for a while; with no time at all, those who are in the queue. -ETIMEDOUT, or what went wrong. */
static int accept_for(weft_listener *listener, weft_ns time)
{
    weft_timeout limit;
    weft_timeout_begin(&limit, time);
    return weft_timeout_end(&limit, accept_clients(listener));
}

/* Let nobody knock any more, while those who did are still let in: the kernel drops the first packet of new
 * connections (the client repeats it in a second, and is then refused or reaches a successor on the same port).
 * Closing a listener resets what is in its queue, so without this a connection that comes at that very moment would
 * be lost. */
static void refuse_newcomers(weft_listener *listener)
{
    enum { FLAGS = 13, SYN = 0x02, ACK = 0x10 }; /* of the TCP header, with which the filter's packet begins */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS),      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
    if (setsockopt(weft_listener_fd(listener), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
        fprintf(
            stderr,
            "draining without a filter for newcomers\n"); /* a kernel without it: the queue is served all the same */
    }
}

/* Steps 1 to 3 of draining (server.h). */
static void drain(weft_listener *doors[])
{
    struct server *s = &the_server;
    atomic_store_explicit(&s->draining, true, memory_order_relaxed); /* the guard, taken below, orders it for all */
    for (long i = 0; i < listeners; i++) {
        refuse_newcomers(doors[i]);
    }
    for (long i = 0; i < listeners; i++) {
        int rc = accept_for(doors[i], WEFT_MS(20)); /* connections half made when the filter came */
        if (rc == -ETIMEDOUT) {
            rc = accept_for(doors[i], 0); /* those that came while this task waited for its turn */
        }
        weft_close(doors[i]);
        if (rc != -ETIMEDOUT) {
            fprintf(stderr, "%s: draining: %s\n", s->kind->name, weft_strerror(rc));
        }
    }
    pthread_mutex_lock(&s->guard);
    atomic_store_explicit(&s->leave_by, weft_now() + GRACE, memory_order_relaxed); /* who is told looks at it */
    for (struct client *c = s->clients; c != NULL; c = c->next) {
        tell(c);
    }
    pthread_mutex_unlock(&s->guard);
}

/* The last step: 0; -ETIMEDOUT at the drain limit. */
static int see_them_out(void)
{
    weft_timeout limit;
    weft_timeout_begin(&limit, WEFT_MS(drain_ms));
    return weft_timeout_end(&limit, server_wait_clients());
}

struct serve {
    WEFT_FRAME;
};
static int serve(struct serve *f)
{
    (void)f;
    struct server *s = &the_server;
    s->started = true;
    char address[300];
    weft_listener *doors[MOST_LISTENERS];
    bool colon = strchr(host, ':') != NULL && host[0] != '[';
    snprintf(address, sizeof address, colon ? "[%s]:%s" : "%s:%s", host, port);
    int rc = s->kind->prepare != NULL ? s->kind->prepare() : 0;
    const weft_listen_options *options = WEFT_LISTEN_OPTIONS(.backlog = (int)backlog, .most_delay = WEFT_MS(hold_ms));
    if (rc == 0) {
        rc = listeners == 1 ? weft_listen_with(options, doors, address)
                            : weft_listen_group(options, doors, (unsigned)listeners, address);
    }
    if (rc < 0) {
        fprintf(stderr, "%s: %s: %s\n", s->kind->name, address, weft_strerror(rc));
        return rc;
    }
    /* The first wait arms the signals: one that comes after the line below finds us, whenever it comes. */
    int stop = wait_for_signal(0);
    weft_listener_address(doors[0], address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);

    if (s->kind->idle_ms != NULL && *s->kind->idle_ms > 0) {
        weft_release(weft_create_task(watch));
    }
    weft_group accepting; /* if one fails, this task's wait ends */
    weft_group_begin(&accepting);
    for (long i = 0; i < listeners && rc == 0; i++) {
        rc = weft_group_start(&accepting, reception, .listener = doors[i]);
    }
    if (rc == 0 && stop == -ETIMEDOUT) {
        rc = wait_for_signal(seconds > 0 ? WEFT_SEC(seconds) : WEFT_FOREVER);
        rc = rc == -ETIMEDOUT ? 0 : rc;
    }
    weft_group_cancel(&accepting);
    rc = weft_group_join(&accepting, rc < 0 ? rc : 0);
    drain(doors);
    rc = rc < 0 ? rc : see_them_out();
    if (rc < 0) {
        fprintf(stderr, "%s: ended with clients still connected: %s\n", s->kind->name, weft_strerror(rc));
    }
    signal(SIGTERM, SIG_IGN); /* a late one must not end the program with another status while it exits */
    return rc == -ETIMEDOUT ? 0 : rc;
}
WEFT_CORO(serve);

/* ---- the command line ---- */

static void usage(const struct server_kind *kind, FILE *to)
{
    fprintf(to, "usage: %s [--host HOST] [--port PORT] [--account]", kind->name);
    const struct server_option *lists[] = {common, kind->options};
    for (size_t i = 0; i < 2; i++) {
        for (const struct server_option *o = lists[i]; o != NULL && o->name != NULL; o++) {
            fprintf(to, " [--%s N]", o->name);
        }
    }
    fprintf(to, "\n  --host      address to listen on (%s)\n  --port      port or service; 0 picks one (%s)\n", host,
            kind->port);
    fprintf(to, "  --account   print the runtime's account at the end\n");
    for (size_t i = 0; i < 2; i++) {
        for (const struct server_option *o = lists[i]; o != NULL && o->name != NULL; o++) {
            fprintf(to, "  --%s N: %s (%ld)\n", o->name, o->help, *o->value);
        }
    }
}

static bool known(const struct server_option *options, const char *name)
{
    for (const struct server_option *o = options; o != NULL && o->name != NULL; o++) {
        if (strcmp(o->name, name) == 0) {
            return true;
        }
    }
    return strcmp(name, "host") == 0 || strcmp(name, "port") == 0;
}

/* What is wrong with an argument; to be returned. */
static bool wrong(const struct server_kind *kind, const char *what, const char *argument)
{
    fprintf(stderr, "%s: %s: %s\n", kind->name, argument, what);
    return false;
}

static bool number(const struct server_option *options, const char *name, const char *text)
{
    for (const struct server_option *o = options; o != NULL && o->name != NULL; o++) {
        if (strcmp(o->name, name) == 0) {
            char *end;
            errno = 0;
            *o->value = strtol(text, &end, 10);
            return errno == 0 && end != text && *end == '\0' && *o->value >= 0 && *o->value <= MOST_VALUE;
        }
    }
    return false;
}

static bool arguments(int argc, char **argv, const struct server_kind *kind)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strncmp(name, "--", 2) != 0) {
            return wrong(kind, "unknown", name);
        }
        name += 2;
        if (strcmp(name, "account") == 0) {
            account = 1;
            continue;
        }
        if (!known(common, name) && !known(kind->options, name)) {
            return wrong(kind, "unknown option", argv[i]);
        }
        if (++i == argc) {
            return wrong(kind, "a value is missing", argv[i - 1]);
        }
        if (strcmp(name, "host") == 0) {
            host = argv[i];
        } else if (strcmp(name, "port") == 0) {
            port = argv[i];
        } else if (!number(common, name, argv[i]) && !number(kind->options, name, argv[i])) {
            fprintf(stderr, "%s: --%s takes a whole number up to %ld, not '%s'\n", kind->name, name, MOST_VALUE,
                    argv[i]);
            return false;
        }
    }
    if (workers > WEFT_MAX_WORKERS) {
        return wrong(kind, "too many", "--workers");
    }
    return (listeners >= 1 && listeners <= MOST_LISTENERS) || wrong(kind, "too few or too many", "--listeners");
}

static void print_account(void *user, weft_runtime *rt)
{
    (void)user;
    fflush(stdout);
    weft_metrics_print(rt, 1);
}

int server_main(int argc, char **argv, const struct server_kind *kind)
{
    port = kind->port;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        usage(kind, stdout);
        return 0;
    }
    if (!arguments(argc, argv, kind)) {
        usage(kind, stderr);
        return 2;
    }
    the_server.kind = kind;
    const weft_options *options =
        WEFT_OPTIONS(.workers = (unsigned)workers, .at_end = account != 0 ? print_account : NULL);
    int rc = weft_run_with(options, serve);
    if (rc < 0 && !the_server.started) {
        fprintf(stderr, "%s: %s\n", kind->name, weft_strerror(rc));
    }
    return rc < 0 ? 1 : 0;
}
