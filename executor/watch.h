/* SPDX-License-Identifier: Apache-2.0 */
/* executor/watch.h -- see watch.c: one waiter at each of several tasks, and what to do when enough of them have ended. */
#ifndef WEFT_EXECUTOR_WATCH_H
#define WEFT_EXECUTOR_WATCH_H

#include "executor/sight.h"
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
    struct weft__waiter waiter; /* fire NULL: the task had ended before the watch began */
    struct weft__watch *watch;
    struct weft_task *task; /* referenced, if the watch `owns`; NULL: a task that could not be created */
};

/* order=fifo: asyncio's callback, which takes a turn of its own. As many as nodes, behind them. */
struct weft__watch_turn {
    struct weft__entry entry;
    struct weft__watch_node *node;
};

#define WEFT__WATCH_OWNER (SIZE_MAX / 2 + 1)
#define WEFT__WATCH_FEW 13 /* so many nodes fit into a block from the slab */

struct weft__watch {
    /* Tasks that have not arrived, + OWNER while somebody waits. WATCH-LEFT: each fall comes before what sees the result; who brings it
     * to 0 frees the block. */
    _Atomic(size_t) left;
    _Atomic(int32_t) verdict; /* the first outcome that ended the watch early. WATCH-VERDICT: set, then read */
    struct weft_runtime *rt;  /* of who waits */
    enum weft__watch_rule rule;
    bool hops;     /* order=fifo */
    bool owns;     /* it keeps its tasks; else their handles are sure to be there as long as somebody waits */
    bool pooled;   /* it is a block from the slab */
    bool retrieve; /* errors count as looked at, whenever they come */
    struct weft__fiber *fiber; /* is woken by the arrival that decides; NULL: there is `met` */
    /* Of a future. In the arrival of `t` that decides the watch before the last, and in the last of all, which may decide it as well;
     * after which the watch may be gone. */
    void (*met)(struct weft__watch *w, struct weft_task *t, bool decides, bool last);
    uint32_t ticket;
    _Atomic(uint32_t) requested; /* a cancellation was passed on to the tasks (WATCH-VERDICT) */
    bool overridden; /* a cancellation came when no task could take it any more: written while the fiber cannot run */
    struct weft_task *future; /* what `met` ends */
    struct weft__watch *next_unused;
    size_t count;
    struct weft__watch_node nodes[];
};

/* Have all tasks arrived? */
static inline bool weft__watch_all_arrived(struct weft__watch *w)
{
    return (weft__load_acquire(&w->left) & ~WEFT__WATCH_OWNER) == 0; /* pairs: WATCH-LEFT */
}
/* A watch of the tasks, not begun, the caller's. `keep`: it takes references to them. NULL: memory. */
struct weft__watch *weft__watch_create(struct weft_runtime *rt, weft_task *const tasks[], size_t n,
                                       enum weft__watch_rule rule, bool keep);
/* Put the waiters on. `at_once`: tasks that have ended arrive inside the call (gather); else they take asyncio's turn as well (wait). */
void weft__watch_begin(struct weft__watch *w, bool at_once);
/* Nobody waits any more: take out what can be taken out. */
void weft__watch_leave(struct weft__watch *w);
/* The future is gone. */
void weft__watch_drop(struct weft__watch *w);
/* One that was not begun: free it. */
void weft__watch_discard(struct weft__watch *w);

/* What came of a fiber's watch. `how` 0: memory was short, nothing was waited for (never with UNTIL_ALL, which needs none). */
struct weft__watched {
    enum weft__wake how;
    int verdict;
    bool requested, overridden;
};
/* Let the calling fiber wait for the tasks (NULL ones count as ended with -ENOMEM) until the rule is met or the deadline passes.
 * `retrieve`: their errors count as looked at. `requested`: a cancellation has been passed on to them already. */
struct weft__watched weft__watch_wait(struct weft__fiber *f, weft_task *const tasks[], size_t n,
                                      enum weft__watch_rule rule, const struct weft__wait_kind *kind, weft_ns deadline,
                                      bool at_once, bool retrieve, bool requested);

/* The same for all of them, without memory: for one after the other (wait_each.c). `passes_on`: a cancellation goes to the tasks, and ends nothing. */
struct weft__watched weft__wait_each(struct weft__fiber *f, weft_task *const tasks[], size_t n, bool passes_on,
                                     weft_ns deadline, bool at_once, bool requested);

/* The `tell` of all waits whose object is a watch. */
void weft__watch_tell(struct weft__fiber *f, void *watch, struct weft__sight *s);
/* ... and whose n tasks at(object, i) gives. */
void weft__watch_tell_tasks(struct weft__fiber *f, struct weft__sight *s,
                            struct weft_task *(*at)(const void *object, size_t i), const void *object, size_t n);

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
