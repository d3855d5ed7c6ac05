/* SPDX-License-Identifier: Apache-2.0 */
/* weft/metrics.h -- the runtime's own account: what it did, where its workers are, what its tasks wait for. */
#ifndef WEFT_METRICS_H
#define WEFT_METRICS_H

#include <weft/run.h>

WEFT_BEGIN_DECLS

/* Distance of a thief from its victim, near to far. */
enum weft_distance { WEFT_NEAR_SMT = 0, WEFT_NEAR_CACHE, WEFT_NEAR_NODE, WEFT_NEAR_PACKAGE, WEFT_FAR, WEFT_DISTANCES };

/* Counters since the start of the runtime. Read without stopping anybody: each is exact, all together are a moment. */
typedef struct weft_metrics {
    size_t size;            /* set by the caller to sizeof(weft_metrics) */
    uint64_t tasks_created; /* by weft_create_task, weft_submit, groups, weft_to_thread */
    uint64_t tasks_finished;
    uint64_t tasks_inlined;          /* of these, run on the stack of the task that awaited them */
    uint64_t forks;                  /* weft_fork children */
    uint64_t switches;               /* from one stack to another */
    uint64_t steals[WEFT_DISTANCES]; /* successful, by distance */
    uint64_t stolen;                 /* tasks taken by them */
    uint64_t steal_misses;           /* looks at a victim that had nothing to give */
    uint64_t parks;                  /* times a worker went to sleep */
    uint64_t wakes;                  /* times a worker was woken by another thread */
    uint64_t injected;               /* tasks that came from outside the workers */
    uint64_t timers_fired;
    uint64_t reactor_batches; /* epoll_wait calls that returned events */
    uint64_t reactor_events;
    uint64_t reactor_ticks; /* times the reactor thread looked after the workers */
    uint64_t slow_tasks;    /* steps longer than the option slow_task */
    uint64_t
        late_wakes; /* times the reactor thread had to wake a worker for ready work: mostly a lone task behind a worker in a long step */
    uint64_t stacks_live;   /* stacks in use */
    uint64_t stacks_cached; /* kept for the next tasks; those that a second has not needed hold one page (4 KiB) each */
    uint64_t stacks_mapped; /* in all */
    uint64_t helper_threads; /* of weft_to_thread, now */
    uint64_t accepted;       /* connections that weft_accept has given out */
    uint64_t accept_pauses;  /* times weft_accept left a connection waiting because the queue delay was long */
    uint64_t queue_delay;    /* now, nanoseconds: see weft_queue_delay; of one worker, its own queue's */
    uint64_t
        ready_stalls; /* times ready work was left lying for 20 ms or more beside a sleeping worker, with nobody on the way to it: a fault of
                              weft's (not of a machine that gives its threads no CPU); 0 unless there is one */
    uint64_t task_parks; /* times a task was parked, without a stack (weft/park.h) */
    uint64_t
        tasks_parked; /* tasks that are parked now; of one worker: those it parked less those it called again, modulo 2^64 */
    uint64_t
        active_workers; /* that take part now: fewer where CPUs were taken away from the process (option workers 0) */
    /* By the distance of the other worker, whose sums are above. */
    uint64_t misses[WEFT_DISTANCES]; /* looks in vain, of the one that looked */
    uint64_t
        raids[WEFT_DISTANCES]; /* times work was taken without leave from a worker in a long step; not among steals */
    uint64_t migrations[WEFT_DISTANCES]; /* tasks and children that came from another worker, by steals and raids */
    uint64_t remote_frees
        [WEFT_DISTANCES]; /* tasks, stacks and small blocks freed on another node than theirs: they go home in batches */
    uint64_t wakes_sent[WEFT_DISTANCES]; /* of workers that slept, by one that had work for them */
} weft_metrics;

/* Fill *out for one worker, or for all together with worker < 0. 0, -EINVAL. Any thread. Never suspends. */
WEFT_API int weft_metrics_read(weft_runtime *rt, int worker, weft_metrics *out);

/* The queue delay: how long, in nanoseconds, something that becomes ready waits until it runs. Of each worker it is the least delay of
 * the last 100 ms: 0 while there is a pause in the work now and then, however long single bursts are; above 0 as long as more
 * comes than is worked off. This is the mean of the workers. The one number that tells overload: what arrives while it is larger than you
 * would wait yourself is better refused at once (an HTTP server: 503) than answered late. It rises in 100 to 200 ms and falls as soon
 * as the queues have turned over. 0 on the virtual clock. Costs one load. Any thread. Never suspends. asyncio: none. */
WEFT_API weft_ns weft_queue_delay(weft_runtime *rt);

/* Where a worker is: the CPU it is pinned to (-1: not pinned to one CPU), its NUMA node (-1: unknown), and whether the
 * kernel confirmed that. 0, -EINVAL. */
typedef struct weft_place {
    int cpu, node;
    bool pinned;
    unsigned cpus; /* the number of CPUs the worker may run on */
} weft_place;
WEFT_API int weft_worker_place(weft_runtime *rt, unsigned worker, weft_place *out);
/* Is there such a place for a task (weft/task.h, `where`)? 0 or -EINVAL. Any thread. */
WEFT_API int weft_where_check(const weft_runtime *rt, uint32_t where);
/* The number of the worker that runs the caller, -1 in other threads. Unless the calling task is pinned, it may be another one after the next
 * call that suspends. Never suspends. */
WEFT_API int weft_current_worker(void);

/* Write the account as text (for people) to a file descriptor: workers and their places, tasks, steals by distance, parks,
 * reactor batches. 0 or -errno. Any thread. Blocks on the descriptor. */
WEFT_API int weft_metrics_print(weft_runtime *rt, int fd);

/* Write one line per task that has not ended, by number, which is nearly the order of creation (each worker draws numbers in blocks): its name (with its number, if it was given one), its function, and what it is at.
 *
 *     Task-1                   serve() waits for a connection (accept), descriptor 7
 *     Task-3                   session() awaits Task-9 (fetch); time limit in 28.114 s
 *     Task-4                   session() waits for lock 0x55d22fa46200, which is held, 1 other waits
 *     Task-5                   session() parked, waits for a stream (read), descriptor 12, at most 59.020 s more
 *     Task-6                   session() waits for gather: 2 of 3 tasks: Task-10 (fetch), Task-11 (fetch)
 *     writer#7                 writer() waits for queue 0x7f28c4000b20 (get): 0 of 16 items; cancellation requested
 *     Task-9                   fetch() sleeps 0.250 s more; awaited by Task-3 (session)
 *     Task-10                  fetch() awaits child 0x7f28b413fd40 (parse); awaited by Task-6 (session)
 *       child 0x7f28b413fd40   parse() waits for event 0x55d22fa46220
 *
 * Objects are told by address (gdb shows what lies there), children that were forked below the task they belong to, if they are suspended. A time
 * limit is the next one of a weft_timeout; "cancellation requested" stays until the request is taken back (weft_uncancel). With the option debug
 * a line ends with the call that created the task, and a lock says who took it: "which is held by Task-7 (session), 1 other waits". (Without it nobody
 * notes that down; nor who has taken of a semaphore.) "which is free (its first waiter is woken, and has still to run)": a lock is not handed over, that one takes it
 * when its turn comes, and nobody overtakes it. "ready, not begun", "running, or ready to" and "in a helper thread" wait for nothing. Nobody is stopped: a task that is looked
 * at may go on some microseconds later; each line is true at some moment of the call. Asked from another thread, it may put a task that is woken meanwhile behind one woken after it, so with
 * order=fifo or sched=seeded, where the order counts, ask from a task. Of a runtime that has ended and is held it tells nothing. The text may be added to at the ends of the phrases.
 * From 20 tasks on they follow once more by function and by what they are at, the most frequent first (20 kinds of them; children not counted):
 *
 *     in all 2000 tasks:
 *         1996 session() parked, waits for a stream (read)
 *            3 writer() waits for queue: get
 *            1 serve() waits for a connection (accept)
 *
 * 0 or -errno (-ENOMEM: nothing is written). Any thread, at any time while the runtime lives; not in a signal handler. Never suspends; blocks on the descriptor.
 * asyncio: all_tasks() with print_stack, and `python -m asyncio ps` and `pstree` of Python 3.14. */
WEFT_API int weft_dump_tasks(weft_runtime *rt, int fd);

/* Write one line per worker: what it runs, or whether it looks for work or sleeps, how much is ready in its queues, when its next timer
 * is due; then who collects events, and how far the end of the run is.
 *
 *     worker 0    runs fetch() in Task-9; 2 ready, 0 of them for others, 0 children, 0 pinned; 4711 steps
 *     worker 1    runs parse() in Task-4 (session), for 1.230 s; 0 ready, ...
 *
 * The function is the innermost that runs as a task or, not called in its parent's place, as a forked child; the task is the one it is, or belongs to (then that
 * one's function stands behind it; a child on a stack of its own belongs to no task that can be told). The time is that of the step: since it has gone on without a switch, as
 * the ticks have seen it, so that it is up to 10 ms too short, and is not told of a step that no tick has seen. For a program that
 * seems to stand still, beside weft_dump_tasks. Looks at the descriptors of all tasks. 0 or -errno (-ENOMEM). Any thread; not in a signal handler.
 * Never suspends; blocks on the descriptor. asyncio: none (it has one thread, which is where its traceback says). */
WEFT_API int weft_dump_workers(weft_runtime *rt, int fd);

WEFT_END_DECLS

#endif
