/* SPDX-License-Identifier: Apache-2.0 */
/* executor/seeded.c -- sched=seeded: one thread does the work of all workers and draws each of their choices from a seed.
 *
 * What several workers leave to chance, and what is drawn for it here:
 *   which ready task or woken fiber runs next, and on which worker's turn      any one of the set of ready items
 *   when a due timer fires beside ready work, and which                         one candidate more in that draw, and a draw of its own
 *   whether a thief takes a forked child before its parent joins it             a draw at the fork
 *   whether an awaited, unstarted task is run by its awaiter or by another      a draw at the await
 *   whether another worker gets in between two calls of a running task          a draw at each public call (weft__preempt_point)
 * The clock is virtual. So a program without helper threads and descriptors runs the same way for the same seed, and
 * weft_schedule_hash, which every choice goes into, tells that it did. What helper threads and the kernel do is not drawn.
 *
 * Everything here belongs to the one worker; foreign threads reach it through the injector as ever. */
#include "executor/seeded.h"

#include <stdlib.h>

#include "executor/runtime.h"

#define PREEMPT_ONE_IN 4
#define DUE_TIMERS 4 /* of so many that are due the next one is drawn: workers fire theirs in no common order */

_Atomic(uint32_t) weft__watched_runtimes;

struct ready {
    uintptr_t item;
    uint64_t arrival;
};

struct weft__seeded {
    uint64_t random;
    _Atomic(uint64_t) hash; /* one writer; read by anybody */
    uint64_t arrivals;
    size_t count, capacity;
    struct ready *items; /* ready, in no order */
};

struct weft__seeded *weft__seeded_create(uint64_t seed)
{
    struct weft__seeded *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    /* Neighbouring seeds must not begin alike: splitmix64's finish. */
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    s->random = z != 0 ? z : 1;
    weft__store_relaxed(&s->hash, UINT64_C(0xcbf29ce484222325)); /* relaxed: nobody else knows it yet */
    weft__fetch_add_relaxed(&weft__watched_runtimes, 1);         /* relaxed: a switch, see weft__preempt_point */
    return s;
}

void weft__seeded_destroy(struct weft__seeded *s)
{
    if (s == NULL)
        return;
    weft__fetch_add_relaxed(&weft__watched_runtimes, (uint32_t)-1); /* relaxed: as above */
    free(s->items);
    free(s);
}

static void mix(struct weft__seeded *s, uint64_t value)
{
    uint64_t hash = (weft__load_relaxed(&s->hash) ^ value) * UINT64_C(0x100000001b3); /* relaxed: one writer */
    weft__store_relaxed(&s->hash, hash ^ hash >> 29);                                 /* relaxed: read at the end */
}

uint64_t weft__seeded_random(struct weft__seeded *s, uint64_t n)
{
    return (weft__random(&s->random) >> 16) % n;
}

uint64_t weft__seeded_draw(struct weft__seeded *s, enum weft__choice what, uint64_t n)
{
    uint64_t drawn = weft__seeded_choose(s, what, n);
    mix(s, drawn);
    return drawn;
}

uint64_t weft__seeded_hash(const struct weft__seeded *s)
{
    return weft__load_relaxed(&s->hash); /* relaxed: read at the end */
}

uintptr_t weft__seeded_take(struct weft__seeded *s)
{
    return s->count != 0 ? s->items[--s->count].item : 0;
}

bool weft__seeded_any(const struct weft__seeded *s)
{
    return s->count != 0;
}

static bool add(struct weft__seeded *s, uintptr_t item)
{
    if (s->count == s->capacity) {
        size_t capacity = s->capacity != 0 ? 2 * s->capacity : 256;
        struct ready *grown = realloc(s->items, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        s->items = grown;
        s->capacity = capacity;
    }
    s->items[s->count++] = (struct ready){item, s->arrivals++};
    return true;
}

/* Who it is, the same in each run. */
static uint64_t identity(uintptr_t item)
{
    struct weft_task *t;
    if (item & WEFT__ITEM_FIBER)
        t = weft__fiber_counted_task((struct weft__fiber *)(item & ~WEFT__ITEM_FIBER));
    else
        t = weft__item_task(item);
    return t != NULL && weft__task_counted(t) && t->kind != WEFT__KIND_ENTRY ? t->id + 3 : 2;
}

/* 0, or an item for which there is no room. */
static uintptr_t gather(struct weft__worker *w)
{
    weft__worker_take_inboxes(w);
    for (uintptr_t item; (item = weft__ready_pop(&w->ready)) != 0;)
        if (!add(w->rt->seeded, item))
            return item;
    return 0;
}

void weft__seeded_gather(struct weft__worker *w)
{
    uintptr_t item = gather(w);
    if (item != 0)
        weft__inbox_push(&w->inbox, weft__link_of_item(item));
}

size_t weft__seeded_count(const struct weft__seeded *s)
{
    return s->count;
}

uint64_t weft__seeded_arrival(const struct weft__seeded *s, size_t i)
{
    return s->items[i].arrival;
}

uint64_t weft__seeded_who(const struct weft__seeded *s, size_t i)
{
    return identity(s->items[i].item);
}

uint64_t weft__seeded_running(void)
{
    struct weft__fiber *f = weft__fiber_self();
    return f != NULL ? identity(weft__item_of_fiber(f)) : 0;
}

uintptr_t weft__seeded_pick(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    struct weft__seeded *s = rt->seeded;
    for (;;) {
        uintptr_t item = gather(w);
        if (item != 0)
            return item;
        /* Before, between and after runs nothing is drawn: when other threads begin and end them is not told by the seed. */
        if (weft__unlikely(weft__load_seq_cst(&rt->begun) != WEFT__MAIN_QUEUED)) /* pairs: BEGUN */
            return 0;
        bool timers = weft__timers_earliest(&w->timers) <= weft__runtime_now(rt);
        bool joins = weft__joins_size(&w->joins) != 0;
        uint64_t choices = s->count + timers + joins;
        if (choices == 0)
            return 0;
        uint64_t drawn = weft__seeded_draw(s, WEFT__CHOOSE_NEXT, choices);
        if (drawn < s->count) {
            item = s->items[drawn].item;
            s->items[drawn] = s->items[--s->count];
            mix(s, identity(item));
            return item;
        }
        if (timers && drawn == s->count) {
            mix(s, (uint64_t)weft__runtime_now(rt));
            weft__timers_fire_nth(&w->timers, weft__runtime_now(rt),
                                  (unsigned)weft__seeded_draw(s, WEFT__CHOOSE_TIMER, DUE_TIMERS));
            continue;
        }
        return weft__seeded_draw(s, WEFT__CHOOSE_CHILD, 2) != 0 ? weft__joins_pop_oldest(&w->joins)
                                                                : weft__joins_pop(&w->joins, 0);
    }
}

void weft__preempt(void)
{
    struct weft__fiber *f = weft__fiber_self();
    if (f == NULL || f->rt->seeded == NULL || f->worker->hold != NULL ||
        weft__seeded_draw(f->rt->seeded, WEFT__CHOOSE_PREEMPT, PREEMPT_ONE_IN) != 0)
        return;
    weft__fiber_step_aside(f);
}

uint64_t weft_schedule_hash(const weft_runtime *rt)
{
    return rt->seeded != NULL ? weft__seeded_hash(rt->seeded) : 0;
}
