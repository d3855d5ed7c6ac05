/* SPDX-License-Identifier: Apache-2.0 */
/* futures.h -- tasks and futures of a run: identity, value, outcome.
 *
 * Each has a record that keeps a handle until the end of the run, so pointers to tasks are unique and outcomes can
 * be told at the end. A task's record also notes how the task ended: telling that at the end must not count as
 * looking at its error.
 *
 * Tasks are numbered in order of creation. An identity is given before the task can run; that of an eager task,
 * whose body runs before the creating call returns, when it is first needed, or else afterwards. */
#ifndef CONFORMANCE_FUTURES_H
#define CONFORMANCE_FUTURES_H

#include "interp.h"

enum future_kind { FUTURE_TASK, FUTURE_PLAIN, FUTURE_GATHER, FUTURE_SHIELD };

struct future {
    struct future *next, *next_task;
    struct run *run;
    enum future_kind kind;
    _Atomic(weft_task *) handle; /* set by the creator, and by the task itself when it begins */
    bool owned;                  /* the handle is to be released */
    /* ---- tasks ---- */
    const char *base; /* NULL: anonymous */
    unsigned number;
    _Atomic(const char *) identity; /* NULL: none yet */
    _Atomic(weft_task *) runs_as;   /* what weft_current_task() is in it */
    bool is_main;                   /* its frame is no struct body */
    bool forked;                    /* a child of its creator (weft/join.h): has no handle */
    bool ended;                     /* the coroutine has returned; with what: */
    int rc;
    struct value value;
    bool unretrieved;
    /* ---- gathers: of what; shields: of which one ---- */
    struct future **children;
    size_t child_count;
    bool return_exceptions;
};

/* A task: runs an awaitable. Its value stays in the frame. */
struct awaitable;
struct body {
    WEFT_FRAME;
    struct future *task;
    const struct awaitable *what;
    struct value value; /* result */
};
int body(struct body *b);
WEFT_CORO_DECLARE(body);

/* A plain future's value. */
struct answer {
    WEFT_FRAME;
    struct value value;
};

/* A record without handle, in the run's register. */
struct future *future_new(struct run *run, enum future_kind kind);
void future_set_handle(struct future *f, weft_task *handle, bool owned);
static inline weft_task *future_handle(struct future *f)
{
    return atomic_load_explicit(&f->handle, memory_order_acquire);
}
/* Give a task of this base its number, unless it has one. Once it runs: the name for the trace ("?": anonymous). */
const char *future_identify(struct future *f);
/* Take the identity of a task back that was refused. */
void future_forget(struct future *f);
struct future *future_of_handle(struct run *run, const weft_task *handle);

/* A pending future for a value. NEXT or an error. */
struct flow future_create(struct call *c, struct future **out);
int future_set(struct future *f, struct value v);
/* Create a task that runs `what` (in the run's memory). base NULL: anonymous. */
struct flow task_create(struct call *c, const char *base, const struct awaitable *what,
                        const weft_task_options *options, struct future **out);

/* Of an ended one with success. */
struct value future_value(struct future *f);
/* Of any: ["pending"], ["ok", v], ["err", CODE] ...; counts as looking at its error. */
struct value future_result(struct future *f);
/* The list of a finished gather: values, and results of those that did not end well. */
struct value gather_value(struct run *run, struct future *const children[], size_t n);
/* Wait for it, in a task. */
struct flow future_await(struct call *c, struct future *f, struct value *out);

/* At the end: "tasks", then all handles are given back, then "unretrieved". */
json_t *tasks_to_json(struct run *run);
void futures_release(struct run *run);
json_t *unretrieved_to_json(struct run *run);

#endif
