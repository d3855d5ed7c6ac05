/* SPDX-License-Identifier: Apache-2.0 */
/* model_queue.c -- executor/queue*.c: a getter that looks and is given its item past the store (QUEUE-GIVEN, QUEUE-TAKER in queue.h), beside putters, another
 * getter, cancellation, shutdown, and the queue's end right after. Each item goes to one getter, in order; nobody sleeps beside an item; who has its
 * item may free the queue. */
#include <errno.h>

#include "executor/queue.h"
#include "fibers.h"

enum { MOST = 3 };

static weft_queue *queue;
static uint64_t got[MOST], other;
static int how[MOST], put_how, other_how;
static unsigned gets;
static bool asked;

/* make_ready.c holds items back meanwhile; here they are few. */
size_t weft__sync_wake_many(weft__waitlist *l, size_t n)
{
    return weft__sync_wake(l, n);
}
/* Nothing else is there to be run on the getter's worker. */
bool weft__look_begin(struct weft__fiber *f)
{
    (void)f;
    return true;
}
bool weft__look_again(struct weft__fiber *f)
{
    (void)f;
    return false;
}

static void setup(void)
{
    fibers_reset();
    memset(got, 0, sizeof got);
    memset(how, 0, sizeof how);
    other = 0;
    gets = 0;
    put_how = other_how = 0;
    asked = false;
    queue = weft_queue_create(sizeof(uint64_t), 0);
    CHECK(queue != NULL);
    queue->getters_patience = WEFT__PATIENCE_MIN + 1; /* the shortest look there is */
}

static void get_one(void)
{
    how[gets] = weft_queue_get_(queue, &got[gets], sizeof got[0]);
    gets++;
}
static void gets_once(void)
{
    fiber_begin();
    get_one();
    fiber_end();
}
static void gets_twice(void)
{
    fiber_begin();
    get_one();
    queue->getters_patience = WEFT__PATIENCE_MIN + 1;
    get_one();
    fiber_end();
}
static void gets_and_destroys(void)
{
    gets_once();
    weft_queue_destroy(queue);
    queue = NULL;
}
static void put_number(uint64_t number)
{
    int rc = weft_queue_put_nowait_(queue, &number, sizeof number);
    put_how = rc < 0 ? rc : put_how;
}
static void puts_one(void)
{
    put_number(1);
}
static void puts_two(void)
{
    put_number(1);
    put_number(2);
}
static void other_gets(void)
{
    other_how = weft_queue_get_nowait_(queue, &other, sizeof other);
}
static void cancels(void)
{
    asked = weft_cancel(&task);
}
static void shuts_down(void)
{
    weft_queue_shutdown(queue, false);
}

static void at_rest(size_t count, size_t unfinished)
{
    CHECK(queue->store.count == count && queue->unfinished == unfinished);
    CHECK(!(queue->special & (WEFT__QUEUE_LOOKS | WEFT__QUEUE_GETTERS)) && queue->taker == 0 && queue->guard == 0);
    CHECK(queue->getters.count_ == 0);
    weft_queue_destroy(queue);
}
static void finish_two(void)
{
    CHECK(put_how == 0 && how[0] == 0 && how[1] == 0 && got[0] == 1 && got[1] == 2);
    at_rest(0, 2);
}
static void finish_shared(void)
{
    CHECK(put_how == 0 && how[0] == 0);
    if (other_how == 0)
        CHECK((got[0] == 1 && other == 2) || (got[0] == 2 && other == 1));
    else
        CHECK(other_how == -EAGAIN && got[0] == 1);
    at_rest(other_how == 0 ? 0 : 1, 2);
}
static void finish_cancelled(void)
{
    CHECK(put_how == 0 && asked && (how[0] == 0 || how[0] == -ECANCELED));
    if (how[0] == 0)
        CHECK(got[0] == 1);
    at_rest(how[0] == 0 ? 0 : 1, 1);
}
static void finish_shut(void)
{
    CHECK(put_how == 0 || put_how == -ESHUTDOWN);
    if (put_how == 0)
        CHECK(how[0] == 0 ? got[0] == 1 : how[0] == -ESHUTDOWN);
    else
        CHECK(how[0] == -ESHUTDOWN);
    at_rest(put_how == 0 && how[0] != 0 ? 1 : 0, put_how == 0 ? 1 : 0);
}
static void finish_destroyed(void)
{
    CHECK(put_how == 0 && how[0] == 0 && got[0] == 1);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "queue-given",
         .setup = setup,
         .thread = {gets_twice, next_context, puts_two},
         .finish = finish_two,
         .preemptions = 2,
         .stale = 1},
        {.name = "queue-given-beside-get",
         .setup = setup,
         .thread = {gets_once, next_context, puts_two, other_gets},
         .finish = finish_shared,
         .preemptions = 2,
         .stale = 1},
        {.name = "queue-given-cancel",
         .setup = setup,
         .thread = {gets_once, next_context, puts_one, cancels},
         .finish = finish_cancelled,
         .preemptions = 2,
         .stale = 1},
        {.name = "queue-given-shutdown",
         .setup = setup,
         .thread = {gets_once, next_context, puts_one, shuts_down},
         .finish = finish_shut,
         .preemptions = 2,
         .stale = 1},
        {.name = "queue-given-destroy",
         .setup = setup,
         .thread = {gets_and_destroys, next_context, puts_one},
         .finish = finish_destroyed,
         .preemptions = 3,
         .stale = 2},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
