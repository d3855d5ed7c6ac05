/* SPDX-License-Identifier: Apache-2.0 */
/* stress/machine.c -- what the machine does to a runtime.
 * affinity: the CPUs that each of the process's threads may use change all the time.
 * blocked:  every worker stands in a step that sleeps, while timers, wakes from threads and other tasks go on behind them.
 * forks:    the process forks while tasks run; the child runs a runtime of its own, or goes at once.
 * years:    decades of sleeps, limits and cancels on the virtual clock: nobody wakes before its time, and time never goes back. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress.h"

/* ---- work: each of many tasks is run to its end exactly once ---- */

#define TASKS 200

struct job {
    WEFT_FRAME;
    uint64_t seed;
    uint32_t block_us;
    _Atomic(uint32_t) *ended;
};
static int job(struct job *f)
{
    struct rng r = rng_make(f->seed, 2);
    for (int i = 0; i < 4; i++) {
        int rc = stress_pause(&r, 300);
        if (rc < 0)
            return rc;
        if (f->block_us != 0 && rng_chance(&r, 30))
            usleep(rng_below(&r, f->block_us));
    }
    atomic_fetch_add(f->ended, 1);
    stress_progress(1);
    return (int)(f->seed & 0xff);
}
WEFT_CORO(job);

static void do_jobs(struct rng *r, uint32_t block_us)
{
    _Atomic(uint32_t) ended = 0;
    uint32_t n = 1 + rng_below(r, TASKS);
    weft_task *t[TASKS];
    uint64_t seeds[TASKS];
    for (uint32_t i = 0; i < n; i++)
        t[i] = weft_create_task(job, .seed = seeds[i] = rng_next(r), .block_us = block_us, .ended = &ended);
    for (uint32_t i = 0; i < n; i++) {
        int rc = weft_await_release(t[i]);
        CHECK(rc == (int)(seeds[i] & 0xff), "a job gave %d", rc);
    }
    CHECK(atomic_load(&ended) == n, "%u of %u jobs ended", (unsigned)atomic_load(&ended), n);
}

static int jobs_body(void *arg)
{
    struct round *r = arg;
    for (int i = 0; i < 5; i++)
        do_jobs(&r->rng, 0);
    return 0;
}

/* ---- affinity ---- */

struct mover {
    cpu_set_t allowed;
    struct rng rng;
    _Atomic(bool) stop;
};

static void move_all(struct mover *m)
{
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        int tid = atoi(e->d_name);
        cpu_set_t set;
        CPU_ZERO(&set);
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &m->allowed) && rng_chance(&m->rng, 50))
                CPU_SET(cpu, &set);
        }
        if (tid > 0)
            (void)sched_setaffinity(tid, sizeof set, CPU_COUNT(&set) != 0 ? &set : &m->allowed); /* it may have ended */
    }
    if (d != NULL)
        closedir(d);
}

static void *moving(void *arg)
{
    struct mover *m = arg;
    while (!atomic_load(&m->stop)) {
        move_all(m);
        usleep(1 + rng_below(&m->rng, 2000));
    }
    return NULL;
}

static void affinity(struct round *r)
{
    struct mover m = {.rng = rng_make(r->seed, 4)};
    pthread_t thread;
    if (sched_getaffinity(0, sizeof m.allowed, &m.allowed) != 0 || pthread_create(&thread, NULL, moving, &m) != 0)
        abort();
    int rc = stress_run(r, jobs_body, r);
    CHECK(rc == 0, "the run: %d", rc);
    atomic_store(&m.stop, true);
    pthread_join(thread, NULL);
    (void)sched_setaffinity(0, sizeof m.allowed, &m.allowed);
}

/* ---- blocked ---- */

static int blocked_body(void *arg)
{
    struct round *r = arg;
    do_jobs(&r->rng, 20000);
    return 0;
}

static void blocked(struct round *r)
{
    int rc = stress_run(r, blocked_body, r);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- forks ---- */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FORKS_SPARED 1 /* thread sanitizer does not follow a child with several threads */
#endif
#endif
#ifndef FORKS_SPARED
#define FORKS_SPARED 0
#endif
/* Address sanitizer's allocator may be locked by another thread at the fork, and stays so in the child: that only goes. */
#ifdef __SANITIZE_ADDRESS__
#define CHILD_MAY_ALLOCATE 0
#else
#define CHILD_MAY_ALLOCATE 1
#endif

struct small {
    WEFT_FRAME;
};
static int small(struct small *f)
{
    (void)f;
    _Atomic(uint32_t) ended = 0;
    weft_task *t = weft_create_task(job, .seed = 5, .ended = &ended);
    return weft_await_release(t);
}
WEFT_CORO(small);

struct forker {
    WEFT_FRAME;
    uint64_t seed;
};
static int forker(struct forker *f)
{
    struct rng r = rng_make(f->seed, 6);
    for (int i = 0; i < 3; i++) {
        (void)stress_pause(&r, 500);
        bool runs = rng_chance(&r, 60) && CHILD_MAY_ALLOCATE;
        stress_trace("fork; child runs a runtime", runs, 0);
        pid_t child = fork();
        if (child == 0) {
            int rc = 5;
            if (runs)
                rc = weft_run_with(WEFT_OPTIONS(.workers = 2, .pin = WEFT_PIN_NONE), small);
            _exit(rc == 5 ? 17 : 18);
        }
        int status = 0;
        CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork: %d", errno);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 17, "the child ended with status %#x", (unsigned)status);
        stress_progress(1);
    }
    return 0;
}
WEFT_CORO(forker);

static int forks_body(void *arg)
{
    struct round *r = arg;
    weft_task *a = weft_create_task(forker, .seed = rng_next(&r->rng)),
              *b = weft_create_task(forker, .seed = rng_next(&r->rng));
    do_jobs(&r->rng, 0);
    int rc = weft_gather(a, b);
    weft_release(a);
    weft_release(b);
    return rc;
}

static void forks(struct round *r)
{
    int rc = FORKS_SPARED ? 0 : stress_run(r, forks_body, r);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- years ---- */

#define YEAR (WEFT_SEC(86400) * 365)

struct sleeper {
    WEFT_FRAME;
    uint64_t seed;
};
static int sleeper(struct sleeper *f)
{
    struct rng r = rng_make(f->seed, 9);
    for (int i = 0; i < 20; i++) {
        weft_ns begin = weft_now(),
                length = (weft_ns)(rng_next(&r) % (uint64_t)(rng_chance(&r, 50) ? YEAR : WEFT_SEC(5)));
        weft_timeout limit;
        weft_ns most = rng_chance(&r, 50) ? (weft_ns)(rng_next(&r) % (uint64_t)YEAR) : WEFT_FOREVER;
        int rc = weft_timeout_begin(&limit, most);
        CHECK(rc == 0, "timeout_begin: %d", rc);
        rc = weft_sleep(length);
        rc = weft_timeout_end(&limit, rc);
        weft_ns passed = weft_now() - begin;
        if (rc == -ECANCELED)
            return rc;
        CHECK(rc == (most < length ? -ETIMEDOUT : 0) || most == length,
              "slept %" PRId64 " with the limit %" PRId64 ": %d", (int64_t)length, (int64_t)most, rc);
        CHECK(passed >= (rc == 0 ? length : most), "woke after %" PRId64 " of %" PRId64, (int64_t)passed,
              (int64_t)length);
        stress_progress(1);
    }
    return 0;
}
WEFT_CORO(sleeper);

static int years_body(void *arg)
{
    struct round *r = arg;
    weft_task *t[50];
    weft_ns last = weft_now();
    for (int i = 0; i < 50; i++)
        t[i] = weft_create_task(sleeper, .seed = rng_next(&r->rng));
    for (int i = 0; i < 50; i++) {
        bool taken = rng_chance(&r->rng, 10) && weft_cancel(t[i]);
        int rc = weft_await_release(t[i]);
        CHECK(rc == 0 || (taken && rc == -ECANCELED), "a sleeper: %d", rc);
        CHECK(weft_now() >= last, "time went %s", "back");
        last = weft_now();
    }
    return 0;
}

static void years(struct round *r)
{
    int rc = stress_run_with(r, WEFT_OPTIONS(.clock = WEFT_CLOCK_VIRTUAL), years_body, r);
    CHECK(rc == 0, "the run: %d", rc);
}

const struct stressor machine_stressors[] = {
    {"affinity", "the CPUs that the threads may use change all the time", affinity},
    {"blocked", "every worker stands in calls that block, while work goes on behind them", blocked},
    {"forks", "forks while tasks run; the child runs a runtime of its own", forks},
    {"years", "decades of sleeps, limits and cancels on the virtual clock", years},
    {NULL, NULL, NULL},
};
