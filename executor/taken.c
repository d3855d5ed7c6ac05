/* SPDX-License-Identifier: Apache-2.0 */
/* executor/taken.c -- what is waited for, and lies open to thieves or was taken by one.
 *
 * Who awaits what he has created runs it himself, as a call, unless a thief has it. Thieves take the oldest, which are mostly those that are awaited next.
 * To suspend for one of them costs more than two switches: the awaiter goes on behind all that is ready, be it a million tasks that he would have run
 * as calls, and each of which takes a step of its own now. So:
 * - What lies open and was not taken yet is taken back, as the oldest of the open part.
 * - What a thief has and has not begun is claimed where it lies (await.c): the entry that the thief has is nothing any more.
 * - What a thief has begun is looked at for a moment: about as long as a thief takes to begin a task that does nothing, and the lines of it to go there and
 *   back. If it ends meanwhile, nothing has been waited for.
 *
 * Looks in vain cost the worker that time. It keeps account of them (taken_vain), and leaves out so many of those to come (taken_skip):
 *
 *   | a look    | taken_vain                                              | taken_skip                      |
 *   | in vain   | + IN_VAIN, to VAIN_MOST                                 | 0 up to VAIN_FREE; from there on |
 *   | not so    | - 1, by half if it was above 2 * VAIN_FREE              | 2^((vain - free) / IN_VAIN) - 1 |
 *   | left out  | as it is                                                | - 1                             |
 *
 * So it goes on while three of four are not in vain. Those of tasks that have suspended and are ready again, here or elsewhere, are: that cannot be told
 * from outside. A look is no suspension: who looks counts it as a task that he has run himself (fiber.inlined), so it is somebody else's turn as soon.
 *
 * Threads: the running task's. */
#include "executor/taken.h"

#include "executor/look.h"
#include "executor/task_hot.h"

#define PAUSES 64      /* some 2 us */
#define PAUSES_APART 8 /* between two looks, at most: each takes the line from who is to write there */

enum { IN_VAIN = 3, VAIN_FREE = 4 * IN_VAIN, VAIN_MOST = VAIN_FREE + 12 * IN_VAIN };

static bool ends(const struct weft_task *t)
{
    unsigned left = PAUSES;
    for (unsigned pauses = 1; left != 0; pauses = 2 * pauses < PAUSES_APART ? 2 * pauses : PAUSES_APART) {
        if (weft__task_state(t) == WEFT__DONE)
            return true;
        pauses = pauses < left ? pauses : left;
        left -= pauses;
        for (unsigned i = 0; i < pauses; i++)
            weft__cpu_relax();
    }
    return weft__task_state(t) == WEFT__DONE;
}

/* Is any other worker awake? One that has just taken t may still be counted as one that looks for work. */
static bool is_alone(struct weft_runtime *rt)
{
    return weft__load_relaxed(&rt->idle.parked) + 1 >= rt->worker_count; /* relaxed: a hint */
}

/* Does it sleep, as far as can be seen? Then it does not end in a moment. */
static bool sleeps(struct weft_task *t)
{
    if (weft__load_acquire(&t->parked) & 1) /* pairs: TASK-PARKED */
        return true;
    struct weft__fiber *on = weft__task_fiber(t); /* NULL: it is about to begin */
    return on != NULL &&
           (weft__load_acquire(&on->word) & WEFT__FIBER_STATE) == WEFT__FIBER_PARKED; /* pairs: FIBER-WORD */
}

static void keep_account(struct weft__worker *w, bool in_vain)
{
    uint32_t vain = w->taken_vain;
    if (in_vain)
        vain = vain < VAIN_MOST ? vain + IN_VAIN : vain;
    else
        vain -= vain > 2 * VAIN_FREE ? vain / 2 : vain != 0;
    w->taken_vain = vain;
    w->taken_skip = vain > VAIN_FREE ? (1U << (vain - VAIN_FREE) / IN_VAIN) - 1 : 0;
}

bool weft__taken_ends(struct weft__fiber *f, struct weft_task *t)
{
    struct weft__worker *w = f->worker;
    uint64_t state = weft__task_state(t);
    if (state != WEFT__STARTED || t->kind != WEFT__KIND_TASK || weft__task_rt(t) != f->rt || !weft__may_look(f))
        return state == WEFT__DONE;
    if (f->inlined >= WEFT__INLINE_LIMIT || is_alone(f->rt) || sleeps(t))
        return false;
    if (w->taken_skip != 0) {
        w->taken_skip--;
        return false;
    }
    f->inlined++;
    bool ended = ends(t);
    keep_account(w, !ended);
    return ended;
}

bool weft__taken_back(struct weft__worker *w, struct weft_task *t)
{
    struct weft__ready *ready = &w->ready;
    if (!weft__ready_open(ready) || weft__load_relaxed(&t->fiber) != weft__task_home(w)) /* relaxed: its own mark */
        return false;
    weft__ready_enter(ready);
    bool claimed = weft__alone_inside(w) && weft__load_relaxed(&t->word) == WEFT__NEW && /* relaxed: alone */
                   weft__deque_pop_oldest_if(&ready->shared, weft__item_of_task(t));
    if (weft__likely(claimed))
        weft__store_release(&t->word, WEFT__STARTED | WEFT__PLAIN); /* pairs: TASK-NEW */
    weft__ready_leave(ready);
    return claimed;
}

bool weft__taken_entry(struct weft__worker *w, const struct weft_task *t)
{
    struct weft__ready *ready = &w->ready;
    uintptr_t item = weft__item_of_task((struct weft_task *)t);
    return weft__ready_remove_newest(ready, item) || weft__ready_remove(ready, item, weft__task_place(ready, t)) ||
           weft__deque_pop_oldest_if(&ready->shared, item) || weft__deque_pop_newest_if(&ready->shared, item);
}
