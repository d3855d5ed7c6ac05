/* SPDX-License-Identifier: Apache-2.0 */
/* executor/look.c -- see look.h: what is done once for each look, and by whom it is allowed.
 *
 * Threads: the running task's. */
#include "executor/look.h"

static bool nothing_else(struct weft__worker *w)
{
    return weft__ready_size(&w->ready) == 0 && weft__joins_size(&w->joins) == 0;
}

bool weft__look_begin(struct weft__fiber *f)
{
    struct weft__worker *w = f->worker;
    /* The tick's wish may be old: of the long step that has just come to its end. */
    if ((++w->picks & (WEFT__LOOK_AROUND - 1)) == 0 || weft__load_relaxed(&w->hurry) != 0) /* relaxed: a hint */
        (void)weft__worker_look_around(w);
    if (!nothing_else(w) || !weft__look_on(f))
        return false;
    /* A step of its own, though no switch. */
    weft__count(&w->steps, 1);
    weft__count(&w->counters.idles, 1);
    return true;
}

bool weft__look_again(struct weft__fiber *f)
{
    return weft__load_relaxed(&f->worker->hurry) == WEFT__HURRY_TICK && weft__look_begin(f); /* relaxed: a hint */
}
