/* SPDX-License-Identifier: Apache-2.0 */
/* How late a task is: after an instant it slept for, and after a descriptor became readable; in a runtime that has nothing else to do, and in one whose
 * workers are all busy with tasks that compute for 50 us at a time. Beside it the kernel alone: a thread that sleeps for instants (what cyclictest
 * measures), and one that waits in poll for the same pipe.
 *
 * Percentiles are taken of each of BLOCKS parts of the time, so that there is a spread to see and compare. The writer is an ordinary thread: it stamps
 * the time into the pipe, a pause apart that is drawn anew each time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft.h>

#include "topology.h"

enum { BLOCKS = 3, ROOM = 1 << 14, SLEEPERS = 64, LEAST = 8 };
enum { TIMER, READY, KINDS };

struct lates { /* of one sleeper or reader */
    float us[ROOM];
    size_t n;
};

static void late(struct lates *l, weft_ns ns)
{
    if (l->n < ROOM)
        l->us[l->n++] = (float)ns / 1e3f;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* 700 to 1300 us: not in step with any tick. */
static weft_ns pause_of(uint64_t *state)
{
    return WEFT_US(700 + (double)(next_random(state) % 600));
}

/* ---- the kernel alone ---- */

static void sleep_until(weft_ns instant)
{
    struct timespec t = {.tv_sec = instant / 1000000000, .tv_nsec = instant % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

struct writer {
    int fd;
    atomic_bool over;
    pthread_t thread;
};
static void *write_stamps(void *argument)
{
    struct writer *w = argument;
    uint64_t state = 0x2545f4914f6cdd1d;
    while (!atomic_load(&w->over)) {
        sleep_until(weft_now() + pause_of(&state));
        weft_ns now = weft_now();
        if (write(w->fd, &now, sizeof now) != sizeof now)
            break;
    }
    weft_ns last = 0;
    (void)!write(w->fd, &last, sizeof last);
    return NULL;
}

struct spinner {
    pthread_t thread;
    int cpu;
    atomic_bool *over;
};
static void *spin(void *argument)
{
    struct spinner *s = argument;
    struct wb__mask before;
    int rc = wb__bind(&s->cpu, 1, &before);
    while (!atomic_load_explicit(s->over, memory_order_relaxed))
        topology_relax();
    if (rc == 0)
        wb__unbind(&before);
    return NULL;
}

static int kernel_alone(struct lates *l, int kind, int fd, weft_ns slot)
{
    uint64_t state = 0x9e3779b97f4a7c15;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    weft_ns stamp = 1;
    while (kind == READY && read(fd, &stamp, sizeof stamp) == sizeof stamp) /* what was written before we came */
        ;
    for (weft_ns until = weft_now() + slot; weft_now() < until;) {
        if (kind == TIMER) {
            weft_ns instant = weft_now() + pause_of(&state);
            sleep_until(instant);
            late(l, weft_now() - instant);
        } else {
            if (poll(&p, 1, -1) < 0 || read(fd, &stamp, sizeof stamp) != sizeof stamp)
                return -EIO;
            late(l, weft_now() - stamp);
        }
    }
    return 0;
}

/* ---- tasks ---- */

struct sleeper {
    WEFT_FRAME;
    struct lates *to;
    weft_ns until;
    uint64_t state;
};
static int sleeper(struct sleeper *f)
{
    int rc = 0;
    while (rc == 0 && weft_now() < f->until) {
        weft_ns instant = weft_now() + pause_of(&f->state);
        rc = weft_sleep_until(instant);
        late(f->to, weft_now() - instant);
    }
    return rc;
}
WEFT_CORO(sleeper);

static ssize_t read_stamp(int fd, weft_ns *stamp) /* an errno is read here, where nothing suspends */
{
    ssize_t n = read(fd, stamp, sizeof *stamp);
    return n < 0 ? -errno : n;
}

struct reader {
    WEFT_FRAME;
    struct lates *to;
    weft_ns until;
    int fd;
};
static int reader(struct reader *f)
{
    weft_ns stamp = 1;
    while (read_stamp(f->fd, &stamp) == sizeof stamp) /* what was written before we came */
        ;
    while (weft_now() < f->until) {
        int rc = weft_fd_wait(f->fd, WEFT_READABLE, WEFT_FOREVER);
        weft_ns now = weft_now();
        if (rc < 0)
            return rc;
        if (read_stamp(f->fd, &stamp) != sizeof stamp)
            return -EIO;
        late(f->to, now - stamp);
    }
    return 0;
}
WEFT_CORO(reader);

struct load {
    WEFT_FRAME;
    atomic_bool *over;
};
static int load(struct load *f)
{
    int rc = 0;
    while (rc == 0 && !atomic_load_explicit(f->over, memory_order_relaxed)) {
        for (weft_ns until = weft_now() + WEFT_US(50); weft_now() < until;)
            topology_relax();
        rc = weft_yield();
    }
    return rc;
}
WEFT_CORO(load);

struct tasks {
    WEFT_FRAME;
    struct lates *to; /* of each sleeper */
    unsigned sleepers;
    int kind, fd;
    bool loaded;
    weft_ns slot;
};
static int tasks(struct tasks *f)
{
    unsigned workers = weft_runtime_workers(weft_runtime_current()), loads = f->loaded ? 2 * workers : 0;
    weft_task **t = calloc(f->sleepers + loads + 1, sizeof(weft_task *));
    atomic_bool over = false;
    if (t == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < loads; i++)
        t[f->sleepers + i] = weft_create_task(load, .over = &over);
    int rc = weft_sleep(WEFT_MS(5));
    weft_ns until = weft_now() + f->slot;
    for (unsigned i = 0; i < f->sleepers; i++)
        t[i] = f->kind == TIMER
                   ? weft_create_task(sleeper, .to = &f->to[i], .until = until, .state = 88172645463325252u + i)
                   : weft_create_task(reader, .to = &f->to[i], .until = until, .fd = f->fd);
    for (unsigned i = 0; i < f->sleepers; i++) {
        int ended = weft_await_release(t[i]);
        rc = rc < 0 ? rc : ended;
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < loads; i++) {
        int ended = weft_await_release(t[f->sleepers + i]);
        rc = rc < 0 ? rc : ended;
    }
    free(t);
    return rc;
}
WEFT_CORO(tasks);

/* ---- one block of one setting ---- */

static const double PERCENTILES[] = {0.5, 0.9, 0.99, 0.999, 1};
enum { COLUMNS = 5, OF_BLOCKS = 3 }; /* the others are taken of a whole round */

struct pool {
    double *us;
    size_t n;
};

static void put(weft_bench *b, struct wb__figure *f, size_t row, double us[], size_t n, size_t first, size_t end)
{
    wb__sort(us, n);
    for (size_t c = first; c < end && n >= LEAST; c++) {
        if (PERCENTILES[c] == 1 || (1 - PERCENTILES[c]) * (double)n >= 1) /* else too few for this one */
            wb__sample(b, f, row, c, wb__quantile(us, n, PERCENTILES[c]));
    }
}

static int put_block(weft_bench *b, struct wb__figure *f, size_t row, const struct lates *l, unsigned n,
                     struct pool *pool)
{
    size_t all = pool->n;
    for (unsigned i = 0; i < n; i++)
        all += l[i].n;
    double *us = realloc(pool->us, (all + 1) * sizeof *us);
    if (us == NULL)
        return -ENOMEM;
    pool->us = us;
    us += pool->n;
    size_t k = 0;
    for (unsigned i = 0; i < n; i++) {
        for (size_t j = 0; j < l[i].n; j++)
            us[k++] = (double)l[i].us[j];
    }
    pool->n += k;
    put(b, f, row, us, k, 0, OF_BLOCKS);
    return 0;
}

static int bound_spinners(weft_bench *b, struct spinner *s, size_t n, atomic_bool *over)
{
    for (size_t i = 0; i < n; i++) {
        s[i] = (struct spinner){.cpu = b->machine.cpu[i].cpu, .over = over};
        if (pthread_create(&s[i].thread, NULL, spin, &s[i]) != 0) {
            atomic_store(over, true);
            while (i-- > 0)
                pthread_join(s[i].thread, NULL);
            return -EAGAIN;
        }
    }
    return 0;
}

/* row: 0 tasks idle, 1 tasks loaded, 2 the kernel idle, 3 loaded */
static int block(weft_bench *b, struct wb__figure *f, int kind, size_t row, struct lates *to, struct pool *pool,
                 weft_ns slot)
{
    unsigned workers = b->options.workers, sleepers = kind == READY || row >= 2 ? 1
                                                      : workers < SLEEPERS      ? workers
                                                                                : SLEEPERS;
    for (unsigned i = 0; i < sleepers; i++)
        to[i].n = 0;
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
        return -errno;
    struct writer writer = {.fd = ends[1]};
    atomic_init(&writer.over, false);
    int rc = kind == READY ? -pthread_create(&writer.thread, NULL, write_stamps, &writer) : 0;
    bool writing = kind == READY && rc == 0;
    if (rc == 0 && row < 2) {
        weft_options o = wb__options(workers);
        o.pin = WEFT_PIN_DEFAULT; /* as programs have it */
        rc = weft_run_with(&o, tasks, .to = to, .sleepers = sleepers, .kind = kind, .fd = ends[0], .loaded = row == 1,
                           .slot = slot);
    } else if (rc == 0) {
        atomic_bool over = false;
        struct spinner *s = calloc(b->machine.cpus, sizeof *s);
        rc = s == NULL ? -ENOMEM : row == 3 ? bound_spinners(b, s, b->machine.cpus, &over) : 0;
        if (rc == 0)
            rc = kernel_alone(to, kind, ends[0], slot);
        atomic_store(&over, true);
        for (size_t i = 0; rc == 0 && row == 3 && i < b->machine.cpus; i++)
            pthread_join(s[i].thread, NULL);
        free(s);
    }
    if (writing) {
        atomic_store(&writer.over, true);
        pthread_join(writer.thread, NULL);
    }
    close(ends[0]);
    close(ends[1]);
    return rc == 0 ? put_block(b, f, row, to, sleepers, pool) : rc;
}

int topology_lateness(weft_bench *b, double seconds)
{
    char *rows[] = {"tasks, idle", "tasks, loaded", "a thread, idle", "a thread, loaded"};
    char *columns[] = {"p50", "p90", "p99", "p99.9", "max"};
    struct wb__figure *f[KINDS];
    struct wb__text t = {.section = "lateness", .kind = "latency", .unit = "us", .column_axis = "percentile"};
    t.id = "timer_lateness", t.title = "Timer lateness";
    t.what = "From the instant a task slept for to its next step, a task for each worker; loaded: two tasks for each "
             "worker besides, which "
             "compute 50 us at a time. A thread: clock_nanosleep; loaded: a thread that computes on each CPU";
    f[TIMER] = wb__figure(b, &t, 4, rows, COLUMNS, columns);
    t.id = "ready_lateness", t.title = "Descriptor ready to task running";
    t.what = "From a write to a pipe in another thread to the next step of the task that waits for it. A thread: poll";
    f[READY] = wb__figure(b, &t, 4, rows, COLUMNS, columns);
    struct lates *to = calloc(SLEEPERS, sizeof *to);
    struct pool pool[4][KINDS] = {{{NULL, 0}}};
    int rc = to != NULL ? 0 : -ENOMEM, done = 0;
    weft_ns slot = WEFT_SEC(seconds / (BLOCKS * KINDS * 4));
    for (int i = 0; i < BLOCKS && rc == 0; i++) {
        for (size_t row = 0; row < 4 && rc == 0; row++) {
            for (int kind = 0; kind < KINDS && rc == 0; kind++) {
                rc = block(b, f[kind], kind, row, to, &pool[row][kind], slot);
                wb__progress(b, (double)++done / (BLOCKS * KINDS * 4));
            }
        }
    }
    for (size_t row = 0; row < 4; row++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (rc == 0)
                put(b, f[kind], row, pool[row][kind].us, pool[row][kind].n, OF_BLOCKS, COLUMNS);
            free(pool[row][kind].us);
        }
    }
    free(to);
    return rc;
}
