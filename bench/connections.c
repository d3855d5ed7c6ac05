/* SPDX-License-Identifier: Apache-2.0 */
/* connections: n idle connections, and requests on them: bytes of user memory each (resident and page tables), and the CPU time of
 * the server for a request on one of 64 random ones at a time, once with a stack for each connection (weft_peek), once parked
 * (weft_peek_or_park; with a time limit, and without). The clients are another process, so that what is measured is the server's alone.
 *
 * Descriptors are limited: n is cut to what the process may have. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { BATCH = 64, ROUNDS = 4, SPARE_DESCRIPTORS = 200 };
enum way { STACK, PARKED, PARKED_WITH_LIMIT, WAYS };

/* ---- the clients' process ---------------------------------------------------------------------------------------- */

static int connect_one(long i, uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* An address of its own for every 20,000: there are not so many ports. */
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(i / 20000))};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        fprintf(stderr, "weft-bench: connection %ld: %s\n", i, strerror(errno));
        _exit(1);
    }
    return fd;
}

static void clients(int control, long n)
{
    uint16_t port;
    int *fd = malloc((size_t)n * sizeof *fd);
    if (fd == NULL || read(control, &port, sizeof port) != sizeof port)
        _exit(1);
    for (long i = 0; i < n; i++)
        fd[i] = connect_one(i, port);
    uint64_t random = 1;
    char c = 'c';
    long requests;
    while (write(control, &c, 1) == 1 && read(control, &requests, sizeof requests) == sizeof requests) {
        for (long sent = 0; sent < requests; sent += BATCH) {
            int at[BATCH];
            for (int i = 0; i < BATCH; i++) {
                random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
                at[i] = fd[(random >> 33) % (uint64_t)n];
                if (write(at[i], &i, 1) != 1)
                    _exit(1);
            }
            for (int i = 0; i < BATCH; i++)
                if (read(at[i], &c, 1) != 1) /* which of two that went to one connection comes first is known */
                    _exit(1);
        }
    }
    _exit(0);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

struct stack_echo {
    WEFT_FRAME;
    weft_stream *stream;
};
static int stack_echo(struct stack_echo *f)
{
    const char *data;
    ssize_t n;
    while ((n = weft_peek(f->stream, 0, &data)) > 0 && weft_write(f->stream, data, (size_t)n) == 0)
        weft_consume(f->stream, (size_t)n);
    weft_close(f->stream);
    return 0;
}
WEFT_CORO(stack_echo);

struct parked_echo {
    WEFT_FRAME;
    weft_stream *stream;
    weft_ns timeout;
};
static int parked_echo(struct parked_echo *f)
{
    const char *data;
    ssize_t n;
    while ((n = weft_peek_or_park(f->stream, 0, &data, f->timeout)) > 0 && weft_write(f->stream, data, (size_t)n) == 0)
        weft_consume(f->stream, (size_t)n);
    if (n == WEFT_PARK)
        return WEFT_PARK;
    weft_close(f->stream);
    return 0;
}
WEFT_CORO(parked_echo);

struct server {
    WEFT_FRAME;
    enum way way;
    int control;
    long n, requests;
    double bytes, cpu; /* results: each connection's, and nanoseconds for a request */
};

static int start(struct server *f, weft_listener *l)
{
    weft_stream *s;
    int rc = weft_accept(l, &s);
    if (rc < 0)
        return rc;
    weft_task *t = f->way == STACK ? weft_create_task(stack_echo, .stream = s)
                                   : weft_create_task(parked_echo, .stream = s,
                                                      .timeout = f->way == PARKED ? WEFT_FOREVER : WEFT_SEC(60));
    if (t == NULL) {
        weft_close(s);
        return -ENOMEM;
    }
    weft_release(t);
    return 0;
}

/* What the clients' process has to say. */
static int await_clients(int control)
{
    char c;
    int rc = weft_fd_wait(control, WEFT_READABLE, WEFT_SEC(100));
    return rc < 0 ? rc : read(control, &c, 1) == 1 ? 0 : -EPIPE;
}

static int server(struct server *f)
{
    char address[64];
    weft_listener *l;
    int rc = weft_listen_with(WEFT_LISTEN_OPTIONS(.backlog = 4096), &l, "127.0.0.1:0");
    if (rc < 0 || (rc = weft_listener_address(l, address, sizeof address)) < 0)
        return rc;
    uint16_t port = (uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10);
    double before = process_bytes();
    if (write(f->control, &port, sizeof port) != sizeof port)
        return -errno;
    for (long i = 0; i < f->n && rc == 0; i++)
        rc = start(f, l);
    if (rc == 0)
        rc = await_clients(f->control);
    if (rc == 0)
        rc = weft_sleep(WEFT_MS(200)); /* all wait by then */
    f->bytes = (process_bytes() - before) / (double)f->n;
    double cpu = process_cpu();
    if (rc == 0 && write(f->control, &f->requests, sizeof f->requests) != sizeof f->requests)
        rc = -errno;
    if (rc == 0)
        rc = await_clients(f->control);
    f->cpu = (process_cpu() - cpu) / (double)f->requests * 1e9;
    weft_close(l);
    return rc;
}
WEFT_CORO(server);

/* ---- the row ----------------------------------------------------------------------------------------------------- */

static long most_connections(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return (long)limit.rlim_cur - SPARE_DESCRIPTORS;
}

static int run_way(enum way way, long n, unsigned workers, struct server *f)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        clients(ends[1], n);
    }
    close(ends[1]);
    *f = (struct server){.frame_ = {&server_coro_},
                         .way = way,
                         .control = ends[0],
                         .n = n,
                         .requests = (n + BATCH) / BATCH * BATCH * ROUNDS};
    int rc = weft_run_(WEFT_OPTIONS(.workers = workers, .slow_task = WEFT_FOREVER), &f->frame_, sizeof *f);
    close(ends[0]);
    int status = 1;
    (void)waitpid(pid, &status, 0);
    return rc < 0 ? rc : status == 0 ? 0 : -EIO;
}

static void run_connections(long n, unsigned workers, struct outcome *out)
{
    static const char *const names[WAYS][2] = {{"connections_stack_bytes", "connections_stack"},
                                               {"connections_bytes", "connections"},
                                               {"connections_limit_bytes", "connections_limit"}};
    long most = most_connections();
    n = n < most ? n : most;
    for (int way = 0; way < WAYS; way++) {
        struct server f;
        int rc = run_way((enum way)way, n, workers, &f);
        out->wrong |= rc != 0;
        bench_extra(out, names[way][0], f.bytes);
        if (way == PARKED) {
            out->elapsed = (weft_ns)(f.cpu * (double)f.requests);
            out->operations = (double)f.requests;
        } else {
            bench_extra(out, names[way][1], f.cpu);
        }
    }
}

const struct workload connection_workloads[] = {
    {.name = "connections",
     .what = "CPU of a request on one of n connections parked meanwhile; lines for bytes each, with a stack, with a "
             "time limit",
     .n = 19000,
     .run_outside = run_connections},
    {.name = NULL},
};
