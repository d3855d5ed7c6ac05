/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to bring work from one worker to another, for pairs of CPUs. Each pair has a runtime of two workers, bound to the two CPUs:
 *   wake      a task makes two tasks while the other worker sleeps; from then to the first step of one over there
 *   steal     the same while the other worker has just ended such a task and still looks for more
 *   hand-over a task on each, a queue between them: items a second one way, and the time of a round trip (needs tasks that stay where they are put)
 * The creating task computes on meanwhile, so that only the other worker can take what it made. Which case a sample belongs to is not assumed but read
 * from the runtime's account (was a worker woken?) and from the CPUs on which both ends ran.
 *
 * All of it runs in tasks of that runtime; the results are collected by the main thread when the runtime has ended. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#include "topology.h"

enum { MOST_CPUS = 24, KEEP = 12, MOST_TRIES = 4000 };

struct direction {
    double wake[KEEP], steal[KEEP], trip[KEEP], rate[KEEP];
    int wakes, steals, trips, rates;
};

struct pair {
    int cpu[2];
    weft_ns slot; /* for everything */
    struct direction from[2];
};

/* ---- where tasks are ---- */

static void work_for(weft_ns duration)
{
    for (weft_ns until = weft_now() + duration; weft_now() < until;)
        topology_relax();
}

struct hog {
    WEFT_FRAME;
    atomic_bool *moved;
};
static int hog(struct hog *f)
{
    weft_ns until = weft_now() + WEFT_MS(200);
    while (!atomic_load(f->moved) && weft_now() < until)
        topology_relax();
    return 0;
}
WEFT_CORO(hog);

/* Move the calling task to the other worker: something else keeps this one busy until the other one has taken it. */
static int move_away(int from)
{
    atomic_bool moved = false;
    weft_task *h = weft_create_task(hog, .moved = &moved);
    int rc = 0;
    for (int i = 0; i < 100 && rc == 0 && sched_getcpu() == from; i++)
        rc = weft_yield();
    atomic_store(&moved, true);
    int ended = weft_await_release(h);
    return rc < 0 ? rc : ended;
}

/* ---- wake and steal ---- */

struct mark {
    WEFT_FRAME;
    weft_ns *began;
    _Atomic(int) *where; /* -1 until it runs */
};
static int mark(struct mark *f)
{
    *f->began = weft_now();
    atomic_store(f->where, sched_getcpu());
    return 0;
}
WEFT_CORO(mark);

static uint64_t wakes_so_far(void)
{
    weft_metrics m = {.size = sizeof m};
    (void)weft_metrics_read(weft_runtime_current(), -1, &m);
    return m.wakes;
}

/* One sample: from the creation of the first to the first step of whichever begins first. NAN: it ran here, or took long. */
static double bring(int *where, bool *woken)
{
    weft_ns began[2] = {INT64_MAX, INT64_MAX};
    _Atomic(int) at[2];
    weft_task *t[2];
    atomic_init(&at[0], -1);
    atomic_init(&at[1], -1);
    uint64_t wakes = wakes_so_far();
    weft_ns created = weft_now(), until = created + WEFT_MS(100);
    for (int k = 0; k < 2; k++)
        t[k] = weft_create_task(mark, .began = &began[k], .where = &at[k]);
    while (atomic_load(&at[0]) < 0 && atomic_load(&at[1]) < 0 && weft_now() < until)
        topology_relax();
    bool ran = atomic_load(&at[0]) >= 0 || atomic_load(&at[1]) >= 0;
    int rc = 0;
    for (int k = 0; k < 2; k++) {
        while (atomic_load(&at[k]) >= 0 && !weft_done(t[k])) /* over there: an await would suspend */
            topology_relax();
        int ended = weft_await_release(t[k]);
        rc = ended < 0 ? ended : rc;
    }
    *woken = wakes_so_far() != wakes;
    int first = began[1] < began[0];
    *where = atomic_load(&at[first]);
    return rc == 0 && ran ? (double)(began[first] - created) : NAN;
}

static void keep(double to[KEEP], int *n, double value)
{
    if (*n < KEEP && isfinite(value))
        to[(*n)++] = value;
}

static int latencies(struct pair *p, int side, weft_ns slot)
{
    struct direction *d = &p->from[side];
    weft_ns until = weft_now() + slot, pause = WEFT_US(300);
    int rc = 0;
    for (int i = 0; i < MOST_TRIES && rc == 0 && weft_now() < until && (d->wakes < KEEP || d->steals < KEEP); i++) {
        bool woken, asleep = d->wakes < KEEP && (i % 2 == 0 || d->steals == KEEP);
        int here = sched_getcpu(), where;
        if (here != p->cpu[side] && (rc = move_away(here)) < 0)
            break;
        if (asleep)
            work_for(pause); /* time for the other one to go to sleep */
        here = sched_getcpu();
        double ns = bring(&where, &woken);
        if (here != p->cpu[side] || where != p->cpu[1 - side])
            continue;
        if (woken)
            keep(d->wake, &d->wakes, ns);
        else if (!asleep)
            keep(d->steal, &d->steals, ns);
        else if (pause < WEFT_MS(5)) /* still looking around: leave it more time */
            pause *= 2;
    }
    return rc;
}

/* ---- hand-over ---- */

struct end {
    WEFT_FRAME;
    weft_queue *in, *out; /* one of them NULL: one way */
    long n;
    long sum;
};
static int end(struct end *f)
{
    int rc = 0;
    for (long i = 0, item = 0; i < f->n && rc == 0; i++) {
        if (f->in != NULL)
            rc = weft_queue_get(f->in, &item);
        else
            item = i + 1;
        f->sum += item;
        if (rc == 0 && f->out != NULL)
            rc = weft_queue_put(f->out, &item);
    }
    return rc;
}
WEFT_CORO(end);

/* The one who begins: sends and waits for the answer. */
struct serve {
    WEFT_FRAME;
    weft_queue *to, *back;
    long n, sum;
};
static int serve(struct serve *f)
{
    int rc = 0;
    for (long i = 0, item = 0; i < f->n && rc == 0; i++) {
        item = i + 1;
        rc = weft_queue_put(f->to, &item);
        if (rc == 0)
            rc = weft_queue_get(f->back, &item);
        f->sum += item;
    }
    return rc;
}
WEFT_CORO(serve);

/* n items, round trips or one way, from worker `side` to the other. Returns the nanoseconds of all; NAN: a wrong answer. */
static double hand_over(unsigned side, long n, bool trips)
{
    weft_queue *a = weft_queue_create(sizeof(long), trips ? 1 : 256), *b = weft_queue_create(sizeof(long), 1);
    double took = NAN;
    if (a != NULL && b != NULL) {
        weft_task_options here = wb__on_worker(side), there = wb__on_worker(1 - side);
        weft_ns start = weft_now();
        weft_task *far = weft_create_task_with(&there, end, .in = a, .out = trips ? b : NULL, .n = n);
        weft_task *near = trips ? weft_create_task_with(&here, serve, .to = a, .back = b, .n = n)
                                : weft_create_task_with(&here, end, .out = a, .n = n);
        int rc = weft_gather(far, near);
        took = (double)(weft_now() - start);
        if (rc < 0 || weft_result(end, far)->sum != n * (n + 1) / 2)
            took = NAN;
        weft_release(far);
        weft_release(near);
    }
    weft_queue_destroy(a);
    weft_queue_destroy(b);
    return took;
}

static void hand_overs(struct direction *d, unsigned side, weft_ns slot)
{
    for (int trips = 0; trips < 2; trips++) {
        double first = hand_over(side, 64, trips), per_item = hand_over(side, 64, trips) / 64;
        double n = (double)slot / 2 / (KEEP / 2) / per_item;
        long items = n < 32 ? 32 : n > 200000 ? 200000 : (long)n;
        for (int i = 0; i < KEEP / 2 && isfinite(first) && isfinite(per_item); i++) {
            double took = hand_over(side, items, trips);
            if (trips != 0)
                keep(d->trip, &d->trips, took / (double)items);
            else
                keep(d->rate, &d->rates, (double)items / took * 1e9);
        }
    }
}

struct measure {
    WEFT_FRAME;
    struct pair *pair;
};
static int measure(struct measure *f)
{
    struct pair *p = f->pair;
    int rc = 0;
    weft_ns each = wb__can_place() ? p->slot / 4 : p->slot / 2;
    for (int side = 0; side < 2 && rc == 0; side++)
        rc = latencies(p, side, each);
    for (unsigned side = 0; side < 2 && rc == 0 && wb__can_place(); side++) {
        /* Which worker is on which CPU: they are numbered in an order that is weft's own. */
        unsigned worker = side;
        for (unsigned w = 0; w < 2; w++) {
            weft_place place;
            if (weft_worker_place(weft_runtime_current(), w, &place) == 0 && place.cpu == p->cpu[side])
                worker = w;
        }
        hand_overs(&p->from[side], worker, each);
    }
    return rc;
}
WEFT_CORO(measure);

/* ---- figures ---- */

struct figures {
    struct wb__figure *wake, *steal, *rate, *trip, *tier_latency, *tier_rate;
};

static void make_figures(weft_bench *b, struct figures *f, const size_t cpu[], size_t n)
{
    char **name = topology_cpu_names(b, cpu, n);
    struct wb__text t = {.section = "workers", .kind = "matrix", .row_axis = "from", .column_axis = "to"};
    t.id = "wake", t.title = "Waking a worker", t.unit = "us";
    t.what = "From the creation of tasks on one worker to the first step of one of them on another that slept";
    f->wake = wb__figure(b, &t, n, name, n, name);
    t.id = "steal", t.title = "Stealing";
    t.what = "The same while the other worker was awake and looking for work";
    f->steal = wb__figure(b, &t, n, name, n, name);
    if (wb__can_place()) {
        t.id = "hand_over_trip", t.title = "Hand-over, round trip";
        t.what = "An item to a task on another worker and back, over two queues of one place";
        f->trip = wb__figure(b, &t, n, name, n, name);
        t.id = "hand_over_rate", t.title = "Hand-over, one way", t.unit = "/s", t.higher = true;
        t.what = "Items a second to a task on another worker, over a queue of 256 places";
        f->rate = wb__figure(b, &t, n, name, n, name);
    } else {
        wb__note(b, "missing", "hand-over by distance", "weft %s has no way to keep two tasks on the workers one wants",
                 weft_version());
    }
    wb__names_free(name, n);

    bool there[WEFT_DISTANCES] = {false};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            there[wb__distance(&b->machine.cpu[cpu[i]], &b->machine.cpu[cpu[j]])] = true;
    }
    char **tier = wb__names(WEFT_DISTANCES), *column[] = {"wake", "steal", "hand-over round trip", NULL},
         *rate[] = {"items"};
    char gone[256] = "";
    for (int d = 0; tier != NULL && d < WEFT_DISTANCES; d++) {
        const char *called = wb__distance_name((enum weft_distance)d);
        tier[d] = wb__print("%s", called);
        if (!there[d])
            (void)snprintf(gone + strlen(gone), sizeof gone - strlen(gone), "%s%s", gone[0] != '\0' ? ", " : "",
                           called);
    }
    if (gone[0] != '\0')
        wb__note(b, "missing", "distances", "no two of the CPUs measured are this far from each other: %s", gone);
    t = (struct wb__text){
        .section = "workers", .kind = "bars", .unit = "us", .id = "tier_latency", .title = "By distance"};
    t.what = "The latencies above over all pairs of a distance, as hwloc tells it";
    f->tier_latency = wb__figure(b, &t, WEFT_DISTANCES, tier, wb__can_place() ? 3 : 2, column);
    t.id = "tier_rate", t.title = "Hand-over by distance", t.unit = "/s", t.higher = true;
    t.what = "Items a second one way, over all pairs of a distance";
    f->tier_rate = wb__can_place() ? wb__figure(b, &t, WEFT_DISTANCES, tier, 1, rate) : NULL;
    wb__names_free(tier, WEFT_DISTANCES);
}

static void collect(weft_bench *b, const struct figures *f, const struct direction *d, size_t i, size_t j, size_t tier)
{
    for (int k = 0; k < d->wakes; k++) {
        wb__sample(b, f->wake, i, j, d->wake[k] / 1e3);
        wb__sample(b, f->tier_latency, tier, 0, d->wake[k] / 1e3);
    }
    for (int k = 0; k < d->steals; k++) {
        wb__sample(b, f->steal, i, j, d->steal[k] / 1e3);
        wb__sample(b, f->tier_latency, tier, 1, d->steal[k] / 1e3);
    }
    for (int k = 0; k < d->trips; k++) {
        wb__sample(b, f->trip, i, j, d->trip[k] / 1e3);
        wb__sample(b, f->tier_latency, tier, 2, d->trip[k] / 1e3);
    }
    for (int k = 0; k < d->rates; k++) {
        wb__sample(b, f->rate, i, j, d->rate[k]);
        wb__sample(b, f->tier_rate, tier, 0, d->rate[k]);
    }
}

static void tell_empty(weft_bench *b, const struct wb__figure *f)
{
    size_t empty = 0;
    for (size_t k = 0; f != NULL && k < f->rows * f->columns; k++)
        empty += f->cell[k].n == 0 && k / f->columns != k % f->columns;
    if (empty > 0)
        wb__note(b, "missing", f->text.title,
                 "%zu of %zu pairs gave no sample in the time there was: longer with --seconds", empty,
                 f->rows * (f->rows - 1));
}

int topology_pairs(weft_bench *b, double seconds)
{
    const struct wb__machine *m = &b->machine;
    if (m->cpus < 2)
        return 0;
    size_t cpu[MOST_CPUS], n = topology_some(m, MOST_CPUS, cpu);
    if (n < m->cpus)
        wb__note(b, "missing", "some workers",
                 "waking and stealing are measured between %zu of the %zu CPUs, evenly chosen", n, m->cpus);
    struct figures f = {.wake = NULL};
    make_figures(b, &f, cpu, n);
    double pairs = (double)(n * (n - 1) / 2), done = 0;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        for (size_t j = 0; j < i && rc == 0; j++) {
            struct pair p = {.cpu = {m->cpu[cpu[i]].cpu, m->cpu[cpu[j]].cpu}};
            p.slot = WEFT_SEC(fmax(fmin(seconds / pairs, 1.0), 0.03)); /* less would give no sample */
            struct wb__mask before;
            weft_options o = wb__options(2);
            rc = wb__bind(p.cpu, 2, &before);
            if (rc == 0) {
                rc = weft_run_with(&o, measure, .pair = &p);
                wb__unbind(&before);
            }
            size_t tier = wb__distance(&m->cpu[cpu[i]], &m->cpu[cpu[j]]);
            collect(b, &f, &p.from[0], i, j, tier);
            collect(b, &f, &p.from[1], j, i, tier);
            wb__progress(b, ++done / pairs);
        }
    }
    if (rc == 0 && b->round + 1 == b->rounds) {
        tell_empty(b, f.wake);
        tell_empty(b, f.steal);
    }
    return rc;
}
