/* SPDX-License-Identifier: Apache-2.0 */
/* executor/watch.h -- see watch.c: one waiter at each of several tasks, and what to do when enough of them have ended. */
#ifndef WEFT_EXECUTOR_WATCH_H
#define WEFT_EXECUTOR_WATCH_H

#include "executor/task.h"

/* Which outcome ends the watch before all tasks have ended. */
enum weft__watch_rule {
    WEFT__UNTIL_ALL,     /* none */
    WEFT__UNTIL_ANY,     /* every one */
    WEFT__UNTIL_ERROR,   /* an error, but not a cancelled task */
    WEFT__UNTIL_FAILURE, /* an error or a cancelled task */
};

struct weft__watch;

struct weft__watch_node {
    struct weft__waiter waiter;
    struct weft__entry entry; /* order=fifo: asyncio's callback, which takes a turn of its own */
    struct weft__watch *watch;
    struct weft_task *task; /* referenced; NULL: a task that could not be created */
    bool ended;             /* before the watch began */
};

struct weft__watch {
    _Atomic(size_t) refs;     /* WATCH-REFS: each drop comes before the free */
    _Atomic(size_t) left;     /* tasks that have not arrived. WATCH-LEFT: each fall comes before what sees 0 */
    _Atomic(int32_t) verdict; /* the first outcome that ended the watch early. WATCH-VERDICT: set, then read */
    struct weft_runtime *rt;  /* of who waits */
    enum weft__watch_rule rule;
    bool hops; /* order=fifo */
    /* Called in the arrival of `t` that decides the watch (UNTIL_ANY: in each), and in the last of all. */
    void (*met)(struct weft__watch *w, struct weft_task *t, bool decides, bool last);
    struct weft__fiber *fiber; /* `met` of a fiber that waits: wakes it */
    uint32_t ticket;
    _Atomic(uint32_t) requested; /* a cancellation was passed on to the tasks (WATCH-VERDICT) */
    bool overridden; /* a cancellation came when no task could take it any more: written while the fiber cannot run */
    struct weft_task *future; /* `met` of a future: ends it */
    struct weft__watch *next_unused;
    size_t count;
    struct weft__watch_node nodes[];
};

/* A watch of the tasks, not begun; one reference. NULL: memory. */
struct weft__watch *weft__watch_create(struct weft_runtime *rt, weft_task *const tasks[], size_t n,
                                       enum weft__watch_rule rule);
/* Put the waiters on. `at_once`: tasks that have ended arrive inside the call (gather); else they take asyncio's turn as well (wait). */
void weft__watch_begin(struct weft__watch *w, bool at_once);
/* Nobody waits any more: take out what can be taken out. */
void weft__watch_leave(struct weft__watch *w);
void weft__watch_drop(struct weft__watch *w);
/* One that was not begun: free it. */
void weft__watch_discard(struct weft__watch *w);

/* What came of a fiber's watch. `how` 0: memory was short, nothing was waited for. */
struct weft__watched {
    enum weft__wake how;
    int verdict;
    bool requested, overridden;
};
/* Let the calling fiber wait for the tasks (NULL ones count as ended with -ENOMEM) until the rule is met or the deadline passes. */
struct weft__watched weft__watch_wait(struct weft__fiber *f, weft_task *const tasks[], size_t n,
                                      enum weft__watch_rule rule, const struct weft__wait_kind *kind, weft_ns deadline,
                                      bool at_once);

static inline bool weft__watch_is_done(const struct weft_task *t)
{
    return t == NULL || weft__task_state(t) == WEFT__DONE;
}
/* The outcome of a task that is done; none at all stands for one that could not be created. */
static inline int weft__watch_outcome(const struct weft_task *t)
{
    return t == NULL ? -ENOMEM : weft__task_rc(t);
}
/* Is one of them another runtime's, and has not ended? Runtimes end at different times: such a task may only be asked, or waited for by
 * weft_block_on. */
bool weft__watch_has_foreign(const struct weft_runtime *rt, weft_task *const tasks[], size_t n);
/* Does the task run on the calling fiber, so that waiting for it can't end? */
bool weft__watch_is_own(struct weft__fiber *f, const struct weft_task *t);

#endif
