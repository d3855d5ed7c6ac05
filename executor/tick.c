/* SPDX-License-Identifier: Apache-2.0 */
/* executor/tick.c -- the reactor thread: the promise that events, due timers and waiting work are seen to even when every
 * worker is stuck in a long step.
 *
 * While work runs it wakes every TICK and does what is late (each of these is normally done by the workers themselves):
 *   - nobody collected events for COLLECT_LATE, and the token is free: collect;
 *   - ready work lies beside a sleeping worker (a lone item behind a stuck one, or a push that its sleeper looked for too early,
 *     see PARK in idle.c): wake a sleeper;
 *   - a worker that has not switched since the last tick has timers overdue: fire them; and tell it to look around;
 *   - one that has switched has timers overdue all the same, or something lies in the injector: tell it to look around;
 *   - it has not switched for the option slow_task: report the function and the task it is in, once per step, and not more than some per second.
 * Between two ticks, where I/O is waited for, it looks every LEADER_LOOK whether somebody collects: a leader that takes up an event gives the token
 * back and runs it, and the others sleep on; where that task blocks its worker, nobody collects. Has nobody for LEADERLESS, it wakes a sleeper,
 * which finds nothing and leads. And it looks whether ready work lies behind a worker's step there; if so, again after STEP_LOOK, and if that
 * is still the same step, it wakes a sleeper: what a handler that blocks has left behind waits no whole tick where requests come.
 *
 * After a tick that found late work the next ones come every QUICK_TICK for a while. Ready work beside a sleeper counts as that only while a worker
 * has been in one step for a tick: else who has it shares it, and a busy server, of which a worker sleeps for a moment every now and then, would have
 * quick ticks for ever. Each tick also notes the time, from which a time limit that nobody looked at so far takes its beginning (TICK-STAMP,
 * clock.c).
 *
 *   all workers parked, one leads       no tick: sleeps until somebody leaves park (asleep; label ASLEEP in idle.c), but only
 *                                       when a whole tick has passed in which nothing ran: starting and stopping costs more.
 *                                       While there are stacks to give back, one tick a second (fiber_cache.c)
 *   all workers parked, token free      (this thread held it when the last one parked): it wakes one, which parks as leader
 *   otherwise                           tick
 *
 * Threads: the reactor thread. It is not pinned: the workers have the CPUs, it must get a turn beside them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "executor/alone.h"
#include "executor/canary.h"
#include "executor/running.h"
#include "executor/runtime.h"

#define TICK WEFT_MS(10)
#define QUICK_TICK WEFT_MS(1)
#define QUICK_TICKS 50
#define OVERDUE_LIMIT 256
#define COLLECT_LATE WEFT_MS(5) /* not the last tick: quick ones would hold each other up */
#define LEADER_LOOK WEFT_US(2500)
#define LEADERLESS WEFT_US(500)
#define STEP_LOOK WEFT_US(500)

/* Long steps are reported, each once, but no more than this: a report that has to wait comes when it may, if the step still lasts. */
#define REPORTS 8                 /* at once */
#define REPORTS_AGAIN WEFT_SEC(1) /* and one more each time */

struct reports {
    unsigned left;
    weft_ns refilled;
    uint64_t left_out; /* steps that ended unreported, since the last report */
};

static bool may_report(struct reports *r, weft_ns now)
{
    for (; r->left < REPORTS && now - r->refilled >= REPORTS_AGAIN; r->refilled += REPORTS_AGAIN)
        r->left++;
    if (r->left == REPORTS)
        r->refilled = now;
    if (r->left == 0)
        return false;
    r->left--;
    return true;
}

static void report_step(struct weft_runtime *rt, struct weft__worker *w, struct reports *reports, weft_ns lasts)
{
    struct weft__running runs = {.worker = w->index};
    char name[128], more[64] = "";
    weft__running_look(rt, &runs, 1);
    size_t named = weft__running_name(&runs, name, sizeof name);
    if (reports->left_out != 0)
        snprintf(more, sizeof more, "; %llu more such steps were not reported", (unsigned long long)reports->left_out);
    reports->left_out = 0;
    if (runs.coro != NULL) /* else it has just ended */
        weft__report(rt,
                     "worker %u is blocked: a task in %s() has run for %lld ms without suspending%s%s; blocking calls "
                     "belong into weft_to_thread, and long computations need a weft_yield now and then%s",
                     w->index, runs.coro->name, (long long)(lasts / 1000000), named != 0 ? ", in " : "", name, more);
    weft__running_done(&runs, 1);
}

struct weft__step_watch { /* of one worker */
    uint64_t steps;
    weft_ns since, cpu; /* when this step was first seen; the thread's CPU time when it was seen again, 0: it was not */
    bool slow, reported; /* it is long, by its own doing; and that was said */
    bool stuck;          /* seen in it twice */
};

static weft_ns cpu_time(struct weft__worker *w)
{
    clockid_t clock;
    struct timespec now;
    if (pthread_getcpuclockid(w->thread, &clock) != 0 || clock_gettime(clock, &now) != 0)
        return 0;
    return now.tv_sec * WEFT_SEC(1) + now.tv_nsec;
}

/* Is it the task's own doing that the step is long? Not when the kernel let the thread wait for a CPU. */
static bool own_doing(struct weft__worker *w, const struct weft__step_watch *seen, weft_ns limit)
{
    if (cpu_time(w) - seen->cpu >= limit / 2)
        return true; /* it computes */
    char path[64], stat[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", weft__load_relaxed(&w->tid)); /* relaxed: a hint */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    ssize_t n = read(fd, stat, sizeof stat - 1);
    close(fd);
    stat[n > 0 ? n : 0] = '\0';
    const char *state = strrchr(stat, ')');
    return state == NULL || state[1] == '\0' || state[2] != 'R'; /* it sleeps in a call that blocks */
}

/* All steps of all workers: has anything run? */
static uint64_t activity(struct weft_runtime *rt)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < rt->worker_count; i++)
        sum += weft__load_relaxed(&rt->workers[i].steps); /* relaxed: a hint */
    return sum;
}

static bool watch_worker(struct weft_runtime *rt, struct weft__worker *w, struct weft__step_watch *seen,
                         struct reports *reports, weft_ns now)
{
    uint64_t steps = weft__load_relaxed(&w->steps);             /* relaxed: a hint */
    const weft_coro *running = weft__load_relaxed(&w->running); /* relaxed: static data, a hint */
    weft__delay_tick(w, running == NULL && steps == seen->steps, now);
    if (steps != seen->steps || running == NULL) {
        reports->left_out += seen->slow && !seen->reported;
        seen->steps = steps;
        seen->since = now;
        weft__store_relaxed(&w->step_since, now);  /* relaxed: the next one publishes it */
        weft__store_release(&w->step_seen, steps); /* pairs: STEP-SEEN */
        seen->cpu = 0;
        seen->slow = seen->reported = seen->stuck = false;
        /* Many steps that need no turn of the worker's, one after the other, or ones that have just become long. */
        if (running != NULL && !rt->is_virtual && !rt->in_turn &&
            (weft__timers_earliest(&w->timers) <= now - QUICK_TICK || !weft__inbox_empty(&rt->injector)))
            weft__fetch_or_acq_rel(&w->hurry, (uint32_t)WEFT__HURRY_TICK); /* pairs: PINNED; another bit's */
        return false;
    }
    seen->stuck = true;
    if (seen->cpu == 0 && rt->options.slow_task != WEFT_FOREVER)
        seen->cpu = cpu_time(w);
    weft__fetch_or_acq_rel(&w->hurry, (uint32_t)WEFT__HURRY_TICK); /* pairs: PINNED; another bit's */
    bool late = false;
    if (!rt->is_virtual && !rt->in_turn && weft__timers_earliest(&w->timers) <= now)
        late = weft__timers_fire(&w->timers, now, OVERDUE_LIMIT, true) != 0;
    if (!seen->slow && rt->options.slow_task != WEFT_FOREVER && (!rt->is_virtual || rt->options.debug != 0) &&
        now - seen->since >= rt->options.slow_task && own_doing(w, seen, rt->options.slow_task)) {
        seen->slow = true;
        weft__fetch_add_relaxed(&rt->slow_tasks, 1); /* relaxed: statistic */
    }
    if (seen->slow && !seen->reported && may_report(reports, now)) {
        seen->reported = true;
        report_step(rt, w, reports, now - seen->since);
    }
    return late;
}

/* Returns whether something was late. */
static bool tick(struct weft_runtime *rt, struct reports *reports)
{
    weft__fetch_add_relaxed(&rt->ticks, 1); /* relaxed: statistic */
    bool late = false;
    weft_ns since = weft__monotonic() - weft__load_relaxed(&rt->idle.last_collect); /* relaxed: a hint */
    if (since >= COLLECT_LATE && weft__try_collect(rt, WEFT__COLLECTOR_REACTOR))
        late = true;
    weft_ns now = weft__stamp_tick(rt);
    weft__strangers_tick(&rt->strangers);
    if (rt->sole)
        weft__sole_tick();
    weft__follow_look(rt, now);
    weft__fiber_pools_trim(rt, now);
    bool stuck = false;
    for (unsigned i = 0; i < rt->worker_count; i++) {
        late |= watch_worker(rt, &rt->workers[i], &rt->watch[i], reports, now);
        stuck |= rt->watch[i].stuck;
    }
    weft__canary_look(rt->canary, rt, weft__monotonic());
    if (weft__load_seq_cst(&rt->idle.parked) != 0 && weft__work_visible(rt, 1, NULL)) { /* pairs: PARK */
        /* Not when somebody was woken already and waits for a CPU: then this wake brings nobody. */
        if (weft__load_relaxed(&rt->idle.searching) <= 0) /* relaxed: a hint */
            weft__fetch_add_relaxed(&rt->late_wakes, 1);  /* relaxed: statistic */
        weft__notify(rt, NULL);
        late |= stuck;
    }
    late |= weft__pinned_late(rt);
    return late;
}

/* A worker sleeps, and events that may come find nobody: see the head. */
static bool leader_missing(struct weft_runtime *rt, weft_ns now)
{
    struct weft__idle *idle = &rt->idle;
    return weft__load_seq_cst(&idle->collector) == WEFT__COLLECTOR_FREE && /* pairs: LEADER */
           weft__load_seq_cst(&idle->parked) != 0 &&                       /* pairs: PARK */
           now - weft__load_relaxed(&idle->last_collect) >= LEADERLESS;    /* relaxed: a hint */
}

static bool lies_behind(const struct weft__worker *w)
{
    return weft__load_relaxed(&w->running) != NULL && /* relaxed: a hint */
           (weft__ready_size(&w->ready) != 0 || (weft__joins_size(&w->joins) != 0 && !weft__burst_fresh(&w->burst)));
}

bool weft__tick_look(struct weft_runtime *rt, struct weft__step_look *looks)
{
    struct weft__idle *idle = &rt->idle;
    if (looks == NULL || weft__load_seq_cst(&idle->parked) == 0) /* pairs: PARK */
        return false;
    bool fresh = false, neglected = false;
    for (unsigned i = 0; i < rt->worker_count; i++) {
        const struct weft__worker *w = &rt->workers[i];
        struct weft__step_look now = {weft__load_relaxed(&w->steps), lies_behind(w)}; /* relaxed: a hint */
        bool same = looks[i].lay && looks[i].steps == now.steps;
        neglected |= now.lay && same;
        fresh |= now.lay && !same;
        looks[i] = now;
    }
    if (neglected) {
        if (weft__load_relaxed(&idle->searching) <= 0)   /* relaxed: a hint */
            weft__fetch_add_relaxed(&rt->late_wakes, 1); /* relaxed: statistic */
        weft__fetch_add_relaxed(&idle->rescues, 1);      /* relaxed: a hint */
        weft__notify(rt, NULL);
    }
    return fresh && !neglected;
}

/* Until then, or until it is woken. *again: the next look comes after STEP_LOOK. */
static void wait_for_tick(struct weft_runtime *rt, uint32_t ticket, weft_ns tick_due, bool *again)
{
    bool looks = rt->driver != NULL && rt->worker_count > 1 && !rt->is_virtual && rt->driver->waiting(rt);
    for (weft_ns now = weft__monotonic(); now < tick_due; now = weft__monotonic()) {
        /* Also if nobody sleeps now: who is to sleep soon tells nobody. */
        weft_ns look = now + (*again ? STEP_LOOK : LEADER_LOOK), until = looks && look < tick_due ? look : tick_due;
        if (weft__parker_wait(&rt->idle.reactor, ticket, until))
            return;
        if (!looks)
            continue;
        if (leader_missing(rt, weft__monotonic()))
            weft__notify(rt, NULL);
        *again = weft__tick_look(rt, rt->looks) && !*again;
    }
}

static void sleep_until_work(struct weft_runtime *rt, uint32_t ticket)
{
    struct weft__idle *idle = &rt->idle;
    weft__store_seq_cst(&idle->asleep, 1);                                      /* pairs: ASLEEP */
    bool led = rt->driver == NULL || weft__load_seq_cst(&idle->collector) >= 0; /* pairs: ASLEEP */
    if (weft__all_parked(rt) && led && weft__load_seq_cst(&rt->stopping) == 0)  /* pairs: STOPPING */
        weft__parker_wait(&idle->reactor, ticket,
                          weft__fiber_pools_due(rt)); /* late: the tick that follows gives it back */
    weft__store_seq_cst(&idle->asleep, 0);            /* pairs: ASLEEP */
}

void *weft__reactor_main(void *runtime)
{
    struct weft_runtime *rt = runtime;
    struct weft__idle *idle = &rt->idle;
    prctl(PR_SET_NAME, "weft-reactor");
    rt->watch = calloc(rt->worker_count, sizeof *rt->watch);
    rt->looks = calloc(rt->worker_count, sizeof *rt->looks);
    weft_ns now = weft__monotonic();
    for (unsigned i = 0; rt->watch != NULL && i < rt->worker_count; i++)
        rt->watch[i].since = now;
    rt->canary = weft__canary_create(rt);
    struct reports reports = {.left = REPORTS};
    uint64_t ran = 0;
    unsigned quick = 0;
    bool again = false;
    while (weft__load_seq_cst(&rt->stopping) == 0) { /* pairs: STOPPING */
        uint32_t ticket = weft__parker_ticket(&idle->reactor);
        uint64_t running = activity(rt);
        if (weft__all_parked(rt)) {
            bool led =
                rt->driver == NULL || weft__load_seq_cst(&idle->collector) != WEFT__COLLECTOR_FREE; /* pairs: LEADER */
            if (!led)
                weft__notify(rt, NULL); /* the one woken finds nothing, parks again, and leads */
            else if (running == ran) {
                sleep_until_work(rt, ticket);
                ran = activity(rt) - 1; /* something is about to run: tick at least once */
                continue;
            }
        }
        ran = running;
        wait_for_tick(rt, ticket, weft__monotonic() + (quick != 0 ? QUICK_TICK : TICK), &again);
        if (rt->watch != NULL && weft__load_seq_cst(&rt->stopping) == 0) { /* pairs: STOPPING */
            if (tick(rt, &reports))
                quick = QUICK_TICKS;
            else if (quick != 0)
                quick--;
        }
    }
    free(rt->watch);
    free(rt->looks);
    weft__canary_destroy(rt->canary);
    return NULL;
}
