/* SPDX-License-Identifier: Apache-2.0 */
/* model_pinned.c -- executor/pinned.c and what idle.c does for it: what is pushed to a place is run once, by a member of the place, and never lies there
 * while those who may run it sleep, or run something else without end.
 *
 * The workers' loop is the one of worker.c (and, for who stands aside, of follow.c) in small; what pushes, takes, parks and wakes is the library's. The reactor
 * thread's tick is not there: what it is the remedy for, a node's worker that was told and is stuck in one step, does not happen here. */
#include "executor/pinned.h"
#include "executor/runtime.h"
#include "items.h"

#define MACHINE __attribute__((no_sanitize("thread")))

enum { WORKERS = 2, NODE = WORKERS /* the number of its place */ };

static struct weft_runtime rt;
static struct weft__worker workers[WORKERS];
static union {
    struct weft_plan plan;
    char room[sizeof(struct weft_plan) + WORKERS * sizeof(struct weft__plan_worker)];
} planned;
static uint8_t same[WORKERS];
static uint16_t victims[WORKERS] = {1, 0};
static unsigned total, may_run[ITEMS]; /* of each item: a bit for each worker */
static unsigned
    spawns; /* the first item makes two ready, as tasks do: one of the node, one of worker spawns - 1; 0: none */
static _Atomic(uint32_t) done;

MACHINE struct weft_here_ *weft_here_(void)
{
    unsigned self = explore_self();
    return self >= 1 && self <= rt.worker_count ? (struct weft_here_ *)(void *)&workers[self - 1] : &weft__nowhere.here;
}

/* Items of a model are neither tasks nor fibers. */
uintptr_t weft__item_of_link(struct weft__link *link)
{
    return (uintptr_t)weft__container_of(link, struct item, link) | 1;
}
struct weft__link *weft__link_of_item(uintptr_t item)
{
    return &((struct item *)(item & ~(uintptr_t)1))->link;
}

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

/* ---- the beginning ---- */

static void setup(unsigned items_wanted)
{
    items_reset();
    memset(&rt, 0, sizeof rt);
    memset(workers, 0, sizeof workers);
    memset(may_run, 0, sizeof may_run);
    total = items_wanted;
    spawns = 0;
    weft__store_relaxed(&done, 0);
    weft__store_relaxed(&rt.active, WORKERS);
    rt.worker_count = WORKERS;
    rt.workers = workers;
    planned.plan.workers = WORKERS;
    rt.plan = &planned.plan;
    weft__idle_init(&rt.idle);
    weft__inbox_init(&rt.injector);
    for (unsigned i = 0; i < WORKERS; i++)
        planned.plan.worker[i] = (struct weft__plan_worker){
            .victims = &victims[i], .distance = &same[i], .tier = &same[i], .near = 1, .node = 0};
    CHECK(weft__pinned_init(&rt) == 0);
    CHECK(rt.pinned.workers == WORKERS && rt.pinned.nodes == 1 && rt.pinned.place[NODE].members == WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].rt = &rt;
        workers[i].index = i;
        workers[i].own_place = &rt.pinned.place[i];
        workers[i].node_place = &rt.pinned.place[NODE];
        CHECK(weft__ready_init(&workers[i].ready, 4, -1) == 0 && weft__joins_init(&workers[i].joins, 2, -1) == 0);
        weft__inbox_init(&workers[i].inbox);
        weft__parker_init(&workers[i].parker);
        weft__store_relaxed(&workers[i].timers.earliest, WEFT_FOREVER);
    }
}
static void setup_two(void)
{
    setup(2);
}
static void set_aside(void)
{
    weft__store_relaxed(&rt.active, 1);
    weft__store_relaxed(&workers[1].hurry, WEFT__HURRY_ASIDE);
}
static void setup_aside(void)
{
    setup(2);
    set_aside();
}
/* The bit is from a push whose item is gone: taken with the one before, before it was told. */
static void setup_told(void)
{
    setup(1);
    weft__store_relaxed(&workers[0].hurry, WEFT__HURRY_PINNED);
}
static void setup_aside_none(void)
{
    setup(0);
    set_aside();
}

static void push(unsigned i, unsigned place)
{
    may_run[i] = place == NODE ? (1u << WORKERS) - 1 : 1u << place;
    weft__pinned_push(&rt, place, item_made(i));
}

/* ---- workers ---- */

static void run(struct weft__worker *w, uintptr_t word)
{
    unsigned i = item_taken(word);
    CHECK(may_run[i] >> w->index & 1);
    if (i == 0 && spawns != 0) {
        push(1, NODE);
        push(2, spawns - 1);
    }
    if (weft__fetch_add_seq_cst(&done, 1) + 1 == total) {
        weft__store_seq_cst(&rt.stopping, 1);
        weft__notify_all(&rt);
    }
}
/* One turn: of what is pinned every second one, as long as the worker was told that there is some. */
static uintptr_t pick(struct weft__worker *w)
{
    if (weft__load_relaxed(&w->hurry) & WEFT__HURRY_PINNED) {
        w->pinned_turn = !w->pinned_turn;
        if (w->pinned_turn)
            return weft__pinned_take(w);
    }
    return 0;
}
/* Has nothing else to do. */
static void works(void)
{
    struct weft__worker *w = &workers[explore_self() - 1];
    while (weft__load_relaxed(&rt.stopping) == 0) {
        uintptr_t word = pick(w);
        if (word == 0)
            word = weft__pinned_take(w);
        if (word == 0) {
            weft__park(w);
            continue;
        }
        weft__search_ended(w);
        run(w, word);
    }
}
/* Has always something else to do, so it only comes to what is pinned when it was told. */
static void is_busy(void)
{
    struct weft__worker *w = &workers[explore_self() - 1];
    while (weft__load_relaxed(&rt.stopping) == 0) {
        uintptr_t word = pick(w);
        if (word != 0)
            run(w, word);
        else
            weft__cpu_relax();
    }
}
/* As the loop of one that may have to stand aside: worker.c's and follow.c's. */
static void works_if_it_may(void)
{
    struct weft__worker *w = &workers[explore_self() - 1];
    while (weft__load_relaxed(&rt.stopping) == 0) {
        bool aside = weft__stands_aside(w);
        if (aside)
            weft__search_ended(w);
        uintptr_t word = weft__pinned_take(w);
        if (word != 0)
            run(w, word);
        else if (aside)
            weft__park_aside(w);
        else
            weft__park(w);
    }
}

/* Its picks give nothing any more when it has been told to stand aside. */
static void is_busy_until_told(void)
{
    struct weft__worker *w = &workers[explore_self() - 1];
    while (!(weft__load_relaxed(&w->hurry) & WEFT__HURRY_ASIDE)) {
        uintptr_t word = pick(w);
        if (word != 0)
            run(w, word);
        else
            weft__cpu_relax();
    }
    works_if_it_may();
}
/* Until it need not stand aside any more. */
static void comes_back(void)
{
    struct weft__worker *w = &workers[explore_self() - 1];
    while (weft__stands_aside(w))
        weft__park_aside(w);
}

/* ---- others ---- */

static void pushes_to_first(void)
{
    push(0, 0);
    push(1, 0);
}
static void pushes_to_second(void)
{
    push(0, 1);
    push(1, 1);
}
static void pushes_to_node(void)
{
    push(0, NODE);
    push(1, NODE);
}
static void pushes_first_of_two(void)
{
    push(0, 0);
}
static void pushes_second_of_two(void)
{
    push(1, 0);
}
static void gives_cpus_back(void) /* weft__follow_look in small */
{
    weft__store_seq_cst(&rt.active, WORKERS);
    weft__fetch_and_acq_rel(&workers[1].hurry, ~(uint32_t)WEFT__HURRY_ASIDE);
    (void)weft__idle_wake(&rt, 1);
}
static void takes_cpus_away(void)
{
    weft__store_seq_cst(&rt.active, 1);
    weft__fetch_or_acq_rel(&workers[1].hurry, (uint32_t)WEFT__HURRY_ASIDE);
    (void)weft__idle_wake(&rt, 1);
}
static void setup_spawns(void)
{
    setup(3);
    spawns = 1 + 1;
    push(0, 0);
}

static void setup_spawns_here(void)
{
    setup_spawns();
    spawns = 1 + 0;
}

static void finish(void)
{
    items_all_taken(total);
    CHECK(!weft__pinned_any(&rt));
    for (unsigned i = 0; i < WORKERS; i++) {
        weft__ready_destroy(&workers[i].ready);
        weft__joins_destroy(&workers[i].joins);
    }
    weft__pinned_destroy(&rt);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "pinned-sleeper",
         .setup = setup_two,
         .thread = {works, NULL, pushes_to_first},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "pinned-pushers",
         .setup = setup_two,
         .thread = {works, NULL, pushes_first_of_two, pushes_second_of_two},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "pinned-busy",
         .setup = setup_two,
         .thread = {is_busy, NULL, pushes_to_first},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "pinned-busy-told",
         .setup = setup_told,
         .thread = {is_busy, NULL, pushes_first_of_two},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "pinned-node",
         .setup = setup_two,
         .thread = {works, works, pushes_to_node},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "pinned-node-busy",
         .setup = setup_two,
         .thread = {is_busy, is_busy, pushes_to_node},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "pinned-node-both",
         .setup = setup_two,
         .thread = {is_busy, works, pushes_to_node},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "pinned-spawns",
         .setup = setup_spawns,
         .thread = {works, works},
         .finish = finish,
         .preemptions = 3,
         .stale = 1},
        {.name = "pinned-spawns-busy",
         .setup = setup_spawns,
         .thread = {works, is_busy},
         .finish = finish,
         .preemptions = 3,
         .stale = 1},
        {.name = "pinned-spawns-both-busy",
         .setup = setup_spawns_here,
         .thread = {is_busy, is_busy},
         .finish = finish,
         .preemptions = 3,
         .stale = 1},
        {.name = "pinned-aside",
         .setup = setup_aside,
         .thread = {NULL, works_if_it_may, pushes_to_second},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "pinned-aside-ends",
         .setup = setup_aside,
         .thread = {NULL, works_if_it_may, pushes_to_second, gives_cpus_back},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "pinned-aside-over",
         .setup = setup_aside_none,
         .thread = {NULL, comes_back, NULL, gives_cpus_back},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "pinned-aside-begins",
         .setup = setup_two,
         .thread = {NULL, works_if_it_may, pushes_to_second, takes_cpus_away},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "pinned-aside-busy",
         .setup = setup_two,
         .thread = {NULL, is_busy_until_told, pushes_to_second, takes_cpus_away},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
