/* SPDX-License-Identifier: Apache-2.0 */
/* stress/signals.c -- signals as awaitables, and system calls interrupted everywhere.
 * signals: a lone waiter gets every signal that is sent after the last one was answered; each of several waiters gets
 * one in the end, also under time limits.
 * interrupts: other stressors' rounds while every thread of the process gets a handled signal without SA_RESTART. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stress.h"

/* Thread sanitizer puts a handler off until its thread is in a call that the sanitizer knows, which the one in
 * weft_run never is; and runs it at once in pthread_join, also where that frees the ended thread's memory inside the
 * sanitizer's own locks. So there the main thread is spared. */
#define TSAN 0
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#undef TSAN
#define TSAN 1
#endif
#endif

/* ---- signals ----------------------------------------------------------------------------------------------------- */

#define WAITERS 8

struct post {
    uint64_t seed;
    unsigned waiters, turns;
    weft_semaphore answers;
    _Atomic(uint32_t) busy; /* waiters that have not yet had all their turns */
};

struct waiter {
    WEFT_FRAME;
    struct post *post;
    unsigned number;
};
static int waiter(struct waiter *f)
{
    static const int signals[] = {SIGUSR1, SIGUSR2};
    struct post *p = f->post;
    struct rng r = rng_make(p->seed, 100 + f->number);
    for (unsigned i = 0; i < p->turns;) {
        weft_timeout limit;
        bool limited = p->waiters > 1 && rng_chance(&r, 30);
        int rc = weft_timeout_begin(&limit, limited ? WEFT_US(rng_below(&r, 300)) : WEFT_FOREVER);
        CHECK(rc == 0, "timeout_begin: %d", rc);
        rc = weft_timeout_end(&limit, weft_signal_wait(signals, 2));
        CHECK(rc == SIGUSR1 || rc == SIGUSR2 || (limited && rc == -ETIMEDOUT), "signal_wait: %d", rc);
        if (rc < 0)
            continue;
        i++;
        stress_progress(1);
        rc = p->waiters == 1 ? weft_semaphore_release(&p->answers) : 0;
        CHECK(rc == 0, "release: %d", rc);
        if (rng_chance(&r, 30))
            (void)stress_pause(&r, 100);
    }
    atomic_fetch_sub(&p->busy, 1);
    return 0;
}
WEFT_CORO(waiter);

static int post_body(void *arg)
{
    struct post *p = arg;
    struct rng r = rng_make(p->seed, 1);
    /* Before the first wait the signals have their former action, which here is to be ignored. */
    static const int signals[] = {SIGUSR1, SIGUSR2};
    weft_timeout limit;
    int rc = weft_timeout_begin(&limit, 0);
    CHECK(rc == 0, "timeout_begin: %d", rc);
    rc = weft_timeout_end(&limit, weft_signal_wait(signals, 2));
    CHECK(rc == -ETIMEDOUT, "signal_wait: %d", rc);
    weft_group g;
    rc = weft_group_begin(&g);
    for (unsigned i = 0; i < p->waiters && rc == 0; i++)
        rc = weft_group_start(&g, waiter, .post = p, .number = i);
    for (unsigned i = 0; p->waiters == 1 && i < p->turns && rc == 0; i++) {
        if (rng_chance(&r, 30))
            rc = stress_pause(&r, 300);
        CHECK(kill(getpid(), rng_chance(&r, 50) ? SIGUSR1 : SIGUSR2) == 0, "kill: errno %d", errno);
        if (rc == 0)
            rc = weft_semaphore_acquire(&p->answers);
    }
    while (p->waiters > 1 && atomic_load(&p->busy) > 0 && rc == 0) {
        CHECK(kill(getpid(), rng_chance(&r, 50) ? SIGUSR1 : SIGUSR2) == 0, "kill: errno %d", errno);
        rc = weft_sleep(WEFT_US(rng_below(&r, 300)));
    }
    return weft_group_join(&g, rc);
}

static void signals(struct round *r)
{
    struct post p = {.seed = r->seed, .answers = WEFT_SEMAPHORE_INIT(0)};
    p.waiters = rng_chance(&r->rng, 50) ? 1 : 2 + rng_below(&r->rng, WAITERS - 1);
    p.turns = 1 + rng_below(&r->rng, 50);
    atomic_store(&p.busy, p.waiters);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, now;
    sigaction(SIGUSR1, &ignore, NULL);
    sigaction(SIGUSR2, &ignore, NULL);
    sigset_t both, mask;
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGUSR2);
    pthread_sigmask(TSAN ? SIG_BLOCK : SIG_UNBLOCK, &both, &mask); /* spared: the watchdog gets them */
    int rc = stress_run(r, post_body, &p);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    CHECK(rc == 0, "the run: %d", rc);
    CHECK(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == SIG_IGN, "SIGUSR1 did not get its %s back",
          "action");
}

/* ---- interrupts -------------------------------------------------------------------------------------------------- */

static void nothing(int number)
{
    (void)number;
}

struct storm {
    _Atomic(bool) stop;
    uint64_t seed;
};

static void interrupt_all(pid_t self, int number)
{
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        pid_t tid = (pid_t)atoi(e->d_name);
        if (TSAN && tid == getpid())
            continue;
        if (tid > 0 && tid != self)
            (void)syscall(SYS_tgkill, getpid(), tid, number); /* it may have ended */
    }
    if (d != NULL)
        closedir(d);
}

static void *interrupt(void *arg)
{
    struct storm *s = arg;
    struct rng r = rng_make(s->seed, 60);
    pid_t self = (pid_t)syscall(SYS_gettid);
    while (!atomic_load(&s->stop)) {
        interrupt_all(self, SIGRTMIN + 4);
        usleep(rng_below(&r, 400));
    }
    return NULL;
}

static void interrupts(struct round *r)
{
    static const struct stressor *const groups[] = {time_stressors, queue_stressors, thread_stressors,
                                                    socket_stressors};
    const struct stressor *others[8];
    uint32_t n = 0;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        for (const struct stressor *s = groups[g]; s->name != NULL && n < 8; s++)
            others[n++] = s;
    }
    struct sigaction action = {.sa_handler = nothing}, before;
    sigaction(SIGRTMIN + 4, &action, &before);
    struct storm s = {.seed = r->seed};
    pthread_t thread;
    if (pthread_create(&thread, NULL, interrupt, &s) != 0)
        abort();
    others[rng_below(&r->rng, n)]->round(r);
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    usleep(1000); /* what is pending in this process's threads is handled */
}

const struct stressor signal_stressors[] = {
    {"signals", "signals sent to waiting tasks", signals},
    {"interrupts", "other stressors while signals interrupt every thread", interrupts},
    {NULL, NULL, NULL},
};
