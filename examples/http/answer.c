/* SPDX-License-Identifier: Apache-2.0 */
/* http/answer.c -- writing answers: heads into the batch, large bodies straight from where they are. See exchange.h. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http/exchange.h"

/* No head is longer than this. */
enum { HEAD_ROOM = 384 };

static const struct {
    unsigned status;
    const char *line;
} lines[] = {
    {200, "HTTP/1.1 200 OK"},
    {400, "HTTP/1.1 400 Bad Request"},
    {404, "HTTP/1.1 404 Not Found"},
    {405, "HTTP/1.1 405 Method Not Allowed"},
    {408, "HTTP/1.1 408 Request Timeout"},
    {413, "HTTP/1.1 413 Content Too Large"},
    {414, "HTTP/1.1 414 URI Too Long"},
    {417, "HTTP/1.1 417 Expectation Failed"},
    {431, "HTTP/1.1 431 Request Header Fields Too Large"},
    {501, "HTTP/1.1 501 Not Implemented"},
    {503, "HTTP/1.1 503 Service Unavailable"},
    {505, "HTTP/1.1 505 HTTP Version Not Supported"},
};

static const char *status_line(unsigned status)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (lines[i].status == status) {
            return lines[i].line;
        }
    }
    return "HTTP/1.1 500 Internal Server Error";
}

static char *put(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}
#define PUT(to, text) put((to), (text), sizeof(text) - 1)

static char *put_text(char *to, const char *text)
{
    return put(to, text, strlen(text));
}

static char *put_number(char *to, size_t number)
{
    char digits[20], *p = digits + sizeof digits;
    do {
        *--p = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(to, p, (size_t)(digits + sizeof digits - p));
}

/* Append "Server" and "Date". The text is made once a second in each thread. Never inlined, and it never suspends:
 * so the address of a thread's own variable cannot live on in a task that went on in another thread. */
static __attribute__((noinline)) char *put_date(char *to)
{
    static _Thread_local time_t made;
    static _Thread_local char text[80];
    static _Thread_local size_t n;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != made) {
        struct tm utc;
        gmtime_r(&now.tv_sec, &utc);
        n = strftime(text, sizeof text, "\r\nServer: weft\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
        made = now.tv_sec;
    }
    return put(to, text, n);
}

static char *put_head(char *p, const struct http_head *head, const struct answer *a, bool close)
{
    p = put_text(p, status_line(a->status));
    p = put_date(p);
    p = PUT(p, "Content-Type: ");
    p = put_text(p, a->type);
    p = PUT(p, "\r\nContent-Length: ");
    p = put_number(p, a->n);
    if (a->allow != NULL) {
        p = PUT(p, "\r\nAllow: ");
        p = put_text(p, a->allow);
    }
    if (close) {
        p = PUT(p, "\r\nConnection: close");
    } else if (head->minor == 0) {
        p = PUT(p, "\r\nConnection: keep-alive");
    }
    return PUT(p, "\r\n\r\n");
}

int exchange_flush(struct exchange *x)
{
    if (x->out == 0) {
        return 0;
    }
    size_t n = x->out;
    x->out = 0;
    return client_write(x->client, x->batch, n);
}

ssize_t exchange_more(struct exchange *x, weft_ns deadline)
{
    int rc = exchange_flush(x);
    if (rc < 0) {
        return rc;
    }
    weft_consume(x->client->stream, x->used);
    x->n -= x->used;
    x->used = 0;
    ssize_t n = client_peek(x->client, x->n, &x->data, deadline);
    x->n = n > 0 ? (size_t)n : x->n;
    return n;
}

int exchange_answer(struct exchange *x, const struct http_head *head, const struct answer *a, bool close)
{
    size_t room = sizeof x->batch - x->out;
    if (room < HEAD_ROOM || (a->n > room - HEAD_ROOM && a->n <= sizeof x->batch - HEAD_ROOM)) {
        int rc = exchange_flush(x);
        if (rc < 0) {
            return rc;
        }
    }
    char *p = put_head(x->batch + x->out, head, a, close);
    x->out = (size_t)(p - x->batch);
    if (head->method == HTTP_HEAD || a->n == 0) {
        return 0;
    }
    if (a->n <= sizeof x->batch - x->out) {
        put(p, a->at, a->n);
        x->out += a->n;
        return 0;
    }
    /* writev's parts are not const, what they point to is not written. */
    struct iovec parts[2] = {{.iov_base = x->batch, .iov_len = x->out},
                             {.iov_base = (void *)(uintptr_t)a->at, .iov_len = a->n}};
    x->out = 0;
    return client_writev(x->client, parts, 2);
}
