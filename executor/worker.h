/* SPDX-License-Identifier: Apache-2.0 */
/* executor/worker.h -- one worker: its queues, its caches, its counters. Grouped by who writes. */
#ifndef WEFT_EXECUTOR_WORKER_H
#define WEFT_EXECUTOR_WORKER_H

#include <pthread.h>

#include "executor/ahead.h"
#include "executor/burst.h"
#include "executor/delay.h"
#include "executor/deque.h"
#include "executor/fiber.h"
#include "executor/joins.h"
#include "executor/parker.h"
#include "executor/ready.h"
#include "executor/slab.h"
#include "executor/spare.h"
#include "executor/strangers.h"
#include "executor/topology.h"

/* Written by the worker's own thread, read by anyone. */
struct weft__counters {
    _Atomic(uint64_t) created, finished /* but for the inlined */, inlined, forks, idles, parks, injected;
    _Atomic(uint64_t) task_parks, task_unparks;
    _Atomic(uint64_t) batches, events, accepted, accept_pauses;
    /* by the distance of the other worker */
    _Atomic(uint64_t) steals[WEFT_DISTANCES], misses[WEFT_DISTANCES], raids[WEFT_DISTANCES], stolen[WEFT_DISTANCES],
        wakes[WEFT_DISTANCES];
};

enum { WEFT__SLOWLY_IN_TURN = 1, WEFT__SLOWLY_CHAIN = 2, WEFT__SLOWLY_DUE = 4, WEFT__SLOWLY_LONG = 8 };

/* Fibers that have no task, the warmest last (fiber_cache.c). */
#define WEFT__STACK_CACHE 64 /* that a worker keeps of each class before it gives some to the pool */
#define WEFT__STACK_AWAY 16  /* of other nodes' fibers before it sends them home */
struct weft__fiber_cache {
    _Atomic(uint32_t) count; /* one writer */
    uint32_t cold;           /* so many, from the first on, came from the pool and have not been run since */
    uint32_t low;            /* least count since the last trim: the part nobody needed */
    struct weft__fiber *fibers[WEFT__STACK_CACHE];
};
/* The runtime's, for what workers have too many of; under fiber_guard. */
struct weft__fiber_pool {
    _Atomic(uint32_t) count;
    uint32_t low;
    uint32_t trimmed;  /* so many, from the first on, have given their memory back */
    uint32_t made;     /* fibers of this class that there are */
    uint32_t capacity; /* at least `made`: so to give one back needs no memory */
    struct weft__fiber **fibers;
};

/* Between these two, in one thread, nothing that becomes ready can be run: it is kept, and becomes ready at the end. They may nest: the outermost
 * one decides. Nothing may suspend in between. Any thread. */
struct weft__hold {
    struct weft__worker *worker; /* NULL: a thread that is no worker */
    struct weft_runtime *rt;     /* of what is kept; another runtime's is not held back */
    bool outermost;
    struct weft__link *first, *last;
};

#define WEFT__SEEN 8 /* workers with closed work that one search looks at */

struct weft__seen { /* a worker that had closed work, as it was then */
    struct weft__worker *worker;
    uint64_t steps;
    int64_t tail, bottom;
    uint64_t forks;
    uint8_t distance;
};

struct weft__chain;
struct weft__pinned;

#define WEFT__WORKER_PAGE                                                                                              \
    4096 /* each worker lies in pages of its own, that are bound to its node (where pages are larger some share one) */

struct weft__worker {
    alignas(WEFT__WORKER_PAGE) struct weft__joins
        joins; /* forked children, youngest first for the owner, oldest for thieves. First: see weft/here.h */
    /* ---- the worker's own thread only ---- */
    struct weft__fiber *current; /* NULL in the idle loop; running.c looks at others' */
    struct weft_runtime *rt;
    unsigned index;
    uint32_t sole;                                /* WEFT__OF_SEVERAL or WEFT__IS_SOLE (sole.h) */
    void (*after)(struct weft__worker *, void *); /* to run on the context switched to */
    void *after_argument;
    struct weft__context context; /* the idle loop, on the thread's own stack */
    uint64_t picks, random, next_id, last_id;
    int64_t round_left;    /* order=fifo: entries left in this round */
    uintptr_t due;         /* order=fifo: a callback whose timer has fired: it runs in the timer's place */
    uint64_t round_timers; /* order=fifo: timers set before this count fire in this round; 0: they have */
    bool batching;
    struct weft__hold *hold; /* what becomes ready is held back here; NULL: it goes into the queue */
    struct weft__hold batch; /* of the running task's open batch; batch.c */
    uint64_t batches;        /* opened so far */
    bool in_turn;            /* the runtime's: close at hand */
    uint8_t slowly;          /* WEFT__SLOWLY_*: what to run next is not simply the oldest ready item */
    weft_ns due_before;      /* SLOWLY_DUE: timers up to here come before the queue */
    weft_ns looked_at; /* when it looked around last (0: it has had nothing to do since), and after how many picks */
    uint64_t looked;
    unsigned until_look,
        look_span; /* SLOWLY_LONG: steps are long, so a look is due after so many picks; left, and in all */
    /* SLOWLY_CHAIN: whose tasks are run now; only an address until its entry is seen at chain_place. A canceller reads both */
    _Atomic(struct weft__chain *) chain;
    struct weft_task *chain_task; /* of these, the one that runs */
    _Atomic(int64_t) chain_place;
    uint32_t chain_rounds; /* looks around in chains since the last that had to end one */
    uint32_t chain_vain,
        chain_skip; /* gather.c: chains in a row that ran nothing to its end, and how many to leave out now */
    uint32_t taken_vain,
        taken_skip;     /* taken.c: how vain looks at what a thief has begun were, and how many to leave out */
    uint16_t unusual;   /* of every fiber of this runtime */
    bool searching;     /* counted in idle.searching */
    bool stole;         /* since it last looked around */
    bool stole_child;   /* what it took last was a forked child */
    bool seen_fresh;    /* search.c: the note is new, and nobody has come back for it */
    uint32_t rescues;   /* search.c: idle.rescues, when it was last looked at */
    bool node_turn;     /* of its two places the node's was looked at first */
    bool pinned_turn;   /* the last pick that was told of something pinned took it */
    uint8_t near_first; /* passes in a row that went no farther than the node, where work lies closed */
    unsigned vain;      /* searches that found nothing, in a row */
    unsigned seen_count;
    weft_ns seen_at;
    struct weft__seen seen[WEFT__SEEN];
    struct weft__burst burst;
    struct weft__spare spare;
    uint32_t park_tickets; /* given to tasks that it parked */
    weft_ns last_trim;
    struct weft__pinned *own_place, *node_place; /* node_place NULL: its node is unknown */
    struct weft__slab_cache tasks[WEFT__ROOMS], blocks, large_blocks;
    uint32_t home; /* among the runtime's homes */
    pthread_t thread;
    _Atomic(int) tid; /* kernel's number of the thread, for the tick to ask about */
    struct weft_place place;
    int pin_error;
    /* ---- written by the worker, read by the reactor's tick ---- */
    alignas(WEFT__CACHELINE) _Atomic(uint64_t) steps; /* grows at each switch */
    _Atomic(const weft_coro *) running;               /* what runs in this step, NULL in the idle loop */
    struct weft__counters counters;
    /* ---- written by the worker, read by the root at the end ---- */
    struct weft__owner alone;                /* with a task, which it changes without a locked instruction: alone.c */
    _Atomic(uint32_t) alone_inside_gave_way; /* the same of ready.inside */
    _Atomic(uint32_t) callbacks; /* that it runs. CALLBACKS: raised, then `refused` is looked at; refused, then this */
    /* ---- written by others ---- */
    alignas(WEFT__CACHELINE) _Atomic(uint32_t) hurry; /* WEFT__HURRY_*: what to look at at the next pick (PINNED) */
    _Atomic(int) beside;        /* CPU of who woke it; -1: nobody did since it began to sleep (BESIDE) */
    _Atomic(bool) beside_forks; /* that was for forked children */
    _Atomic(uint64_t) wakes;    /* times woken (statistic) */
    /* The tick: the step that it saw last, and when first (of `steps`; STEP-SEEN: the time before the step) */
    _Atomic(int64_t) step_since;
    _Atomic(uint64_t) step_seen;
    /* ---- shared structures, each with its own rules ---- */
    struct weft__delay delay;
    struct weft__ready ready; /* fibers and unstarted tasks, first in first out */
    struct weft__inbox inbox;
    struct weft__parker parker;
    struct weft__timers timers;
    /* ---- the worker's own thread only; last because it is long ---- */
    struct weft__fiber_cache stacks[WEFT__STACK_CLASSES];
    /* of other homes, on their way there; freed so far, for each home (NULL where there is one) */
    _Atomic(uint32_t) away_count;
    struct weft__fiber *away[WEFT__STACK_AWAY];
    _Atomic(uint64_t) *stacks_away;
};

/* Ready items are tagged words: a fiber to resume, or a task (also a child) to start; or one that was parked, to be called again: that one has
 * waited, as a fiber has, and is nobody else's. */
#define WEFT__ITEM_FIBER ((uintptr_t)1)
#define WEFT__ITEM_PARKED ((uintptr_t)2)
#define WEFT__ITEM_WAITED (WEFT__ITEM_FIBER | WEFT__ITEM_PARKED)
static inline uintptr_t weft__item_of_fiber(struct weft__fiber *f)
{
    return (uintptr_t)f | WEFT__ITEM_FIBER;
}
static inline uintptr_t weft__item_of_task(struct weft_task *t)
{
    return (uintptr_t)t;
}
static inline uintptr_t weft__item_of_parked(struct weft_task *t)
{
    return (uintptr_t)t | WEFT__ITEM_PARKED;
}
/* Of an item that is no fiber. */
static inline struct weft_task *weft__item_task(uintptr_t item)
{
    return (struct weft_task *)(item & ~WEFT__ITEM_PARKED);
}
static inline uintptr_t weft__item_of_entry(struct weft__entry *entry)
{
    return (uintptr_t)entry;
}
uintptr_t weft__item_of_link(struct weft__link *link);
struct weft__link *weft__link_of_item(uintptr_t item);

/* The worker whose thread this is, NULL in other threads. Its result must not be remembered over a switch. */
extern struct weft__nowhere weft__nowhere; /* what weft_here_ gives where no worker is: sole.h */
_Static_assert(offsetof(struct weft_here_, bottom) == offsetof(struct weft__worker, joins.bottom) &&
                   offsetof(struct weft_here_, floor) == offsetof(struct weft__worker, joins.floor) &&
                   offsetof(struct weft_here_, limit) == offsetof(struct weft__worker, joins.limit) &&
                   offsetof(struct weft_here_, mask) == offsetof(struct weft__worker, joins.mask) &&
                   offsetof(struct weft_here_, slots) == offsetof(struct weft__worker, joins.slots) &&
                   offsetof(struct weft_here_, pushes) == offsetof(struct weft__worker, joins.pushes) &&
                   offsetof(struct weft_here_, fiber) == offsetof(struct weft__worker, current) &&
                   offsetof(struct weft__nowhere, rt) == offsetof(struct weft__worker, rt) &&
                   offsetof(struct weft__nowhere, sole) == offsetof(struct weft__worker, sole),
               "what inline functions of the public headers rely on");
static inline struct weft__worker *weft__worker_self(void)
{
    struct weft_here_ *here = weft_here_();
    return weft__likely(here != &weft__nowhere.here) ? (struct weft__worker *)(void *)here : NULL;
}
/* For who wants to know only whether it is a worker of rt: else its rt is another one or NULL, and nothing else of it may be touched. */
static inline struct weft__worker *weft__worker_maybe(void)
{
    return (struct weft__worker *)(void *)weft_here_();
}
/* Idle loop: run the item (0: only what was left to do) until the CPU comes back. */
void weft__worker_enter(struct weft__worker *w, uintptr_t item);
void weft__worker_set_self(struct weft__worker *w);

int weft__worker_init(struct weft__worker *w, struct weft_runtime *rt, unsigned index);
void weft__worker_destroy(struct weft__worker *w);
void *weft__worker_main(void *worker); /* thread function */

/* Make an item ready: at the end of the calling worker's queue if it belongs to rt, else in the injector; and see to it that
 * somebody runs it. Any thread. */
void weft__make_ready(struct weft_runtime *rt, uintptr_t item);
void weft__hold_begin(struct weft__hold *hold);
void weft__hold_end(struct weft__hold *hold);
/* The open batch of a fiber's task ends: it suspends, or has ended (batch.c). */
void weft__batch_close(struct weft__fiber *f);
/* A timer's callback: with order=fifo it runs where the timer stands in the round, else it is ready. Inside fire. */
void weft__make_due(struct weft_runtime *rt, uintptr_t item);
/* Who had the turn of the strand (NULL: nothing to do) leaves the CPU, or never runs: on to the next. Any thread. */
void weft__strand_pass(struct weft_runtime *rt, struct weft_strand *s);
/* Whoever picked an item: true when it is to be run (a fiber, or a task that is claimed by this call); false when it was nothing any more, or
 * an entry that has been run. */
bool weft__item_claim(uintptr_t item);
/* A callback that was claimed has run, or can't. */
void weft__callback_left(struct weft__worker *w);
/* Owner. The next local item that can be run: a fiber, or a task that this call has claimed. 0: nothing here. */
uintptr_t weft__worker_pick(struct weft__worker *w);
/* The same, quickly where the oldest ready item is a fiber and nothing unusual is about. */
#define WEFT__LOOK_AROUND 64 /* picks between two looks at timers, I/O and inboxes */
uintptr_t weft__worker_pick_on(struct weft__worker *w, uintptr_t item);
uintptr_t weft__worker_pick_open(struct weft__worker *w);
static inline uintptr_t weft__worker_pick_quick(struct weft__worker *w)
{
    if (weft__unlikely(w->slowly != 0 || ((w->picks + 1) & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0)) /* relaxed: a hint */
        return weft__worker_pick(w);
    w->picks++;
    struct weft__ready *r = &w->ready;
    if (weft__unlikely(weft__ready_open(r)))
        return weft__worker_pick_open(w);
    uintptr_t item = weft__ready_pop_quick(r);
    if (weft__unlikely(weft__ready_closed(r) > WEFT__AHEAD_NEAR))
        weft__look_ahead(r);
    if (weft__likely((item & WEFT__ITEM_WAITED) && !weft__ready_asked(r)))
        return item;
    return weft__worker_pick_on(w, item);
}
/* Owner, between two tasks of a fiber that goes on without a turn: timers, I/O, inboxes. False: a fiber is ready and has waited long. */
bool weft__worker_look_around(struct weft__worker *w);
/* Owner, inside a step: is the item the oldest of its queue? Entries that stand before it are run. */
bool weft__worker_is_next(struct weft__worker *w, uintptr_t item);
/* Owner, in the idle loop. An item from another worker; 0: none. */
uintptr_t weft__worker_steal(struct weft__worker *w);
/* Owner, in the idle loop, when that found nothing: look on for a while, and in the end take what a busy worker keeps closed. */
uintptr_t weft__worker_search(struct weft__worker *w);
/* Owner, about to sleep: when to come back for what was seen lying closed; WEFT_FOREVER: not by itself. */
weft_ns weft__worker_look_again(struct weft__worker *w);
/* Owner, in the idle loop: take of what the victim, so far away, keeps closed, of its ready items or of its children. 0: it does not stand still, or
 * nothing is left. */
uintptr_t weft__worker_raid(struct weft__worker *w, struct weft__worker *victim, unsigned far, bool ready, bool joins);
/* Owner: somebody has asked it to share its work. */
void weft__worker_share(struct weft__worker *w);
/* Does the inline fork come to the library every time: where forks are counted or drawn, or nobody could raid? */
bool weft__joins_watched(const struct weft__worker *w);
/* Owner: a child was pushed the slow way. */
void weft__joins_pushed(struct weft__worker *w);
/* Owner: make ready what is due. True if anything was. */
bool weft__worker_fire_timers(struct weft__worker *w);
/* Owner. Move what lies in its inbox to the ready queue; true if anything came. */
bool weft__worker_take_own_inbox(struct weft__worker *w);
/* Owner. Move what lies in the inbox or the injector to the ready queue; true if anything came. */
bool weft__worker_take_inboxes(struct weft__worker *w);
/* Owner: an item at the end of its queue. Where it lies there, -1: somewhere else. */
static inline int64_t weft__worker_push(struct weft__worker *w, uintptr_t item)
{
    int64_t place;
    if (weft__unlikely(!weft__ready_push(&w->ready, item, &place))) {
        weft__inbox_push(&w->inbox, weft__link_of_item(item)); /* no memory to grow: the list needs none */
        return -1;
    }
    /* A lone item is the worker's own next turn: waking somebody for it would cost more than running it. If the worker is
     * stuck in a long step, the reactor's tick finds it, and the next ones are shared at once (ready.c). */
    if (weft__unlikely(weft__ready_asked(&w->ready)))
        weft__worker_share(w);
    return place;
}
static inline void weft__worker_after(struct weft__worker *w)
{
    weft__ready_leave(&w->ready); /* who yields holds it until his context is saved */
    void (*after)(struct weft__worker *, void *) = w->after;
    if (after != NULL) {
        w->after = NULL;
        after(w, w->after_argument);
    }
}

#endif
