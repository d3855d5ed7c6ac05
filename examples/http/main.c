/* SPDX-License-Identifier: Apache-2.0 */
/* weft-http: an HTTP/1.1 server. Every client is one task, written as if it were alone, and parked (weft/park.h) between two requests;
 * every request goes this way:
 *   read the head -> find the route -> read the body -> handle -> answer. README.md beside this file tells more. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"

long http_header_ms = 10000, http_body_ms = 30000, http_body_max = 1024 * 1024, http_shed_ms;

/* Read a head. Its length; a negative status with head->why set; or a negative errno. */
static int head_read(struct exchange *x, struct http_head *head)
{
    weft_ns deadline = WEFT_FOREVER; /* armed only for a head that did not come whole */
    for (;;) {
        int rc = http_head_parse(head, x->data + x->used, x->n - x->used);
        if (rc != 0) {
            return rc;
        }
        if (deadline == WEFT_FOREVER) {
            deadline = weft_now() + WEFT_MS(http_header_ms);
        }
        ssize_t n = exchange_more(x, deadline);
        if (n == -ETIMEDOUT) {
            head->why = "the request did not come in time";
            return -408;
        }
        if (n == -ENOBUFS) {
            head->why = "the header section is too long";
            return -431;
        }
        if (n == 0) {
            head->why = "the request was cut short";
            return -400;
        }
        if (n < 0) {
            return (int)n;
        }
    }
}

static int answer_status(struct exchange *x, const struct http_head *head, unsigned status, const char *why, bool close)
{
    char text[160];
    size_t n = strlen(why);
    memcpy(text, why, n);
    text[n++] = '\n';
    struct answer a = {.status = status, .type = "text/plain", .at = text, .n = n};
    return exchange_answer(x, head, &a, close);
}

/* More comes than is worked off: an answer now, that it will not be done, is worth more than one that comes too late. What
 * tells about the server is not refused. */
static bool overloaded(const struct route *route)
{
    return http_shed_ms > 0 && (route == NULL || !route->vital) &&
           weft_queue_delay(weft_runtime_current()) > WEFT_MS(http_shed_ms);
}

/* The rest of a request whose head is read: 0; a negative status to refuse it with; a negative errno. */
static int request(struct exchange *x, struct http_head *head, const struct route *route, int64_t number)
{
    struct body body = {0};
    struct answer a = {.status = 200, .type = "text/plain"};
    bool allowed = route != NULL && (route->methods & (unsigned)head->method) != 0;
    bool shed = overloaded(route);
    int rc = body_read(x, head, allowed && !shed && head->method == HTTP_POST, &body);
    if (rc == 0 && allowed && !shed && number >= 0) {
        rc = route->handle(x, (uint32_t)number, &body, &a);
        if (rc == -ENOMEM) {
            head->why = "memory is short";
            rc = -503;
        }
    }
    if (rc == 0) {
        /* While the server drains the last request at hand is the last one answered. */
        bool close = !head->keep_alive || (server_draining() && x->used == x->n);
        x->last = close;
        if (shed) {
            rc = answer_status(x, head, 503, "the server is overloaded", close);
        } else if (route == NULL) {
            rc = answer_status(x, head, 404, "no such path", close);
        } else if (!allowed) {
            a = (struct answer){.status = 405, .type = "text/plain", .allow = route->allow};
            rc = exchange_answer(x, head, &a, close);
        } else if (number < 0) {
            rc = answer_status(x, head, 400, "the query has to be one number in range, like ?ms=10", close);
        } else {
            rc = exchange_answer(x, head, &a, close);
        }
    }
    free(body.heap);
    free(a.heap);
    return rc;
}

/* Answer one request and all that have come behind it. 0: the connection stays; 1: it ends well; else a negative
 * errno. Not inlined: its frame, with the batch in it, must not be on the stack of a client that waits. */
static __attribute__((noinline)) int exchange(struct client *client, const char *data, size_t n)
{
    struct exchange x;
    x.client = client;
    x.data = data;
    x.used = 0;
    x.n = n;
    x.last = false;
    x.out = 0;
    while (x.used < x.n && !x.last) {
        struct http_head head = {0};
        int rc = head_read(&x, &head);
        if (rc > 0 && head.method == HTTP_UNKNOWN) {
            head.why = "an unknown method";
            rc = -501;
        }
        if (rc > 0) {
            const char *at = x.data + x.used;
            const struct route *route = route_find(at + head.path.at, head.path.n);
            int64_t number = route != NULL ? route_number(route, at + head.query.at, head.query.n) : 0;
            x.used += (size_t)rc;
            rc = request(&x, &head, route, number);
        }
        if (rc <= -400) { /* what follows cannot be trusted to be a request */
            x.last = true;
            rc = answer_status(&x, &head, (unsigned)-rc, head.why, true);
        }
        if (rc < 0) {
            return rc;
        }
    }
    int rc = exchange_flush(&x);
    weft_consume(client->stream, x.used);
    return rc < 0 ? rc : x.last ? 1 : 0;
}

struct http {
    WEFT_FRAME;
    struct client client;
};
static int http(struct http *f)
{
    struct client *c = client_enter(&f->client);
    const char *data;
    ssize_t n;
    while ((n = client_next(c, &data)) > 0) {
        n = exchange(c, data, (size_t)n);
        if (n != 0) {
            break;
        }
    }
    return n == WEFT_PARK ? WEFT_PARK : client_leave(c, n);
}

static void http_unstarted(struct http *f)
{
    client_unstarted(&f->client);
}
WEFT_CORO_OWNING(http, http_unstarted);

static weft_task *start(weft_stream *stream)
{
    return weft_create_task(http, .client = {.stream = stream});
}

int main(int argc, char **argv)
{
    long idle_ms = 60000;
    const struct server_option options[] = {
        {"header-ms", &http_header_ms, "time for the head of a request, from its first byte"},
        {"body-ms", &http_body_ms, "time for the body of a request"},
        {"idle-ms", &idle_ms, "time between two requests of a connection; 0: no limit"},
        {"body-max", &http_body_max, "most bytes in the body of a request"},
        {"shed-ms", &http_shed_ms, "answer 503 while ready tasks wait longer than this for their turn; 0: never"},
        {NULL, NULL, NULL},
    };
    struct server_kind kind = {
        .name = "weft-http", .port = "8080", .start = start, .options = options, .idle_ms = &idle_ms};
    return server_main(argc, argv, &kind);
}
