/* SPDX-License-Identifier: Apache-2.0 */
/* weft/run.h -- starting a runtime, and what it may use of the machine. */
#ifndef WEFT_RUN_H
#define WEFT_RUN_H

#include <weft/coroutine.h>

WEFT_BEGIN_DECLS

/* A running set of worker threads and one reactor thread. Several may live in one process. */
typedef struct weft_runtime weft_runtime;

/* How workers are bound to the machine. */
enum weft_pin {
    WEFT_PIN_DEFAULT = 0, /* WEFT_PIN_NODE when there is a worker for every allowed CPU, else WEFT_PIN_NONE */
    WEFT_PIN_NONE,        /* the kernel places the workers */
    WEFT_PIN_NODE,        /* each worker may run on the allowed CPUs of one NUMA node */
    WEFT_PIN_CORE,        /* each worker runs on one CPU */
};

/* Which CPUs workers are given when there are fewer workers than cores. Second hardware threads of a core are used only when every core has
 * a worker, fast cores before slow ones. */
enum weft_spread {
    WEFT_SPREAD_EVENLY = 0, /* evenly over caches, nodes and packages: the most cache and memory bandwidth for each */
    WEFT_SPREAD_COMPACT,    /* neighbours: what workers share stays near */
};

/* Whom a worker without work of its own asks first. */
enum weft_stealing {
    WEFT_STEAL_NEAR = 0, /* the nearest: same core, shared cache, node, package, then farther nodes by their distance */
    WEFT_STEAL_RANDOM,   /* anybody, in an order drawn anew each time: for comparison */
};

/* In which order ready tasks run. */
enum weft_order {
    WEFT_ORDER_DEFAULT = 0, /* first in first out with shortcuts: what is awaited and not yet started runs at once */
    WEFT_ORDER_FIFO,        /* asyncio's own order, without shortcuts; meaningful with one worker */
};

enum weft_clock {
    WEFT_CLOCK_REAL = 0, /* CLOCK_MONOTONIC */
    WEFT_CLOCK_VIRTUAL,  /* starts at 0 and jumps to the next deadline whenever nothing is ready: an hour of timeouts
                            passes in a moment; with one worker, the same way each time. It waits for tasks, descriptors
                            and weft_to_thread, but does not see other threads: see -EDEADLK at weft_run */
};

/* When an awaited, unstarted task runs at once on its awaiter's stack. */
enum weft_inlining {
    WEFT_INLINING_AUTO = 0, /* where it is safe, with a bound so that other ready work gets its turn */
    WEFT_INLINING_NEVER,
    WEFT_INLINING_ALWAYS, /* wherever the rules allow it, whatever it costs others: for tests */
};

/* Who decides what runs next. */
enum weft_sched {
    WEFT_SCHED_DEFAULT = 0, /* the workers */
    WEFT_SCHED_SEEDED, /* the option `seed`: one thread does the work of all, on the virtual clock, and draws every choice that
                               workers would make (which ready task is next, when a wake lands, whether a task is overtaken at a call
                               that could have suspended) from the seed. The same seed gives the same run: weft_schedule_hash. The option
                               `workers` has no influence. Others come in only at calls of weft: a race between two plain statements
                               is for the preset tsan to find */
};

/* What nobody was there to be told: see the option exception_handler. */
enum weft_exception_kind {
    WEFT_NEVER_RETRIEVED = 1, /* a task or future failed, and was released without anybody asking for its outcome */
    WEFT_CALLBACK_FAILED,     /* a callback (weft/callback.h) returned an error */
    WEFT_SHUTDOWN_FAILED,     /* a task that was cancelled at the end of the run answered with an error */
};
typedef struct weft_exception {
    size_t
        size; /* of the struct as the library, or who calls weft_call_exception_handler, knows it: later fields are not there */
    enum weft_exception_kind kind;
    int error;              /* negative */
    struct weft_task *task; /* borrowed for the call: its frame and name may be read; NULL when there is none */
    const char *name;       /* the task's name */
    const char *function;   /* of the coroutine or callback */
    const char *
        created_at; /* option `debug`: where the task was created, for `addr2line -e PROGRAM 0x3bb1`: "PROGRAM+0x3bb1". Else "" */
} weft_exception;

/* What a runtime is told at its start. A field left zero means the default named beside it. */
typedef struct weft_options {
    size_t size;       /* set by WEFT_OPTIONS: the library reads no byte beyond it */
    unsigned workers;  /* worker threads; 0: one per CPU that this process may use (affinity mask, cpuset and
                             cgroup CPU quota, whichever is least); if that changes while the runtime runs, so many of them take part,
                             never more than at the start. At most WEFT_MAX_WORKERS */
    unsigned pin;      /* enum weft_pin */
    unsigned order;    /* enum weft_order */
    unsigned clock;    /* enum weft_clock */
    unsigned inlining; /* enum weft_inlining */
    unsigned sched;    /* enum weft_sched */
    unsigned
        debug; /* 1: say more in reports: where a task that failed was created, steps longer than slow_task also on the
                             virtual clock, what each task waits for when a run ends with -EDEADLK, and who holds the lock that it waits for. Costs an allocation a task. asyncio: debug mode */
    unsigned max_threads; /* most helper threads for weft_to_thread; 0: 64 */
    size_t stack_size;    /* bytes of stack guaranteed to each task; 0: 32 KiB. At most WEFT_MAX_STACK */
    /* Report a task that runs longer than this without suspending (it blocks its worker); 0: 100 ms, WEFT_FOREVER: never. Not on the virtual
     * clock. Each such step is reported once, with the innermost function that runs as a task, and the task (then that one's function stands behind
     * it), as weft_dump_workers tells them:
     *     worker 1 is blocked: a task in parse() has run for 120 ms without suspending, in Task-4 (session); blocking calls belong into weft_to_thread, and long computations need a weft_yield now and then
     * At most 8 at once and one a second from then on; a report then ends with "; 3 more such steps were not reported". weft_metrics.slow_tasks
     * counts all. A step is not the task's own doing, and not reported, while the kernel lets its thread wait for a CPU. */
    weft_ns slow_task;
    uint64_t seed; /* of the choice of victims, and of every choice with WEFT_SCHED_SEEDED; 0: from the kernel */
    /* Receives one line per report: a step that is long, an error nobody asked for, a pin that was refused. NULL: to stderr.
     * Called from any thread of the runtime; must not call weft. */
    void (*report)(void *user, const char *line);
    void *report_user;
    /* Receives errors that nobody asked for, instead of `report`. Called from any thread of the runtime; may call weft functions that
     * never suspend. A failure in it can't reach the runtime. asyncio: set_exception_handler. */
    void (*exception_handler)(void *user, const weft_exception *e);
    void *exception_user;
    /* Called in the thread that called weft_run, once all workers have stopped, with the runtime's final account
     * (weft/metrics.h may be used on it). NULL: not called. */
    void (*at_end)(void *user, weft_runtime *rt);
    void *at_end_user;
    /* 1: while the main coroutine runs, SIGINT (Ctrl-C) cancels it, once, so that it can clean up; if it then ends cancelled, and nobody
     * else had asked for that, the run returns -EINTR, else what the coroutine returned. A second SIGINT gives the signal its former action
     * back and does that at once: usually it ends the process. So does one that comes when the main coroutine has just ended. From its end
     * on, SIGINT has its former action again. A signal that the process ignores stays ignored; a task that waits for SIGINT by
     * weft_signal_wait has it from then on, and the main coroutine is not cancelled. 0: SIGINT is left alone. asyncio: run() does this. */
    unsigned handle_sigint;
    unsigned stealing; /* enum weft_stealing */
    unsigned spread;   /* enum weft_spread */
    /* The CPUs to use, by the kernel's numbers, in the order in which workers get them: worker i gets cpus[i % cpu_count]. NULL: all that this
     * process may use, in the order that `spread` says. Then `workers` 0 means cpu_count, and `pin` 0 WEFT_PIN_CORE; with
     * WEFT_PIN_NODE a worker gets those listed that are on one node. A CPU this process may not use, or WEFT_PIN_NONE: -EINVAL. Read only
     * at the start. */
    const int *cpus;
    size_t cpu_count;
} weft_options;

#define WEFT_MAX_WORKERS 1024u
#define WEFT_MAX_STACK ((size_t)8 * 1024 * 1024)
#ifdef __cplusplus
#define WEFT_OPTIONS(...) (weft__box<weft_options>{{.size = sizeof(weft_options), __VA_ARGS__}}.address())
#else
#define WEFT_OPTIONS(...) (&(weft_options){.size = sizeof(weft_options), __VA_ARGS__})
#endif

/* Start a runtime with default options, run one coroutine as its main task, cancel and await whatever it left
 * running, stop, free everything:    int rc = weft_run(serve, .port = 80);
 * Returns what the coroutine returned: 0 or a count, a negative errno, -ECANCELED if it ended cancelled; or the error
 * that kept the runtime from starting: -EINVAL (options), -ENOMEM, -EAGAIN (threads), -EMFILE; -EINTR after SIGINT, if the options say
 * so; -EDEADLK on the virtual clock when nothing can ever go on: then the tasks are given up where they wait, their functions do not return, and what
 * they wait for (a lock, an event ... with static storage) must be initialised anew before it is used again. Which task waits for what is told with the option
 * debug only; without it no line is printed, so run tests on the virtual clock with .debug = 1. A thread of the program's own is nothing to that
 * clock: if only such a thread would set the event, put the item or submit the task that all wait for, the run ends so at once (and a time limit
 * passes at once), and the thread then touches what is gone. Let tasks do that, or have a task await a weft_to_thread that joins the thread: the
 * clock stands while it runs; -EBUSY when called from a task (use weft_create_task) -- one runtime does not run
 * inside another's worker. The calling thread sleeps meanwhile. asyncio: run(). */
#define weft_run(...) weft__RUN(NULL, __VA_ARGS__, )
/* The same with options: weft_run_with(WEFT_OPTIONS(.workers = 2), serve, .port = 80). */
#define weft_run_with(options, ...) weft__RUN(options, __VA_ARGS__, )

/* The same on a frame of the caller's, to read results of the main coroutine from:
 *     struct total f = {.from = 1}; int rc = weft_run_frame(NULL, total, &f); use(f.sum); */
#ifdef __cplusplus
#define weft_run_frame(options, fn, frame)                                                                             \
    ((frame)->frame_.coro = &fn##_coro_,                                                                               \
     weft_run_((options), &static_cast<struct fn *>(frame)->frame_, sizeof(struct fn)))
#else
#define weft_run_frame(options, fn, frame)                                                                             \
    ((frame)->frame_.coro = &fn##_coro_,                                                                               \
     weft_run_((options), &(1 ? (frame) : (struct fn *)NULL)->frame_, sizeof(struct fn)))
#endif

#define weft__RUN(options, fn, ...) weft_run_((options), weft__FRAME(fn, __VA_ARGS__), sizeof(struct fn))
/* The frame is copied; after the run the main task's frame, results included, is copied back to `frame`. */
WEFT_API int weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size);

/* Several runs on one runtime:
 *     weft_runner *r;
 *     rc = weft_runner_open(&r, NULL);
 *     rc = weft_runner_run(r, fetch, .url = a);      // as weft_run, but what it leaves running goes on in the background
 *     rc = weft_runner_run(r, fetch, .url = b);
 *     rc = weft_runner_close(r);                     // now leftovers are cancelled and waited for
 * Context variables set by one main coroutine are seen by the next. Between runs the virtual clock stands, and with WEFT_SCHED_SEEDED
 * everything. One thread at a time uses a runner; not a task (-EBUSY).
 * asyncio: Runner. */
typedef struct weft_runner weft_runner;
/* Start a runtime. 0 and *out, or what kept it from starting (see weft_run). options may be NULL. */
WEFT_API WEFT_NODISCARD int weft_runner_open(weft_runner **out, const weft_options *options);
/* Run one coroutine as a main task to its end and return what it returned. -EBUSY: called from a task, or a run is under way; -ESHUTDOWN:
 * in the child of a fork; -EDEADLK: virtual clock, nothing can go on (the runner can only be closed then). asyncio: Runner.run. */
#define weft_runner_run(runner, ...) weft__RUNNER_RUN(runner, __VA_ARGS__, )
#define weft__RUNNER_RUN(runner, fn, ...) weft_runner_run_((runner), weft__FRAME(fn, __VA_ARGS__), sizeof(struct fn))
WEFT_API int weft_runner_run_(weft_runner *runner, weft_frame *frame, size_t frame_size);
/* The runtime, to submit to (weft/thread.h). Borrowed; valid until close. */
WEFT_API weft_runtime *weft_runner_runtime(weft_runner *runner);
/* Cancel what is left, wait for it, stop, free the runner. 0; NULL is allowed; -EBUSY, and the runner stays open: a run is under way, or called
 * from a task or from a helper thread of the runner's own. asyncio: Runner.close. */
WEFT_API int weft_runner_close(weft_runner *runner);

/* A hash of every choice a WEFT_SCHED_SEEDED runtime has made so far: equal for equal programs and seeds. 0 otherwise. Any thread; final in
 * at_end. */
WEFT_API uint64_t weft_schedule_hash(const weft_runtime *rt);

/* Hand an error to the caller's runtime's exception handler, as the runtime does. e->size is sizeof *e; texts that are NULL arrive as "".
 * Inside a task or callback. asyncio: call_exception_handler. */
WEFT_API void weft_call_exception_handler(const weft_exception *e);

/* The runtime the calling task (or weft_to_thread function) belongs to; NULL outside. Borrowed. asyncio:
 * get_running_loop(). */
WEFT_API weft_runtime *weft_runtime_current(void);

/* The number of workers. Any thread. */
WEFT_API unsigned weft_runtime_workers(const weft_runtime *rt);

WEFT_END_DECLS

#endif
