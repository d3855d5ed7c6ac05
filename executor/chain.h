/* SPDX-License-Identifier: Apache-2.0 */
/* executor/chain.h -- see chain.c: tasks that somebody waits for, run one after the other on one stack before he goes on. */
#ifndef WEFT_EXECUTOR_CHAIN_H
#define WEFT_EXECUTOR_CHAIN_H

#include "executor/worker.h"

/* On the waiting fiber's stack, which stays as long as the entry is in a queue or the fiber is LOCKED. */
struct weft__chain {
    struct weft__entry entry;
    struct weft__fiber *fiber;
    uint32_t ticket;
    weft_task *const *tasks;
    size_t n, next;
    size_t begun, ended;         /* so many were, and have ended well */
    bool until_failure;          /* of a gather that one failure ends */
    bool direct;                 /* the worker went on with the fiber in the same breath */
    _Atomic(uint32_t) requested; /* WEFT__CHAIN_*: CHAIN-REQUESTED */
    const char *message;         /* of the request that found it OVER */
};

enum {
    WEFT__CHAIN_PASSED_ON = 1, /* a cancellation came, and was passed on to the tasks that had not ended */
    WEFT__CHAIN_OVER = 2,      /* there was nothing left to wait for: it is the waiting task's own */
};
/* Is there nothing left to wait for? */
bool weft__chain_is_over(weft_task *const tasks[], size_t n, bool until_failure);
void weft__chain_pass_on(weft_task *const tasks[], size_t n, struct weft__cancel_list *list);

/* Let the calling fiber wait while its worker runs those of the tasks that lie in its queue, from tasks[next] on; the handles stay. WOKEN when that
 * is over, for whatever reason; CANCELLED: in the last moment. c->next, begun and requested tell more. 0: there was nothing to run. */
enum weft__wake weft__chain_run(struct weft__fiber *f, struct weft__chain *c, weft_task *const tasks[], size_t n,
                                bool until_failure);
/* Owner, in worker_pick while it has a chain: what runs next. 0: as ever. */
uintptr_t weft__chain_pick(struct weft__worker *w);
/* Owner: the chain's task t has returned rc on its own fiber: end it. What runs next, as above. */
uintptr_t weft__chain_step(struct weft__worker *w, struct weft_task *t, int rc);
/* Owner: t is about to be parked (parked.h). True: it was the chain's task, is an ordinary one now, and when it has been parked chain_parked tells what
 * runs next, as above. */
bool weft__chain_parks(struct weft__worker *w, struct weft_task *t);
uintptr_t weft__chain_parked(struct weft__worker *w);

#endif
