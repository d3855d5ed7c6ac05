/* SPDX-License-Identifier: Apache-2.0 */
/* executor/requests.h -- weft_task.requests: how often a task has been asked to end, and whether it has still to meet that.
 *
 *   bits 0 to 20   the count: made and not taken back (weft_cancelling)
 *   bit 21         PENDING: one or more came that it has not met, nor passed on to what it waits for (asyncio: _must_cancel)
 *   bits 22 to 31  so often it has met what was pending, modulo 1024
 *
 * One word: a request is counted and pending in one step, met in one step, and taken back in one step. So who looks at it at any instant can tell
 * what has been met already (count - 1 at most, if something is pending) from what is still to come. A time limit begins with such a look.
 *
 * C in the task's word says no more than "look here". It is set after PENDING and cleared before PENDING is taken (weft__mark_take): while a request
 * is pending, C is set, or whoever asks is about to set it, and tells the fiber after that. C without PENDING is nothing: what it was set for
 * has been met with another's, or was taken back. So nobody need clear it for that, and nothing is lost when somebody does.
 *
 * pairs: TASK-C. Who has the fiber (runs on it, or holds LOCKED) meets; any thread asks and takes back. */
#ifndef WEFT_EXECUTOR_REQUESTS_H
#define WEFT_EXECUTOR_REQUESTS_H

#include "executor/task.h"

#define WEFT__REQUESTS_COUNT ((UINT32_C(1) << 21) - 1)
#define WEFT__REQUESTS_PENDING (UINT32_C(1) << 21)
#define WEFT__REQUESTS_MET (UINT32_C(1) << 22) /* of this, and what is above it */
#define WEFT__REQUESTS_MOST                                                                                            \
    (UINT32_C(1) << 20) /* then more are refused; threads that look at once may go a little beyond */

static inline uint32_t weft__requests_count(uint32_t requests)
{
    return requests & WEFT__REQUESTS_COUNT;
}
static inline bool weft__requests_full(struct weft_task *t)
{
    return weft__requests_count(weft__load_relaxed(&t->requests)) >= WEFT__REQUESTS_MOST; /* relaxed: a bound */
}
static inline bool weft__requests_pending(struct weft_task *t)
{
    return (weft__load_acquire(&t->requests) & WEFT__REQUESTS_PENDING) != 0; /* pairs: TASK-C */
}

/* One more, pending. Returns the word before. */
static inline uint32_t weft__requests_ask(struct weft_task *t)
{
    uint32_t requests = weft__load_acquire(&t->requests);                                        /* pairs: TASK-C */
    while (!weft__cas_acq_rel(&t->requests, &requests, (requests + 1) | WEFT__REQUESTS_PENDING)) /* pairs: TASK-C */
        ;
    return requests;
}
/* The word when what is pending has been met. */
static inline uint32_t weft__requests_when_met(uint32_t requests)
{
    return requests & WEFT__REQUESTS_PENDING ? requests - WEFT__REQUESTS_PENDING + WEFT__REQUESTS_MET : requests;
}
/* One more, met at once, and with it what is pending: by who ends its wait for that. */
static inline void weft__requests_ask_met(struct weft_task *t)
{
    uint32_t requests = weft__load_acquire(&t->requests);                                      /* pairs: TASK-C */
    while (!weft__cas_acq_rel(&t->requests, &requests, weft__requests_when_met(requests) + 1)) /* pairs: TASK-C */
        ;
}
/* What has been counted is pending (again). False: it was taken back meanwhile. */
static inline bool weft__requests_again(struct weft_task *t)
{
    uint32_t requests = weft__load_acquire(&t->requests); /* pairs: TASK-C */
    do {
        if (weft__requests_count(requests) == 0)
            return false;
    } while (!weft__cas_acq_rel(&t->requests, &requests, requests | WEFT__REQUESTS_PENDING)); /* pairs: TASK-C */
    return true;
}
/* Take what is pending, all of it at once. False: nothing is. */
static inline bool weft__requests_meet(struct weft_task *t)
{
    uint32_t requests = weft__load_acquire(&t->requests); /* pairs: TASK-C */
    do {
        if (!(requests & WEFT__REQUESTS_PENDING))
            return false;
    } while (!weft__cas_acq_rel(&t->requests, &requests, weft__requests_when_met(requests))); /* pairs: TASK-C */
    return true;
}
/* The same by way of the mark. */
static inline bool weft__mark_take(struct weft_task *t)
{
    if (weft__likely(!(weft__load_acquire(&t->word) & WEFT__C))) /* pairs: TASK-C */
        return false;
    weft__fetch_and_acq_rel(&t->word, ~(uint64_t)WEFT__C); /* pairs: TASK-C */
    return weft__requests_meet(t);
}
/* Take one back; with the last one goes what is pending, and also if the word is `alone`. Returns the number left. */
static inline unsigned weft__requests_take_back(struct weft_task *t, uint32_t alone)
{
    uint32_t requests = weft__load_acquire(&t->requests), next; /* pairs: TASK-C */
    do {
        if (weft__requests_count(requests) == 0)
            return 0;
        next = requests - 1;
        if (weft__requests_count(next) == 0 || requests == alone)
            next &= ~WEFT__REQUESTS_PENDING;
    } while (!weft__cas_acq_rel(&t->requests, &requests, next)); /* pairs: TASK-C */
    return weft__requests_count(next);
}

#endif
