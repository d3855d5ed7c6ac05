/* SPDX-License-Identifier: Apache-2.0 */
/* http/body.c -- reading the content of a request, of known length or chunked. See exchange.h.
 *
 * The whole body is read before the answer begins: so a body that turns out wrong can still be refused. Memory grows
 * with what came, not with what was announced. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"

static int refuse(struct http_head *head, int status, const char *why)
{
    head->why = why;
    return -status;
}

static int append(struct body *b, const char *piece, size_t n)
{
    if (n == 0) {
        return 0;
    }
    if (b->n + n > b->room) {
        size_t room = b->room == 0 ? 4096 : b->room;
        while (room < b->n + n) {
            room *= 2;
        }
        char *heap = realloc(b->heap, room);
        if (heap == NULL) {
            return -ENOMEM;
        }
        b->heap = heap;
        b->room = room;
    }
    memcpy(b->heap + b->n, piece, n);
    b->n += n;
    b->at = b->heap;
    return 0;
}

/* Wait for more of the body. */
static int more(struct exchange *x, struct http_head *head, weft_ns *deadline)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (*deadline == WEFT_FOREVER) {
        *deadline = weft_now() + WEFT_MS(http_body_ms);
        if (head->expect_continue && x->used == x->n) {
            int rc = sizeof x->batch - x->out < sizeof go_on ? exchange_flush(x) : 0;
            if (rc < 0) {
                return rc;
            }
            memcpy(x->batch + x->out, go_on, sizeof go_on - 1);
            x->out += sizeof go_on - 1;
        }
    }
    ssize_t n = exchange_more(x, *deadline);
    if (n == -ETIMEDOUT) {
        return refuse(head, 408, "the body did not come in time");
    }
    return n == 0 ? refuse(head, 400, "the body was cut short") : n < 0 ? (int)n : 0;
}

static int read_length(struct exchange *x, struct http_head *head, bool keep, struct body *body)
{
    uint64_t left = head->length;
    if (left > (uint64_t)http_body_max) {
        return refuse(head, 413, "the body is too long");
    }
    if (left <= x->n - x->used) {
        body->at = x->data + x->used; /* the usual case: all of it is here */
        body->n = (size_t)left;
        x->used += (size_t)left;
        return 0;
    }
    weft_ns deadline = WEFT_FOREVER;
    for (;;) {
        size_t n = x->n - x->used < left ? x->n - x->used : (size_t)left;
        int rc = keep ? append(body, x->data + x->used, n) : 0;
        x->used += n;
        left -= n;
        if (rc < 0 || left == 0) {
            return rc;
        }
        rc = more(x, head, &deadline);
        if (rc < 0) {
            return rc;
        }
    }
}

static int read_chunked(struct exchange *x, struct http_head *head, bool keep, struct body *body)
{
    struct http_chunked chunks = {0};
    weft_ns deadline = WEFT_FOREVER;
    uint64_t sum = 0;
    for (;;) {
        const char *piece;
        size_t used, n = 0;
        int rc = http_chunked_next(&chunks, x->data + x->used, x->n - x->used, &used, &piece, &n);
        x->used += used;
        sum += n;
        if (rc >= 0 && sum + http_chunked_announced(&chunks) > (uint64_t)http_body_max) {
            return refuse(head, 413, "the body is too long");
        }
        switch (rc) {
        case HTTP_CHUNK_END:
            return 0;
        case HTTP_CHUNK_PIECE:
            rc = keep ? append(body, piece, n) : 0;
            break;
        case HTTP_CHUNK_MORE:
            rc = more(x, head, &deadline);
            break;
        default:
            head->why = chunks.why;
            break;
        }
        if (rc < 0) {
            return rc;
        }
    }
}

int body_read(struct exchange *x, struct http_head *head, bool keep, struct body *body)
{
    return head->chunked ? read_chunked(x, head, keep, body) : read_length(x, head, keep, body);
}
