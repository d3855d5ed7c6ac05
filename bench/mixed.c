/* SPDX-License-Identifier: Apache-2.0 */
/* mixed: a TCP client (an ordinary thread) talks to an echo server while, on the same runtime, tasks compute all the time. The
 * computation is made of steps, after each of which its task yields; what a client waits beyond the unloaded time is the rest
 * of a step, and what the runtime adds. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "fib.h"

enum { MESSAGE = 64, STEP = 18, LOADS_A_WORKER = 2 };

/* ---- the server: one client ---- */

struct serve {
    WEFT_FRAME;
    weft_listener *listener;
};
static int serve(struct serve *f)
{
    weft_stream *s;
    int rc = weft_accept(f->listener, &s);
    if (rc < 0)
        return rc;
    char buf[MESSAGE];
    while ((rc = (int)weft_read(s, buf, sizeof buf)) > 0 && (rc = weft_write(s, buf, (size_t)rc)) == 0)
        ;
    weft_close(s);
    return rc;
}
WEFT_CORO(serve);

/* ---- the load ---- */

struct load {
    WEFT_FRAME;
    const atomic_bool *stop;
    weft_ns longest; /* step */
    long steps;
};
static int load(struct load *f)
{
    while (!atomic_load(f->stop)) {
        struct fib_task tree = {.n = STEP};
        weft_ns start = weft_now();
        int rc = fib_task(&tree);
        weft_ns took = weft_now() - start;
        f->longest = took > f->longest ? took : f->longest;
        f->steps++;
        if (rc == 0 && tree.result != fib_of(STEP))
            rc = -1;
        if (rc < 0 || (rc = weft_yield()) < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(load);

/* ---- the client ---- */

struct client {
    long n;
    in_port_t port;
    weft_ns *late;
    bool wrong;
    weft_event ended;
};

static bool exchange(int fd, char tag)
{
    char out[MESSAGE], in[MESSAGE];
    memset(out, tag, sizeof out);
    if (send(fd, out, sizeof out, MSG_NOSIGNAL) != MESSAGE || recv(fd, in, sizeof in, MSG_WAITALL) != MESSAGE)
        return false;
    return memcmp(in, out, sizeof in) == 0;
}

static void *ask(void *argument)
{
    struct client *c = argument;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = c->port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    c->wrong = fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
               setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || !exchange(fd, 0);
    for (long i = 0; i < c->n && !c->wrong; i++) {
        struct timespec pause = {.tv_sec = 0,
                                 .tv_nsec = 300000 + i % 7 * 50000}; /* no rhythm in common with the steps */
        nanosleep(&pause, NULL);
        weft_ns start = weft_now();
        c->wrong = !exchange(fd, (char)i);
        c->late[i] = weft_now() - start;
    }
    if (fd >= 0)
        close(fd);
    weft_event_set(&c->ended);
    return NULL;
}

/* One client's life, from connecting to hanging up. */
static void serve_client(struct client *c, struct outcome *out)
{
    weft_listener *listener;
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    pthread_t thread;
    weft_event_init(&c->ended);
    if (weft_listen(&listener, "127.0.0.1:0") < 0) {
        out->wrong = true;
        return;
    }
    out->wrong |= getsockname(weft_listener_fd(listener), (struct sockaddr *)&address, &length) != 0;
    c->port = address.sin_port;
    weft_task *server = weft_create_task(serve, .listener = listener);
    if (pthread_create(&thread, NULL, ask, c) == 0) {
        out->wrong |= weft_event_wait(&c->ended) != 0;
        pthread_join(thread, NULL);
    } else {
        out->wrong = true;
        weft_cancel(server);
    }
    out->wrong |= weft_await_release(server) != 0 || c->wrong;
    weft_close(listener);
}

static void run_mixed(long n, struct outcome *out)
{
    struct client c = {.n = n, .late = malloc((size_t)n * sizeof *c.late)};
    if (c.late == NULL) {
        out->wrong = true;
        return;
    }
    serve_client(&c, out);
    double idle_p99 = percentile(c.late, n, 0.99), idle_p50 = percentile(c.late, n, 0.5);

    unsigned loads = weft_runtime_workers(weft_runtime_current()) * LOADS_A_WORKER;
    weft_task *t[64];
    loads = loads < 64 ? loads : 64;
    atomic_bool stop = false;
    for (unsigned i = 0; i < loads; i++)
        t[i] = weft_create_task(load, .stop = &stop);
    bench_start(out);
    serve_client(&c, out);
    bench_stop(out);
    atomic_store(&stop, true);
    weft_ns longest = 0, whole = out->elapsed;
    long steps = 0;
    for (unsigned i = 0; i < loads; i++) {
        out->wrong |= weft_await(t[i]) != 0;
        const struct load *l = weft_result(load, t[i]);
        longest = l->longest > longest ? l->longest : longest;
        steps += l->steps;
        weft_release(t[i]);
    }
    bench_extra(out, "mixed_p99", percentile(c.late, n, 0.99));
    bench_extra(out, "mixed_idle_p50", idle_p50);
    bench_extra(out, "mixed_idle_p99", idle_p99);
    bench_extra(out, "mixed_longest_step", (double)longest);
    bench_extra(out, "mixed_load_step", (double)whole / (steps > 0 ? (double)steps : 1));
    out->name = "mixed_p50";
    out->elapsed = (weft_ns)percentile(c.late, n, 0.5);
    out->operations = 1;
    free(c.late);
}

const struct workload mixed_workloads[] = {
    {.name = "mixed",
     .what = "an echo over TCP (median) while tasks compute; lines for its p99, both without load, the steps",
     .n = 2000,
     .run = run_mixed},
    {.name = NULL},
};
