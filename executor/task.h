/* SPDX-License-Identifier: Apache-2.0 */
/* executor/task.h -- the task descriptor, its one word of state, and who may wait for it.
 *
 * | state   | claim    | cancel        | add waiter | finish |
 * | FREE    | -        | -             | -          | -      |  memory in the slab, no task
 * | NEW     | STARTED  | NEW + C       | yes        | -      |  created, in a ready queue
 * | STARTED | refused  | STARTED + C   | yes        | DONE   |  on a fiber, parked (parked.c), or with a helper thread
 * | DONE    | refused  | refused       | refused    | -      |  outcome in rc; for ever
 * C: a cancel request may wait to be delivered (requests.h). A task claimed with one never enters its function. LOCK: somebody edits the list
 * of waiters (only to take one out); everybody else waits a moment. The rest of the word is the newest waiter. OWED: the task ran on its
 * awaiter's stack, and the runtime's reference has not been given back: who gives his own back next does it for both, and if these are
 * the only two, without a locked instruction (task_hot.h). PLAIN: it runs on its awaiter's stack, and ends without a locked instruction
 * unless something else is in the word; NEW is claimed so by its home (alone.c tells who must announce himself to change such a word).
 *
 * The kinds that share this struct:
 *   TASK      a coroutine on a fiber; counted: one reference for each handle, one of the runtime until it has ended
 *   CHILD     weft_child: only the part up to `refs`, in its parent's frame
 *   THREAD    weft_to_thread: counted, never on a fiber, cancel ends it at once
 *   FUTURE    STARTED from birth, never on a fiber, ended by whoever sets it or cancels it; counted by its handles alone. C means that
 *             it has been cancelled: only the end of that is to come. `future` says what a cancellation does
 *   CALLBACK  a function on a fiber that must not wait; counted like a TASK; NEW while its timer or its task is waited for
 * ENTRY is no task: a step of the library's own in a ready queue (struct weft__entry). */
#ifndef WEFT_EXECUTOR_TASK_H
#define WEFT_EXECUTOR_TASK_H

#include <string.h>
#include <weft/join.h>
#include <weft/task.h>

#include "executor/atomic.h"
#include "executor/base.h"
#include "executor/heap_frame.h"
#include "executor/inbox.h"
#include "executor/wait.h"

enum weft__kind {
    WEFT__KIND_TASK = 1,
    WEFT__KIND_CHILD,
    WEFT__KIND_THREAD,
    WEFT__KIND_FIBER,
    WEFT__KIND_FUTURE,
    WEFT__KIND_CALLBACK,
    WEFT__KIND_ENTRY,
};

enum {
    WEFT__FREE = 0,
    WEFT__NEW = 1,
    WEFT__STARTED = 2,
    WEFT__DONE = 3,
    WEFT__STATE = 3,
    WEFT__C = 4,
    WEFT__LOCK = 8,
    WEFT__OWED = 16, /* DONE only, where no waiter is any more */
};
#define WEFT__PLAIN (UINT64_C(1) << 63) /* STARTED only; no address has it */
#define WEFT__BITS (UINT64_C(15) | WEFT__PLAIN)

/* Told when a task ends. Fired once, in the thread that ends the task, in the order added. The node's memory is the
 * waiter's: fire must not touch it after the moment from which its owner may reuse it. */
struct weft__waiter {
    alignas(16) struct weft__waiter *next;
    void (*fire)(struct weft__waiter *waiter, struct weft_task *task);
};

/* A step of the library's own in a ready queue: whoever picks it runs it at once, on whatever stack that is. It must be short, must
 * not suspend, and must not ask who the calling task is. Where order=fifo takes asyncio's hop through the queue, this is the hop. */
struct weft__entry {
    struct weft__link link; /* first, with kind, as in struct weft_task */
    uint32_t kind;          /* WEFT__KIND_ENTRY */
    void (*run)(struct weft__entry *entry);
};

/* Descriptors are of three sizes, each of a slab of its own: the frame lies in them, and as they are whole lines, two tasks on two workers
 * never write into one. A frame that is larger still is the heap's. */
#define WEFT__INLINE_FRAME 48 /* in the smallest */
#define WEFT__ROOM_STEP 64    /* more in the next */
enum {
    WEFT__ROOM_USUAL = 0,
    WEFT__ROOMS = 3,
    WEFT__ROOM_HEAP = WEFT__ROOMS, /* the descriptor is of the smallest */
};

enum {
    WEFT__TASK_HIDDEN = 1,
    WEFT__TASK_RETRIEVED = 4,
    WEFT__TASK_PASSED_ON = 8,     /* a FUTURE whose -ECANCELED is that of what it waits for: not cancelled() itself */
    WEFT__TASK_KEEP_MESSAGE = 16, /* its cancel message is for every awaiter, not for the first only */

    WEFT__TASK_OWN_STACK = 512, /* its stack class is not the runtime's */
    WEFT__TASK_UNSTARTED = 32,  /* claimed to call coro->unstarted instead of the body */
    WEFT__TASK_STRAND = 64,     /* extra->strand is set */
    WEFT__TASK_DESTROY = 256,   /* a FUTURE that stands for others: future->destroy */
    WEFT__TASK_HAS_PARKED =
        1024, /* it was parked before: whatever is its item in a ready queue was put there by an unpark */
    WEFT__TASK_PINNED = 2048, /* extra->pinned is set */
    WEFT__TASK_ARMED = 128,   /* a CALLBACK that waits, or waited, for something: its extra is callback.c's */
};

/* What a FUTURE that stands for others does when it is cancelled. */
struct weft__future_kind {
    const char *name;
    /* Would a cancellation be taken now? `request`: if so it counts as asked for from here on, and `cancel` will be called. */
    bool (*accept)(struct weft_task *future, unsigned depth, bool request);
    /* Pass it on: weft__cancel_mark on what is waited for. */
    void (*cancel)(struct weft_task *future, struct weft__cancel_list *list);
    void (*destroy)(struct weft_task *future); /* its last reference is gone */
};

/* What most tasks do without: made when first needed, freed with the task. */
struct weft__task_extra {
    struct weft_runtime *rt;
    _Atomic(struct weft_context *)
        context;                      /* referenced; NULL: empty. Made by whoever sets first (pairs: CONTEXT-PLACE) */
    _Atomic(char *) name;             /* see task_api.c; NULL: "Task-<id>" */
    _Atomic(const char *) asked;      /* message of the latest request that marked the task */
    _Atomic(const char *) delivered;  /* message of the request that ended its wait */
    const char *met;                  /* message of the cancellation it met last; its own */
    _Atomic(const char *) outcome;    /* message it ended with */
    struct weft_strand *strand;       /* referenced */
    _Atomic(const void *) created_at; /* debug: the address that called create */
    uint32_t where;                   /* as asked for */
    uint32_t pinned;                  /* the number of its place + 1 (pinned.h); 0: none */
};

struct weft__park;

struct weft_task {
    struct weft__link link; /* in an inbox; first, with kind: see weft__ready_kind */
    uint32_t kind;
    int32_t rc;             /* the outcome; written before DONE (pairs: TASK-DONE). Until then: of its last parking */
    _Atomic(uint64_t) word; /* state and newest waiter */
    weft_frame *frame;
    union {
        /* set just after the claim (pairs: TASK-FIBER); before that NULL, or the mark of its home (alone.h) */
        _Atomic(struct weft__fiber *) fiber;
        _Atomic(uint64_t) parked; /* while it waits without a stack: parked.h, an odd word (pairs: TASK-PARKED) */
    };
    union {
        struct weft_task *below;                /* who awaits it on the same stack; private to the fiber */
        const struct weft__future_kind *future; /* FUTURE: NULL for a plain one */
        struct weft__park *park;                /* while it is parked: where */
    };
    _Atomic(uint32_t) requests; /* requests.h */
    _Atomic(uint16_t) flags;    /* WEFT__TASK_*; RETRIEVED may be set by any waiter, at any time */
    _Atomic(uint16_t)
        open; /* groups and time limits that the task has open: its own count, or FORKED. 0 wherever no task runs, also in free memory */
    union {
        struct weft_task *parent; /* CHILD: the task that forked it, and here a CHILD ends */
        struct {
            _Atomic(uint32_t) refs;
            uint8_t stack_class;
            uint8_t room;            /* WEFT__ROOM_*, or so many steps larger than the smallest */
            _Atomic(uint16_t) place; /* in its creator's ready queue, the low bits; a hint */
        };
    };
    /* The runtime's address; odd: one more than that of its extra, which knows the runtime (pairs: TASK-EXTRA). */
    _Atomic(uintptr_t) side;
    uint64_t id;
    alignas(8) char inline_frame[WEFT__INLINE_FRAME]; /* and more: room */
};

/* The fiber it is on; NULL: none yet. */
static inline struct weft__fiber *weft__task_fiber(const struct weft_task *t)
{
    struct weft__fiber *f = weft__load_acquire(&((struct weft_task *)t)->fiber); /* pairs: TASK-FIBER */
    return (uintptr_t)f & 3 ? NULL : f;
}
static inline uint64_t weft__task_state(const struct weft_task *t)
{
    return weft__load_acquire(&t->word) & WEFT__STATE; /* pairs: TASK-DONE */
}
/* The outcome of a DONE task. */
static inline int weft__task_rc(const struct weft_task *t)
{
    return t->rc;
}
/* Somebody looks at the outcome, now or when it comes: an error is then nobody's loss to report. Any thread. */
static inline void weft__task_set_retrieved(struct weft_task *t)
{
    if (!(weft__load_relaxed(&t->flags) & WEFT__TASK_RETRIEVED)) /* relaxed: the flag stands for itself */
        weft__fetch_or_acq_rel(&t->flags,
                               (uint16_t)WEFT__TASK_RETRIEVED); /* pairs: TASK-REFS, read after the last unref */
}
/* Beside that count, so that one look at the end sees both: the task goes on in the child of a fork(), where no worker is. */
#define WEFT__TASK_FORKED ((uint16_t)1 << 15)
/* None may be left open when it ends. Its own: of the task, wherever it runs. */
static inline void weft__task_scope_opened(struct weft_task *t)
{
    uint16_t open = (uint16_t)(weft__load_relaxed(&t->open) + 1); /* relaxed: its own */
    if (weft__unlikely((open & (WEFT__TASK_FORKED - 1)) == 0))
        weft__misuse(t->frame->coro->name, "it has 32,768 time limits and groups open: each begin needs its end");
    weft__store_relaxed(&t->open, open); /* relaxed: its own */
}
static inline void weft__task_scope_closed(struct weft_task *t)
{
    weft__store_relaxed(&t->open, (uint16_t)(weft__load_relaxed(&t->open) - 1)); /* relaxed: its own */
}
#define WEFT__RETURNED_FORKED                                                                                          \
    "the function returned in the child of a fork(), where no runtime is: the child has to end by _exit or exec"
/* The outcome of a DONE task for somebody who asked for it: an error is no longer one that nobody looked at. */
static inline int weft__task_take_rc(struct weft_task *t)
{
    if (t->rc < 0)
        weft__task_set_retrieved(t);
    return t->rc;
}
static inline bool weft__task_counted(const struct weft_task *t)
{
    return t->kind != WEFT__KIND_CHILD;
}
/* One that weft_all_tasks shows and the metrics count. */
static inline bool weft__task_visible(const struct weft_task *t)
{
    return t->kind == WEFT__KIND_TASK || t->kind == WEFT__KIND_THREAD;
}

_Static_assert(WEFT_CHILD_KIND_ == WEFT__KIND_CHILD && WEFT_CHILD_NEW_ == WEFT__NEW &&
                   WEFT_CHILD_STARTED_ == WEFT__STARTED && offsetof(struct weft_task, kind) == 8 &&
                   offsetof(struct weft_task, rc) == 12 && offsetof(struct weft_task, word) == 16 &&
                   offsetof(struct weft_task, frame) == 24 && offsetof(struct weft_task, fiber) == 32 &&
                   offsetof(struct weft_task, below) == 40 && offsetof(struct weft_task, requests) == 48 &&
                   offsetof(struct weft_task, flags) == 52 && offsetof(struct weft_task, open) == 54 &&
                   offsetof(struct weft_task, parent) == 56,
               "what inline functions of the public headers rely on");
_Static_assert(offsetof(struct weft_task, side) == 64 && sizeof(weft_child) == 64, "a CHILD must fit a weft_child");
_Static_assert(sizeof(struct weft_task) == 128, "a task without a stack is two cache lines");
_Static_assert(offsetof(struct weft_task, inline_frame) % 16 == 0, "frames may hold anything");
_Static_assert(WEFT__ROOM_STEP % WEFT__FRAME_LINE == 0, "so are the larger ones whole lines");

/* Options may come from a program that was compiled against an older, shorter struct. */
#define WEFT__TASK_HAS(options, field)                                                                                 \
    ((options)->size >= offsetof(weft_task_options, field) + sizeof((options)->field))

/* The first three fields have been there from the beginning. */
static inline bool weft__task_options_valid(const weft_task_options *options)
{
    return WEFT__TASK_HAS(options, stack_size) && options->size <= sizeof *options &&
           options->stack_size <= WEFT_MAX_STACK;
}

struct weft__worker;
/* A new counted task with two references: the creator's handle and the runtime's. Not yet queued. NULL: memory, or options
 * that are not valid. */
struct weft_task *weft__task_create(struct weft_runtime *rt, enum weft__kind kind, const weft_frame *frame,
                                    const weft_task_options *options);
/* Make a NEW task ready: its runtime reference goes into a ready queue of the calling worker (or the injector). */
void weft__task_schedule(struct weft_task *t);
/* End a NEW task that is in no queue yet, unrun. */
void weft__task_refuse(struct weft_task *t, int rc);
/* Start a NEW task at once, on a fiber of its own, and come back here when it suspends first, or ends (fiber.c). */
void weft__task_start_eagerly(struct weft__fiber *f, struct weft_task *t);
/* End a task with an outcome: tells the waiters; gives the runtime's reference back when counted. A success with C pending
 * becomes -ECANCELED. For THREAD tasks `weft__task_finish_race` returns false when it has ended already (cancelled). */
void weft__task_finish(struct weft_task *t, int rc);
bool weft__task_finish_race(struct weft_task *t, int rc);

/* Set a pending FUTURE: false when it has ended, or is being cancelled (`cancelling` passes over that: for the canceller).
 * `value`: copied into its frame, unless NULL. Any thread. */
bool weft__future_finish(struct weft_task *f, int rc, const weft_frame *value, bool cancelling);
/* A plain future that has ended so. One handle; NULL: memory. Inside tasks and callbacks. */
struct weft_task *weft__future_ended(int rc);
/* A pending FUTURE with one reference. NULL: memory. */
struct weft_task *weft__future_create(struct weft_runtime *rt, const weft_frame *frame,
                                      const struct weft__future_kind *kind);

/* The number of its slab, and of the cache for that. */
static inline unsigned weft__task_size(const struct weft_task *t)
{
    return t->room != WEFT__ROOM_HEAP ? t->room : 0;
}
/* Frames are whole words. */
static inline void weft__frame_copy(weft_frame *to, const weft_frame *from, size_t size)
{
    if (weft__likely(size <= WEFT__INLINE_FRAME && size % 8 == 0)) {
        for (size_t i = 0; i < size; i += 8)
            memcpy((char *)to + i, (const char *)from + i, 8);
    } else {
        memcpy(to, from, size);
    }
}

/* Do both describe one type of frame? (A description that stands in a header exists once per source file.) */
bool weft__coro_is_like(const weft_coro *a, const weft_coro *b);
static inline bool weft__coro_is_same(const weft_coro *a, const weft_coro *b)
{
    return weft__likely(a == b) || weft__coro_is_like(a, b);
}

/* The task's extra, made if need be; NULL: memory. Any thread that holds the task. */
struct weft__task_extra *weft__task_extra(struct weft_task *t);
static inline struct weft__task_extra *weft__task_extra_of(uintptr_t side)
{
    return side & 1 ? (struct weft__task_extra *)(side - 1) : NULL;
}
static inline struct weft__task_extra *weft__task_has_extra(const struct weft_task *t)
{
    return weft__task_counted(t) ? weft__task_extra_of(weft__load_acquire(&((struct weft_task *)t)->side))
                                 : NULL; /* pairs: TASK-EXTRA */
}
/* The runtime of a counted task. Any thread that holds it. */
static inline struct weft_runtime *weft__task_rt(const struct weft_task *t)
{
    uintptr_t side = weft__load_acquire(&((struct weft_task *)t)->side); /* pairs: TASK-EXTRA */
    return weft__likely(!(side & 1)) ? (struct weft_runtime *)side : weft__task_extra_of(side)->rt;
}
/* The context of a counted task; NULL: empty. */
static inline struct weft_context *weft__task_context(const struct weft_task *t)
{
    struct weft__task_extra *x =
        weft__task_extra_of(weft__load_acquire(&((struct weft_task *)t)->side)); /* pairs: TASK-EXTRA */
    return weft__likely(x == NULL) ? NULL : weft__load_acquire(&x->context);     /* pairs: CONTEXT-PLACE */
}
static inline struct weft_strand *weft__task_strand(const struct weft_task *t)
{
    if (weft__likely(
            !(weft__load_relaxed(&((struct weft_task *)t)->flags) & WEFT__TASK_STRAND))) /* relaxed: set once */
        return NULL;
    return weft__task_has_extra(t)->strand;
}
static inline bool weft__task_pinned(const struct weft_task *t)
{
    return (weft__load_relaxed(&((struct weft_task *)t)->flags) & WEFT__TASK_PINNED) != 0; /* relaxed: set once */
}
/* A task was claimed with a cancellation pending: true if there is something to run in place of its body. */
static inline bool weft__task_owns(struct weft_task *t)
{
    if (weft__likely(t->frame->coro->unstarted == NULL))
        return false;
    weft__fetch_or_acq_rel(&t->flags, (uint16_t)WEFT__TASK_UNSTARTED); /* pairs: TASK-REFS */
    return true;
}
/* The message of an ended, cancelled task for one that awaits it. */
const char *weft__task_take_message(struct weft_task *t);
/* A task was claimed with a cancellation pending and will not run. */
static inline void weft__task_met_unstarted(struct weft_task *t)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    if (weft__unlikely(x != NULL))
        x->met = weft__load_acquire(&x->asked); /* pairs: TASK-C */
}
/* The running task has met a cancellation with this message. */
static inline void weft__task_met(struct weft_task *t, const char *message)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    if (weft__unlikely(x != NULL || message != NULL) && (x != NULL || (x = weft__task_extra(t)) != NULL))
        x->met = message;
}

/* False when the task is DONE (the waiter is not added, fire is not called). Any thread. */
bool weft__task_add_waiter(struct weft_task *t, struct weft__waiter *waiter);
/* True: taken out, fire will not be called. False: fire was called, or is being called now. Any thread. */
bool weft__task_remove_waiter(struct weft_task *t, struct weft__waiter *waiter);

/* ---- cancellation: a request spreads over tasks without recursion ---- */

struct weft__cancel_entry {
    struct weft_task *task; /* referenced, if counted */
    bool fresh;             /* not marked yet */
    struct weft__fiber
        *unlock; /* a CHILD: its parent, kept LOCKED so that the frame stays until the child has been told */
};
struct weft__cancel_list {
    const char *message; /* goes with every mark */
    uint32_t asked;      /* the requests of the task that was marked last, just before */
    size_t count, capacity;
    struct weft__cancel_entry *entries;
    struct weft__cancel_entry first[12];
};
void weft__cancel_list_init(struct weft__cancel_list *list);
/* Count a request on t and, unless it has ended, mark it and put it on the list: true. The mark takes effect when the list
 * is run. For use inside weft__wait_kind.cancel. */
bool weft__cancel_mark(struct weft_task *t, struct weft__cancel_list *list);
/* The same for one that is waited for: also true when the request is refused because somebody else is just ending it, cancelled. */
bool weft__cancel_pass(struct weft_task *t, struct weft__cancel_list *list);
/* Put t on the list (counted tasks only), to be marked when its turn comes; without memory: here and now. */
void weft__cancel_add(struct weft_task *t, struct weft__cancel_list *list);
/* Would weft__cancel_mark take a request now? For weft__future_kind.accept, which hands its depth on, one deeper. */
bool weft__cancel_accepted(struct weft_task *t, unsigned depth);
/* A CALLBACK returned an error. */
void weft__callback_failed(struct weft_task *t, int rc);
/* A cancel request for a CALLBACK: true when it has not begun, and now never will; then end it. */
bool weft__callback_mark(struct weft_task *t);
void weft__callback_end(struct weft_task *t);
/* An entry of a queue that nobody runs any more: end the CALLBACK, and give the entry's reference back. */
void weft__callback_drop(struct weft_task *t);
/* A CALLBACK that was armed is about to be freed. */
void weft__callback_free(struct weft_task *t);
/* When nothing runs any more: end a CALLBACK that still waits. */
void weft__callback_end_of_run(struct weft_task *call);
/* Deliver or pass on all marks, until the list is empty; frees it. What is woken by that becomes ready at the end only. */
void weft__cancel_run(struct weft__cancel_list *list);
/* As weft_uncancel: the count - 1; with the last one goes what is pending. */
unsigned weft__uncancel(struct weft_task *t);

/* The innermost task of a fiber, the counted one under it, and the runtime. */
struct weft_task *weft__fiber_task(struct weft__fiber *f);
struct weft_task *weft__fiber_counted_task(struct weft__fiber *f);

/* Wait for t on behalf of the calling fiber as weft_await does when it has to suspend. */
int weft__await_suspended(struct weft__fiber *f, struct weft_task *t);
/* The same as a wait of another kind, which says what a cancellation does, and with a deadline: WOKEN when t has ended; else CANCELLED or TIMED_OUT. */
enum weft__wake weft__await_as(struct weft__fiber *f, struct weft_task *t, const struct weft__wait_kind *kind,
                               void *object, weft_ns deadline);

#endif
