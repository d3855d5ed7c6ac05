/* SPDX-License-Identifier: Apache-2.0 */
/* weft-raw: the barest servers there can be on weft, to be compared with bare servers of other makes.
 *     weft-raw KIND PORT THREADS          KIND: http, echo
 *     weft-raw KIND --port PORT --threads THREADS
 * Port 0 picks one; it prints "listening on HOST:PORT".
 *
 * http looks for the end of a head, and into it no further than bare servers do (the path, Connection,
 * Content-Length); it answers GET /plaintext and GET / with a fixed text. It checks nothing: weft-http is the server
 * to use. */
#define _GNU_SOURCE /* memmem */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <weft.h>

enum { ANSWER_MAX = 256, BATCH = 4096, HEAD_MAX = 8192 };

/* The answer with its date, made once a second in each thread. It never suspends and is never inlined, so the
 * address of a thread's own variable cannot live on in a task that went on in another thread. */
static __attribute__((noinline)) size_t answer(char *to)
{
    static _Thread_local char text[ANSWER_MAX];
    static _Thread_local size_t n;
    static _Thread_local time_t made;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != made) {
        struct tm utc;
        gmtime_r(&now.tv_sec, &utc);
        n = strftime(text, sizeof text,
                     "HTTP/1.1 200 OK\r\nServer: weft-raw\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
                     "Date: %a, %d %b %Y %H:%M:%S GMT\r\n\r\nHello, World!",
                     &utc);
        made = now.tv_sec;
    }
    memcpy(to, text, n);
    return n;
}

struct request {
    size_t length; /* head and body; 0: more bytes are needed */
    bool found, keep;
};

/* False: not a request. */
static bool scan(const char *data, size_t n, struct request *r)
{
    const char *line = data, *end = data + n, *newline;
    size_t body = 0;
    *r = (struct request){.keep = true};
    for (bool first = true; (newline = memchr(line, '\n', (size_t)(end - line))) != NULL; first = false) {
        size_t length = (size_t)(newline - line);
        length -= length > 0 && line[length - 1] == '\r';
        if (first) {
            const char *path = memchr(line, ' ', length);
            const char *version = path != NULL ? memchr(path + 1, ' ', length - (size_t)(path + 1 - line)) : NULL;
            if (version == NULL || line + length - version != 9 || memcmp(version + 1, "HTTP/1.", 7) != 0) {
                return false;
            }
            size_t path_n = (size_t)(version - path - 1);
            r->keep = version[8] != '0';
            r->found = (path_n == 10 && memcmp(path + 1, "/plaintext", 10) == 0) || (path_n == 1 && path[1] == '/');
        } else if (length == 0) {
            size_t head = (size_t)(newline + 1 - data);
            r->length = n - head >= body ? head + body : 0;
            return true;
        } else if ((line[0] | 32) == 'c') {
            if (length > 11 && strncasecmp(line, "connection:", 11) == 0) {
                r->keep = r->keep && memmem(line, length, "close", 5) == NULL;
            } else if (length > 15 && strncasecmp(line, "content-length:", 15) == 0) {
                body = strtoul(line + 15, NULL, 10);
            }
        }
        line = newline + 1;
    }
    return n <= HEAD_MAX;
}

/* Answer all requests in data[0..n): the bytes used, or a negative errno (-EPIPE: close). Not inlined: its frame
 * must not be on the stack of a client that waits. */
static __attribute__((noinline)) ssize_t http_batch(weft_stream *s, const char *data, size_t n)
{
    static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    char out[BATCH];
    size_t filled = 0, used = 0, made = 0, made_at = 0; /* the answer stands in `out` already: so long, from there */
    struct request r = {.keep = true};
    int rc = 0;
    while (used < n && r.keep && rc == 0) {
        bool good = scan(data + used, n - used, &r);
        if (!good || r.length == 0) {
            rc = good ? 0 : -EPIPE;
            break;
        }
        used += r.length;
        if (r.found && made == 0) {
            made = answer(out + filled);
            made_at = filled;
            filled += made;
        } else if (r.found) {
            memcpy(out + filled, out + made_at, made);
            filled += made;
        } else {
            memcpy(out + filled, not_found, sizeof not_found - 1);
            filled += sizeof not_found - 1;
        }
        if (filled > BATCH - ANSWER_MAX) {
            rc = weft_write(s, out, filled);
            filled = made = 0;
        }
    }
    if (filled > 0) {
        int sent = weft_write(s, out, filled);
        rc = sent < 0 ? sent : rc;
    }
    return rc < 0 ? rc : !r.keep ? -EPIPE : (ssize_t)used;
}

struct http {
    WEFT_FRAME;
    weft_stream *stream;
};
static int http(struct http *f)
{
    const char *data;
    size_t have = 0;
    ssize_t n;
    while ((n = weft_peek_or_park(f->stream, have, &data, WEFT_FOREVER)) > 0) {
        ssize_t used = http_batch(f->stream, data, (size_t)n);
        if (used < 0) {
            break;
        }
        weft_consume(f->stream, (size_t)used);
        have = (size_t)(n - used);
    }
    if (n == WEFT_PARK) {
        return WEFT_PARK;
    }
    weft_close(f->stream);
    return 0;
}
WEFT_CORO(http);

struct echo {
    WEFT_FRAME;
    weft_stream *stream;
};
static int echo(struct echo *f)
{
    const char *data;
    ssize_t n;
    while ((n = weft_peek_or_park(f->stream, 0, &data, WEFT_FOREVER)) > 0 &&
           weft_write(f->stream, data, (size_t)n) == 0) {
        weft_consume(f->stream, (size_t)n);
    }
    if (n == WEFT_PARK) {
        return WEFT_PARK;
    }
    weft_close(f->stream);
    return 0;
}
WEFT_CORO(echo);

struct serve {
    WEFT_FRAME;
    const char *port;
    bool http;
};
static int serve(struct serve *f)
{
    char address[64];
    weft_listener *listener;
    snprintf(address, sizeof address, "0.0.0.0:%s", f->port);
    int rc = weft_listen_with(WEFT_LISTEN_OPTIONS(.backlog = 4096), &listener, address);
    if (rc < 0) {
        fprintf(stderr, "weft-raw: %s: %s\n", address, weft_strerror(rc));
        return rc;
    }
    weft_listener_address(listener, address, sizeof address);
    printf("listening on %s\n", address);
    fflush(stdout);
    weft_stream *stream;
    while ((rc = weft_accept(listener, &stream)) == 0) {
        weft_task *task = f->http ? weft_create_task(http, .stream = stream) : weft_create_task(echo, .stream = stream);
        if (task == NULL) {
            weft_close(stream);
        }
        weft_release(task);
    }
    weft_close(listener);
    return rc;
}
WEFT_CORO(serve);

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "", *port = "8080", *threads = "0";
    bool good = strcmp(kind, "http") == 0 || strcmp(kind, "echo") == 0;
    if (argc == 4 && strncmp(argv[2], "--", 2) != 0) {
        port = argv[2];
        threads = argv[3];
    } else {
        for (int i = 2; good && i < argc; i += 2) {
            good = i + 1 < argc;
            if (good && strcmp(argv[i], "--port") == 0) {
                port = argv[i + 1];
            } else if (good && strcmp(argv[i], "--threads") == 0) {
                threads = argv[i + 1];
            } else {
                good = false;
            }
        }
    }
    char *end;
    unsigned long workers = strtoul(threads, &end, 10);
    if (!good || *end != '\0' || workers > WEFT_MAX_WORKERS) {
        fprintf(stderr, "usage: weft-raw http|echo PORT THREADS\n");
        return 2;
    }
    int rc = weft_run_with(WEFT_OPTIONS(.workers = (unsigned)workers), serve, .port = port, .http = kind[0] == 'h');
    return rc < 0 ? 1 : 0;
}
