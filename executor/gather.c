/* SPDX-License-Identifier: Apache-2.0 */
/* executor/gather.c -- waiting for several tasks: gather, wait; and for one without owning it: shield, wait_for.
 *
 * All of them are one thing, a watch: a block on the heap with a waiter at each task, which wakes the calling fiber
 * when its rule is met. It lives on the heap and is counted because a task may be telling its waiter (fire) while the
 * fiber, woken by another one or cancelled, has gone on.
 *
 * Invariants
 *   1. refs = 1 for the fiber + 1 for each waiter that was added and is neither fired nor taken out. Who drops the last
 *      one frees the block.
 *   2. left falls once per task, in arrive; a verdict is written before its task's share of left goes: so whoever sees
 *      left == 0 sees the verdict too.
 *   3. The fiber reads the outcome only after a wake that was given by arrive; a cancelled one reads nothing.
 *
 * A task given twice has two waiters. They fire together, so nothing but the count of failures has to know.
 *
 * Threads: the public calls belong to the running task. fire: whichever thread ends the task. The cancel hook: whoever
 * cancels, while the fiber cannot run; it takes no lock and reads only the block. */
#include <errno.h>
#include <stdlib.h>
#include <weft/gather.h>
#include <weft/scope.h>

#include "executor/task.h"

/* Which outcome ends the wait before all tasks have ended. */
enum watch_rule {
    UNTIL_ALL,     /* none */
    UNTIL_ANY,     /* every one */
    UNTIL_ERROR,   /* an error, but not a cancelled task */
    UNTIL_FAILURE, /* an error or a cancelled task */
};

struct watch;

struct watch_node {
    struct weft__waiter waiter;
    struct watch *watch;
    struct weft_task *task; /* NULL: not added */
};

struct watch {
    _Atomic(size_t) refs;     /* WATCH-REFS: each drop comes before the free */
    _Atomic(size_t) left;     /* tasks that have not ended. WATCH-LEFT: each fall comes before what sees 0 */
    _Atomic(int32_t) verdict; /* the first outcome that ended the wait early. WATCH-VERDICT: set, then read */
    uint32_t ticket;
    struct weft__fiber *fiber;
    enum watch_rule rule;
    bool cancelled; /* a request was passed on; written by the hook while the fiber cannot run */
    size_t count;
    struct watch_node nodes[];
};

/* What came of a watch. `how` 0: memory was short, nothing was waited for. */
struct watched {
    enum weft__wake how;
    int verdict;
    bool cancelled;
};

static void watch_drop(struct watch *w)
{
    if (weft__fetch_sub_acq_rel(&w->refs, (size_t)1) == 1) /* pairs: WATCH-REFS (itself) */
        free(w);
}

static void watch_arrive(struct watch *w, int rc)
{
    bool ends = w->rule == UNTIL_ANY;
    if (rc < 0 && (w->rule == UNTIL_FAILURE || (w->rule == UNTIL_ERROR && rc != -ECANCELED))) {
        int32_t none = 0;
        weft__cas_acq_rel(&w->verdict, &none, rc); /* pairs: WATCH-VERDICT */
        ends = true;
    }
    if (weft__fetch_sub_acq_rel(&w->left, (size_t)1) == 1) /* pairs: WATCH-LEFT */
        ends = true;
    if (ends)
        weft__wake(w->fiber, w->ticket, WEFT__WOKEN);
}

static void watch_fire(struct weft__waiter *waiter, struct weft_task *task)
{
    struct watch *w = weft__container_of(waiter, struct watch_node, waiter)->watch;
    watch_arrive(w, weft__task_rc(task));
    watch_drop(w);
}

/* The fiber goes on: take out the waiters of tasks that have not ended. */
static void watch_leave(struct watch *w)
{
    if (weft__load_acquire(&w->left) != 0) { /* pairs: WATCH-LEFT */
        for (size_t i = 0; i < w->count; i++) {
            struct watch_node *node = &w->nodes[i];
            if (node->task != NULL && weft__task_remove_waiter(node->task, &node->waiter))
                watch_drop(w);
        }
    }
    watch_drop(w);
}

/* Wait for the tasks (NULL entries are left out) until the rule is met or the deadline passes. */
static struct watched watch(struct weft__fiber *f, weft_task *const tasks[], size_t n, enum watch_rule rule,
                            const struct weft__wait_kind *kind, weft_ns deadline)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += tasks[i] != NULL;
    struct watch *w = malloc(sizeof *w + count * sizeof w->nodes[0]);
    if (w == NULL)
        return (struct watched){0};
    weft__store_relaxed(&w->refs, count + 1); /* relaxed: not shared yet, as the next two */
    weft__store_relaxed(&w->left, count);     /* relaxed: see refs */
    weft__store_relaxed(&w->verdict, 0);      /* relaxed: see refs */
    w->fiber = f;
    w->rule = rule;
    w->cancelled = false;
    w->count = count;
    w->ticket = weft__wait_begin(f, kind, w);
    struct watch_node *node = w->nodes;
    for (size_t i = 0; i < n; i++) {
        if (tasks[i] == NULL)
            continue;
        node->waiter.fire = watch_fire;
        node->watch = w;
        node->task = tasks[i];
        if (!weft__task_add_waiter(tasks[i], &node->waiter)) {
            node->task = NULL;
            watch_arrive(w, weft__task_rc(tasks[i]));
            watch_drop(w);
        }
        node++;
    }
    struct watched result = {.how = weft__wait_commit(f, deadline)};
    result.verdict = weft__load_acquire(&w->verdict); /* pairs: WATCH-VERDICT */
    result.cancelled = w->cancelled;
    watch_leave(w);
    return result;
}

static bool is_done(const struct weft_task *t)
{
    return t == NULL || weft__task_state(t) == WEFT__DONE;
}

/* The outcome of a task that is_done; none at all stands for one that could not be created. */
static int outcome(const struct weft_task *t)
{
    return t == NULL ? -ENOMEM : weft__task_rc(t);
}

/* Does the task run on the calling fiber, so that waiting for it can't end? */
static bool is_own(struct weft__fiber *f, const struct weft_task *t)
{
    return weft__task_state(t) == WEFT__STARTED && weft__load_acquire(&t->fiber) == f; /* pairs: TASK-FIBER */
}

/* ---- gather ----------------------------------------------------------------------------------------------------- */

static bool gather_cancel(struct weft__fiber *f, void *object, struct weft__cancel_list *list)
{
    struct watch *w = object;
    (void)f;
    bool ended = weft__load_acquire(&w->verdict) != 0; /* pairs: WATCH-VERDICT */
    ended |= weft__load_acquire(&w->left) == 0;        /* pairs: WATCH-LEFT */
    if (ended)
        return false; /* the others are nobody's business any more */
    bool passed_on = false;
    for (size_t i = 0; i < w->count; i++)
        if (w->nodes[i].task != NULL && weft__cancel_mark(w->nodes[i].task, list))
            passed_on = true;
    w->cancelled |= passed_on;
    return passed_on;
}

static const struct weft__wait_kind gather_wait = {.name = "gather", .cancel = gather_cancel};

/* What can be told before waiting: 1 when all have ended, 0 when not, -EDEADLK; *verdict: the first failure of an ended
 * one in the order given. Errors of gathered tasks count as looked at, whenever they come. */
static int gather_look(struct weft__fiber *f, weft_task *const tasks[], size_t n, int *verdict)
{
    int all = 1;
    *verdict = 0;
    for (size_t i = 0; i < n; i++) {
        struct weft_task *t = tasks[i];
        if (t != NULL)
            weft__task_set_retrieved(t);
        if (!is_done(t)) {
            if (is_own(f, t))
                return -EDEADLK;
            if (t->rt != weft__fiber_runtime(f))
                return -EXDEV;
            all = 0;
        } else if (outcome(t) < 0 && *verdict == 0) {
            *verdict = outcome(t);
        }
    }
    return all;
}

int weft_gather_n(weft_task *const tasks[], size_t n)
{
    struct weft__fiber *f = weft__fiber_require("weft_gather");
    int verdict;
    int all = gather_look(f, tasks, n, &verdict);
    if (all < 0)
        return all;
    if (all > 0 || verdict < 0)
        return verdict;
    struct watched result = watch(f, tasks, n, UNTIL_FAILURE, &gather_wait, WEFT_FOREVER);
    if (result.how == 0)
        return -ENOMEM;
    if (result.how == WEFT__CANCELLED)
        return -ECANCELED;
    if (result.verdict < 0)
        return result.verdict;
    return result.cancelled ? -ECANCELED : 0;
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
    struct weft__fiber *f = weft__fiber_require("weft_gather_settled");
    int verdict;
    int all = gather_look(f, tasks, n, &verdict);
    if (all < 0)
        return all;
    if (all == 0) {
        struct watched result = watch(f, tasks, n, UNTIL_ALL, &gather_wait, WEFT_FOREVER);
        if (result.how == 0)
            return -ENOMEM;
        if (result.how == WEFT__CANCELLED || result.cancelled)
            return -ECANCELED;
    }
    return count_failed(tasks, n);
}

/* ---- wait ------------------------------------------------------------------------------------------------------- */

static const struct weft__wait_kind wait_wait = {.name = "wait", .cancel = NULL};

int weft_wait(weft_task *const tasks[], size_t n, enum weft_return_when when, weft_ns timeout)
{
    struct weft__fiber *f = weft__fiber_require("weft_wait");
    if (n == 0 || when < WEFT_ALL_COMPLETED || when > WEFT_FIRST_EXCEPTION)
        return -EINVAL;
    enum watch_rule rule = when == WEFT_FIRST_COMPLETED   ? UNTIL_ANY
                           : when == WEFT_FIRST_EXCEPTION ? UNTIL_ERROR
                                                          : UNTIL_ALL;
    size_t done = 0;
    bool met = false;
    for (size_t i = 0; i < n; i++) {
        if (!is_done(tasks[i]))
            continue;
        done++;
        int rc = outcome(tasks[i]);
        met |= rule == UNTIL_ANY || (rule == UNTIL_ERROR && rc < 0 && rc != -ECANCELED);
    }
    if (met || done == n || timeout <= 0) {
        /* Still a suspension: the others get their turn, and a cancellation its chance. */
        int rc = weft__yield(f);
        if (rc < 0)
            return rc;
    } else {
        weft_ns deadline = weft__deadline_after(weft__fiber_runtime(f), timeout);
        struct watched result = watch(f, tasks, n, rule, &wait_wait, deadline);
        if (result.how == 0)
            return -ENOMEM;
        if (result.how == WEFT__CANCELLED)
            return -ECANCELED;
    }
    done = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_done(tasks[i]))
            continue;
        done++;
        if (rule == UNTIL_ERROR && tasks[i] != NULL) /* had to look whether it failed */
            weft__task_set_retrieved(tasks[i]);
    }
    return (int)done;
}

/* ---- one task, not owned ---------------------------------------------------------------------------------------- */

static const struct weft__wait_kind shield_wait = {.name = "shield", .cancel = NULL};
static const struct weft__wait_kind wait_for_wait = {.name = "wait_for", .cancel = NULL};

/* Wait for one task without passing a cancellation on: 0 when it has ended, -ECANCELED when the caller was cancelled.
 * */
static int watch_one(struct weft__fiber *f, weft_task *t, const struct weft__wait_kind *kind)
{
    weft__task_set_retrieved(t);
    if (is_done(t))
        return 0;
    if (is_own(f, t))
        return -EDEADLK;
    if (t->rt != weft__fiber_runtime(f))
        return -EXDEV; /* as weft_await */
    struct watched result = watch(f, &t, 1, UNTIL_ALL, kind, WEFT_FOREVER);
    return result.how == 0 ? -ENOMEM : result.how == WEFT__CANCELLED ? -ECANCELED : 0;
}

int weft_shield(weft_task *t)
{
    struct weft__fiber *f = weft__fiber_require("weft_shield");
    if (t == NULL)
        return -ENOMEM;
    int rc = watch_one(f, t, &shield_wait);
    return rc < 0 ? rc : weft__task_rc(t);
}

int weft_wait_for(weft_task *t, weft_ns timeout)
{
    struct weft__fiber *f = weft__fiber_require("weft_wait_for");
    if (t == NULL)
        return -ENOMEM;
    if (timeout == WEFT_FOREVER || is_done(t))
        return weft_await(t);
    if (is_own(f, t))
        return -EDEADLK;
    if (timeout > 0) {
        weft_timeout limit;
        int rc = weft_timeout_begin(&limit, timeout);
        if (rc == 0)
            rc = weft_await(t);
        return weft_timeout_end(&limit, rc);
    }
    weft_cancel(t);
    int rc = watch_one(f, t, &wait_for_wait);
    if (rc < 0)
        return rc;
    rc = weft__task_rc(t);
    return rc == -ECANCELED ? -ETIMEDOUT : rc;
}
