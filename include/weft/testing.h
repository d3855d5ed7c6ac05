/* SPDX-License-Identifier: Apache-2.0 */
/* weft/testing.h -- for the tests of programs that use weft: make rare things happen, on purpose, and get them again.
 *
 *     weft_sweep_cancel(options, coroutine, ...)   runs it once for each moment at which it waits, cancelled exactly there
 *     weft_sweep_faults(options, coroutine, ...)   runs it once for each system call and allocation, which fails there
 *     weft_explore(options, coroutine, ...)        runs it under many schedules; one that fails is made short, and can be run again
 *     weft_faults_begin(plan, seed)                from now on chosen calls fail, by a plan
 *
 * All of it is in a library of its own, libweft_testing, which stands on the static library and is linked only into tests: by
 * CMake weft::testing (component testing), else `pkg-config --cflags --libs weft-testing`. It replaces calls to malloc, recv, epoll_ctl and others that are
 * made from the program's own objects and from weft's (the linker's --wrap); what libc and shared libraries call among themselves is left alone.
 * Nothing of it is in libweft. Not part of <weft.h>. docs/testing.md has whole programs.
 *
 * What each run is checked for, beside its outcome: every task has ended, every stack is back, every handle is released, no descriptor is left
 * open, no memory is left allocated, and it ends at all (a run in which nobody can go on has failed, with -EDEADLK, and is reported with what its tasks
 * wait for, the first 20 lines; one that hangs for a minute ends the program with a dump of its tasks).
 *
 * Each of these calls belongs to one thread at a time, the test's own, outside of tasks; they sleep until they are done. */
#ifndef WEFT_TESTING_H
#define WEFT_TESTING_H

#include <weft/run.h>

WEFT_BEGIN_DECLS

/* ---- what a coroutine under test may say ---- */

/* Something that must hold does not: the run goes on, and has failed. Any thread, any task, during a sweep or an exploration (elsewhere it prints the
 * sentence and aborts). Never suspends. */
#define weft_expect(condition) ((condition) ? (void)0 : weft_expect_failed(__FILE__, __LINE__, #condition))
void weft_expect_failed(const char *file, int line, const char *condition);

/* "Here somebody else could come in": between two statements that another task on another core may fall between. In an explored run it is a place
 * where the schedule may change, as every call of weft is anyhow; elsewhere it costs a load. Inside tasks.
 * In a program's own files, which are also built without libweft_testing: define WEFT_NO_TESTING for that build, and it is nothing. */
#ifdef WEFT_NO_TESTING
static inline void weft_point(void)
{
}
#else
void weft_point(void);
#endif

/* The calling task belongs to the test, not to the program: it is no victim of weft_sweep_cancel, and its waits are not counted. At most 16
 * in a run. Outside of sweeps it does nothing. */
void weft_sweep_leave_out(void);

/* Is this run disturbed? False in the run with which the disturbed ones are compared, and outside of sweeps. Any thread. */
bool weft_sweep_disturbed(void);

/* ---- one run, as the callbacks below see it ---- */

typedef struct weft_test_run {
    size_t size;
    const char *name; /* of the coroutine or program */
    const char *what; /* which run it is, for people: "2 workers, wait 17, asleep, the task itself cancelled" */
    unsigned workers;
    uint64_t number; /* the wait or call that was hit, the seed; 0: undisturbed */
    bool landed;     /* it was hit: the run came that far */
    int rc;          /* what the run returned */
    int undisturbed; /* what the undisturbed one returned */
} weft_test_run;

/* ---- sweeps ---- */

enum weft_sweep_victim {
    WEFT_VICTIM_SELF = 1, /* the task that waits at that moment */
    WEFT_VICTIM_MAIN = 2, /* the main task */
};

/* A field left zero means the default named beside it. */
typedef struct weft_sweep {
    size_t size;      /* set by WEFT_SWEEP */
    unsigned workers; /* 0: everything with 1, 2 and 8 */
    unsigned victims; /* of cancels: WEFT_VICTIM_*; 0: both, one after the other */
    unsigned most;    /* disturbed runs of one kind; more is an error, since it was not all; 0: 3000 */
    unsigned least;   /* waits (with one worker) or calls that must be found at least; 0: 1 */
    unsigned
        persistent; /* faults: 1: the call that failed goes on failing, as when memory or descriptors have run out */
    unsigned real_clock;   /* 1: not the virtual clock */
    unsigned keeps_memory; /* 1: do not look for memory left allocated (the program has caches) */
    const char *calls;     /* faults: which calls, as in a plan: "malloc,recv"; NULL: all that are known */
    const char *faults;    /* faults: what happens, as in a plan: "ECONNRESET"; NULL: what is usual for each call */
    void (*before)(void *user); /* before each run: bring the test's own state back to its beginning */
    /* After each run, when all is over: NULL, or a sentence that says what is wrong. Without it a disturbed run is right when it ended as the
     * undisturbed one, with -ECANCELED (sweep_cancel), or with any negative errno (sweep_faults); a run that ends with -EDEADLK because nobody could
     * go on is wrong, also the undisturbed one. With it, only this decides (what a deadlock leaves open or allocated is not looked at). */
    const char *(*after)(void *user, const weft_test_run *run);
    void *user;
    void (*report)(void *user, const char *line); /* what was found, a line at a time; NULL: to stderr */
} weft_sweep;
#ifdef __cplusplus
#define WEFT_SWEEP(...) (weft__box<weft_sweep>{{.size = sizeof(weft_sweep), __VA_ARGS__}}.address())
#else
#define WEFT_SWEEP(...) (&(weft_sweep){.size = sizeof(weft_sweep), __VA_ARGS__})
#endif

/* Run a coroutine as main task once for each suspension that it and its tasks have, and cancel there; in two ways: just before the task sleeps (the wait is
 * announced), and just after. With one worker and the virtual clock a program suspends in the same order each time, so each of its waits is met exactly
 * once; with several, the k-th of each run is. options may be NULL. The frame is copied for each run.
 *     long runs = weft_sweep_cancel(NULL, transfer, .amount = 7);
 * Returns the number of disturbed runs, or after the first one that is wrong -EPROTO: reported, with the line that repeats that run alone:
 * the environment variable WEFT_SWEEP. A call that failed has a name there, "recv@session#3": the third recv by tasks whose function is session
 * ("main": the main task; "worker", "thread": no task), which is the same call also where workers do things in another order. With it a sweep runs that one (1; 0
 * when it is one of the other kind of sweep), with several workers up to 30 times until it goes wrong again, and says how often it went well, or
 * that it is never reached; a sweep of another name runs all, and says so. -EINVAL: options, or a WEFT_SWEEP that is no run of it; a name in `calls` or
 * `faults` that is none and a wrong WEFT_SWEEP are reported. */
#define weft_sweep_cancel(options, ...) weft__SWEEP_CANCEL(options, __VA_ARGS__, )
#define weft__SWEEP_CANCEL(options, fn, ...)                                                                           \
    weft_sweep_cancel_((options), weft__FRAME(fn, __VA_ARGS__), sizeof(struct fn))
long weft_sweep_cancel_(const weft_sweep *options, const weft_frame *frame, size_t frame_size);

/* The same, but the k-th call that could fail fails: allocations of the program and of weft (from the start of the runtime to its end), sockets, reads,
 * threads. A program whose runtime could not even start is told so by weft_run's result, which counts as the run's. With `persistent` the calls of that
 * kind go on failing to the end of the run; epoll_wait is then not among them unless `calls` names it: without it nobody is told of I/O. (Timers live in memory from realloc: when that is gone for good weft_sleep looks again and again whether
 * it is time, and on the virtual clock it never is.) */
#define weft_sweep_faults(options, ...) weft__SWEEP_FAULTS(options, __VA_ARGS__, )
#define weft__SWEEP_FAULTS(options, fn, ...)                                                                           \
    weft_sweep_faults_((options), weft__FRAME(fn, __VA_ARGS__), sizeof(struct fn))
long weft_sweep_faults_(const weft_sweep *options, const weft_frame *frame, size_t frame_size);

/* Both for a program that calls weft_run, weft_run_with or weft_run_frame itself, once: `program` is called for each run, its options are kept but
 * for workers, pin, clock, seed, report and at_end. */
long weft_sweep_cancel_program(const weft_sweep *options, const char *name, void (*program)(void));
long weft_sweep_faults_program(const weft_sweep *options, const char *name, void (*program)(void));

/* ---- schedules ---- */

enum weft_strategy {
    WEFT_EXPLORE_BOTH = 0, /* seeds in turn */
    WEFT_EXPLORE_RANDOM,   /* each choice an even draw: good where many tasks do alike */
    WEFT_EXPLORE_PCT, /* each task has a random priority, the highest one runs, and at `depth` random moments the running one falls to the
                              end (Burckhardt and others, "A randomized scheduler with probabilistic guarantees of finding bugs"): a bug that
                              needs d such moments among n tasks and k steps is found by one seed with probability at least 1 / (n * k^d) */
};

typedef struct weft_explored {
    size_t size;
    unsigned runs;            /* up to the one that failed, or all; shrinking not counted */
    uint64_t seed;            /* that failed; 0: none, or a list of choices was given */
    int rc;                   /* and how it ended */
    unsigned choices, matter; /* choices of the run that failed; those that are left in the schedule */
    char *
        schedule; /* that fails, for the option schedule, or WEFT_SCHEDULE; to be freed by the caller; NULL: nothing failed */
} weft_explored;

typedef struct weft_explore_options {
    size_t size;          /* set by WEFT_EXPLORE */
    unsigned runs;        /* 0: 1000 */
    unsigned strategy;    /* enum weft_strategy */
    unsigned depth;       /* PCT: moments; 0: 1, 2, 3 in turn */
    uint64_t seed;        /* the first; 0: 1 */
    const char *schedule; /* run this one, once */
    unsigned as_found;    /* 1: do not make it shorter */
    void (*before)(void *user);
    /* As in a sweep. Without it a run has failed when it returned a negative errno (-EDEADLK: nobody can go on). */
    const char *(*after)(void *user, const weft_test_run *run);
    void *user;
    void (*report)(void *user, const char *line);
    weft_explored *found; /* filled in if given */
} weft_explore_options;
#ifdef __cplusplus
#define WEFT_EXPLORE(...)                                                                                              \
    (weft__box<weft_explore_options>{{.size = sizeof(weft_explore_options), __VA_ARGS__}}.address())
#else
#define WEFT_EXPLORE(...) (&(weft_explore_options){.size = sizeof(weft_explore_options), __VA_ARGS__})
#endif

/* Run a coroutine under one schedule after the other (WEFT_SCHED_SEEDED: one thread, virtual clock; others come in at calls of weft and at weft_point)
 * until one fails. 0: none did. 1: one did. It is then run again with fewer and fewer choices that differ from a calm run, as long as it still fails,
 * and reported with the line that repeats it: the environment variable WEFT_SCHEDULE=NAME:SCHEDULE, which makes the weft_explore of that coroutine run
 * this schedule only. A choice in it that the run does not come to is reported. Negative: -EINVAL (options; a schedule that is none, with a report).
 *     assert(weft_explore(WEFT_EXPLORE(.runs = 500), two_clients, .store = &store) == 0);
 * A run that crashes ends the program; the line that repeats it is printed first. */
#define weft_explore(options, ...) weft__EXPLORE(options, __VA_ARGS__, )
#define weft__EXPLORE(options, fn, ...) weft_explore_((options), weft__FRAME(fn, __VA_ARGS__), sizeof(struct fn))
int weft_explore_(const weft_explore_options *options, const weft_frame *frame, size_t frame_size);

/* ---- faults by a plan ---- */

/* A plan is a list of rules, separated by blanks or semicolons: CALLS=FAULTS@WHEN.
 *     CALLS    names separated by commas, or *: malloc calloc realloc aligned_alloc mmap madvise mprotect epoll_create1 epoll_ctl epoll_wait eventfd
 *              socket bind listen accept4 connect recv send read write getaddrinfo pthread_create open
 *              (recv stands for recv, recvfrom and recvmsg; send for send, sendto and sendmsg; write for write and writev; epoll_wait for epoll_pwait2)
 *     FAULTS   separated by |: ENOMEM EMFILE ENFILE ENOBUFS ENOSPC EINTR EAGAIN ECONNRESET EPIPE ECONNABORTED ECONNREFUSED ETIMEDOUT ENETUNREACH
 *              EADDRINUSE EIO, `short` (fewer bytes than asked for), `any` (each that the call may answer with)
 *     WHEN     a number: that call alone (1 is the first); a range 3-5, or 3- without end; a share 10% or 0.1%, drawn from the seed
 * A fault that a call cannot answer with is not done: EAGAIN only on a socket (and then epoll tells of the socket anew, as a kernel would), EINTR on
 * what can block. The first rule that applies is used; each share is drawn for itself, so of two rules of 10% the second gets 10% of what the first leaves.
 *     "recv,send,read,write,accept4,connect,epoll_wait=EINTR|EAGAIN|short@20%"   what a program must not notice: `transparent` for short
 *     "accept4=EMFILE@2-4 malloc=ENOMEM@0.1%"
 * 0; -EINVAL: the plan; -EBUSY: there is one already. The plan holds for the whole process, all threads. */
int weft_faults_begin(const char *plan, uint64_t seed);
void weft_faults_end(void);
/* How many faults have been made since the last begin. Any thread. */
uint64_t weft_faults_made(void);
/* The same as text: "recv: 17 of 201, malloc: 3 of 90". Any thread. */
void weft_faults_describe(char *buf, size_t size);

WEFT_END_DECLS

#endif
