/* SPDX-License-Identifier: Apache-2.0 */
/* executor/delay.c -- the queue delay: how long something that becomes ready waits until it runs, measured by a probe.
 *
 * A probe is an entry of the library's own in a worker's ready queue: it goes the way that a woken task goes, and costs nothing
 * that others have to do (no stamp at each wake). While a worker is busy the reactor's tick asks it for one; it pushes it
 * when it next looks around (every 64th pick; told to hurry when that takes more than a tick). A probe that waited for
 * LONG or more goes in again at once, so that under load the delay is known as often as the queue turns over.
 *
 *   state of the probe    tick              worker looks around           runs (is picked)
 *   NONE                  WANTED            -                             -
 *   WANTED                again: hurry      fewer than 2 items: a delay   -
 *                                           of 0, NONE; else QUEUED
 *   QUEUED                told, if old      -                             QUEUED (long, in its own worker), else NONE
 *
 * What is told is the least delay of the last WINDOW (after CoDel): a burst that is worked off shows in the probes, not in
 * what is told; a queue that never empties does. One probe can fill a window by itself, and is told of while it still waits, but
 * only if MANY steps went before it: one that met a task which blocks its worker is no overload, if the next one has not to wait.
 * A shorter delay counts at once, but halves what is told at most: behind the first short turn of the queue there may be more that
 * nobody has taken on yet (connections, requests in the kernel), and that shows in the next turns. Who has nothing left to run has no
 * delay at all. So the end of an overload is seen within some turns of the queue, not a window later.
 *
 * Of the runtime the mean of all workers is told: they take turns in having little, and one that is stuck keeps nobody waiting long.
 *
 * A thief may run the probe: then the delay is still the one of the queue in which it began, and it does not go on from there.
 * PROBE: who makes it QUEUED is the owner, and whoever runs it next sees what the owner wrote (the queue orders that, too).
 * The numbers are atomic only because the tick looks at them meanwhile: there is one probe, so one writer at a time.
 *
 * On the virtual clock, and where a seed orders everything, there is no such delay: no probes.
 *
 * Threads: push by the worker; tick by the reactor thread; the probe runs in whatever worker picks it; of by any. */
#include "executor/delay.h"

#include "executor/runtime.h"

#define WINDOW WEFT_MS(100)
#define LONG WEFT_MS(1)
#define MANY 3 /* steps that a probe waited for: it was the queue, not one task that blocked its worker */

/* relaxed, all: see the head */
#define GET(field) weft__load_relaxed(&(field))                  /* relaxed: see the head */
#define SET(field, value) weft__store_relaxed(&(field), (value)) /* relaxed: see the head */

static void run(struct weft__entry *entry);

void weft__delay_init(struct weft__delay *d)
{
    d->entry = (struct weft__entry){.kind = WEFT__KIND_ENTRY, .run = run};
    SET(d->state, WEFT__PROBE_NONE);
    SET(d->pushed, 0);
    SET(d->window, 0);
    SET(d->least, WEFT_FOREVER);
    SET(d->known, 0);
}

static void tell(struct weft__worker *w, weft_ns known)
{
    weft_ns before = weft__exchange_acq_rel(&w->delay.known, known); /* pairs: DELAY-KNOWN */
    weft__fetch_add_relaxed(&w->rt->delays, known - before);         /* relaxed: a number by itself */
}

/* One delay more, that was found out at `now`. `one_step`: it may have been for a single long step. */
static void sample(struct weft__worker *w, weft_ns delay, weft_ns now, bool one_step)
{
    struct weft__delay *d = &w->delay;
    bool first = GET(d->least) == WEFT_FOREVER;
    if (delay < GET(d->known))
        tell(w, delay > GET(d->known) / 2 ? delay : GET(d->known) / 2);
    if (first)
        SET(d->window, now - delay);
    if (delay < GET(d->least))
        SET(d->least, delay);
    if (now - GET(d->window) < WINDOW || (first && one_step))
        return;
    tell(w, GET(d->least));
    SET(d->least, WEFT_FOREVER);
}

static bool push(struct weft__worker *w, weft_ns now)
{
    int64_t place;
    SET(w->delay.pushed, now);
    SET(w->delay.steps, GET(w->steps));
    weft__store_release(&w->delay.state, WEFT__PROBE_QUEUED); /* pairs: PROBE */
    /* Not weft__worker_push: nobody is to be woken for this. */
    if (weft__ready_push(&w->ready, weft__item_of_entry(&w->delay.entry), &place))
        return true;
    weft__store_release(&w->delay.state, WEFT__PROBE_NONE); /* pairs: PROBE */
    return false;
}

static void run(struct weft__entry *entry)
{
    struct weft__delay *d = weft__container_of(entry, struct weft__delay, entry);
    struct weft__worker *w = weft__container_of(d, struct weft__worker, delay);
    weft_ns now = weft__monotonic(), delay = now - GET(d->pushed);
    sample(w, delay, now, GET(w->steps) - GET(d->steps) < MANY);
    if (delay >= LONG && weft__worker_self() == w && push(w, now))
        return;
    weft__store_release(&d->state, WEFT__PROBE_NONE); /* pairs: PROBE */
}

void weft__delay_push(struct weft__worker *w)
{
    struct weft__delay *d = &w->delay;
    if (weft__load_acquire(&d->state) != WEFT__PROBE_WANTED) /* pairs: PROBE */
        return;
    weft_ns now = weft__monotonic();
    if (weft__ready_size(&w->ready) < 2) { /* a lone item is the worker's next turn */
        sample(w, 0, now, true);
        weft__store_release(&d->state, WEFT__PROBE_NONE); /* pairs: PROBE */
        return;
    }
    (void)push(w, now);
}

void weft__delay_none(struct weft__worker *w)
{
    SET(w->delay.least, WEFT_FOREVER);
    tell(w, 0);
}

void weft__delay_tick(struct weft__worker *w, bool idle, weft_ns now)
{
    struct weft__delay *d = &w->delay;
    if (w->rt->is_virtual)
        return;
    uint32_t state = weft__load_acquire(&d->state); /* pairs: PROBE */
    if (idle && state != WEFT__PROBE_QUEUED) {
        if (GET(d->known) != 0)
            weft__delay_none(w);
    } else if (state == WEFT__PROBE_NONE) {
        weft__store_release(&d->state, WEFT__PROBE_WANTED); /* pairs: PROBE */
    } else if (state == WEFT__PROBE_WANTED) {
        if (!w->in_turn)                                                   /* there it looks around in each round */
            weft__fetch_or_acq_rel(&w->hurry, (uint32_t)WEFT__HURRY_TICK); /* pairs: PINNED; other bits stay */
    } else if (now - GET(d->pushed) >= WINDOW && now - GET(d->pushed) > GET(d->known) &&
               GET(w->steps) - GET(d->steps) >= MANY) {
        tell(w, now - GET(d->pushed));
    }
}

weft_ns weft__delay_of(const struct weft__worker *w)
{
    return weft__load_acquire(&w->delay.known); /* pairs: DELAY-KNOWN */
}

weft_ns weft_queue_delay(weft_runtime *rt)
{
    weft_ns sum = GET(rt->delays);
    return sum > 0 ? sum / (weft_ns)rt->worker_count : 0; /* below 0: between the two steps of `tell` */
}
