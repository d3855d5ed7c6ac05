/* SPDX-License-Identifier: Apache-2.0 */
/* executor/gather.c -- asyncio.gather, as a wait of the calling task and as a future.
 *
 * Both are a watch (watch.c) over the tasks. Errors of gathered tasks count as looked at, whenever they come. A cancellation is passed on to
 * every unfinished task, and the gather ends by its usual rule; when they have all ended, a passed-on request makes it end cancelled.
 *
 * Threads: the public calls belong to the running task (gather_future also to callbacks). The cancel hooks: whoever cancels; they take no
 * lock and read only the block, which is kept by the fiber that waits, or by the future. */
#include <errno.h>
#include <stdlib.h>
#include <weft/gather.h>

#include "executor/chain.h"
#include "executor/runtime.h"
#include "executor/taken.h"
#include "executor/watch.h"

/* Is it past taking a request? Then the others are nobody's business any more. */
static bool over(struct weft__watch *w)
{
    return weft__load_acquire(&w->verdict) != 0 || /* pairs: WATCH-VERDICT */
           weft__watch_all_arrived(w);
}

static bool pass_on(struct weft__watch *w, struct weft__cancel_list *list)
{
    bool passed_on = false;
    for (size_t i = 0; i < w->count; i++) {
        if (w->nodes[i].task == NULL || !weft__cancel_accepted(w->nodes[i].task, 0))
            continue;
        weft__cancel_add(w->nodes[i].task, list);
        passed_on = true;
    }
    return passed_on;
}

#define VAIN_MOST 6 /* chains in vain, in a row: then one in 64 gathers tries again */

/* ---- awaited at once --------------------------------------------------------------------------------------------- */

static bool gather_cancel(struct weft__fiber *f, void *object, struct weft__cancel_list *list)
{
    struct weft__watch *w = object;
    (void)f;
    if (over(w))
        return false;
    if (pass_on(w, list)) {
        weft__store_release(&w->requested, 1U); /* pairs: WATCH-VERDICT */
        return true;
    }
    /* All have ended, and their turns are on the way: the request meets the task when it goes on. */
    w->overridden = w->hops;
    return w->hops;
}

static const struct weft__wait_kind gather_wait = {.name = "gather", .cancel = gather_cancel, .tell = weft__watch_tell};

/* What can be told before waiting: 1 when all have ended, 0 when not, -EDEADLK; *verdict: the first failure of an ended
 * one in the order given. */
static int look(struct weft__fiber *f, weft_task *const tasks[], size_t n, int *verdict)
{
    int all = 1;
    *verdict = 0;
    for (size_t i = 0; i < n; i++) {
        struct weft_task *t = tasks[i];
        if (!weft__watch_is_done(t)) {
            if (weft__unlikely(weft__task_state(t) == WEFT__STARTED) && weft__watch_is_own(f, t))
                return -EDEADLK;
            if (weft__task_rt(t) != f->rt)
                return -EXDEV;
            all = 0;
        } else if (weft__unlikely(weft__watch_outcome(t) < 0)) {
            if (t != NULL)
                weft__task_set_retrieved(t);
            if (*verdict == 0)
                *verdict = weft__watch_outcome(t);
        }
    }
    for (size_t i = 0; weft__unlikely(*verdict < 0 && all == 0) && i < n; i++)
        if (tasks[i] != NULL) /* gather may be over at once: then nobody else says it for those that run on */
            weft__task_set_retrieved(tasks[i]);
    return all;
}

/* What is left to wait for. */
struct left {
    int all, verdict; /* as look */
    bool requested;   /* a cancellation has been passed on to those that have not ended */
    bool met;         /* one came when there was nothing left to wait for */
};

/* Let the worker run those that have not begun (chain.c). True: all have ended well. */
static bool run_first(struct weft__fiber *f, weft_task *const tasks[], size_t n, bool until_failure, struct left *left)
{
    struct weft__worker *w = f->worker;
    if (w->chain_skip != 0) { /* they have suspended all the time: then it costs more than it saves */
        w->chain_skip--;
        return false;
    }
    struct weft__chain c;
    enum weft__wake how = weft__chain_run(f, &c, tasks, n, until_failure);
    if (how == 0)
        return false;
    w = f->worker;
    w->chain_vain = c.ended != 0 || c.next == n ? 0 : w->chain_vain < VAIN_MOST ? w->chain_vain + 1 : VAIN_MOST;
    w->chain_skip = (1U << w->chain_vain) - 1;
    left->requested = (c.requested & WEFT__CHAIN_PASSED_ON) != 0;
    left->met = (c.requested & WEFT__CHAIN_OVER) != 0;
    if (left->met) {
        weft__task_met(f->task, c.message);
    } else if (how == WEFT__CANCELLED) { /* it came after the wake, and found nobody waiting: as above */
        left->met = weft__chain_is_over(tasks, n, until_failure);
        if (!left->met) {
            left->requested = true;
            struct weft__cancel_list list;
            weft__cancel_list_init(&list);
            list.message = weft_cancel_message();
            (void)weft__chain_pass_on(tasks, n, &list);
            weft__cancel_run(&list);
        }
    }
    return c.ended == n;
}

/* Has none of them begun, and were all created here? Then there is nothing more to be seen. */
static inline bool all_fresh(const struct weft__worker *w, weft_task *const tasks[], size_t n)
{
    size_t i = 0;
    while (i < n && weft__likely(weft__chain_may_begin(w, tasks[i])))
        i++;
    return i == n && n != 0;
}

/* Some may be just ending on other workers. */
static void look_at_taken(struct weft__fiber *f, weft_task *const tasks[], size_t n)
{
    size_t i = 0;
    while (i < n && (tasks[i] == NULL || weft__taken_ends(f, tasks[i])))
        i++;
}

static inline struct left look_and_run(struct weft__fiber *f, weft_task *const tasks[], size_t n, bool until_failure)
{
    struct left left = {.requested = false};
    if (weft__unlikely(f->unusual & WEFT__FIBER_SCOPE))
        weft__scopes_arm(f); /* then it is one like others */
    left.all = weft__likely(all_fresh(f->worker, tasks, n)) ? 0 : look(f, tasks, n, &left.verdict);
    if (left.all == 0 && left.verdict == 0 && f->unusual == 0 && f->worker->hold == NULL) {
        if (run_first(f, tasks, n, until_failure, &left)) {
            left.all = 1;
        } else {
            look_at_taken(f, tasks, n);
            left.all = look(f, tasks, n, &left.verdict);
            left.met = left.met || (left.all > 0 && weft__take_request(f)); /* it came while they ended */
        }
    }
    return left;
}

/* A gather that ends cancelled hands on why: as the request said that was passed on, or the first task that ended so. */
static int cancelled(struct weft__fiber *f, weft_task *const tasks[], size_t n, bool requested)
{
    struct weft__task_extra *x = weft__task_has_extra(f->task);
    const char *message = requested && x != NULL ? weft__load_acquire(&x->asked) : NULL; /* pairs: TASK-C */
    for (size_t i = 0; i < n && !requested; i++) {
        if (tasks[i] != NULL && weft__watch_is_done(tasks[i]) && weft__task_rc(tasks[i]) == -ECANCELED) {
            message = weft__task_take_message(tasks[i]);
            break;
        }
    }
    weft__task_met(f->task, message);
    return -ECANCELED;
}

static inline int ended(struct weft__fiber *f, weft_task *const tasks[], size_t n, int verdict, bool requested)
{
    if (weft__likely(verdict != -ECANCELED && (verdict < 0 || !requested)))
        return verdict;
    return cancelled(f, tasks, n, requested);
}

int weft_gather_n(weft_task *const tasks[], size_t n)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_gather");
    struct left left = look_and_run(f, tasks, n, true);
    if (left.all < 0)
        return left.all;
    if (weft__unlikely(left.met))
        return -ECANCELED;
    if (left.all > 0 || left.verdict < 0)
        return ended(f, tasks, n, left.verdict, left.requested);
    struct weft__watched result =
        weft__watch_wait(f, tasks, n, WEFT__UNTIL_FAILURE, &gather_wait, WEFT_FOREVER, true, true, left.requested);
    if (result.how == 0) /* the first failure of several is seen by a watch only */
        return left.requested ? cancelled(f, tasks, n, true) : -ENOMEM;
    if (result.how == WEFT__CANCELLED || result.overridden)
        return -ECANCELED;
    return ended(f, tasks, n, result.verdict, result.requested);
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (weft_task *const *)a, y = (uintptr_t) * (weft_task *const *)b;
    return (x > y) - (x < y);
}

#define FEW 16

/* How many different ended tasks failed; each NULL is one of its own. */
static int count_failed(weft_task *const tasks[], size_t n)
{
    weft_task **failed = NULL, *few[FEW];
    size_t total = 0, nulls = 0;
    for (size_t i = 0; i < n; i++) {
        nulls += tasks[i] == NULL;
        total += tasks[i] != NULL && weft__task_rc(tasks[i]) < 0;
    }
    if (total > FEW)
        failed = malloc(total * sizeof(failed[0]));
    weft_task **list = total > FEW ? failed : few;
    if (list == NULL) { /* memory is short: the slow way */
        size_t different = 0;
        for (size_t i = 0; i < n; i++) {
            size_t j = 0;
            while (j < i && tasks[j] != tasks[i])
                j++;
            different += j == i && tasks[i] != NULL && weft__task_rc(tasks[i]) < 0;
        }
        return (int)(different + nulls);
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (tasks[i] != NULL && weft__task_rc(tasks[i]) < 0)
            list[count++] = tasks[i];
    qsort(list, count, sizeof(list[0]), by_address);
    size_t different = count != 0;
    for (size_t i = 1; i < count; i++)
        different += list[i] != list[i - 1];
    free(failed);
    return (int)(different + nulls);
}

int weft_gather_settled_n(weft_task *const tasks[], size_t n)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_gather_settled");
    struct left left = look_and_run(f, tasks, n, false);
    if (left.all < 0)
        return left.all;
    if (left.met)
        return -ECANCELED;
    if (left.all > 0 && left.requested)
        return cancelled(f, tasks, n, true);
    if (left.all == 0) {
        struct weft__watched result =
            weft__watch_wait(f, tasks, n, WEFT__UNTIL_ALL, &gather_wait, WEFT_FOREVER, true, true, left.requested);
        if (result.how == WEFT__CANCELLED || result.overridden)
            return -ECANCELED;
        if (result.requested)
            return cancelled(f, tasks, n, true);
    }
    return count_failed(tasks, n);
}

/* ---- as a future ------------------------------------------------------------------------------------------------- */

struct gathering {
    WEFT_FRAME;
    struct weft__watch *watch; /* referenced */
};
static const weft_coro gathering_coro = {NULL, sizeof(struct gathering), "gather", NULL};

static struct gathering *gathering_of(struct weft_task *future)
{
    return (struct gathering *)(void *)future->frame;
}

/* A future's `requested`: either a request is accepted, and the future knows when it ends, or it comes too late and is its bringer's. */
enum { REQUEST_NONE, REQUEST_ACCEPTED, REQUEST_TOO_LATE };

static void end_future(struct weft__watch *w, struct weft_task *t, bool decides, bool last)
{
    struct weft_task *future = w->future;
    if (decides) {
        int rc = weft__load_acquire(&w->verdict); /* pairs: WATCH-VERDICT */
        uint32_t none = REQUEST_NONE;
        if (!weft__cas_acq_rel(&w->requested, &none, REQUEST_TOO_LATE) && rc == 0) /* pairs: WATCH-VERDICT */
            rc = -ECANCELED;
        if (rc == -ECANCELED) {
            weft__fetch_or_acq_rel(&future->flags, (uint16_t)WEFT__TASK_PASSED_ON); /* pairs: TASK-DONE */
            weft__task_met(future, t != NULL ? weft__task_take_message(t) : NULL);
        }
        weft__future_finish(future, rc, NULL, true);
    }
    if (last)
        weft__task_unref(future); /* nobody will come any more */
}

/* The future's own cancellation. The watch is there as long as the future: whoever asks holds that. */
static bool gathering_accept(struct weft_task *future, unsigned depth, bool request)
{
    struct weft__watch *w = gathering_of(future)->watch;
    if (weft__task_state(future) == WEFT__DONE || over(w))
        return false;
    bool accepted = depth >= 16; /* deeper nests are believed to be alive */
    for (size_t i = 0; i < w->count && !accepted; i++)
        accepted = w->nodes[i].task != NULL && weft__cancel_accepted(w->nodes[i].task, depth + 1);
    if (!accepted || !request)
        return accepted;
    uint32_t before = REQUEST_NONE;
    return weft__cas_acq_rel(&w->requested, &before, REQUEST_ACCEPTED) || /* pairs: WATCH-VERDICT */
           before == REQUEST_ACCEPTED;
}

static void gathering_cancel(struct weft_task *future, struct weft__cancel_list *list)
{
    struct weft__watch *w = gathering_of(future)->watch;
    if (weft__task_state(future) != WEFT__DONE && !over(w))
        (void)pass_on(w, list);
}

static void gathering_destroy(struct weft_task *future)
{
    weft__watch_drop(gathering_of(future)->watch);
}

static const struct weft__future_kind gathering_kind = {"gather", gathering_accept, gathering_cancel,
                                                        gathering_destroy};

weft_future *weft_gather_future(weft_task *const tasks[], size_t n, bool return_exceptions)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_gather_future");
    if (weft__watch_has_foreign(f->rt, tasks, n))
        return weft__future_ended(-EXDEV);
    struct weft__watch *w =
        weft__watch_create(f->rt, tasks, n, return_exceptions ? WEFT__UNTIL_ALL : WEFT__UNTIL_FAILURE, true);
    if (w == NULL)
        return NULL;
    struct gathering frame = {.frame_ = {&gathering_coro}, .watch = w};
    struct weft_task *future = weft__future_create(f->rt, &frame.frame_, &gathering_kind);
    if (future == NULL) {
        weft__watch_discard(w);
        return NULL;
    }
    w->future = future;
    w->met = end_future;
    for (size_t i = 0; i < n; i++)
        if (tasks[i] != NULL)
            weft__task_set_retrieved(tasks[i]);
    weft_ref(future); /* the watch's, until all have arrived */
    if (n == 0)
        end_future(w, NULL, true, true);
    else
        weft__watch_begin(w, true);
    return future;
}
