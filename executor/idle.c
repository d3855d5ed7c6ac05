/* SPDX-License-Identifier: Apache-2.0 */
/* executor/idle.c -- parking and waking workers, and the collector token.
 *
 * The two sides of "no wake is lost" (label PARK), each with a total order between its two accesses (seq_cst):
 *     submit:  1 push (seq_cst)                               park:  1 bit set, parked + 1 (seq_cst)
 *              2 read parked; if > 0 take a bit and wake              2 ask every worker (hunger, limit); look at every queue
 * Either the submitter sees the sleeper, or the sleeper sees the item. A worker that pushes to its own queue does so by plain stores,
 * and reads parked only when it has been asked and has two items: its processor may hold the store back while the sleeper looks.
 * So the sleeper waits a moment between asking and looking; should that ever be too short, the next push of that worker sees the
 * question, or the reactor's tick (10 ms) finds the items. A single item in a worker's own queue is no reason to
 * wake or to stay awake: its worker runs it at its next turn, and if that worker is stuck the reactor's tick wakes somebody.
 * Where I/O is waited for, the same holds for all closed work: its owner answers at its next push or pick, and if it stands still the sleeper comes
 * back by itself (search.c), or the tick wakes it. And for the ready queue of one whom the sleeper spares (spare.c): it is not asked, nobody stays
 * awake for it, and the sleeper comes back by itself when the time is over.
 *
 * One thread at a time is the collector and may call driver->collect. Who parks and finds the token free becomes the leader
 * and sleeps in collect instead of on its own event count, so that an event wakes the one who will run it. Waking a leader
 * (label LEADER):
 *     waker:  1 take its bit (seq_cst), post its event count   leader: 1 token = me (seq_cst)
 *             2 read the token; if it is that worker: kick             2 own bit taken? do not sleep
 * Either the leader sees the bit gone, or the waker sees it in the token and kicks it out of collect.
 *
 * What the reactor thread promises is in tick.c. It sleeps without ticks only when all workers are parked and one of them
 * leads (label ASLEEP): it sets asleep, then looks again; who leaves park looks at asleep and wakes it. "All are parked" is read
 * from the bits: the count is lowered a step later, by the waker, when the worker may have looked at asleep already.
 * The virtual clock is moved by who sets the last bit (clock.c): whatever clears one makes its worker park, and so ask, anew.
 *
 * All of this is modelled in docs/models/park.pml, with what happens when one step is left out.
 *
 * BESIDE: the kernel often wakes a thread on the CPU of who wakes it, and there in its place, even beside an idle CPU (of a guest, that is: it takes a
 * CPU that the host has put to sleep for a busy one). So the waker leaves the number of its CPU.
 * - Forked children the waker has at hand, and it goes on only when the woken one has run its part, and has searched in vain. So who was woken for
 *   them and finds itself there lets the waker go on first, unless anything else may be its to do; while it looks for work there it gives the CPU
 *   away at each look (search.c). It is not counted as searching meanwhile.
 * - Who was woken for anything else takes it at once, since the waker may compute on; but then it does not look around there, where nothing can come
 *   while it does (search.c). The kernel would charge it for that time, and let the waker run on for up to two time slices (3 ms) at a later wake.
 *   For the same reason it does not yield: who does gives away its whole slice.
 *
 * At most one woken worker is searching (more only by a race, which is harmless): while one is, nobody wakes another; when it
 * finds work it wakes the next one if there is more.
 *
 * Threads: notify and try_collect any; park and search_ended the worker itself. */
#include <sched.h>

#include "executor/runtime.h"

#define SLICE WEFT_MS(5) /* longer than a thread is kept from its CPU by another one */

void weft__idle_init(struct weft__idle *idle)
{
    weft__store_relaxed(&idle->parked, 0);                       /* relaxed: before the threads start */
    weft__store_relaxed(&idle->searching, 0);                    /* relaxed: before the threads start */
    weft__store_relaxed(&idle->lookers, 0);                      /* relaxed: before the threads start */
    weft__store_relaxed(&idle->collector, WEFT__COLLECTOR_FREE); /* relaxed: before the threads start */
    weft__store_relaxed(&idle->asleep, 0);                       /* relaxed: before the threads start */
    weft__store_relaxed(&idle->last_collect, 0);                 /* relaxed: before the threads start */
    weft__store_relaxed(&idle->rescues, 0);                      /* relaxed: before the threads start */
    for (unsigned i = 0; i < 16; i++)
        weft__store_relaxed(&idle->bits[i], 0); /* relaxed: before the threads start */
    for (unsigned i = 0; i < 16; i++)
        weft__store_relaxed(&idle->aside[i], 0); /* relaxed: before the threads start */
    weft__parker_init(&idle->reactor);
}

/* Take the sleeper's bit: from then on its wake is the caller's to deliver. */
static bool take_bit(struct weft_runtime *rt, unsigned worker)
{
    uint64_t bit = UINT64_C(1) << (worker & 63);
    if (!(weft__fetch_and_seq_cst(&rt->idle.bits[worker >> 6], ~bit) & bit)) /* pairs: PARK */
        return false;
    weft__fetch_sub_seq_cst(&rt->idle.parked, 1); /* pairs: PARK */
    return true;
}

static bool sleeps(struct weft_runtime *rt, unsigned worker)
{
    return weft__load_seq_cst(&rt->idle.bits[worker >> 6]) >> (worker & 63) & 1; /* pairs: PARK */
}

static void wake(struct weft_runtime *rt, unsigned worker)
{
    struct weft__worker *w = &rt->workers[worker];
    weft__fetch_add_relaxed(&w->wakes, 1); /* relaxed: statistic */
    weft__parker_post(&w->parker);
    if (rt->driver != NULL && weft__load_seq_cst(&rt->idle.collector) == (int32_t)worker) /* pairs: LEADER */
        rt->driver->kick(rt);
}

/* Wake this worker as a searcher if it still sleeps. `forks`: for forked children. */
static bool wake_searcher(struct weft_runtime *rt, unsigned worker, bool forks)
{
    if (!sleeps(rt, worker))
        return false;
    /* First the bit, then the count: a searcher that is counted and does not exist would let a submitter leave its wake to
     * nobody. (The woken worker may take its count back before it is added: then it is below 0 for a moment.) */
    if (!take_bit(rt, worker))
        return false;
    weft__fetch_add_seq_cst(&rt->idle.searching, 1); /* pairs: PARK */
    struct weft__worker *w = &rt->workers[worker];
    weft__store_relaxed(&w->beside, sched_getcpu()); /* relaxed: hints, both; the wake makes them visible */
    weft__store_relaxed(&w->beside_forks, forks);    /* relaxed: as above */
    wake(rt, worker);
    return true;
}

bool weft__idle_wake(struct weft_runtime *rt, unsigned worker)
{
    if (wake_searcher(rt, worker, false))
        return true;
    uint64_t bit = UINT64_C(1) << (worker & 63);
    _Atomic(uint64_t) *bits = &rt->idle.aside[worker >> 6];
    if (!(weft__load_seq_cst(bits) & bit) || !(weft__fetch_and_seq_cst(bits, ~bit) & bit)) /* pairs: PINNED, ACTIVE */
        return false;
    wake(rt, worker);
    return true;
}

static void notify_from(struct weft_runtime *rt, struct weft__worker *w, bool forks)
{
    struct weft__idle *idle = &rt->idle;
    if (weft__load_seq_cst(&idle->parked) == 0 || weft__load_seq_cst(&idle->searching) > 0) /* pairs: PARK */
        return;
    /* The nearest sleeper; one that leads the collecting only if there is no other. */
    int32_t leader = weft__load_seq_cst(&idle->collector); /* pairs: LEADER */
    if (w != NULL) {
        const struct weft__plan_worker *plan = &rt->plan->worker[w->index];
        for (unsigned i = 0; i + 1 < rt->worker_count; i++) {
            if (plan->victims[i] != leader && wake_searcher(rt, plan->victims[i], forks)) {
                weft__count(&w->counters.wakes[plan->distance[i]], 1);
                return;
            }
        }
    } else {
        for (unsigned i = 0; i < (rt->worker_count + 63) / 64; i++) {
            uint64_t bits = weft__load_seq_cst(&idle->bits[i]); /* pairs: PARK */
            while (bits != 0) {
                unsigned worker = i * 64 + (unsigned)__builtin_ctzll(bits);
                bits &= bits - 1;
                if ((int32_t)worker != leader && wake_searcher(rt, worker, forks))
                    return;
            }
        }
    }
    if (leader >= 0 && (w == NULL || leader != (int32_t)w->index)) /* a leader that shares out its batch is awake */
        wake_searcher(rt, (unsigned)leader, forks);
}

void weft__notify(struct weft_runtime *rt, struct weft__worker *w)
{
    notify_from(rt, w, false);
}

void weft__notify_of_forks(struct weft__worker *w)
{
    notify_from(w->rt, w, true);
}

void weft__notify_all(struct weft_runtime *rt)
{
    for (unsigned i = 0; i < rt->worker_count; i++) {
        take_bit(rt, i);
        wake(rt, i);
    }
    weft__parker_post(&rt->idle.reactor);
    if (rt->driver != NULL)
        rt->driver->kick(rt);
}

/* For who is about to sleep. Where I/O is waited for, closed work is left to its owner, who has been asked: it sleeps as a leader. */
static int64_t closed_that_counts(struct weft_runtime *rt)
{
    return rt->driver != NULL && rt->driver->waiting(rt) ? INT64_MAX : 2;
}

void weft__search_ended(struct weft__worker *w)
{
    if (!w->searching)
        return;
    w->searching = false;
    weft__fetch_sub_seq_cst(&w->rt->idle.searching, 1); /* pairs: PARK */
    if (weft__load_seq_cst(&w->rt->idle.parked) != 0 &&
        weft__work_visible(w->rt, closed_that_counts(w->rt), NULL)) /* pairs: PARK */
        weft__notify(w->rt, w);
}

bool weft__work_visible(struct weft_runtime *rt, int64_t least, const struct weft__worker *w)
{
    const struct weft__worker *spared = w != NULL ? w->spare.spared : NULL;
    if (!weft__inbox_empty(&rt->injector))
        return true;
    for (unsigned i = 0; i < rt->worker_count; i++) {
        struct weft__worker *v = &rt->workers[i];
        if ((v != spared && (weft__deque_size(&v->ready.shared) != 0 || weft__ready_size(&v->ready) >= least)) ||
            weft__joins_open(&v->joins) != 0 || !weft__inbox_empty(&v->inbox) ||
            (weft__joins_size(&v->joins) >= least && !(least == 1 && weft__burst_fresh(&v->burst))))
            return true;
    }
    return false;
}

bool weft__all_parked(struct weft_runtime *rt)
{
    for (unsigned i = 0; i < rt->worker_count; i += 64) {
        unsigned n = rt->worker_count - i;
        uint64_t all = n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
        /* Who goes from the ones to the others is for a moment in none. */
        uint64_t aside = weft__load_seq_cst(&rt->idle.aside[i >> 6]);    /* pairs: ASLEEP */
        if ((weft__load_seq_cst(&rt->idle.bits[i >> 6]) | aside) != all) /* pairs: ASLEEP */
            return false;
    }
    return true;
}

/* ---- collecting -------------------------------------------------------------------------------------------------- */

static bool take_token(struct weft_runtime *rt, int32_t who)
{
    int32_t holder = WEFT__COLLECTOR_FREE;
    return weft__load_relaxed(&rt->idle.collector) == WEFT__COLLECTOR_FREE && /* relaxed: the CAS decides */
           weft__cas_seq_cst(&rt->idle.collector, &holder, who);              /* pairs: LEADER */
}

static void give_token(struct weft_runtime *rt)
{
    weft__store_seq_cst(&rt->idle.collector, WEFT__COLLECTOR_FREE); /* pairs: LEADER */
}

static unsigned collect(struct weft_runtime *rt, weft_ns timeout)
{
    unsigned woken = rt->driver->collect(rt, timeout);
    weft__store_relaxed(&rt->idle.last_collect, weft__monotonic()); /* relaxed: a hint */
    return woken;
}

bool weft__try_collect(struct weft_runtime *rt, int32_t who)
{
    if (rt->driver == NULL || !rt->driver->waiting(rt) || !take_token(rt, who))
        return false;
    unsigned woken = collect(rt, 0);
    give_token(rt);
    return woken != 0;
}

int weft__collect_arrived(struct weft_runtime *rt)
{
    while (!take_token(rt, WEFT__COLLECTOR_REACTOR)) {
        if (weft__load_seq_cst(&rt->idle.collector) >= 0) { /* pairs: LEADER */
            rt->driver->kick(rt);
            return -1;
        }
        sched_yield(); /* the reactor thread only looks, or it is free by now */
    }
    unsigned woken = collect(rt, 0);
    give_token(rt);
    return woken != 0;
}

/* ---- parking ----------------------------------------------------------------------------------------------------- */

static void wake_reactor(struct weft_runtime *rt)
{
    if (weft__load_seq_cst(&rt->idle.asleep) != 0 && /* pairs: ASLEEP */
        weft__exchange_seq_cst(&rt->idle.asleep, 0) != 0)
        weft__parker_post(&rt->idle.reactor);
}

/* Leave the sleepers. A waker that took the bit has counted this worker as searching; else it counts itself. */
static void unpark(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    if (take_bit(rt, w->index))
        weft__fetch_add_seq_cst(&rt->idle.searching, 1); /* pairs: PARK */
    w->searching = true;
    wake_reactor(rt);
}

bool weft__idle_beside(const struct weft__worker *w)
{
    int cpu = weft__load_relaxed(&w->beside); /* relaxed: a hint */
    return cpu >= 0 && sched_getcpu() == cpu;
}

bool weft__idle_beside_forks(const struct weft__worker *w)
{
    return weft__load_relaxed(&w->beside_forks) && weft__idle_beside(w); /* relaxed: a hint */
}

/* Woken for forked children: see BESIDE. */
static void give_way(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    if (!weft__idle_beside_forks(w) || (rt->driver != NULL && rt->driver->waiting(rt)) ||
        !weft__inbox_empty(&rt->injector) || !weft__inbox_empty(&w->inbox) || weft__pinned_waits(w) ||
        (!rt->is_virtual && weft__timers_earliest(&w->timers) < weft__monotonic() + SLICE))
        return;
    weft__fetch_sub_seq_cst(&rt->idle.searching, 1); /* pairs: PARK; meanwhile others may be woken */
    sched_yield();
    weft__fetch_add_seq_cst(&rt->idle.searching, 1); /* pairs: PARK */
}

/* Who has two items or more is to wake somebody from now on. Then wait the moment that a store takes: see PARK. */
static void ask_all(struct weft_runtime *rt, const struct weft__worker *w)
{
    for (unsigned i = 0; i < rt->worker_count; i++) {
        if (weft__likely(&rt->workers[i] != w->spare.spared))
            weft__ready_ask(&rt->workers[i].ready);
        weft__joins_ask(&rt->workers[i].joins, 1);
    }
    for (int i = 0; i < 4; i++)
        weft__cpu_relax();
}

void weft__park(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    struct weft__idle *idle = &rt->idle;
    if (w->searching) {
        w->searching = false;
        weft__fetch_sub_seq_cst(&idle->searching, 1); /* pairs: PARK */
    }
    weft__store_relaxed(&w->beside, -1); /* relaxed: who takes the bit comes after it */
    uint32_t ticket = weft__parker_ticket(&w->parker);
    weft__fetch_or_seq_cst(&idle->bits[w->index >> 6], UINT64_C(1) << (w->index & 63)); /* pairs: PARK */
    weft__fetch_add_seq_cst(&idle->parked, 1);                                          /* pairs: PARK */
    ask_all(rt, w);
    if (weft__load_seq_cst(&rt->stopping) != 0 || weft__work_visible(rt, closed_that_counts(rt), w) || /* pairs: PARK */
        weft__pinned_waits(w)) {
        unpark(w);
        return;
    }
    /* From the bits: the count may still hold a worker twice whose waker has not lowered it, and then nobody would ask. */
    if (rt->is_virtual && weft__all_parked(rt) && weft__virtual_advance(rt)) {
        unpark(w);
        return;
    }
    weft__count(&w->counters.parks, 1);
    weft_ns deadline = WEFT_FOREVER;
    if (!rt->is_virtual) {
        weft_ns again = weft__worker_look_again(w);
        deadline = weft__timers_earliest(&w->timers);
        deadline = again < deadline ? again : deadline;
    }
    weft_ns now = weft__monotonic();
    weft__fiber_cache_trim(w, now);
    if (rt->driver != NULL && take_token(rt, (int32_t)w->index)) {
        if (sleeps(rt, w->index)) { /* nobody has taken the wake */
            weft_ns timeout = WEFT_FOREVER;
            if (deadline != WEFT_FOREVER)
                timeout = deadline > now ? deadline - now : 0;
            collect(rt, timeout);
        }
        give_token(rt);
    } else {
        weft__parker_wait(&w->parker, ticket, deadline);
    }
    w->spare.spared = NULL;
    unpark(w);
    give_way(w);
}

void weft__park_aside(struct weft__worker *w)
{
    struct weft_runtime *rt = w->rt;
    _Atomic(uint64_t) *bits = &rt->idle.aside[w->index >> 6];
    uint64_t bit = UINT64_C(1) << (w->index & 63);
    uint32_t ticket = weft__parker_ticket(&w->parker);
    weft__fetch_or_seq_cst(bits, bit);                                      /* pairs: PINNED, ACTIVE */
    if (weft__load_seq_cst(&rt->stopping) == 0 && !weft__pinned_waits(w) && /* pairs: STOPPING */
        w->index >= weft__load_seq_cst(&rt->active))                        /* pairs: ACTIVE; in order with the bit */
        weft__parker_wait(&w->parker, ticket, weft__timers_earliest(&w->timers));
    weft__fetch_and_seq_cst(bits, ~bit); /* pairs: ASLEEP */
    wake_reactor(rt);
}
