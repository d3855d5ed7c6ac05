/* SPDX-License-Identifier: Apache-2.0 */
/* weft-test-clients MODE PORT [ARGS]: clients with bad habits, one at a time. Status 0 if the server dealt with them
 * well. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

static long argument(char **args, int i)
{
    return args[i] != NULL ? strtol(args[i], NULL, 10) : 0;
}

/* trickle: requests that come byte by byte. */
static void trickle(int port, char **args)
{
    (void)args;
    static const char *const requests[] = {get,
                                           "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                                           "chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\n",
                                           "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"};
    int fd = net_connect(port);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        for (const char *p = requests[i]; *p != '\0'; p++) {
            if (net_send(fd, p, 1) != 0) {
                net_die(errno, "send");
            }
            usleep(500);
        }
        struct net_answer a;
        net_answer_read(fd, &a);
        if (a.status != 200 || a.body_n != (i == 0 ? 13 : 5)) {
            net_die(0, "request %zu: status %d, %zu bytes", i, a.status, a.body_n);
        }
    }
    close(fd);
}

/* reset N: connections that are reset with a request in part or in whole on its way. */
static void reset(int port, char **args)
{
    for (long i = 0; i < argument(args, 0); i++) {
        int fd = net_connect(port);
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        size_t n = (size_t)i % sizeof get;
        if (n > 0) {
            net_send(fd, get, n);
        }
        close(fd);
    }
}

/* deaf: sends much and reads nothing. The server must stop reading, and part with us in the end. */
static void deaf(int port, char **args)
{
    (void)args;
    enum { BODY = 1024 * 1024, ENOUGH = 100 };
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n";
    size_t n = sizeof head - 1 + BODY;
    char *request = calloc(1, n);
    if (request == NULL) {
        net_die(ENOMEM, "deaf");
    }
    memcpy(request, head, sizeof head - 1);
    int fd = net_connect(port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    size_t sent = 0;
    for (int idle = 0; idle < 10;) {
        ssize_t more = send(fd, request + sent % n, n - sent % n, MSG_NOSIGNAL);
        if (more < 0 && errno != EAGAIN) {
            break;
        }
        sent += more > 0 ? (size_t)more : 0;
        idle = more > 0 ? 0 : idle + 1;
        if (sent > ENOUGH * n) {
            net_die(0, "the server took %zu bytes from a client that reads nothing", sent);
        }
        if (more < 0) {
            usleep(50000);
        }
    }
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    if (poll(&p, 1, 60000) <= 0) {
        net_die(0, "the server keeps a client that reads nothing");
    }
    close(fd);
    free(request);
}

/* pipeline N: N requests in one write, answered in order. */
static void pipeline(int port, char **args)
{
    long n = argument(args, 0);
    char *all = malloc((size_t)n * (sizeof get - 1));
    if (all == NULL) {
        net_die(ENOMEM, "pipeline");
    }
    for (long i = 0; i < n; i++) {
        memcpy(all + (size_t)i * (sizeof get - 1), get, sizeof get - 1);
    }
    int fd = net_connect(port);
    if (net_send(fd, all, (size_t)n * (sizeof get - 1)) != 0) {
        net_die(errno, "send");
    }
    long answers = 0;
    struct net_answer a = {0};
    while (answers < n) {
        char bytes[65536];
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0) {
            net_die(errno, "%ld answers of %ld", answers, n);
        }
        for (size_t used = 0; used < (size_t)got;) {
            bool done;
            used += net_take(&a, bytes + used, (size_t)got - used, &done);
            if (done && a.status != 200) {
                net_die(0, "status %d", a.status);
            }
            answers += done;
            if (done) {
                memset(&a, 0, sizeof a);
            }
        }
    }
    close(fd);
    free(all);
}

/* Kilobytes of a process: resident, and page tables. */
static long memory_of(long pid)
{
    char path[64], line[256];
    long sum = 0, kb;
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &kb) == 1 || sscanf(line, "VmPTE: %ld", &kb) == 1) {
            sum += kb;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return sum;
}

/* many N PID LIMIT: N connections at once, each answered twice, LIMIT bytes of the server's memory for each. */
static void many(int port, char **args)
{
    long n = argument(args, 0), pid = argument(args, 1), limit = argument(args, 2);
    long most = sysconf(_SC_OPEN_MAX) - 64;
    if (n > most) {
        printf("only %ld connections: descriptors are limited\n", most);
        n = most;
    }
    int *fds = calloc((size_t)n, sizeof *fds);
    if (fds == NULL) {
        net_die(ENOMEM, "many");
    }
    struct net_answer a;
    for (int round = 0; round < 2; round++) {
        long before = memory_of(pid);
        for (long i = 0; i < n; i++) {
            fds[i] = round == 0 ? net_connect(port) : fds[i];
            if (net_send(fds[i], get, sizeof get - 1) != 0) {
                net_die(errno, "send");
            }
            net_answer_read(fds[i], &a);
        }
        long each = (memory_of(pid) - before) * 1024 / n;
        if (round == 0) {
            printf("%ld idle connections: %ld bytes each\n", n, each);
            if (limit > 0 && each > limit) {
                net_die(0, "that is more than %ld", limit);
            }
        }
    }
    for (long i = 0; i < n; i++) {
        close(fds[i]);
    }
    free(fds);
}

/* Clock ticks of CPU that a process has used. */
static long cpu_of(long pid)
{
    char path[64], line[1024];
    long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    const char *after = f != NULL && fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    if (after != NULL) {
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
    }
    if (f != NULL) {
        fclose(f);
    }
    return user + system;
}

/* crowd N PID: more connections than the server has descriptors. Some are served; the server waits without spinning;
 * when those have left, all others are served. */
static void crowd(int port, char **args)
{
    enum { MOST = 512 };
    struct pollfd p[MOST];
    long n = argument(args, 0), pid = argument(args, 1), served = 0, first = 0;
    if (n <= 0 || n > MOST) {
        net_die(0, "crowd: at most %d", MOST);
    }
    for (long i = 0; i < n; i++) {
        p[i] = (struct pollfd){.fd = net_connect(port), .events = POLLIN};
        net_send(p[i].fd, get, sizeof get - 1);
    }
    bool full = false;
    for (int64_t end = net_ms() + 60000; served < n && net_ms() < end;) {
        int ready = poll(p, (nfds_t)n, 700);
        if (ready == 0 && !full && served > 0) { /* nobody at all: a slow machine */
            full = true;
            first = served;
            long before = cpu_of(pid);
            sleep(1);
            long ticks = cpu_of(pid) - before, most = sysconf(_SC_CLK_TCK) / 5;
            if (ticks > most) {
                net_die(0, "the server spins without descriptors: %ld ticks in a second", ticks);
            }
        }
        for (long i = 0; i < n && ready > 0; i++) {
            if (p[i].fd >= 0 && p[i].revents != 0) {
                struct net_answer a;
                net_answer_read(p[i].fd, &a);
                served++;
                p[i].events = 0;
                p[i].revents = 0;
                if (full) {
                    close(p[i].fd);
                    p[i].fd = -1;
                }
            }
        }
        for (long i = 0; i < n && full; i++) {
            if (p[i].fd >= 0 && p[i].events == 0) { /* those served before it was full leave now */
                close(p[i].fd);
                p[i].fd = -1;
            }
        }
    }
    printf("%ld of %ld served at first, %ld in the end\n", first, n, served);
    if (!full || first == 0 || served < n) {
        net_die(0, "the crowd was not served");
    }
}

/* ---- echo N BYTES: N clients at once, each sends so many bytes and has to get them back ---- */

struct echo {
    int fd;
    size_t n;
    unsigned seed;
};

static char echo_byte(unsigned seed, size_t i)
{
    return (char)((i * 2654435761u + seed) >> 7);
}

static void *echo_sender(void *arg)
{
    struct echo *e = arg;
    char piece[4096];
    for (size_t i = 0; i < e->n;) {
        size_t n = e->n - i < sizeof piece ? e->n - i : sizeof piece;
        for (size_t j = 0; j < n; j++) {
            piece[j] = echo_byte(e->seed, i + j);
        }
        if (net_send(e->fd, piece, n) != 0) {
            net_die(errno, "send");
        }
        i += n;
    }
    shutdown(e->fd, SHUT_WR);
    return NULL;
}

static void *echo_client(void *arg)
{
    struct echo *e = arg;
    pthread_t sender;
    char piece[4096];
    if (pthread_create(&sender, NULL, echo_sender, e) != 0) {
        net_die(EAGAIN, "pthread_create");
    }
    size_t have = 0;
    ssize_t n;
    while ((n = recv(e->fd, piece, sizeof piece, 0)) > 0) {
        for (ssize_t j = 0; j < n; j++) {
            if (piece[j] != echo_byte(e->seed, have + (size_t)j)) {
                net_die(0, "byte %zu came back changed", have + (size_t)j);
            }
        }
        have += (size_t)n;
    }
    if (n < 0 || have != e->n) {
        net_die(n < 0 ? errno : 0, "%zu of %zu bytes came back", have, e->n);
    }
    pthread_join(sender, NULL);
    close(e->fd);
    return NULL;
}

static void echo(int port, char **args)
{
    enum { MOST = 64 };
    pthread_t threads[MOST];
    struct echo clients[MOST];
    long n = argument(args, 0) < MOST ? argument(args, 0) : MOST;
    for (long i = 0; i < n; i++) {
        clients[i] = (struct echo){net_connect(port), (size_t)argument(args, 1), (unsigned)i * 12345u};
        if (pthread_create(&threads[i], NULL, echo_client, &clients[i]) != 0) {
            net_die(EAGAIN, "pthread_create");
        }
    }
    for (long i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(int port, char **args);
        int args;
    } modes[] = {{"trickle", trickle, 0}, {"reset", reset, 1}, {"deaf", deaf, 0}, {"pipeline", pipeline, 1},
                 {"many", many, 3},       {"crowd", crowd, 2}, {"echo", echo, 2}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (argc == 3 + modes[i].args && strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run((int)strtol(argv[2], NULL, 10), argv + 3);
            return 0;
        }
    }
    fprintf(stderr, "usage: weft-test-clients trickle|reset|deaf|pipeline|many|crowd|echo PORT [ARGS]\n");
    return 2;
}
