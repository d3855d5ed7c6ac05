/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber.h -- a stack, a saved context, and the one word that decides who wakes it.
 *
 * The word: ticket << 32 | reason << 8 | REQUEST | LOCKED | state. The owner begins a wait by counting `ticket` up, and leaves the word alone:
 * one with the ticket before stands for "begun, not left yet". Nobody can know a ticket before its wait has begun, so to whoever knows it the word tells
 * which it is. States and transitions, of the wait with ticket t:
 *
 * | word          | commit (next context) | wake(t)        | canceller         | abandon (owner) |
 * | t-1, RUNNING  | t, PARKED             | t, WOKEN       | + REQUEST         | t, RUNNING      |
 * | t-1, WOKEN    | t, PARKED             | t, WOKEN       | + REQUEST         | t, RUNNING      |
 * | t, PARKED     | -                     | WOKEN, ready   | + LOCKED, see (1) | -               |
 * | t, WOKEN      | ready, see (2)        | false          | + REQUEST         | t, RUNNING      |
 * | t, RUNNING    | -                     | false          | + REQUEST         | -               |
 *
 * (1) LOCKED: one canceller (or the committer that found REQUEST) may read the fiber's chain of tasks and what it waits for;
 *     the fiber cannot run. A wake meanwhile moves PARKED to WOKEN and leaves making it ready to the one who unlocks.
 *     Another canceller sets REQUEST, and the unlocker looks again.
 * (2) Woken before its context was left. If the owner sees that before it leaves, it goes on at once (but with order=fifo).
 * A fiber that was woken stays WOKEN, with the reason, until its next wait is parked or woken: a running fiber is RUNNING or WOKEN, which is the same to
 * all others. RUNNING is so only before its first wait, and after abandon.
 * Wake of a wrong ticket is false in every state. REQUEST says only "some task of the chain may have C": the owner looks at
 * its next suspension, or when it resumes.
 *
 * The chain of tasks (task, then below, below ...) is private to whoever has the fiber: the running fiber itself, the
 * committer, or the holder of LOCKED. pairs: FIBER-WORD covers all of it: every transition is acq_rel. */
#ifndef WEFT_EXECUTOR_FIBER_H
#define WEFT_EXECUTOR_FIBER_H

#include "executor/context.h"
#include "executor/stack.h"
#include "executor/task.h"
#include "executor/timers.h"
#include "executor/wait.h"

struct weft__worker;
struct weft__lending;

enum {
    WEFT__FIBER_RUNNING = 0,
    WEFT__FIBER_PARKED = 2,
    WEFT__FIBER_WOKEN = 3,
    WEFT__FIBER_STATE = 7,
    WEFT__FIBER_LOCKED = 8,
    WEFT__FIBER_REQUEST = 16,
};

/* What makes a fiber take the slow ways. */
enum {
    WEFT__FIBER_STRAND = 1,         /* its task has a strand */
    WEFT__FIBER_RETURNS = 2,        /* return_to is set */
    WEFT__FIBER_CALLBACK = 4,       /* its task is a callback and must not wait */
    WEFT__FIBER_BATCH = 16,         /* a batch of its task is open: worker->hold */
    WEFT__FIBER_IN_TURN = 8,        /* the runtime chooses in the idle loop only */
    WEFT__FIBER_APART = 32,         /* nothing runs on its awaiter's stack (option inlining) */
    WEFT__FIBER_SCOPE = 64,         /* a task of its chain has a time limit that is not armed yet: scopes */
    WEFT__FIBER_PARK_ASKED = 128,   /* its outermost task wants to be parked at `park`: parked.c */
    WEFT__FIBER_PARK_RESUMED = 256, /* ... was parked, and has not asked yet how that ended */
    WEFT__FIBER_PINNED = 1024,      /* its outermost task runs at its place only (pinned.h) */
    WEFT__FIBER_PARK_AGAIN =
        512, /* the innermost has waited here for what it wanted to be parked at, and is to be called again */
};

#define WEFT__FIBER_BUDGET 64
#define WEFT__INLINE_LIMIT 64 /* tasks run at once before the worker looks whether something else must have its turn */

struct weft__await {
    struct weft__waiter waiter;
    struct weft__fiber *fiber;
    uint32_t ticket;
    _Atomic(uint32_t) fired; /* set before the wake: fire touches the node no more (pairs: AWAIT-FIRED) */
};

/* Above its stack, in the stack's slot (stack.h), which nothing else ever gets while the runtime lives. */
struct weft__fiber {
    struct weft__link link;      /* in an inbox, or in a cache; first, with kind, as in struct weft_task */
    uint32_t kind;               /* WEFT__KIND_FIBER */
    uint32_t ticket;             /* of the last wait; owner only */
    _Atomic(uint64_t) word;      /* see the head; pairs: FIBER-WORD */
    struct weft_task *task;      /* innermost; running.c looks at others' */
    struct weft__worker *worker; /* that runs it; written by whoever switches to it */
    char *stack_limit;           /* a forked child or an awaited task may run on top only above this */
    uint16_t unusual;            /* WEFT__FIBER_STRAND ...: 0 for most, so that the usual path looks at one word */
    /* so far weft/here.h knows it */
    uint16_t children;      /* debug: forked and not joined, by the innermost task */
    uint8_t inlined;        /* tasks run at once since the last look around */
    uint8_t inlined_rounds; /* looks since the last turn of the scheduler */
    uint16_t budget;
    struct weft__context context;
    _Atomic(const struct weft__wait_kind *) wait_kind; /* the waits-on link; the owner writes, dumps read */
    union {
        void *wait_object;       /* what it waits for */
        struct weft_task *first; /* no task of its own yet: the one to start when switched to */
    };
    const weft_coro *coro;    /* what runs on top, for reports */
    struct weft__timer timer; /* up to here: what a sleep and its end touch, in two lines */
    struct weft_runtime *rt;
    struct weft__fiber *return_to; /* who started its task eagerly and goes on when it first leaves the CPU (RETURNS) */
    struct weft_strand *strand;    /* of its outermost task (STRAND) */
    struct weft__scope *scopes;    /* open time limits of its tasks, the newest first (SCOPE): timeout.c */
    _Atomic(struct weft__worker *) chain_at; /* that it last began a chain on: chain.c (pairs: CHAIN-AT) */
    struct weft__park *park; /* what its outermost task uses as one that parks (PARK_ASKED, PARK_RESUMED): parked.c */
    union {                  /* a fiber waits for one thing at a time */
        struct weft__await await;
        struct weft__wait_node node;
    };
    struct weft__stack stack;
    struct weft__lending *lending; /* of the stack that it has lent and not had back: lend.c */
};

_Static_assert(offsetof(struct weft_running_, word) == offsetof(struct weft__fiber, word) &&
                   offsetof(struct weft_running_, task) == offsetof(struct weft__fiber, task) &&
                   offsetof(struct weft_running_, worker) == offsetof(struct weft__fiber, worker) &&
                   offsetof(struct weft_running_, stack_limit) == offsetof(struct weft__fiber, stack_limit) &&
                   offsetof(struct weft_running_, unusual) == offsetof(struct weft__fiber, unusual) &&
                   WEFT_RUNNING_REQUEST_ == (uint64_t)WEFT__FIBER_REQUEST,
               "what inline functions of the public headers rely on");

#if !WEFT__FIBER_TOOLS
_Static_assert(offsetof(struct weft__fiber, rt) <= 128, "the first two lines are all that a sleep needs");
#endif

static inline void weft__fiber_set(struct weft__fiber *f, uint32_t bits)
{
    f->unusual = (uint16_t)(f->unusual | bits);
}
static inline void weft__fiber_clear(struct weft__fiber *f, uint32_t bits)
{
    f->unusual = (uint16_t)(f->unusual & ~bits);
}

/* What a fiber's context begins with; never returns. */
void weft__fiber_main(void *fiber);
/* A fiber ready to run a task: from the worker's cache or new. NULL: no stack to be had. */
struct weft__fiber *weft__fiber_get(struct weft__worker *w, uint32_t stack_class);
/* The fiber has no task any more; its context stands in weft__fiber_main. To the worker's cache. */
void weft__fiber_put(struct weft__worker *w, struct weft__fiber *f);
/* Give the memory of caches that were not needed lately back; called by the worker before it sleeps. */
void weft__fiber_cache_trim(struct weft__worker *w, weft_ns now);
/* The same of the pools, once a second and by and by; the reactor thread. When the next time is: WEFT_FOREVER if there is nothing to give back. */
void weft__fiber_pools_trim(struct weft_runtime *rt, weft_ns now);
weft_ns weft__fiber_pools_due(struct weft_runtime *rt);
void weft__fiber_destroy_all(struct weft_runtime *rt);
/* For the overflow report: async-signal-safe. */
void weft__fiber_describe(void *fiber, char *buf, size_t size);

/* Run a claimed task on this fiber, on top of what it runs now; returns its outcome. */
int weft__fiber_run(struct weft__fiber *f, struct weft_task *t);
/* A task's function has returned: aborts with a sentence if it left something open. */
void weft__fiber_check_end(struct weft__fiber *f, struct weft_task *t, const weft_coro *coro);
/* Something unusual was about when its outermost task t returned rc: what is left of that. */
void weft__fiber_end_unusual(struct weft__fiber *f, struct weft_task *t, int rc);
/* Inside its worker's ready queue: f gives way, and the fiber `lent`, which has no task, runs the worker's chain. Returns when somebody resumes f. */
void weft__fiber_lend(struct weft__fiber *f, struct weft__fiber *lent);
/* Leave the CPU to the next ready work of the worker, or to its idle loop; `after(worker, argument)` runs there, when this
 * fiber's context has been saved. Returns when somebody resumes the fiber, maybe on another worker. */
void weft__fiber_switch_away(struct weft__fiber *f, void (*after)(struct weft__worker *, void *), void *argument);
/* Let others run as if on other workers: the task is not suspended. It keeps the turn of its strand, and who started it eagerly waits on. */
void weft__fiber_step_aside(struct weft__fiber *f);
/* order=fifo: let the rest of this round run. */
void weft__fiber_round_end(struct weft__fiber *f);
/* Bytes of stack below the caller's frame. */
static inline size_t weft__fiber_stack_left(const struct weft__fiber *f)
{
    return (size_t)((char *)__builtin_frame_address(0) - f->stack.base);
}

void weft__fiber_timer_init(struct weft__fiber *f);
/* This timer fires soon: if it wakes a fiber, that will need its stack. For weft__timers_fire_next. */
void weft__fiber_timer_ahead(struct weft__timer *later);
/* The fiber is about to suspend: time limits opened since it last did become known to others (timeout.c). */
void weft__scopes_arm(struct weft__fiber *f);
/* Has the task, which returned, left a time limit open? (timeout.c) */
bool weft__scope_left(const struct weft__fiber *f, const struct weft_task *t);

/* The one thing only cancel.c needs: tell a started task's fiber that its chain has a mark. */
void weft__fiber_request(struct weft__fiber *f, struct weft__cancel_list *list);
/* A fiber that request left LOCKED for an entry of the list: the child has been told. */
void weft__fiber_unlock(struct weft__fiber *f, struct weft__cancel_list *list);

/* A fair share: counts an operation that went through without waiting; after some of them the caller must yield, and true
 * is returned (the caller then calls weft__yield). Keeps an always-ready socket from holding its worker. */
static inline bool weft__budget_spent(struct weft__fiber *f)
{
    if (weft__likely(f->budget-- != 0))
        return false;
    f->budget = 64;
    return true;
}

#endif
