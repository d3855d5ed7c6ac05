/* SPDX-License-Identifier: Apache-2.0 */
/* model_await.c -- executor/await.c: a fiber awaits a future that somebody sets, while somebody else cancels the awaiting task. It goes on once,
 * with the outcome, and its memory is touched by nobody any more. */
#include "executor/requests.h"
#include "fibers.h"

static struct weft_task future;
static int outcome;
static bool set, taken;

static void setup(void)
{
    fibers_reset();
    memset(&future, 0, sizeof future);
    task_init(&future, WEFT__KIND_FUTURE, WEFT__STARTED, 10);
    outcome = 1;
    set = taken = false;
}

const char *weft__task_take_message(struct weft_task *t)
{
    (void)t;
    return NULL;
}

static void awaits(void)
{
    fiber_begin();
    outcome = weft__await_suspended(&fiber, &future);
    memset(&fiber.await, 0, sizeof fiber.await); /* its next wait may be of another kind */
    fiber_end();
}
static void sets(void)
{
    set = weft__future_finish(&future, 5, NULL, false);
}
static void cancels(void)
{
    taken = weft_cancel(&task);
}

static bool pending(void)
{
    return weft__requests_pending(&task);
}
static void finish_set(void)
{
    CHECK(set && outcome == 5);
}
/* The request goes to the future, or it ends the wait when that has ended already, or it comes too late and stays. */
static void finish_cancelled(void)
{
    CHECK(taken);
    CHECK(outcome == 5 || outcome == -ECANCELED);
    CHECK(outcome != 5 || (set && pending()));
    CHECK(set == (weft__task_rc(&future) == 5));
    CHECK(set || !pending());
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "await",
         .setup = setup,
         .thread = {awaits, next_context, sets},
         .finish = finish_set,
         .preemptions = 3,
         .stale = 1},
        {.name = "await-cancel",
         .setup = setup,
         .thread = {awaits, next_context, sets, cancels},
         .finish = finish_cancelled,
         .preemptions = 2,
         .stale = 0},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
