/* SPDX-License-Identifier: Apache-2.0 */
/* executor/chain.c -- a fiber that waits for several tasks which have not begun lets its worker run them first, one after the other.
 *
 * That is what the worker would do anyhow, a little later: they lie in its queue. But in a chain nobody waits for a task that ends before it
 * ever suspended: there is no waiter to put on and to tell, no count of those to come, and no reference to give back (it stays OWED, task.h),
 * so such a task costs no locked instruction. They run on one borrowed fiber, not on the stack of who waits: he must be able to go on while one
 * of them runs or sleeps.
 *
 * Who waits is not parked, and nobody wakes him: he has given way, as in a yield (lend.c). The right to let him go on is an entry (task.h)
 * behind the tasks in the worker's queue, where no thief can have it before his context is saved. As long as it lies there, the fiber
 * sleeps, with its stack and its handles; who takes it out lets the fiber go on:
 *   the worker itself    when a task has suspended or failed, all are begun, or a request came. It goes on with the fiber at once.
 *   anybody else         who picks the entry, as it picks any: a thief, when the worker is in a long step. Then the fiber goes on there, and
 *                        waits for what has not ended in the usual way. The worker too, in its turn, if it had to forget the chain:
 *                        when it looked around, as ever after so many picks, and found a fiber that has waited for its turn.
 *   a canceller          who passes the request on to the tasks that have not ended, as in every gather; what he did is noted in the chain.
 *                        He finds it by chain_at, the worker that the fiber last began a chain on, and takes the entry out as its owner, or by
 *                        a raid (ready.c). If he comes too late, or in the instant in which the chain begins, the fiber meets the REQUEST
 *                        itself, when it goes on; the worker looks for it between two tasks.
 * The worker looks into the chain, which is the fiber's, only inside its queue and after it has seen the entry in its place there; what is
 * not there any more is forgotten. So does a canceller.
 *
 * A task of the chain is begun PLAIN (alone.c) and ends alone; one that suspends is made an ordinary one before anybody else can run it.
 * A chain within a chain: the inner one takes the outer one's place, and puts it back if it has ended in the same breath. Else the outer
 * one's entry is what it always was: an item that somebody picks in its turn.
 *
 * Threads: the worker's own; the entry and chain_take any. */
#include "executor/chain.h"

#include "executor/fiber_run.h"
#include "executor/task_hot.h"

#define RAIDS 3 /* that a canceller tries */
/* Chains pass over what is older in the queue, and over forked children: after so many looks around (each after 64 tasks) the chain gives way to it. */
#define ROUNDS 64

static void entry_runs(struct weft__entry *entry)
{
    struct weft__chain *c = weft__container_of(entry, struct weft__chain, entry);
    weft__make_ready(c->fiber->rt, weft__item_of_fiber(c->fiber));
}

bool weft__chain_is_over(weft_task *const tasks[], size_t n, bool until_failure)
{
    bool all = true;
    for (size_t i = 0; i < n; i++) {
        bool ended = tasks[i] == NULL || weft__task_state(tasks[i]) == WEFT__DONE;
        if (ended && until_failure && (tasks[i] == NULL || weft__task_rc(tasks[i]) < 0))
            return true;
        all = all && ended;
    }
    return all;
}

bool weft__chain_pass_on(weft_task *const tasks[], size_t n, struct weft__cancel_list *list)
{
    bool passed_on = false;
    for (size_t i = 0; i < n; i++) {
        if (tasks[i] == NULL || !weft__cancel_accepted(tasks[i], 0))
            continue;
        weft__cancel_add(tasks[i], list);
        passed_on = true;
    }
    return passed_on;
}

/* By who has taken the entry, or by the fiber itself. */
static bool chain_cancel(struct weft__fiber *f, void *object, struct weft__cancel_list *list)
{
    struct weft__chain *c = object;
    (void)f;
    if (weft__chain_is_over(c->tasks, c->n, c->until_failure)) {
        c->message = list->message;
        c->requested |= WEFT__CHAIN_OVER;
    } else {
        (void)weft__chain_pass_on(c->tasks, c->n, list);
        c->requested |= WEFT__CHAIN_PASSED_ON;
    }
    return true;
}

const struct weft__wait_kind weft__chain_wait = {.name = "gather", .cancel = chain_cancel};

static inline struct weft__chain *chain_of(const struct weft__worker *w)
{
    return weft__load_relaxed(&((struct weft__worker *)w)->chain); /* relaxed: own, or an address to look for */
}

static inline void set_chain(struct weft__worker *w, struct weft__chain *c, int64_t place)
{
    weft__store_relaxed(&w->chain, c);           /* relaxed: as above */
    weft__store_relaxed(&w->chain_place, place); /* relaxed: as above */
}

/* Inside: is the entry of this chain, which is only an address, in its place? */
static inline bool is_there(const struct weft__ready *r, struct weft__chain *c, int64_t place)
{
    return weft__ready_at(r, weft__item_of_entry(&c->entry), place);
}

static inline bool own_is_there(const struct weft__worker *w)
{
    return is_there(&w->ready, chain_of(w),
                    weft__load_relaxed(&((struct weft__worker *)w)->chain_place)); /* relaxed: own */
}

/* Inside, the entry is there: the next task, claimed; NULL: none, or the chain is over. `alone`: no stranger is at work. */
static inline __attribute__((always_inline)) struct weft_task *take_next(struct weft__worker *w, struct weft__chain *c,
                                                                         bool alone)
{
    struct weft__ready *r = &w->ready;
    if (weft__unlikely(weft__load_acquire(&c->fiber->word) & WEFT__FIBER_REQUEST)) /* pairs: FIBER-WORD */
        return NULL;
    size_t n = c->n;
    for (size_t i = c->next; i < n;) {
        struct weft_task *t = c->tasks[i++];
        if (weft__unlikely(!weft__chain_may_begin(w, t)))
            continue;
        uintptr_t item = weft__item_of_task(t);
        int64_t place = weft__load_relaxed(&r->head);                                 /* relaxed: inside */
        if (weft__unlikely(weft__load_relaxed(&r->slots[place & r->mask]) != item)) { /* relaxed: inside */
            if (alone && weft__deque_pop_oldest_if(&r->shared, item)) {     /* opened, and nobody came for it */
                weft__store_release(&t->word, WEFT__STARTED | WEFT__PLAIN); /* pairs: TASK-NEW */
                c->next = i;
                return t;
            }
            place = weft__task_place(r, t);
            if (!weft__ready_at(r, item, place))
                continue; /* somebody else has it */
        }
        uint64_t word = WEFT__NEW;
        if (weft__likely(alone))
            weft__store_release(&t->word, WEFT__STARTED | WEFT__PLAIN);            /* pairs: TASK-NEW */
        else if (!weft__cas_acq_rel(&t->word, &word, WEFT__STARTED | WEFT__PLAIN)) /* pairs: TASK-C, TASK-NEW */
            continue;                     /* cancelled, or waited for by others: it takes its turn */
        weft__ready_take_older(r, place); /* the entry is behind it */
        c->next = i;
        return t;
    }
    c->next = n;
    return NULL;
}

static inline void forget(struct weft__worker *w)
{
    set_chain(w, NULL, 0);
    w->chain_task = NULL;
    w->slowly &= (uint8_t)~WEFT__SLOWLY_CHAIN;
}

/* It is over as far as this worker goes. The fiber, if it is to run at once. */
static WEFT__NOINLINE uintptr_t end_chain(struct weft__worker *w)
{
    struct weft__chain *c = chain_of(w);
    int64_t place = weft__load_relaxed(&w->chain_place); /* relaxed: own */
    forget(w);
    if (!weft__ready_remove(&w->ready, weft__item_of_entry(&c->entry), place))
        return 0; /* somebody else has it */
    c->direct = true;
    return weft__item_of_fiber(c->fiber);
}

/* The chain's task leaves its fiber's worker before it has ended: from now on others may run it, and it is one like others. */
static void make_ordinary(struct weft__worker *w, struct weft_task *t)
{
    bool alone = weft__alone_begin(w);
    if (weft__likely(alone)) {
        if (weft__likely(weft__load_relaxed(&t->word) == (WEFT__STARTED | WEFT__PLAIN))) /* relaxed: alone */
            weft__store_release(&t->word, WEFT__STARTED);                                /* pairs: TASK-C */
        weft__alone_end(w);
        return; /* else there is more in the word, and it does not end alone anyhow */
    }
    weft__fetch_and_acq_rel(&t->word, ~WEFT__PLAIN); /* pairs: TASK-C */
}

uintptr_t weft__chain_pick(struct weft__worker *w)
{
    struct weft_task *t = w->chain_task;
    if (t != NULL && weft__task_state(t) == WEFT__STARTED)
        make_ordinary(w, t);
    return end_chain(w); /* it has suspended */
}

/* Somebody else may have wanted a turn meanwhile: true if the chain goes on, with *next. */
static WEFT__NOINLINE bool look_around(struct weft__worker *w, struct weft_task **next)
{
    bool left = weft__worker_look_around(w);
    if (++w->chain_rounds >= ROUNDS) {
        w->chain_rounds = 0;
        left = false;
        weft__fetch_or_acq_rel(&w->hurry,
                               (uint32_t)WEFT__HURRY_TICK); /* pairs: PINNED; so the next pick takes a forked child */
    }
    if (!left) {
        forget(w); /* now the entry is an item among others */
        return false;
    }
    weft__ready_enter(&w->ready);
    if (weft__likely(own_is_there(w)))
        *next = take_next(w, chain_of(w), weft__alone_inside(w));
    weft__ready_leave(&w->ready);
    return true;
}

/* The chain's task t has returned rc without having suspended, and all is not as usual: end it. The next one; NULL: the chain is over, and *item runs
 * next. */
static WEFT__NOINLINE struct weft_task *step_unusual(struct weft__worker *w, struct weft_task *t, int rc,
                                                     uintptr_t *item)
{
    struct weft__ready *r = &w->ready;
    struct weft_task *next = NULL;
    bool ended = false,
         look = (w->picks & (WEFT__LOOK_AROUND - 1)) == 0 || weft__load_relaxed(&w->hurry) != 0; /* relaxed: a hint */
    weft__ready_enter(r);
    if (rc >= 0 && own_is_there(w)) {
        struct weft__chain *c = chain_of(w);
        uint64_t word = WEFT__STARTED | WEFT__PLAIN;
        t->rc = rc;                                                          /* nobody looks at it before DONE */
        ended = weft__cas_acq_rel(&t->word, &word, WEFT__DONE | WEFT__OWED); /* pairs: TASK-DONE */
        c->ended += ended;
        if (ended && !look)
            next = take_next(w, c, weft__alone_inside(w));
    }
    weft__ready_leave(r);
    *item = 0;
    w->chain_task = NULL;
    if (!ended) {
        weft__task_finish(t, rc); /* the fiber may be gone, and its handle: what there is to give back is given back */
    } else {
        weft__count(&w->counters.finished, 1);
        if (look && !look_around(w, &next))
            return NULL;
        if (weft__ready_asked(r))
            weft__worker_share(w);
    }
    w->chain_task = next;
    if (next == NULL)
        *item = end_chain(w);
    return next;
}

/* The same; by plain stores where it has ended well, nothing else is due, and nobody has to do with it. */
static inline __attribute__((always_inline)) struct weft_task *step(struct weft__worker *w, struct weft_task *t, int rc,
                                                                    uintptr_t *item)
{
    struct weft__ready *r = &w->ready;
    if (weft__unlikely((++w->picks & (WEFT__LOOK_AROUND - 1)) == 0 || rc < 0 ||
                       weft__load_relaxed(&w->hurry) != 0)) /* relaxed: a hint */
        return step_unusual(w, t, rc, item);
    struct weft__chain *c = chain_of(w);
    weft__ready_enter(r);
    if (weft__unlikely(!own_is_there(w) || !weft__alone_inside(w) ||
                       weft__load_relaxed(&t->word) != (WEFT__STARTED | WEFT__PLAIN))) { /* relaxed: alone */
        weft__ready_leave(r);
        return step_unusual(w, t, rc, item);
    }
    t->rc = rc;                                             /* nobody looks at it before DONE */
    weft__store_release(&t->word, WEFT__DONE | WEFT__OWED); /* pairs: TASK-DONE */
    weft__count(&w->counters.finished, 1);
    c->ended++;
    struct weft_task *next = take_next(w, c, true);
    if (weft__unlikely(next == NULL)) {
        c->direct =
            weft__ready_take(r, weft__item_of_entry(&c->entry), weft__load_relaxed(&w->chain_place)); /* relaxed: own */
        weft__ready_leave(r);
        forget(w);
        *item = weft__item_of_fiber(c->fiber);
        return NULL;
    }
    weft__ready_leave(r);
    w->chain_task = next;
    if (weft__unlikely(weft__ready_asked(r)))
        weft__worker_share(w);
    return next;
}

struct weft_task *weft__chain_work(struct weft__fiber *f, int *rc, uintptr_t *item)
{
    struct weft__worker *w = f->worker;
    struct weft_task *t = w->chain_task;
    do {
        f->budget = WEFT__FIBER_BUDGET;
        f->inlined = f->inlined_rounds = 0;
        weft__count(&w->steps, 1);
        int outcome = weft__fiber_run_outermost(f, w, t);
        w = f->worker; /* another one, maybe: that has another task in its chain, or none */
        if (weft__unlikely(w->chain_task != t || outcome == WEFT_PARK)) {
            *rc = outcome;
            return t;
        }
        if (weft__unlikely(f->unusual != 0))
            weft__fiber_end_unusual(f, t, outcome);
        t = step(w, t, outcome, item);
    } while (t != NULL);
    return NULL;
}

bool weft__chain_parks(struct weft__worker *w, struct weft_task *t)
{
    if (weft__likely(t != w->chain_task))
        return false;
    make_ordinary(w, t);
    w->chain_task = NULL;
    return true;
}

uintptr_t weft__chain_parked(struct weft__worker *w)
{
    return end_chain(w);
}

/* Inside w's queue: take the entry of the chain that f sleeps in out of there. */
static bool take_entry(struct weft__worker *w, const struct weft__fiber *f)
{
    int64_t place = weft__load_relaxed(&w->chain_place); /* relaxed: a place to look at */
    struct weft__chain *c = chain_of(w);
    while (c != NULL && is_there(&w->ready, c, place)) {
        if (c->fiber == f)
            return weft__ready_take(&w->ready, weft__item_of_entry(&c->entry), place);
        place = c->outer_place;
        c = c->outer;
    }
    return false;
}

bool weft__chain_take(struct weft__fiber *f)
{
    struct weft__worker *w = weft__load_acquire(&f->chain_at);  /* pairs: CHAIN-AT */
    if (weft__load_relaxed(&f->wait_kind) != &weft__chain_wait) /* relaxed: a hint; see the head */
        return false;
    if (w == weft__worker_self()) {
        weft__ready_enter(&w->ready);
        bool taken = take_entry(w, f);
        weft__ready_leave(&w->ready);
        return taken;
    }
    for (int i = 0; i < RAIDS; i++) {
        if (weft__ready_raid_begin(&w->ready)) {
            bool taken = take_entry(w, f);
            weft__ready_raid_end(&w->ready);
            return taken;
        }
        weft__cpu_relax(); /* its owner is inside, but mostly not for long, or somebody else raids it */
    }
    return false;
}

/* Begun: inside, with the first task claimed and the entry in the queue; `place` is where. NULL: there is none. */
static struct weft_task *begin(struct weft__worker *w, struct weft__chain *c)
{
    struct weft__ready *r = &w->ready;
    int64_t place = weft__load_relaxed(&r->tail); /* relaxed: own */
    weft__ready_enter(r);
    weft__ready_append(r, weft__item_of_entry(&c->entry));
    struct weft_task *t = take_next(w, c, weft__alone_inside(w));
    if (weft__likely(t != NULL)) {
        set_chain(w, c, place);
        w->chain_task = t;
        w->slowly |= WEFT__SLOWLY_CHAIN;
        return t;
    }
    (void)weft__ready_take_newest(r, weft__item_of_entry(&c->entry));
    weft__ready_leave(r);
    return NULL;
}

enum weft__wake weft__chain_run(struct weft__fiber *f, struct weft__chain *c, weft_task *const tasks[], size_t n,
                                bool until_failure)
{
    struct weft__worker *w = f->worker;
    size_t next = 0;
    while (next < n && !weft__chain_may_begin(w, tasks[next]))
        next++;
    if (next == n || weft__unlikely(!weft__ready_reserve(&w->ready)))
        return 0;
    struct weft__fiber *lent = weft__fiber_get_quick(w, w->rt->stack_class);
    if (weft__unlikely(lent == NULL))
        return 0;
    c->entry.link.next =
        NULL; /* one by one: compilers make an initializer a loop that takes longer than all the rest */
    c->entry.kind = WEFT__KIND_ENTRY;
    c->entry.run = entry_runs;
    c->fiber = f;
    c->tasks = tasks;
    c->n = n;
    c->next = next;
    c->ended = 0;
    c->until_failure = until_failure;
    c->direct = false;
    c->requested = 0;
    c->message = NULL;
    c->outer = chain_of(w);
    c->outer_place = weft__load_relaxed(&w->chain_place); /* relaxed: own */
    struct weft_task *outer_task = w->chain_task;
    weft__store_relaxed(&f->wait_kind, &weft__chain_wait); /* relaxed: a hint for cancellers and dumps */
    f->wait_object = c;
    weft__store_release(&f->chain_at, w); /* pairs: CHAIN-AT */
    struct weft_task *t = begin(w, c);
    if (weft__likely(t != NULL))
        weft__fiber_lend(f, lent);
    else
        weft__fiber_put(w, lent);
    weft__store_relaxed(&f->wait_kind, NULL); /* relaxed: as above */
    f->wait_object = NULL;
    if (weft__unlikely(t == NULL))
        return 0;
    w = f->worker; /* another one, maybe; then the old one's chain is only an address that it does not find in its queue any more */
    if (chain_of(w) == c)
        forget(w);
    if (c->outer != NULL && c->direct) {
        set_chain(w, c->outer, c->outer_place);
        w->chain_task = outer_task;
        w->slowly |= WEFT__SLOWLY_CHAIN;
    }
    bool requested = (weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) != 0; /* pairs: FIBER-WORD */
    return weft__unlikely(requested) && weft__take_request(f) ? WEFT__CANCELLED : WEFT__WOKEN;
}
