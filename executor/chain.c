/* SPDX-License-Identifier: Apache-2.0 */
/* executor/chain.c -- a fiber that waits for several tasks which have not begun lets its worker run them first, one after the other.
 *
 * That is what the worker would do anyhow, a little later: they lie in its queue. But in a chain nobody waits for a task that ends before it
 * ever suspended: there is no waiter to put on and to tell, no count of those to come, and no reference to give back (it stays OWED, task.h),
 * so such a task costs no locked instruction. They run on one borrowed fiber, which goes from task to task as fibers do, not on the stack of
 * who waits: he must be able to go on while one of them runs or sleeps.
 *
 * The right to let the waiting fiber go on is an entry (task.h) behind the tasks in the worker's queue. As long as it lies there, the fiber
 * sleeps in its wait, with its stack and its handles; who takes it out wakes the fiber:
 *   the worker itself    when a task has suspended or failed, all are begun, or a cancellation was passed on. It goes on with the fiber at once.
 *   anybody else         who picks the entry, as it picks any: a thief, when the worker is in a long step. Then the fiber goes on there, and
 *                        waits for what has not ended in the usual way. The worker too, in its turn, if it had to forget the chain:
 *                        when it looked around, as ever after so many picks, and found a fiber that has waited for its turn.
 * Nothing else wakes it: a cancellation is passed on to the tasks that have not ended, as in every gather, and remembered.
 * The worker looks into the chain, which is the fiber's, only inside its queue and after it has seen the entry in its place there; what is
 * not there any more is forgotten.
 *
 * A task of the chain is begun PLAIN (alone.c) and ends alone; one that suspends is made an ordinary one before anybody else can run it.
 * A chain within a chain: the inner one takes the outer one's place, and puts it back if it has ended in the same breath. Else the outer
 * one's entry is what it always was: an item that somebody picks in its turn.
 *
 * CHAIN-REQUESTED: set by the canceller, who holds the fiber LOCKED, before he lets go; read when the fiber runs. (The worker's look is a hint.)
 *
 * Threads: the worker's own; the entry and the cancel hook any. */
#include "executor/chain.h"

#include "executor/task_hot.h"

static void entry_runs(struct weft__entry *entry)
{
    struct weft__chain *c = weft__container_of(entry, struct weft__chain, entry);
    weft__wake(c->fiber, c->ticket, WEFT__WOKEN);
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

void weft__chain_pass_on(weft_task *const tasks[], size_t n, struct weft__cancel_list *list)
{
    for (size_t i = 0; i < n; i++)
        if (tasks[i] != NULL && weft__cancel_accepted(tasks[i], 0))
            weft__cancel_add(tasks[i], list);
}

static bool chain_cancel(struct weft__fiber *f, void *object, struct weft__cancel_list *list)
{
    struct weft__chain *c = object;
    (void)f;
    bool over = weft__chain_is_over(c->tasks, c->n, c->until_failure);
    uint32_t before = weft__load_relaxed(&c->requested); /* relaxed: one canceller at a time */
    if (over)
        c->message = list->message;
    else
        weft__chain_pass_on(c->tasks, c->n, list);
    weft__store_release(&c->requested,
                        before | (over ? WEFT__CHAIN_OVER : WEFT__CHAIN_PASSED_ON)); /* pairs: CHAIN-REQUESTED */
    return true; /* the fiber goes on when the entry is taken */
}

static const struct weft__wait_kind chain_wait = {.name = "gather", .cancel = chain_cancel};

static inline uintptr_t item_of(const struct weft__worker *w)
{
    return weft__item_of_entry(&w->chain->entry); /* an address, not a look */
}

static inline __attribute__((always_inline)) bool may_begin(struct weft__worker *w, const struct weft_task *t)
{
    return t != NULL &&
           weft__load_relaxed(&((struct weft_task *)t)->fiber) == weft__task_home(w) && /* relaxed: own mark */
           weft__load_relaxed(&((struct weft_task *)t)->word) == WEFT__NEW;             /* relaxed: the claim decides */
}

/* Inside, the entry is there: the next task, claimed; NULL: none, or the chain is over. */
static inline __attribute__((always_inline)) struct weft_task *take_next(struct weft__worker *w, struct weft__chain *c)
{
    if (weft__unlikely(weft__load_relaxed(&c->requested) != 0)) /* relaxed: a hint */
        return NULL;
    while (c->next < c->n) {
        struct weft_task *t = c->tasks[c->next++];
        if (weft__unlikely(!may_begin(w, t)))
            continue;
        uintptr_t item = weft__item_of_task(t);
        int64_t place = weft__task_place(&w->ready, t);
        uint64_t word = WEFT__NEW;
        if (weft__unlikely(!weft__ready_at(&w->ready, item, place)))
            continue;                                                                         /* somebody else has it */
        if (weft__likely(weft__alone_inside(w) && weft__load_relaxed(&t->word) == WEFT__NEW)) /* relaxed: alone */
            weft__store_release(&t->word, WEFT__STARTED | WEFT__PLAIN);                       /* pairs: TASK-NEW */
        else if (!weft__cas_acq_rel(&t->word, &word, WEFT__STARTED | WEFT__PLAIN)) /* pairs: TASK-C, TASK-NEW */
            continue;                             /* cancelled, or waited for by others: it takes its turn */
        weft__ready_take_older(&w->ready, place); /* the entry is behind it */
        c->begun++;
        return t;
    }
    return NULL;
}

static inline void forget(struct weft__worker *w)
{
    w->chain = NULL;
    w->chain_task = NULL;
    w->slowly &= (uint8_t)~WEFT__SLOWLY_CHAIN;
}

/* It is over as far as this worker goes. The fiber, if it is to run at once. */
static WEFT__NOINLINE uintptr_t end_chain(struct weft__worker *w)
{
    struct weft__chain *c = w->chain;
    uintptr_t item = item_of(w);
    forget(w);
    if (!weft__ready_remove(&w->ready, item, w->chain_place))
        return 0; /* somebody else has it */
    struct weft__fiber *f = c->fiber;
    uint64_t word = weft__load_acquire(&f->word); /* pairs: FIBER-WORD */
    for (;;) {
        uint64_t state = word & WEFT__FIBER_STATE;
        bool here = state == WEFT__FIBER_PARKED && !(word & WEFT__FIBER_LOCKED);
        c->direct = here;
        /* Of this wait it is ARMED or PARKED: nobody but who has the entry wakes it. */
        uint64_t woken = (word & ~(uint64_t)WEFT__FIBER_STATE) | WEFT__FIBER_WOKEN | (uint64_t)WEFT__WOKEN << 8;
        if (weft__cas_acq_rel(&f->word, &word, woken)) /* pairs: FIBER-WORD */
            return here ? weft__item_of_fiber(f) : 0;
    }
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

static WEFT__NOINLINE uintptr_t go_on(struct weft__worker *w)
{
    struct weft_task *t = NULL;
    weft__ready_enter(&w->ready);
    if (weft__likely(weft__ready_at(&w->ready, item_of(w), w->chain_place)))
        t = take_next(w, w->chain);
    weft__ready_leave(&w->ready);
    w->chain_task = t;
    return t != NULL ? weft__item_of_task(t) : end_chain(w);
}

uintptr_t weft__chain_pick(struct weft__worker *w)
{
    struct weft_task *t = w->chain_task;
    if (weft__unlikely(t != NULL)) {
        if (weft__task_state(t) == WEFT__STARTED)
            make_ordinary(w, t);
        return end_chain(w); /* it has suspended; or there was no stack for it */
    }
    return go_on(w); /* the fiber has just left: the first one */
}

uintptr_t weft__chain_step(struct weft__worker *w, struct weft_task *t, int rc)
{
    struct weft__ready *r = &w->ready;
    uint64_t word = WEFT__STARTED | WEFT__PLAIN;
    struct weft_task *next = NULL;
    bool look = false, ended = false;
    if (weft__unlikely((++w->picks & (WEFT__LOOK_AROUND - 1)) == 0 ||
                       weft__load_relaxed(&w->hurry) != 0)) /* relaxed: a hint */
        look = true;
    w->chain_task = NULL;
    weft__ready_enter(r);
    if (weft__likely(rc >= 0 && weft__ready_at(r, item_of(w), w->chain_place))) {
        t->rc = rc; /* nobody looks at it before DONE */
        if (weft__likely(weft__alone_inside(w) && weft__load_relaxed(&t->word) == word)) { /* relaxed: alone */
            weft__store_release(&t->word, WEFT__DONE | WEFT__OWED);                        /* pairs: TASK-DONE */
            ended = true;
        } else {
            ended = weft__cas_acq_rel(&t->word, &word, WEFT__DONE | WEFT__OWED); /* pairs: TASK-DONE */
        }
        if (weft__likely(ended)) {
            w->chain->ended++;
            if (weft__likely(!look))
                next = take_next(w, w->chain);
        }
    }
    weft__ready_leave(r);
    if (weft__unlikely(!ended)) {
        weft__task_finish(t, rc); /* the fiber may be gone, and its handle: what there is to give back is given back */
        return end_chain(w);
    }
    weft__count(&w->counters.finished, 1);
    if (weft__unlikely(look)) {
        if (weft__worker_look_around(w))
            return go_on(w);
        forget(w); /* somebody else's turn: now the entry is an item among others */
        return 0;
    }
    if (weft__unlikely(weft__ready_asked(r)))
        weft__worker_share(w);
    w->chain_task = next;
    return next != NULL ? weft__item_of_task(next) : end_chain(w);
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

enum weft__wake weft__chain_run(struct weft__fiber *f, struct weft__chain *c, weft_task *const tasks[], size_t n,
                                bool until_failure)
{
    struct weft__worker *w = f->worker;
    size_t next = 0;
    while (next < n && !may_begin(w, tasks[next]))
        next++;
    if (next == n)
        return 0;
    *c = (struct weft__chain){.entry = {.kind = WEFT__KIND_ENTRY, .run = entry_runs},
                              .fiber = f,
                              .tasks = tasks,
                              .n = n,
                              .next = next,
                              .until_failure = until_failure};
    struct weft__chain *outer = w->chain;
    struct weft_task *outer_task = w->chain_task;
    int64_t outer_place = w->chain_place;
    c->ticket = weft__wait_begin(f, &chain_wait, c);
    if (!weft__ready_push(&w->ready, weft__item_of_entry(&c->entry), &w->chain_place)) {
        (void)weft__wait_abandon(f);
        forget(w); /* an outer one is out of place now */
        return 0;
    }
    w->chain = c;
    w->chain_task = NULL;
    w->slowly |= WEFT__SLOWLY_CHAIN;
    enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
    w = f->worker; /* another one, maybe; then the old one's chain is only an address that it does not find in its queue any more */
    if (w->chain == c)
        forget(w);
    if (outer != NULL && c->direct) {
        w->chain = outer;
        w->chain_task = outer_task;
        w->chain_place = outer_place;
        w->slowly |= WEFT__SLOWLY_CHAIN;
    }
    return how;
}
