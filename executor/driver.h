/* SPDX-License-Identifier: Apache-2.0 */
/* executor/driver.h -- all that the executor knows of I/O: somebody who can collect ready events.
 *
 * At most one thread at a time is in collect (the collector token, executor/idle.h, is the executor's business). collect
 * makes ready the fibers whose events came, by weft__wake; it may be called by a worker (on its own thread stack or on a
 * fiber's) and by the reactor thread. It blocks at most `timeout` nanoseconds of real time (0: only looks, WEFT_FOREVER:
 * until something comes or somebody kicks) and returns the number of wakes it made. */
#ifndef WEFT_EXECUTOR_DRIVER_H
#define WEFT_EXECUTOR_DRIVER_H

#include <weft/run.h>

struct weft__park;
struct weft__fiber;
struct weft_task;
struct weft__sight;

struct weft__driver {
    int (*start)(struct weft_runtime *rt); /* before the workers start; 0 or -errno */
    void (*stop)(struct weft_runtime *rt); /* after the workers have ended: frees everything */
    unsigned (*collect)(struct weft_runtime *rt, weft_ns timeout);
    void (*kick)(struct weft_runtime *rt);    /* any thread: a blocked collect returns soon */
    bool (*waiting)(struct weft_runtime *rt); /* does any task wait for a descriptor? */
    void (*forked)(struct weft_runtime *rt);  /* in the child after fork: close descriptors only */
    /* Take SIGINT over, or give it back. 0 or -errno. Called by one thread at a time, while nothing waits for its end. */
    int (*interrupts)(struct weft_runtime *rt, bool on);
    /* Tasks that wait without a stack (parked.c). arm: t, which has just left f, is to be unparked, with that ticket, when what it
     * asked for has come, or has been there already; returns the number of what it waits for in park_names (not 0). resume: it is about to be
     * called again: the outcome for weft_parked(); *park = NULL where its use of the place ends with that. end: its use of the place ends. */
    uint32_t (*park_arm)(struct weft__park *park, struct weft__fiber *f, struct weft_task *t, uint32_t ticket);
    int (*park_resume)(struct weft__park **park);
    void (*park_end)(struct weft__park *park);
    const char *const *park_names;
    /* What t, parked there under that name and held, waits for (sight.h). */
    void (*park_tell)(struct weft__park *park, struct weft_task *t, const char *name, struct weft__sight *s);
};

/* The driver's own state, kept by the runtime for it. */
void weft__runtime_set_io(struct weft_runtime *rt, void *io);
void *weft__runtime_io(struct weft_runtime *rt);

/* A SIGINT came while the driver has it (interrupt.c): cancel the main task. False: it has ended. In collect only. */
bool weft__runtime_interrupt(struct weft_runtime *rt);

/* For the account (metrics.c): one collect returned this many events. Called by the driver inside collect. */
void weft__metrics_collected(struct weft_runtime *rt, unsigned events);

/* The same: a connection was accepted; or is left waiting because the queue delay is long. In a task. */
void weft__metrics_accepted(struct weft_runtime *rt, bool paused);

/* weft_run's body: io/run.c calls it with the epoll driver; tests of the executor alone with NULL. */
int weft__run(const weft_options *options, weft_frame *frame, size_t frame_size, const struct weft__driver *driver);
/* weft_runner_open's body. */
int weft__runner_open(weft_runner **out, const weft_options *options, const struct weft__driver *driver);

#endif
