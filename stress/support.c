/* SPDX-License-Identifier: Apache-2.0 */
/* stress/support.c -- rounds, failures, and the watchdog of a child process that does one stressor's rounds.
 *
 * Between two rounds the process must be as it was: no descriptor and no thread more. `live` lists the runtimes that
 * run, so that a failure can show them; a runtime is in it from the first step of its main task to its end. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"
#ifdef STRESS_FAULTS
#include <weft/testing.h>
#endif

#define TRACE 4096
#define TRACE_SHOWN 24
#define HANG_SECONDS 20
#define LIVE 64

struct account *stress_account;
const char *stress_name;
unsigned stress_workers;
double stress_seconds;
const char *stress_faults;

static struct {
    const char *what;
    long a, b;
    double at;
} trace[TRACE];
static _Atomic(uint32_t) traced;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of `live`, and for one failure report */
static weft_runtime *live[LIVE];

void *stress_alloc(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (p == NULL) {
        fprintf(stderr, "weft-stress: no memory for %zu * %zu bytes\n", count, size);
        abort();
    }
    return p;
}

void stress_progress(uint64_t n)
{
    atomic_fetch_add_explicit(&stress_account->operations, n, memory_order_relaxed);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Two threads that are a whole ring apart may mix their lines: it is for people. */
void stress_trace(const char *what, long a, long b)
{
    uint32_t i = atomic_fetch_add_explicit(&traced, 1, memory_order_relaxed) % TRACE;
    __atomic_store_n(&trace[i].what, what, __ATOMIC_RELAXED);
    __atomic_store_n(&trace[i].a, a, __ATOMIC_RELAXED);
    __atomic_store_n(&trace[i].b, b, __ATOMIC_RELAXED);
    double now = seconds_now();
    __atomic_store(&trace[i].at, &now, __ATOMIC_RELAXED);
}

static void print_trace(void)
{
    uint32_t end = atomic_load(&traced), n = end < TRACE_SHOWN ? end : TRACE_SHOWN;
    double now = seconds_now();
    if (n != 0)
        dprintf(STDERR_FILENO, "  --- the last things done\n");
    for (uint32_t i = end - n; i != end; i++)
        dprintf(STDERR_FILENO, "  %8.3f ms ago  %s  %ld %ld\n", (now - trace[i % TRACE].at) * 1e3,
                trace[i % TRACE].what, trace[i % TRACE].a, trace[i % TRACE].b);
}

bool stress_failed(void)
{
    return atomic_load(&stress_account->failed) != 0;
}

int stress_pause(struct rng *r, uint32_t at_most_us)
{
    switch (rng_below(r, 3)) {
    case 0:
        return 0;
    case 1:
        return weft_yield();
    default:
        return weft_sleep(WEFT_US(rng_below(r, at_most_us + 1)));
    }
}

void stress_replay(char *buf, size_t size)
{
    unsigned workers = atomic_load(&stress_account->workers); /* 0: it came to no round */
    char of_workers[24] = "";
    if (workers != 0)
        snprintf(of_workers, sizeof of_workers, " --workers %u", workers);
    snprintf(buf, size, "weft-stress run %s --seconds %g --seed %" PRIu64 "%s%s%s%s", stress_name, stress_seconds,
             (uint64_t)atomic_load(&stress_account->seed), of_workers, stress_faults != NULL ? " --faults '" : "",
             stress_faults != NULL ? stress_faults : "", stress_faults != NULL ? "'" : "");
}

void stress_fail(const char *file, int line, const char *invariant, const char *format, ...)
{
    if (atomic_exchange(&stress_account->failed, 1) != 0)
        return;
    char text[512], replay[REPLAY];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    const char *base = strrchr(file, '/');
    stress_replay(replay, sizeof replay);
    pthread_mutex_lock(&mutex);
    dprintf(STDERR_FILENO, "weft-stress: %s FAILED, round %" PRIu64 "\n  %s:%d: this must hold: %s\n  %s\n",
            stress_name, (uint64_t)atomic_load(&stress_account->rounds), base != NULL ? base + 1 : file, line,
            invariant, text);
    for (int i = 0; i < LIVE; i++) {
        if (live[i] == NULL)
            continue;
        dprintf(STDERR_FILENO, "  --- tasks of runtime %d\n", i);
        (void)weft_dump_tasks(live[i], STDERR_FILENO);
        dprintf(STDERR_FILENO, "  --- workers of runtime %d\n", i);
        (void)weft_dump_workers(live[i], STDERR_FILENO);
        dprintf(STDERR_FILENO, "  --- account of runtime %d\n", i);
        (void)weft_metrics_print(live[i], STDERR_FILENO);
    }
    print_trace();
    dprintf(STDERR_FILENO, "    replay: %s\n", replay);
    pthread_mutex_unlock(&mutex);
}

/* ---- runtimes ---------------------------------------------------------------------------------------------------- */

static void runtime_begins(weft_runtime *rt)
{
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < LIVE; i++) {
        if (live[i] == NULL) {
            live[i] = rt;
            break;
        }
    }
    pthread_mutex_unlock(&mutex);
}

static void runtime_ends(weft_runtime *rt)
{
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < LIVE; i++) {
        if (live[i] == rt)
            live[i] = NULL;
    }
    pthread_mutex_unlock(&mutex);
}

static void at_end(void *user, weft_runtime *rt)
{
    (void)user;
    weft_metrics m = {.size = sizeof m};
    int rc = weft_metrics_read(rt, -1, &m);
    CHECK(rc == 0, "weft_metrics_read: %d", rc);
    CHECK(m.tasks_created == m.tasks_finished, "%" PRIu64 " created, %" PRIu64 " finished", m.tasks_created,
          m.tasks_finished);
    CHECK(m.stacks_live == 0, "%" PRIu64 " stacks still in use", m.stacks_live);
    CHECK(m.helper_threads == 0, "%" PRIu64 " helper threads", m.helper_threads);
    CHECK(m.ready_stalls == 0, "%" PRIu64 " times ready work was left lying beside a sleeping worker", m.ready_stalls);
    atomic_fetch_add(&stress_account->late_wakes, m.late_wakes);
    runtime_ends(rt);
}

/* What a run reports is no business of ours: tasks do run long on a loaded machine. */
static void ignore_report(void *user, const char *line)
{
    (void)user;
    (void)line;
}

struct stress_main {
    WEFT_FRAME;
    int (*body)(void *arg);
    void *arg;
};
static int stress_main(struct stress_main *f)
{
    runtime_begins(weft_runtime_current());
    return f->body(f->arg);
}
WEFT_CORO(stress_main);

int stress_run_with(struct round *r, const weft_options *base, int (*body)(void *arg), void *arg)
{
    weft_options o = *base;
    if (o.workers == 0)
        o.workers = r->workers;
    o.pin = rng_chance(&r->rng, 30) ? (unsigned)WEFT_PIN_NONE : o.pin;
    o.inlining = rng_chance(&r->rng, 20) ? (unsigned)WEFT_INLINING_NEVER : (unsigned)WEFT_INLINING_AUTO;
    o.order = rng_chance(&r->rng, 10) ? (unsigned)WEFT_ORDER_FIFO : (unsigned)WEFT_ORDER_DEFAULT;
    o.seed = rng_next(&r->rng) | 1;
    o.slow_task = WEFT_FOREVER;
    o.report = ignore_report;
    o.at_end = at_end;
    stress_trace("a runtime starts; workers, order", (long)o.workers, (long)o.order);
    return weft_run_with(&o, stress_main, .body = body, .arg = arg);
}

int stress_run(struct round *r, int (*body)(void *arg), void *arg)
{
    return stress_run_with(r, WEFT_OPTIONS(), body, arg);
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        closedir(d);
    return n;
}

/* A joined thread, or a socket closed at the other end of the process, may take the kernel a moment. */
static void check_entries(const char *folder, int before)
{
    int now = entries(folder);
    for (int i = 0; i < 2000 && now > before; i++) {
        usleep(1000);
        now = entries(folder);
    }
    CHECK(now <= before, "%s: %d entries before the round, %d after", folder, before, now);
}

static void *watchdog(void *unused)
{
    (void)unused;
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGUSR1); /* where the main thread is spared, it is this one that gets these (signals.c) */
    sigdelset(&all, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    uint64_t last = 0;
    unsigned looks = 0; /* not the clock: a machine that was paused is no hang */
    for (;;) {
        struct timespec left = {.tv_nsec = 200 * 1000 * 1000};
        while (nanosleep(&left, &left) != 0) /* signals must not make its looks come faster */
            ;
        uint64_t now = atomic_load(&stress_account->operations);
        if (now != last) {
            last = now;
            looks = 0;
        } else if (++looks > 5 * HANG_SECONDS) {
            bool first = !stress_failed();
            stress_fail(__FILE__, __LINE__, "something goes on", "nothing moved for %d seconds%s", HANG_SECONDS, "");
            if (!first)
                dprintf(STDERR_FILENO, "weft-stress: %s hangs after its failure\n", stress_name);
            _exit(1);
        }
    }
    return NULL;
}

void stress_do(const struct stressor *s, uint64_t seed, double seconds)
{
    static const unsigned choice[] = {1, 2, 3, 8};
    pthread_t dog;
    if (pthread_create(&dog, NULL, watchdog, NULL) != 0)
        abort();
    double end = seconds_now() + seconds;
#ifdef STRESS_FAULTS
    if (stress_faults != NULL)
        CHECK(weft_faults_begin(stress_faults, seed) == 0, "no plan: %s", stress_faults);
#endif
    do {
        struct round r = {.seed = seed, .rng = rng_make(seed, 0)};
        unsigned drawn = choice[rng_below(&r.rng, 4)];
        r.workers = stress_workers != 0 ? stress_workers : drawn;
        atomic_store(&stress_account->seed, seed);
        atomic_store(&stress_account->workers, r.workers);
        int fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
        s->round(&r);
        stress_progress(1);
        check_entries("/proc/self/fd", fds);
        check_entries("/proc/self/task", threads);
        atomic_fetch_add(&stress_account->rounds, 1);
        struct rng next = rng_make(seed, 1);
        seed = rng_next(&next) >> 1; /* shell-friendly: fits a signed 64-bit number */
    } while (!stress_failed() && seconds_now() < end);
}
