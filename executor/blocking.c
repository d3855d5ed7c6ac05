/* SPDX-License-Identifier: Apache-2.0 */
/* executor/blocking.c -- weft_to_thread: blocking functions on helper threads.
 *
 * Jobs are tasks of kind THREAD, first in first out. A helper thread is created when more jobs are queued than helpers
 * are about to look at the queue, up to the maximum, and ends after IDLE_SECONDS without work. The next one that ends
 * joins it, stop joins the last, so no thread outlives the pool.
 *
 * References of a THREAD task: the creator's handle; the runtime's, which the end of the task gives back (weft_cancel
 * ends it at once, weft__task_finish_race decides against the helper); and the pool's own, from the submission until
 * the helper has left the function. So the frame stays while the function runs, whoever has lost interest meanwhile.
 *
 * Invariants
 *   1. busy counts a job from its submission until its task has ended and its function has returned; what the end
 *      of the task makes ready is visible before busy falls, and weft__runtime_work_done follows: the virtual clock
 *      never jumps over it.
 *   2. With jobs queued there is a helper, or one being created; if none can be, the jobs end with -EAGAIN.
 *
 * Threads: submission from workers; create, stop and destroy from the thread that runs the runtime; the rest from
 * anywhere. A helper runs with all signals blocked but those that report a fault of its own. */
#include "executor/blocking.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <weft/thread.h>

#include "executor/context_vars.h"
#include "executor/runtime.h"

#define IDLE_SECONDS 10
#define JOB_SUBMITTED (UINT64_C(1) << 32)

struct weft__blocking {
    struct weft_runtime *rt;
    unsigned max_threads;
    _Atomic(uint64_t)
        jobs; /* submissions so far << 32 | busy ones. HELPERS-BUSY: their fall, then the clock may move */
    _Atomic(uint32_t) threads; /* written under the mutex */
    pthread_mutex_t mutex;     /* of all below */
    pthread_cond_t work;       /* a job came, or the end (CLOCK_MONOTONIC) */
    pthread_cond_t quit;       /* threads fell to 0 while stopping */
    struct weft__link *first, *last;
    unsigned queued;
    unsigned available; /* helpers that sleep, start, or have left their function: they look at the queue next */
    bool stopping;
    bool has_ended;  /* `ended` is a thread to be joined */
    pthread_t ended; /* the last helper that ended */
};

static struct weft_task *task_of(struct weft__link *link)
{
    return weft__container_of(link, struct weft_task, link);
}

/* The job is over: its task has ended, its function has returned. */
static void job_done(struct weft__blocking *b, struct weft_task *t)
{
    struct weft_runtime *rt = b->rt;
    weft_release(t);
    weft__fetch_sub_seq_cst(&b->jobs, 1); /* pairs: HELPERS-BUSY */
    weft__runtime_work_done(rt);
}

/* The function is not called: what its frame owns is given back. */
static void never_begins(struct weft_task *t)
{
    if (t->frame->coro->unstarted != NULL)
        t->frame->coro->unstarted(t->frame);
}

/* End a list of jobs that nobody will run. */
static void drop_jobs(struct weft__blocking *b, struct weft__link *link, int rc)
{
    while (link != NULL) {
        struct weft__link *next = link->next;
        struct weft_task *t = task_of(link);
        never_begins(t);
        weft__task_finish_race(t, rc);
        job_done(b, t);
        link = next;
    }
}

static struct weft__link *take_all(struct weft__blocking *b)
{
    struct weft__link *first = b->first;
    b->first = b->last = NULL;
    b->queued = 0;
    return first;
}

/* The end of a job makes its awaiter ready, and that one often submits the next: so the helper counts as available
 * before. */
static void now_available(struct weft__blocking *b)
{
    pthread_mutex_lock(&b->mutex);
    b->available++;
    pthread_mutex_unlock(&b->mutex);
}

static void run_job(struct weft__blocking *b, struct weft_task *t)
{
    int rc = -ECANCELED;
    int claimed = weft__task_claim(t);
    if (claimed > 0) {
        weft__context_enter_thread(t);
        rc = t->frame->coro->entry(t->frame);
        if (weft__unlikely(weft__thread_runtime() == NULL)) /* fork.c took it away */
            weft__misuse(t->frame->coro->name, WEFT__RETURNED_FORKED);
        weft__context_enter_thread(NULL);
    } else {
        never_begins(t);
    }
    now_available(b);
    if (claimed != 0)
        weft__task_finish_race(t, rc);
    job_done(b, t);
}

/* Mutex held, by an available helper. The next job, or NULL when it is time to go: either way it is available no more.
 * */
static struct weft__link *next_job(struct weft__blocking *b)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    int rc = 0;
    while (b->first == NULL && !b->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&b->work, &b->mutex, &until);
    b->available--;
    struct weft__link *link = b->first;
    if (link == NULL)
        return NULL;
    b->first = link->next;
    if (b->first == NULL)
        b->last = NULL;
    b->queued--;
    return link;
}

static void *helper_main(void *pool)
{
    struct weft__blocking *b = pool;
    prctl(PR_SET_NAME, "weft-helper");
    weft__topology_leave(b->rt->plan); /* it began as a copy of the worker that needed it, pinned as that is */
    weft__thread_runtime_enter(b->rt);
    pthread_mutex_lock(&b->mutex);
    struct weft__link *link;
    while ((link = next_job(b)) != NULL) {
        pthread_mutex_unlock(&b->mutex);
        run_job(b, task_of(link));
        pthread_mutex_lock(&b->mutex);
    }
    weft__thread_runtime_enter(NULL);
    bool join = b->has_ended;
    pthread_t before = b->ended;
    b->ended = pthread_self();
    b->has_ended = true;
    uint32_t left = weft__load_relaxed(&b->threads) - 1; /* relaxed: under the mutex */
    weft__store_relaxed(&b->threads, left);              /* relaxed: under the mutex; others take it as a statistic */
    if (left == 0)
        pthread_cond_signal(&b->quit);
    pthread_mutex_unlock(&b->mutex);
    /* Nothing of the pool is touched from here on. `before` has come as far as this, too. */
    if (join)
        pthread_join(before, NULL);
    return NULL;
}

/* 0 or -EAGAIN. */
static int create_helper(struct weft__blocking *b)
{
    sigset_t blocked, old;
    sigfillset(&blocked);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&blocked, faults[i]);
    pthread_t thread;
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    int rc = pthread_create(&thread, NULL, helper_main, b);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -rc;
}

static void submit(struct weft__blocking *b, struct weft_task *t)
{
    weft__fetch_add_seq_cst(&b->jobs, JOB_SUBMITTED | 1); /* pairs: HELPERS-BUSY */
    t->link.next = NULL;
    pthread_mutex_lock(&b->mutex);
    if (b->stopping) {
        pthread_mutex_unlock(&b->mutex);
        drop_jobs(b, &t->link, -ECANCELED);
        return;
    }
    if (b->last != NULL)
        b->last->next = &t->link;
    else
        b->first = &t->link;
    b->last = &t->link;
    b->queued++;
    uint32_t threads = weft__load_relaxed(&b->threads); /* relaxed: under the mutex */
    bool create = b->queued > b->available && threads < b->max_threads;
    if (create) {
        b->available++;
        weft__store_relaxed(&b->threads, threads + 1); /* relaxed: under the mutex */
    } else {
        pthread_cond_signal(&b->work);
    }
    pthread_mutex_unlock(&b->mutex);
    if (!create)
        return;
    int rc = create_helper(b);
    if (rc == 0)
        return;
    struct weft__link *orphans = NULL;
    pthread_mutex_lock(&b->mutex);
    b->available--;
    threads = weft__load_relaxed(&b->threads) - 1; /* relaxed: under the mutex */
    weft__store_relaxed(&b->threads, threads);     /* relaxed: under the mutex */
    if (threads == 0)
        orphans = take_all(b); /* nobody is there, and nobody could be created */
    pthread_mutex_unlock(&b->mutex);
    drop_jobs(b, orphans, rc);
}

weft_task *weft_to_thread_(const weft_frame *frame)
{
    struct weft_runtime *rt = weft__fiber_runtime(weft__fiber_require("weft_to_thread"));
    struct weft_task *t = weft__task_create(rt, WEFT__KIND_THREAD, frame, NULL);
    if (t == NULL)
        return NULL;
    submit(weft__runtime_blocking(rt), weft_ref(t));
    return t;
}

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

struct weft__blocking *weft__blocking_create(struct weft_runtime *rt, unsigned max_threads)
{
    struct weft__blocking *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->rt = rt;
    b->max_threads = max_threads != 0 ? max_threads : WEFT__HELPERS_DEFAULT;
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0)
        goto err_free;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&b->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (rc != 0)
        goto err_free;
    if (pthread_cond_init(&b->quit, NULL) != 0)
        goto err_work;
    if (pthread_mutex_init(&b->mutex, NULL) != 0)
        goto err_quit;
    return b;
err_quit:
    pthread_cond_destroy(&b->quit);
err_work:
    pthread_cond_destroy(&b->work);
err_free:
    free(b);
    return NULL;
}

void weft__blocking_stop(struct weft__blocking *b)
{
    pthread_mutex_lock(&b->mutex);
    b->stopping = true;
    struct weft__link *left = take_all(b);
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->mutex);
    drop_jobs(b, left, -ECANCELED);
    pthread_mutex_lock(&b->mutex);
    while (weft__load_relaxed(&b->threads) != 0) /* relaxed: under the mutex */
        pthread_cond_wait(&b->quit, &b->mutex);
    bool join = b->has_ended;
    b->has_ended = false;
    pthread_mutex_unlock(&b->mutex);
    if (join)
        pthread_join(b->ended, NULL); /* it has joined the one before it, and so on */
}

void weft__blocking_destroy(struct weft__blocking *b)
{
    if (b == NULL)
        return;
    pthread_mutex_destroy(&b->mutex);
    pthread_cond_destroy(&b->quit);
    pthread_cond_destroy(&b->work);
    free(b);
}

uint64_t weft__blocking_state(const struct weft__blocking *b)
{
    return weft__load_seq_cst(&b->jobs); /* pairs: HELPERS-BUSY */
}

unsigned weft__blocking_busy(const struct weft__blocking *b)
{
    return (uint32_t)weft__blocking_state(b);
}

unsigned weft__blocking_threads(const struct weft__blocking *b)
{
    return weft__load_relaxed(&b->threads); /* relaxed: statistic */
}
