/* SPDX-License-Identifier: Apache-2.0 */
/* peer-libuv-http PORT THREADS: HTTP/1.1 on libuv with http_parser, as its users write it: a loop and a listener (SO_REUSEPORT) in each
 * thread, a write tried at once, no reading while output waits. Keep-alive, pipelining (one write for all requests that came together),
 * Connection: close, bad requests. GET / and GET /plaintext are answered as the other servers do, anything else with 404. */
#define _GNU_SOURCE
#include <http_parser.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <uv.h>

enum { READ_MAX = 65536, ANSWER_MAX = 256, KEEP_MAX = 4096, PATH_MAX_N = 16, BACKLOG = 4096 };

struct loop {
    uv_loop_t uv;
    uv_tcp_t listener;
    char in[READ_MAX];
    char answer[ANSWER_MAX]; /* with the date of this second */
    size_t answer_n;
    time_t made;
};

struct connection {
    uv_tcp_t tcp;
    http_parser parser;
    struct loop *loop;
    char *out; /* the answers to what came in one read */
    size_t out_n, out_room;
    char path[PATH_MAX_N];
    size_t path_n; /* may be more than there is room for */
    bool close_after;
};

struct rest { /* what the kernel did not take */
    uv_write_t write;
    struct connection *connection;
    char bytes[];
};

static int port;
static http_parser_settings callbacks;

static void *allocate(size_t n)
{
    void *p = calloc(1, n);
    if (p == NULL) {
        abort();
    }
    return p;
}

static void closed(uv_handle_t *handle)
{
    struct connection *c = (struct connection *)handle;
    free(c->out);
    free(c);
}

static void leave(struct connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) {
        uv_close((uv_handle_t *)&c->tcp, closed);
    }
}

/* ---- answers ---- */

static void make_answer(struct loop *l)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == l->made) {
        return;
    }
    gmtime_r(&now.tv_sec, &utc);
    l->answer_n = strftime(l->answer, sizeof l->answer,
                           "HTTP/1.1 200 OK\r\nServer: libuv\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
                           "Date: %a, %d %b %Y %H:%M:%S GMT\r\n\r\nHello, World!",
                           &utc);
    l->made = now.tv_sec;
}

static void add(struct connection *c, const char *text, size_t n)
{
    if (c->out_n + n > c->out_room) {
        c->out_room = 2 * (c->out_n + n);
        c->out = realloc(c->out, c->out_room);
        if (c->out == NULL) {
            abort();
        }
    }
    memcpy(c->out + c->out_n, text, n);
    c->out_n += n;
}

static int on_begin(http_parser *p)
{
    ((struct connection *)p->data)->path_n = 0;
    return 0;
}

static int on_url(http_parser *p, const char *text, size_t n) /* it may come in pieces */
{
    struct connection *c = p->data;
    for (size_t i = 0; i < n && c->path_n + i < PATH_MAX_N; i++) {
        c->path[c->path_n + i] = text[i];
    }
    c->path_n += n;
    return 0;
}

static int on_complete(http_parser *p)
{
    static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    struct connection *c = p->data;
    bool found = (c->path_n == 1 && c->path[0] == '/') || (c->path_n == 10 && memcmp(c->path, "/plaintext", 10) == 0);
    if (c->close_after) {
        return 0; /* the one before was the last */
    }
    if (found) {
        add(c, c->loop->answer, c->loop->answer_n);
    } else {
        add(c, not_found, sizeof not_found - 1);
    }
    c->close_after = !http_should_keep_alive(p);
    return 0;
}

/* ---- reading and writing ---- */

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void on_room(uv_handle_t *handle, size_t n, uv_buf_t *buffer)
{
    (void)n;
    struct loop *l = ((struct connection *)handle)->loop;
    *buffer = uv_buf_init(l->in, READ_MAX);
}

static void wrote(uv_write_t *write, int status)
{
    struct rest *r = (struct rest *)write;
    struct connection *c = r->connection;
    free(r);
    if (status < 0 || c->close_after) {
        leave(c);
    } else {
        uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
    }
}

static void send_out(struct connection *c)
{
    uv_buf_t buffer = uv_buf_init(c->out, (unsigned)c->out_n);
    int taken = c->out_n > 0 ? uv_try_write((uv_stream_t *)&c->tcp, &buffer, 1) : 0;
    size_t done = taken > 0 ? (size_t)taken : 0, n = c->out_n - done;
    if (taken < 0 && taken != UV_EAGAIN) {
        leave(c);
    } else if (n == 0) {
        c->out_n = 0;
        if (c->close_after) {
            leave(c);
        }
    } else {
        struct rest *r = allocate(sizeof *r + n);
        r->connection = c;
        memcpy(r->bytes, c->out + done, n);
        c->out_n = 0;
        buffer = uv_buf_init(r->bytes, (unsigned)n);
        uv_read_stop((uv_stream_t *)&c->tcp);
        if (uv_write(&r->write, (uv_stream_t *)&c->tcp, &buffer, 1, wrote) != 0) {
            free(r);
            leave(c);
        }
    }
    if (c->out_room > KEEP_MAX) {
        free(c->out);
        c->out = NULL;
        c->out_room = 0;
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct connection *c = (struct connection *)stream;
    if (n < 0) {
        leave(c);
        return;
    }
    if (n == 0) {
        return;
    }
    make_answer(c->loop);
    if (http_parser_execute(&c->parser, &callbacks, buffer->base, (size_t)n) != (size_t)n) {
        c->close_after = true; /* no request: answer those before it, and part */
    }
    send_out(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) {
        return;
    }
    struct connection *c = allocate(sizeof *c);
    c->loop = listener->loop->data;
    uv_tcp_init(listener->loop, &c->tcp);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
        leave(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
}

static void *run(void *unused)
{
    (void)unused;
    struct loop *l = allocate(sizeof *l);
    struct sockaddr_in address;
    uv_os_fd_t fd;
    uv_loop_init(&l->uv);
    l->uv.data = l;
    uv_tcp_init_ex(&l->uv, &l->listener, AF_INET);
    uv_fileno((uv_handle_t *)&l->listener, &fd);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    uv_ip4_addr("0.0.0.0", port, &address);
    if (uv_tcp_bind(&l->listener, (struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&l->listener, BACKLOG, on_connection) != 0) {
        fprintf(stderr, "peer-libuv-http: port %d cannot be listened at\n", port);
        exit(1);
    }
    uv_run(&l->uv, UV_RUN_DEFAULT);
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc == 3 ? atoi(argv[2]) : 0;
    port = argc == 3 ? atoi(argv[1]) : 0;
    if (threads < 1 || threads > 1024 || port < 1 || port > 65535) {
        fprintf(stderr, "usage: peer-libuv-http PORT THREADS\n");
        return 2;
    }
    http_parser_settings_init(&callbacks);
    callbacks.on_message_begin = on_begin;
    callbacks.on_url = on_url;
    callbacks.on_message_complete = on_complete;
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, NULL) != 0) {
            return 1;
        }
    }
    run(NULL);
    return 0;
}
