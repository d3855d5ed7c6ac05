/* SPDX-License-Identifier: Apache-2.0 */
/* model_park.c -- executor/idle.c: workers that park, threads that submit and notify, the collector token, events. No item is left lying while everybody sleeps.
 *
 * The workers' loop is the one of worker.c in small; what parks, wakes and collects is the library's. The reactor thread's ticks are not there: what
 * they are the remedy for does not happen here (a lone item of a worker that is stuck; a plain push that its sleeper looked for too early). */
#include "executor/pinned.h"
#include "executor/runtime.h"
#include "items.h"

#define MACHINE __attribute__((no_sanitize("thread")))

enum { WORKERS = 2 };

static struct weft_runtime rt;
static struct weft__worker workers[WORKERS];
static union {
    struct weft_plan plan;
    char room[sizeof(struct weft_plan) + WORKERS * sizeof(struct weft__plan_worker)];
} planned;
static uint8_t same[WORKERS]; /* no distance between them */
static struct weft__pinned places[WORKERS];
static uint16_t victims[WORKERS] = {1, 0};
static unsigned total; /* items in this model */
static _Atomic(uint32_t) done;

/* ---- the kernel's side: an epoll instance with one kind of event, and a kick ---- */

static struct {
    unsigned events, delivered;
    bool kicked;
    struct explore_sync sync;
} kernel;

MACHINE static bool has_event(void *unused)
{
    (void)unused;
    return kernel.events != 0 || kernel.kicked;
}
MACHINE static unsigned take_events(weft_ns timeout)
{
    if (timeout != 0)
        explore_block(has_event, NULL);
    explore_arrive(&kernel.sync);
    unsigned n = kernel.events;
    kernel.events = 0;
    kernel.kicked = false;
    return n;
}
MACHINE static void put_event(bool kick)
{
    explore_leave(&kernel.sync);
    if (kick)
        kernel.kicked = true;
    else
        kernel.events++;
}

MACHINE struct weft_here_ *weft_here_(void)
{
    unsigned self = explore_self();
    return self >= 1 && self <= rt.worker_count ? (struct weft_here_ *)(void *)&workers[self - 1] : &weft__nowhere.here;
}

/* An event makes an item ready, in the queue of whoever collects. */
static unsigned collect(struct weft_runtime *runtime, weft_ns timeout)
{
    unsigned n = take_events(timeout);
    (void)runtime;
    for (unsigned i = 0; i < n; i++) {
        struct weft__worker *w = &workers[explore_self() - 1];
        (void)weft__worker_push(w, item_made(total - 1 - kernel.delivered++));
    }
    return n;
}
static void kick(struct weft_runtime *runtime)
{
    (void)runtime;
    put_event(true);
}
static bool waiting(struct weft_runtime *runtime)
{
    (void)runtime;
    return true;
}
static const struct weft__driver driver = {.collect = collect, .kick = kick, .waiting = waiting};

weft_ns weft__monotonic(void)
{
    return 0;
}
weft_ns weft__worker_look_again(struct weft__worker *w)
{
    (void)w;
    return WEFT_FOREVER;
}
void weft__fiber_cache_trim(struct weft__worker *w, weft_ns now)
{
    (void)w;
    (void)now;
}

/* ---- the threads ---- */

static void setup(unsigned count, unsigned items_wanted, bool io)
{
    items_reset();
    memset(&rt, 0, sizeof rt);
    memset(workers, 0, sizeof workers);
    memset(&kernel, 0, sizeof kernel);
    total = items_wanted;
    weft__store_relaxed(&done, 0);
    rt.worker_count = count;
    rt.workers = workers;
    planned.plan.workers = WORKERS;
    rt.plan = &planned.plan;
    rt.driver = io ? &driver : NULL;
    weft__idle_init(&rt.idle);
    weft__inbox_init(&rt.injector);
    for (unsigned i = 0; i < count; i++) {
        workers[i].rt = &rt;
        workers[i].index = i;
        memset(&places[i], 0, sizeof places[i]);
        workers[i].own_place = &places[i];
        planned.plan.worker[i] =
            (struct weft__plan_worker){.victims = &victims[i], .distance = &same[i], .tier = &same[i], .near = 1};
        CHECK(weft__ready_init(&workers[i].ready, 4, -1) == 0 && weft__joins_init(&workers[i].joins, 2, -1) == 0);
        weft__inbox_init(&workers[i].inbox);
        weft__parker_init(&workers[i].parker);
        weft__store_relaxed(&workers[i].timers.earliest, WEFT_FOREVER);
    }
}
static void setup_one(void)
{
    setup(1, 2, false);
}
static void setup_two(void)
{
    setup(2, 2, false);
}
static void setup_events(void)
{
    setup(1, 2, true);
}
static void setup_kick(void)
{
    setup(1, 1, true);
}
static void setup_two_events(void)
{
    setup(2, 2, true);
}
static void setup_spawn(void)
{
    setup(2, 3, false);
}

/* What one worker takes: its own, the injector's, what lies open with the other. */
static uintptr_t take(struct weft__worker *w)
{
    uintptr_t word = weft__ready_pop(&w->ready);
    if (word != 0)
        return word;
    struct weft__link *link = weft__inbox_claim(&rt.injector);
    for (struct weft__link *next; link != NULL; link = next) {
        next = link->next;
        (void)weft__worker_push(w, (uintptr_t)weft__container_of(link, struct item, link));
    }
    word = weft__ready_pop(&w->ready);
    if (word == 0 && rt.worker_count > 1) {
        struct weft__worker *v = &workers[1 - w->index];
        if (weft__deque_steal(&v->ready.shared, &word) != WEFT__STEAL_GOT)
            word = 0;
    }
    return word;
}
/* Until all has been done; then it is at rest, as asleep. */
static void work(unsigned spawns)
{
    struct weft__worker *w = &workers[explore_self() - 1];
    while (weft__load_relaxed(&rt.stopping) == 0) {
        uintptr_t word = take(w);
        if (word == 0) {
            weft__park(w);
            continue;
        }
        weft__search_ended(w);
        unsigned i = item_taken(word);
        if (i == 0)
            for (unsigned k = 1; k <= spawns; k++)
                (void)weft__worker_push(w, item_made(k));
        if (weft__fetch_add_seq_cst(&done, 1) + 1 == total) {
            weft__store_seq_cst(&rt.stopping, 1);
            weft__notify_all(&rt);
        }
    }
}
static void works(void)
{
    work(0);
}
static void works_and_spawns(void)
{
    work(2);
}
static void submit(unsigned i)
{
    (void)item_made(i);
    weft__inbox_push(&rt.injector, &items[i].link);
    weft__notify(&rt, NULL);
}
static void submits_first(void)
{
    submit(0);
}
static void submits_second(void)
{
    submit(1);
}
static void submits_both(void)
{
    submit(0);
    submit(1);
}
static void event_comes(void)
{
    put_event(false);
}

/* ---- standing aside: the worker is not wanted at first; it runs what is pinned to it, and comes back when it is wanted ---- */

static void setup_aside_for_good(void)
{
    setup(1, 1, false);
    rt.pinned.workers = 1;
    rt.pinned.place = places;
    static uint16_t member;
    places[0].member = &member;
    places[0].members = 1;
    weft__store_relaxed(&rt.active, 0);
    weft__store_relaxed(&workers[0].hurry, (uint32_t)WEFT__HURRY_ASIDE);
}
static void setup_aside(void)
{
    setup_aside_for_good();
    total = 2;
    (void)item_made(1);
    weft__inbox_push(&rt.injector, &items[1].link); /* others' work: it has to come back for it */
}
static void works_aside(void)
{
    struct weft__worker *w = &workers[explore_self() - 1];
    while (weft__load_relaxed(&rt.stopping) == 0) {
        bool aside = weft__stands_aside(w);
        uintptr_t word = weft__pinned_take(w);
        if (word == 0 && aside) {
            weft__park_aside(w);
            continue;
        }
        if (word == 0 && (word = take(w)) == 0) {
            weft__park(w);
            continue;
        }
        weft__search_ended(w);
        (void)item_taken((word & ~(uintptr_t)7) | 1);
        if (weft__fetch_add_seq_cst(&done, 1) + 1 == total) {
            weft__store_seq_cst(&rt.stopping, 1);
            weft__notify_all(&rt);
        }
    }
}
static void pins(void)
{
    weft__pinned_push(&rt, 0, item_made(0));
}
static void calls_back(void) /* weft__follow_look */
{
    weft__store_seq_cst(&rt.active, 1);
    weft__fetch_and_acq_rel(&workers[0].hurry, ~(uint32_t)WEFT__HURRY_ASIDE);
    (void)weft__idle_wake(&rt, 0);
}

static void finish(void)
{
    items_all_taken(total);
    for (unsigned i = 0; i < rt.worker_count; i++) {
        weft__ready_destroy(&workers[i].ready);
        weft__joins_destroy(&workers[i].joins);
    }
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "park-submit",
         .setup = setup_one,
         .thread = {works, submits_both},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "park-submitters",
         .setup = setup_one,
         .thread = {works, submits_first, submits_second},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "park-two",
         .setup = setup_two,
         .thread = {works, works, submits_both},
         .finish = finish,
         .preemptions = 2,
         .stale = 0},
        {.name = "park-kick",
         .setup = setup_kick,
         .thread = {works, submits_first},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "park-event",
         .setup = setup_events,
         .thread = {works, submits_first, event_comes},
         .finish = finish,
         .preemptions = 3,
         .stale = 1},
        {.name = "park-two-events",
         .setup = setup_two_events,
         .thread = {works, works, submits_first, event_comes},
         .finish = finish,
         .preemptions = 1,
         .stale = 1},
        {.name = "park-aside",
         .setup = setup_aside,
         .thread = {works_aside, pins, calls_back},
         .finish = finish,
         .preemptions = 2,
         .stale = 2},
        {.name = "park-aside-pinned",
         .setup = setup_aside_for_good,
         .thread = {works_aside, pins},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "park-spawn",
         .setup = setup_spawn,
         .thread = {works_and_spawns, works_and_spawns, submits_first},
         .finish = finish,
         .preemptions = 2,
         .stale = 0},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
