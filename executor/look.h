/* SPDX-License-Identifier: Apache-2.0 */
/* executor/look.h -- looking for a while at what a task waits for, before it is suspended.
 *
 * What another worker is about to do is had sooner by looking again than by waiting: a suspension and a wake cost more than
 * such a moment, and a woken task lies in its waker's queue, so two tasks that could go on beside each other end up on one
 * worker. Whether looking pays is learned for each object: a number, its patience, says for how long to look.
 *
 * | patience          | a look is                       | success         | failure                  |
 * | most .. -8        | usual * 2^patience, 2^2 at most | + 1, up to most | - GIVE_UP, not below MIN |
 * | MIN and below     | not made: counted               |                 | - 1; PROBE in all: PROBE_FOR |
 *
 * So it goes on only while three of four looks succeed, and one in about a hundred waits is a probe else. `most` is the object's: where looks are
 * short, failures in a row (the other worker has lost its CPU for a moment) are soon made good, and to give up costs more.
 *
 * A task that looks is not suspended, so whoever else could run on its worker would wait with it: there must be nobody, and looking ends
 * when somebody comes, when the task is cancelled, and after some microseconds (a due timer waits that long). Successful
 * looks count as turns of the worker: timers, I/O and inboxes have theirs every WEFT__LOOK_AROUND of them, and the tick sees that
 * the worker is not stuck. The tick's wish to look around is fulfilled on the spot, and looking goes on if nothing came of that: to suspend for it
 * would bring two tasks that work beside each other onto one worker a hundred times a second.
 *
 * Threads: the running task's. No guard may be held while looking. */
#ifndef WEFT_EXECUTOR_LOOK_H
#define WEFT_EXECUTOR_LOOK_H

#include "executor/runtime.h"

enum {
    WEFT__PATIENCE_MIN = -9,
    WEFT__PATIENCE_MAX = 2,
    WEFT__PATIENCE_PROBE_FOR = -3,
    WEFT__PATIENCE_GIVE_UP = 3,
    WEFT__PATIENCE_PROBE = 100,
};

/* For how many pauses (some 20 to 40 ns each) to look; `usual`: at patience 0. */
static inline unsigned weft__look_length(int32_t patience, unsigned usual)
{
    if (patience >= 0)
        return usual << (patience < WEFT__PATIENCE_MAX ? patience : WEFT__PATIENCE_MAX);
    return patience > WEFT__PATIENCE_MIN ? usual >> -patience : 0;
}

static inline int32_t weft__look_learn(int32_t patience, bool success, int32_t most)
{
    if (success)
        return patience < most ? patience + 1 : most;
    if (patience <= WEFT__PATIENCE_MIN)
        return patience > WEFT__PATIENCE_MIN - WEFT__PATIENCE_PROBE ? patience - 1 : WEFT__PATIENCE_PROBE_FOR;
    return patience - WEFT__PATIENCE_GIVE_UP > WEFT__PATIENCE_MIN ? patience - WEFT__PATIENCE_GIVE_UP
                                                                  : WEFT__PATIENCE_MIN;
}

/* Does another worker run a task, as far as can be seen? Where there is one worker, never. */
static inline bool weft__others_work(struct weft_runtime *rt)
{
    return weft__load_relaxed(&rt->idle.parked) + weft__load_relaxed(&rt->idle.lookers) + 1 < /* relaxed: hints */
           rt->worker_count;
}

/* Is looking allowed to this task at all? */
static inline bool weft__may_look(const struct weft__fiber *f)
{
    return !f->rt->in_turn && !f->rt->is_virtual &&
           (f->unusual & ~(uint32_t)(WEFT__FIBER_SCOPE | WEFT__FIBER_APART)) == 0;
}

/* May the task stay on its worker? False: there is something else to run there. */
bool weft__look_begin(struct weft__fiber *f);
/* It is not to look on as it is: may it when that has been seen to? */
WEFT__COLD bool weft__look_again(struct weft__fiber *f);
/* May it still? */
static inline bool weft__look_on(const struct weft__fiber *f)
{
    const struct weft__worker *w = f->worker;
    return !(weft__load_acquire(&f->word) & WEFT__FIBER_REQUEST) &&          /* pairs: FIBER-WORD */
           weft__load_relaxed(&w->hurry) == 0 && weft__others_work(f->rt) && /* relaxed: a hint */
           weft__inbox_empty(&w->inbox) && weft__inbox_empty(&f->rt->injector);
}

enum weft__looked { WEFT__LOOK_FOUND, WEFT__LOOK_VAIN, WEFT__LOOK_LEFT /* for another reason: nothing is learned */ };

/* Look until there(object), for at most so many pauses. `there` runs without the object's guard: what it says is a hint. Each look takes the line
 * from whoever is at work on it; pause_max: at most so many pauses between two. */
static inline __attribute__((always_inline)) enum weft__looked weft__look(struct weft__fiber *f, unsigned length,
                                                                          unsigned pause_max,
                                                                          bool (*there)(const void *object),
                                                                          const void *object)
{
    if (!weft__look_begin(f))
        return WEFT__LOOK_LEFT;
    for (unsigned pauses = 1; length != 0; pauses = 2 * pauses < pause_max ? 2 * pauses : pause_max) {
        if (there(object))
            return WEFT__LOOK_FOUND;
        if (weft__unlikely(!weft__look_on(f)) && !weft__look_again(f))
            return WEFT__LOOK_LEFT;
        pauses = pauses < length ? pauses : length;
        length -= pauses;
        for (unsigned i = 0; i < pauses; i++)
            weft__cpu_relax();
    }
    return there(object) ? WEFT__LOOK_FOUND : WEFT__LOOK_VAIN;
}

#endif
