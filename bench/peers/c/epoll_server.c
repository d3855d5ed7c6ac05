/* SPDX-License-Identifier: Apache-2.0 */
/* peer-epoll http|echo PORT THREADS: what can be had from epoll by hand: in each thread an epoll, a listener (SO_REUSEPORT) and its connections,
 * level-triggered; one recv and one send a request, and memory for a connection only while something of it is left over. http looks
 * into a head as far as weft-raw does: the path, Connection, Content-Length. GET / and GET /plaintext are answered, else 404. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_MAX = 16384, OUT_MAX = 160 * 1024, ANSWER_MAX = 256, BACKLOG = 4096, EVENTS = 256 };

struct connection {
    int fd;
    bool close_after, wants_room;
    size_t in_n, out_n, out_at;
    char *in, *out; /* what is left over: of a request, of answers; else NULL */
};

struct thread {
    int epoll, listener;
    char in[IN_MAX], out[OUT_MAX], answer[ANSWER_MAX];
    size_t out_n, answer_n;
    time_t made;
};

static bool http;
static int port;

static void *kept(const char *bytes, size_t n)
{
    void *p = n > 0 ? malloc(n) : NULL;
    if (n > 0 && p == NULL) {
        abort();
    }
    return n > 0 ? memcpy(p, bytes, n) : NULL;
}

static void make_answer(struct thread *t)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == t->made) {
        return;
    }
    gmtime_r(&now.tv_sec, &utc);
    t->answer_n = strftime(t->answer, sizeof t->answer,
                           "HTTP/1.1 200 OK\r\nServer: epoll\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
                           "Date: %a, %d %b %Y %H:%M:%S GMT\r\n\r\nHello, World!",
                           &utc);
    t->made = now.tv_sec;
}

/* The first request of data[0..n): its length, 0 if more is needed, -1 if it is none. */
static ssize_t scan(const char *data, size_t n, bool *found, bool *keep)
{
    const char *line = data, *end = data + n, *newline;
    size_t body = 0;
    *keep = true;
    for (bool first = true; (newline = memchr(line, '\n', (size_t)(end - line))) != NULL; first = false) {
        size_t length = (size_t)(newline - line);
        length -= length > 0 && line[length - 1] == '\r';
        if (first) {
            const char *path = memchr(line, ' ', length);
            const char *version = path != NULL ? memchr(path + 1, ' ', length - (size_t)(path + 1 - line)) : NULL;
            if (version == NULL || line + length - version != 9 || memcmp(version + 1, "HTTP/1.", 7) != 0) {
                return -1;
            }
            size_t path_n = (size_t)(version - path - 1);
            *keep = version[8] != '0';
            *found = (path_n == 10 && memcmp(path + 1, "/plaintext", 10) == 0) || (path_n == 1 && path[1] == '/');
        } else if (length == 0) {
            size_t head = (size_t)(newline + 1 - data);
            return n - head >= body ? (ssize_t)(head + body) : 0;
        } else if ((line[0] | 32) == 'c') {
            if (length > 11 && strncasecmp(line, "connection:", 11) == 0) {
                *keep = *keep && memmem(line, length, "close", 5) == NULL;
            } else if (length > 15 && strncasecmp(line, "content-length:", 15) == 0) {
                body = strtoul(line + 15, NULL, 10);
            }
        }
        line = newline + 1;
    }
    return 0;
}

/* Put the answers to what is in t->in into t->out: the bytes used. */
static size_t answer_all(struct thread *t, struct connection *c, size_t n)
{
    static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    if (!http) {
        memcpy(t->out, t->in, n);
        t->out_n = n;
        return n;
    }
    size_t used = 0;
    make_answer(t);
    while (used < n && !c->close_after && t->out_n + ANSWER_MAX <= OUT_MAX) {
        bool found = false, keep;
        ssize_t length = scan(t->in + used, n - used, &found, &keep);
        if (length <= 0) {
            c->close_after = length < 0;
            break;
        }
        const char *text = found ? t->answer : not_found;
        size_t text_n = found ? t->answer_n : sizeof not_found - 1;
        memcpy(t->out + t->out_n, text, text_n);
        t->out_n += text_n;
        used += (size_t)length;
        c->close_after = !keep;
    }
    return used;
}

/* False: broken. What the kernel does not take is kept with the connection. */
static bool send_out(struct thread *t, struct connection *c)
{
    size_t at = 0;
    while (at < t->out_n) {
        ssize_t n = send(c->fd, t->out + at, t->out_n - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            return false;
        }
        if (n < 0) {
            break;
        }
        at += (size_t)n;
    }
    c->out_n = t->out_n - at;
    c->out_at = 0;
    c->out = kept(t->out + at, c->out_n);
    t->out_n = 0;
    return true;
}

static bool send_rest(struct connection *c)
{
    while (c->out != NULL) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN;
        }
        c->out_at += (size_t)n;
        if (c->out_at == c->out_n) {
            free(c->out);
            c->out = NULL;
        }
    }
    return true;
}

/* Something happened on the connection. False: it is over. */
static bool step(struct thread *t, struct connection *c)
{
    if (!send_rest(c)) {
        return false;
    }
    if (c->out != NULL) {
        return true;
    }
    if (c->close_after || c->in_n == IN_MAX) {
        return false;
    }
    size_t have = c->in_n;
    if (have > 0) {
        memcpy(t->in, c->in, have);
    }
    ssize_t n = recv(c->fd, t->in + have, IN_MAX - have, 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN;
    }
    free(c->in);
    size_t total = have + (size_t)n, used = answer_all(t, c, total);
    c->in_n = total - used;
    c->in = kept(t->in + used, c->in_n);
    return send_out(t, c) && !(c->close_after && c->out == NULL);
}

static void on_connection(struct thread *t, struct connection *c)
{
    if (!step(t, c)) {
        close(c->fd);
        free(c->in);
        free(c->out);
        free(c);
    } else if (c->wants_room != (c->out != NULL)) {
        c->wants_room = c->out != NULL;
        struct epoll_event e = {.events = c->wants_room ? EPOLLOUT : EPOLLIN, .data.ptr = c};
        epoll_ctl(t->epoll, EPOLL_CTL_MOD, c->fd, &e);
    }
}

static void accept_all(struct thread *t)
{
    for (int fd; (fd = accept4(t->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection *c = calloc(1, sizeof *c);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (c == NULL) {
            abort();
        }
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &e);
    }
}

static void *run(void *unused)
{
    (void)unused;
    struct thread *t = calloc(1, sizeof *t);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event events[EVENTS], e = {.events = EPOLLIN};
    if (t == NULL) {
        abort();
    }
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    t->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(t->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    setsockopt(t->listener, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    if (bind(t->listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(t->listener, BACKLOG) != 0 ||
        epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->listener, &e) != 0) {
        fprintf(stderr, "peer-epoll: port %d: %s\n", port, strerror(errno));
        exit(1);
    }
    for (;;) {
        int n = epoll_wait(t->epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                accept_all(t);
            } else {
                on_connection(t, events[i].data.ptr);
            }
        }
    }
}

int main(int argc, char **argv)
{
    int threads = argc == 4 ? atoi(argv[3]) : 0;
    port = argc == 4 ? atoi(argv[2]) : 0;
    http = argc == 4 && strcmp(argv[1], "http") == 0;
    if (threads < 1 || threads > 1024 || port < 1 || port > 65535 || !(http || strcmp(argv[1], "echo") == 0)) {
        fprintf(stderr, "usage: peer-epoll http|echo PORT THREADS\n");
        return 2;
    }
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, NULL) != 0) {
            return 1;
        }
    }
    run(NULL);
    return 0;
}
