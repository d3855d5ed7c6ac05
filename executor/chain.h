/* SPDX-License-Identifier: Apache-2.0 */
/* executor/chain.h -- see chain.c: tasks that somebody waits for, run one after the other on one stack before he goes on. */
#ifndef WEFT_EXECUTOR_CHAIN_H
#define WEFT_EXECUTOR_CHAIN_H

#include "executor/alone.h"

/* On the waiting fiber's stack, which stays as long as the entry is in a queue, or somebody has taken it out and not let the fiber go on. Written by the
 * worker that it was begun on, inside its queue, while the entry is there; by who takes the entry; by the fiber when it runs. */
struct weft__chain {
    struct weft__entry entry;
    struct weft__fiber *fiber;
    weft_task *const *tasks;
    size_t n, next;
    size_t ended;              /* so many have ended well */
    bool until_failure;        /* of a gather that one failure ends */
    bool direct;               /* the worker went on with the fiber in the same breath */
    uint8_t requested;         /* WEFT__CHAIN_* */
    const char *message;       /* of the request that found it OVER */
    struct weft__chain *outer; /* the worker's before this one, and where its entry was; only an address, too */
    int64_t outer_place;
};

enum {
    WEFT__CHAIN_PASSED_ON = 1, /* a cancellation came, and was passed on to the tasks that had not ended */
    WEFT__CHAIN_OVER = 2,      /* there was nothing left to wait for: it is the waiting task's own */
};
/* Owner: has it not begun, and may this worker begin it alone? A look; it is of this runtime then, and plain. */
static inline __attribute__((always_inline)) bool weft__chain_may_begin(const struct weft__worker *w,
                                                                        struct weft_task *t)
{
    return t != NULL && weft__load_relaxed(&t->fiber) == weft__task_home(w) && /* relaxed: own mark */
           weft__load_relaxed(&t->word) == WEFT__NEW;                          /* relaxed: the claim decides */
}
/* Is there nothing left to wait for? */
bool weft__chain_is_over(weft_task *const tasks[], size_t n, bool until_failure);
/* A cancellation goes to all that take one; false: none does. */
bool weft__chain_pass_on(weft_task *const tasks[], size_t n, struct weft__cancel_list *list);

/* Let the calling fiber wait while its worker runs those of the tasks that lie in its queue, from tasks[next] on; the handles stay. WOKEN when that
 * is over, for whatever reason; CANCELLED: in the last moment. c->next, ended and requested tell more. 0: there was nothing to run. */
enum weft__wake weft__chain_run(struct weft__fiber *f, struct weft__chain *c, weft_task *const tasks[], size_t n,
                                bool until_failure);
/* What a borrowed fiber, on which the worker has just begun a chain, does: run its tasks. NULL: it is over, and *item runs next (0: as ever). Else a task
 * that returned *rc and is one like others by now, or wants to be parked. */
struct weft_task *weft__chain_work(struct weft__fiber *f, int *rc, uintptr_t *item);
/* Owner, in worker_pick while it has a chain: what runs next. 0: as ever. */
uintptr_t weft__chain_pick(struct weft__worker *w);
/* Owner: t is about to be parked (parked.h). True: it was the chain's task, is an ordinary one now, and when it has been parked chain_parked tells what
 * runs next, as above. */
bool weft__chain_parks(struct weft__worker *w, struct weft_task *t);
uintptr_t weft__chain_parked(struct weft__worker *w);
extern const struct weft__wait_kind weft__chain_wait;
/* Any thread, about to cancel f, whose word has the REQUEST: if f sleeps in a chain, and nobody is about to let it go on, take that upon oneself: then f is
 * the caller's, who makes it ready when it has been told. */
bool weft__chain_take(struct weft__fiber *f);

#endif
