/* SPDX-License-Identifier: Apache-2.0 */
/* awaitables.h -- what stands where something is awaited: a coroutine, a slot, ["gather", ...], ["sleep", 5], ...
 *
 * In two moves, as in Python: the expression is evaluated (its slots are read, children of a gather are made into
 * tasks), which gives an awaitable; later that is awaited, in the same task or as a task of its own. One that is
 * never awaited does nothing. */
#ifndef CONFORMANCE_AWAITABLES_H
#define CONFORMANCE_AWAITABLES_H

#include "futures.h"

enum awaitable_kind {
    AWAIT_CALL,      /* coroutine `name` */
    AWAIT_FUTURE,    /* `future` */
    AWAIT_GATHER,    /* `children`: awaited where it was evaluated */
    AWAIT_SHIELD,    /* `future` */
    AWAIT_WAIT_FOR,  /* `inner`, `expression` for the time */
    AWAIT_OPERATION, /* `operation` on `expression` */
    AWAIT_NOTHING,   /* what never comes */
};

/* What is a step and an awaitable alike: ["sleep", ...], ["get", q], ... */
struct operation {
    const char *name;
    struct flow (*run)(struct call *c, const json_t *words, struct value *out);
    unsigned result_slot; /* as a step: which word names the slot for the value; 0: none */
};
const struct operation *operation_named(const char *name); /* operations.c */

struct awaitable {
    enum awaitable_kind kind;
    const char *name; /* of the coroutine or the expression: the identity as a task */
    struct future *future;
    struct future **children;
    size_t child_count;
    bool return_exceptions;
    const struct awaitable *inner;
    const struct operation *operation;
    const json_t *expression;
};

/* Evaluate. `direct`: it is awaited right here, so that gather and shield need no future of their own. */
struct flow awaitable_evaluate(struct call *c, const json_t *expression, bool direct, struct awaitable *out);
/* As a future: what is none already becomes a task. */
struct flow awaitable_future(struct call *c, const json_t *expression, struct future **out);
/* Await, in the current task. */
struct flow awaitable_await(struct call *c, const struct awaitable *what, struct value *out);
/* A list of expressions as futures, left to right. */
struct flow awaitable_futures(struct call *c, const json_t *expressions, struct future ***out, size_t *n);
/* Their handles, for the library's calls. */
weft_task **future_handles(struct run *run, struct future *const futures[], size_t n);

/* An awaitable that calls a coroutine. */
const struct awaitable *awaitable_call(struct run *run, const char *coroutine);

#endif
