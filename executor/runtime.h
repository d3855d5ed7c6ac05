/* SPDX-License-Identifier: Apache-2.0 */
/* executor/runtime.h -- a runtime: its workers, its memory, its reactor thread. */
#ifndef WEFT_EXECUTOR_RUNTIME_H
#define WEFT_EXECUTOR_RUNTIME_H

#include <signal.h>
#include <stdio.h>

#include "executor/driver.h"
#include "executor/fork.h"
#include "executor/idle.h"
#include "executor/parked.h"
#include "executor/pinned.h"
#include "executor/seeded.h"
#include "executor/worker.h"

struct weft__blocking;

#define WEFT__STRANGERS_KEEP 8

enum {
    WEFT__MAIN_NONE = 0,
    WEFT__MAIN_QUEUED,
    WEFT__MAIN_ENDED, /* said by the task's end, so that whoever queued it cannot say QUEUED after that */
};

#define WEFT__TICKS 64u

struct weft__step_look { /* of one worker, at a look between ticks */
    uint64_t steps;
    bool lay; /* ready work, behind the step that it was in */
};

struct weft_runtime {
    weft_options options; /* with defaults filled in */
    bool fifo, inlining, is_virtual;
    bool in_turn; /* fifo or seeded: what comes next is chosen in the idle loop only, and timers take turns as well */
    struct weft__seeded *seeded; /* sched=seeded; else NULL */
    bool watches;                /* debug: counted in weft__watched_runtimes */
    uint32_t stack_class;        /* of tasks that ask for nothing */
    unsigned worker_count;
    struct weft__strangers strangers; /* beside what workers only read; alone.c. Tests change keep */
    _Atomic(int64_t) light;           /* WEFT__SPARE_LIGHT; tests set it to other values */
    struct weft__worker *workers;
    struct weft_plan *plan;
    unsigned homes; /* parts that memory is in: one for each node that is a worker's home, 1 where there is one node */
    bool bound;     /* memory is bound to nodes: this machine has several */
    bool sole;      /* its worker is the only one in the process: sole.c */
    const struct weft__driver *driver; /* NULL: no I/O */
    void *io;
    struct weft__blocking *blocking;
    struct weft__slab tasks[WEFT__ROOMS];
    struct weft__slab blocks, large_blocks; /* for what often comes and goes: time limits; watches */
    struct weft__slab sleeps;               /* of tasks parked until an instant: parked.c */
    struct weft__stack_arena arena;
    struct weft__fiber_pool (*pools)[WEFT__STACK_CLASSES]; /* of each home; under fiber_guard */
    uint32_t fiber_guard;
    _Atomic(weft_ns) last_trim; /* of the pools */
    pthread_t reactor_thread;
    /* The reactor thread's own. Here, so that a forked child, which has no such thread, still holds what is in them. */
    struct weft__step_watch *watch;
    struct weft__step_look *looks;
    struct weft__canary *canary;
    sigset_t caller_mask; /* of the thread that called weft_run: for children of a fork in a task */
    struct weft__idle idle;
    struct weft__inbox injector;
    struct weft__pinned_set pinned;
    /* Workers from this one on stand aside (follow.c). ACTIVE: stored before ASIDE is set or cleared in their `hurry`. */
    _Atomic(uint32_t) active;
    bool follows;     /* the number of workers is the machine's, not the program's */
    weft_ns followed; /* when the reactor thread last looked */
    struct weft__fiber
        *at_round_end; /* order=fifo: runs when this round is over (NULL: none waits); the worker's own */
    bool halted;       /* order=fifo: the run is over, what is still queued is dropped; the worker's own */
    _Atomic(uint64_t) ids;
    _Atomic(int64_t) virtual_now;
    /* The reactor thread's ticks: their number, and when the latest were. TICK-STAMP: `tick_begun` grows before the tick's time is taken,
     * `tick_known` when it is in its place; so who saw a number knows that the next tick's time is later than that look. */
    _Atomic(uint32_t) tick_begun, tick_known;
    _Atomic(int64_t) tick_at[WEFT__TICKS];
    uint32_t virtual_guard;
    _Atomic(uint64_t) injected, ticks, slow_tasks, late_wakes, ready_stalls, tick_batches, tick_events;
    _Atomic(int64_t) delays;                             /* the sum of the workers' queue delays (delay.c) */
    _Atomic(uint64_t) created_outside, finished_outside; /* by threads that are no workers of this runtime */
    /* ---- the main task, with the option handle_sigint (interrupt.c) ---- */
    uint32_t main_guard;         /* of the next two */
    struct weft_task *main_task; /* while it is under way */
    bool interrupted;            /* SIGINT has cancelled it */
    int main_error;              /* SIGINT could not be taken over */
    /* ---- the end ---- */
    _Atomic(uint32_t) stopping; /* workers leave their loop (pairs: STOPPING) */
    _Atomic(uint32_t)
        begun; /* WEFT__MAIN_*: only while a main task is queued or runs idleness means something (pairs: BEGUN) */
    _Atomic(uint32_t) deadlocked; /* virtual clock: nothing can go on */
    _Atomic(uint32_t) shut;       /* no task was left: submissions are refused (pairs: SHUT) */
    _Atomic(uint32_t) refused;    /* no callback begins any more (pairs: CALLBACKS) */
    _Atomic(uint32_t) submitters; /* threads inside weft_submit right now (pairs: SHUT) */
    _Atomic(uint32_t) ended;      /* the root task has ended */
    _Atomic(uint32_t) visitors;   /* foreign threads inside this runtime right now (pairs: VISIT) */
    _Atomic(uint32_t) closing;    /* its memory is about to go: no more visitors (pairs: VISIT) */
    struct weft__parker done;     /* the thread in weft_run sleeps here */
    uint32_t end_guard;           /* of the three below, and of frees by foreign threads */
    bool finished;                /* the threads are gone; only handles and holds keep the object */
    uint64_t handles;             /* task descriptors alive when it finished */
    uint64_t holds;
    struct weft_runtime *next; /* of all runtimes, for fork */
    uint64_t owner_pid;
};

#define WEFT__BLOCK 128
#define WEFT__LARGE_BLOCK 512
#define WEFT__SLEEP_PARK 48

struct weft__timers *weft__fiber_timers(struct weft__fiber *f);
struct weft__blocking *weft__runtime_blocking(struct weft_runtime *rt);
/* A helper thread's job has ended: the virtual clock may have been waiting for it. */
void weft__runtime_work_done(struct weft_runtime *rt);
/* weft_runtime_current() in a helper thread; NULL: leaves. */
void weft__thread_runtime_enter(struct weft_runtime *rt);
struct weft_runtime *weft__thread_runtime(void);

/* A thread that is no worker of rt comes to touch its fibers, queues or parkers: the end waits until it has left. False: they
 * are gone, or going; nothing may be touched (and leave is not called). */
static inline bool weft__runtime_enter(struct weft_runtime *rt)
{
    weft__fetch_add_seq_cst(&rt->visitors, 1);               /* pairs: VISIT */
    if (weft__likely(weft__load_seq_cst(&rt->closing) == 0)) /* pairs: VISIT */
        return true;
    weft__fetch_sub_seq_cst(&rt->visitors, 1); /* pairs: VISIT */
    return false;
}
static inline void weft__runtime_leave(struct weft_runtime *rt)
{
    weft__fetch_sub_seq_cst(&rt->visitors, 1); /* pairs: VISIT; the last access */
}

/* None can go on: what each task waits for, in debug mode; and the same in any mode, for libweft_testing, which has the first replaced. In the
 * thread that runs the runtime, nobody else runs. */
void weft__deadlocked(struct weft_runtime *rt);
void weft__report_deadlock(struct weft_runtime *rt);
/* Debug mode: remember the call that created a task; and tell it, as "PROGRAM+0x..." for addr2line, or "". */
void weft__note_creation(struct weft_task *t, const void *address);
void weft__creation_text(struct weft_task *t, char *buf, size_t size);
/* Around something that a thread from outside creates and schedules in rt; false: it is ending (foreign.c). */
bool weft__submission_begin(struct weft_runtime *rt);
void weft__submission_end(struct weft_runtime *rt);

/* A runtime with its threads, and nothing to run. 0 or -errno (runtime.c). */
int weft__runtime_start(struct weft_runtime **out, const weft_options *options, const struct weft__driver *driver);
/* Its end, when no task is left, or no task can go on. Frees it, unless handles are left. */
void weft__runtime_end(struct weft_runtime *rt);

/* Around a main task, before it is scheduled and after it has ended (interrupt.c). ended gives the outcome of the run. */
void weft__main_begins(struct weft_runtime *rt, struct weft_task *t);
int weft__main_ended(struct weft_runtime *rt, struct weft_task *t, int rc);

/* The time now, but for the price of a load: an instant that it was before (clock.c). */
static inline uint32_t weft__stamp(struct weft_runtime *rt)
{
    return weft__load_seq_cst(&rt->tick_begun); /* pairs: TICK-STAMP */
}
/* An instant of the real clock that is not before the stamp was taken, and not a tick later. */
weft_ns weft__stamp_instant(struct weft_runtime *rt, uint32_t stamp);
/* The reactor thread: a tick. Returns the time. */
weft_ns weft__stamp_tick(struct weft_runtime *rt);
static inline weft_ns weft__deadline_from(weft_ns now, weft_ns duration)
{
    duration = duration < 0 ? 0 : duration;
    return duration >= WEFT_FOREVER - now ? WEFT_FOREVER : now + duration;
}

/* The reactor thread: have the CPUs that this process may use changed? (follow.c) */
void weft__follow_look(struct weft_runtime *rt, weft_ns now);
/* A worker's turn in its idle loop while it stands aside. */
void weft__stand_aside(struct weft__worker *w);
static inline bool weft__stands_aside(const struct weft__worker *w)
{
    return weft__unlikely(w->index >= weft__load_acquire(&w->rt->active)); /* pairs: ACTIVE */
}

/* The reactor thread (tick.c). */
void *weft__reactor_main(void *rt);
/* Reactor thread, between ticks (tick.c), with what it saw last, for each worker: does ready work lie behind a step that was looked at before? Then a sleeper is woken. True: it lies behind a
 * step that was not. */
bool weft__tick_look(struct weft_runtime *rt, struct weft__step_look *looks);
/* Virtual clock, all workers parked (checked again inside): move time to the next deadline and fire it. True: something was
 * made ready. */
bool weft__virtual_advance(struct weft_runtime *rt);
/* The end of an open_memstream: its text to a descriptor, and freed. 0 or -errno. */
int weft__write_stream(FILE *stream, char **text, size_t *size, int fd);
/* A line to the user's report function or stderr. */
void weft__report(struct weft_runtime *rt, const char *format, ...) WEFT_PRINTF(2, 3);

/* A task descriptor's memory goes back (task.c): called with no reference left. */
void weft__task_free(struct weft_task *t);
void weft__task_names_free(struct weft__task_extra *x);
/* Hand an error that nobody asked for to the exception handler, or report it (exception.c). Any thread; t may be NULL. */
void weft__exception(struct weft_runtime *rt, enum weft_exception_kind kind, struct weft_task *t, int error);
/* In a thread that is no worker of rt: give a descriptor back (runtime.c). */
void weft__runtime_handle_freed(struct weft_runtime *rt, struct weft_task *t);
/* More handles of it were given back than given: ends the program with a sentence. */
_Noreturn void weft__task_over_released(const struct weft_task *t);
/* One reference more, unless there is none left. On descriptors that nobody holds for the caller, while workers run: only as a stranger (alone.h). */
bool weft__task_try_ref(struct weft_task *t);
/* Any thread: call visit for every descriptor, as weft__slab_each. */
void weft__each_task(struct weft_runtime *rt, void (*visit)(void *user, void *object), void *user);
static inline void weft__task_unref(struct weft_task *t)
{
    uint32_t drop = 1;
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    if (weft__unlikely((word & WEFT__STATE) == WEFT__DONE && (word & WEFT__OWED)))
        drop += (weft__fetch_and_acq_rel(&t->word, ~(uint64_t)WEFT__OWED) & WEFT__OWED) != 0; /* pairs: TASK-DONE */
    uint32_t refs = weft__fetch_sub_acq_rel(&t->refs, drop);                                  /* pairs: TASK-REFS */
    if (weft__unlikely(refs < drop))
        weft__task_over_released(t);
    if (refs == drop)
        weft__task_free(t);
}
/* All tasks not ended, referenced, in order of creation; *out is malloc'd. Returns the number or -ENOMEM. */
long weft__all_tasks(struct weft_runtime *rt, struct weft_task ***out);
/* The same without memory: at most so many of them, any. 0 only when there are none. */
long weft__some_tasks(struct weft_runtime *rt, struct weft_task **room, size_t most);
/* Claim a NEW task: 1 claimed, 0 refused (somebody else has it). Claimed with a cancel pending: -1, to be finished unrun. */
int weft__task_claim_slow(struct weft_task *t);
/* For who has not got its entry out of a queue: alone.c. */
int weft__task_claim_strange(struct weft_task *t);
static inline int weft__task_claim(struct weft_task *t)
{
    uint64_t word = WEFT__NEW;
    return weft__likely(weft__cas_acq_rel(&t->word, &word, WEFT__STARTED))
               ? 1
               : weft__task_claim_slow(t); /* pairs: TASK-C, TASK-NEW */
}

#endif
