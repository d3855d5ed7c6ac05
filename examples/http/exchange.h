/* SPDX-License-Identifier: Apache-2.0 */
/* http/exchange.h -- the requests a client has sent so far, and the answers to them, sent together.
 *
 * An exchange lives on the client's stack only while there is something to answer: an idle connection holds no stack,
 * and no read buffer. Answers gather in `batch` and leave with one write when no further request is at hand, so
 * pipelined requests cost one receive and one send together, and a single one costs one of each as well. */
#ifndef EXAMPLES_HTTP_EXCHANGE_H
#define EXAMPLES_HTTP_EXCHANGE_H

#include "http/parser.h"
#include "support/server.h"

/* Limits of time and size, set by the command line. */
extern long http_header_ms, http_body_ms, http_body_max, http_shed_ms;

struct exchange {
    struct client *client;
    const char *data; /* received: data[0..n), of which data[0..used) is dealt with */
    size_t used, n;
    bool last; /* the answer that closes the connection was given */
    size_t out;
    char batch[2048]; /* answers not yet sent: batch[0..out) */
};

/* Send the answers gathered. 0 or -errno. Suspends. */
int exchange_flush(struct exchange *x);
/* Send the answers, then wait for more bytes behind data[used..n); what was used is gone. As client_peek. */
ssize_t exchange_more(struct exchange *x, weft_ns deadline);

/* The content of a request: in the received bytes if it is all there, else collected in `heap`. */
struct body {
    const char *at;
    size_t n;
    char *heap;
    size_t room;
};

/* Read the body that `head` announces. `keep` false: only find its end. 0; a negative errno; or a negative status
 * (-400, -408, -413, -431) with head->why set. The caller frees body->heap. Suspends. */
int body_read(struct exchange *x, struct http_head *head, bool keep, struct body *body);

/* What a request is answered with. */
struct answer {
    unsigned status;
    const char *type;  /* Content-Type */
    const char *allow; /* with 405 */
    const char *at;
    size_t n;
    char *heap; /* freed once it is sent; `at` may point into it */
};

/* Append the answer to the batch; close tells the client that it is the last one. 0 or -errno. May suspend. */
int exchange_answer(struct exchange *x, const struct http_head *head, const struct answer *a, bool close);

/* One path. */
struct route {
    const char *path;
    unsigned methods;      /* enum http_method, or-ed */
    const char *allow;     /* the same in words */
    const char *parameter; /* NULL, or the name of its one number in the query */
    uint32_t most;         /* the largest such number */
    bool vital;            /* answered under overload, too */
    /* Fill *a. `number` is the parameter. 0; -errno; a negative status. */
    int (*handle)(struct exchange *x, uint32_t number, const struct body *body, struct answer *a);
};

/* NULL: no such path. */
const struct route *route_find(const char *path, size_t n);
/* The route's number in the query, or -400. */
int64_t route_number(const struct route *r, const char *query, size_t n);

/* The body of /metrics: Prometheus' text format. 0 or -ENOMEM. */
int metrics_answer(struct answer *a);

#endif
