/* SPDX-License-Identifier: Apache-2.0 */
/* http/routes.c -- what weft-http answers to which path. A handler is straight code: it may sleep, compute, or fail. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "http/exchange.h"

static int plaintext(struct exchange *x, uint32_t number, const struct body *body, struct answer *a)
{
    (void)x, (void)number, (void)body;
    a->at = "Hello, World!";
    a->n = sizeof "Hello, World!" - 1;
    return 0;
}

static int echo(struct exchange *x, uint32_t number, const struct body *body, struct answer *a)
{
    (void)x, (void)number;
    a->type = "application/octet-stream";
    a->at = body->at;
    a->n = body->n;
    return 0;
}

/* Answers that are ready already do not wait for this one. */
static int sleep_ms(struct exchange *x, uint32_t ms, const struct body *body, struct answer *a)
{
    (void)body;
    a->at = "slept\n";
    a->n = sizeof "slept\n" - 1;
    int rc = exchange_flush(x);
    return rc < 0 ? rc : client_sleep(x->client, WEFT_MS(ms));
}

static int cpu_us(struct exchange *x, uint32_t us, const struct body *body, struct answer *a)
{
    (void)body;
    a->at = "computed\n";
    a->n = sizeof "computed\n" - 1;
    int rc = exchange_flush(x);
    for (weft_ns until = weft_now() + WEFT_US(us); rc == 0 && weft_now() < until;) {
    }
    return rc;
}

/* What one must not do in a task: it blocks the worker. Others take the worker's other tasks, and the runtime's report
 * names the function. (The right way is weft_to_thread.) */
static int block_ms(struct exchange *x, uint32_t ms, const struct body *body, struct answer *a)
{
    (void)body;
    a->at = "blocked\n";
    a->n = sizeof "blocked\n" - 1;
    int rc = exchange_flush(x);
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    if (rc == 0) {
        nanosleep(&left, NULL);
    }
    return rc;
}

static int metrics(struct exchange *x, uint32_t number, const struct body *body, struct answer *a)
{
    (void)x, (void)number, (void)body;
    return metrics_answer(a);
}

static const struct route routes[] = {
    {"/", HTTP_GET | HTTP_HEAD, "GET, HEAD", NULL, 0, false, plaintext},
    {"/plaintext", HTTP_GET | HTTP_HEAD, "GET, HEAD", NULL, 0, false, plaintext},
    {"/echo", HTTP_POST, "POST", NULL, 0, false, echo},
    {"/sleep", HTTP_GET | HTTP_HEAD, "GET, HEAD", "ms=", 60000, false, sleep_ms},
    {"/cpu", HTTP_GET | HTTP_HEAD, "GET, HEAD", "us=", 1000000, false, cpu_us},
    {"/block", HTTP_GET | HTTP_HEAD, "GET, HEAD", "ms=", 10000, false, block_ms},
    {"/metrics", HTTP_GET | HTTP_HEAD, "GET, HEAD", NULL, 0, true, metrics},
};

const struct route *route_find(const char *path, size_t n)
{
    if (n == 0) {
        return &routes[0];
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strlen(routes[i].path) == n && memcmp(path, routes[i].path, n) == 0) {
            return &routes[i];
        }
    }
    return NULL;
}

int64_t route_number(const struct route *r, const char *query, size_t n)
{
    if (r->parameter == NULL) {
        return 0;
    }
    size_t name = strlen(r->parameter);
    if (n <= name || n > name + 9 || memcmp(query, r->parameter, name) != 0) {
        return -400;
    }
    uint32_t number = 0;
    for (size_t i = name; i < n; i++) {
        if (query[i] < '0' || query[i] > '9') {
            return -400;
        }
        number = number * 10 + (uint32_t)(query[i] - '0');
    }
    return number <= r->most ? (int64_t)number : -400;
}
