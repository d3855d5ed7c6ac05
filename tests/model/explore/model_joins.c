/* SPDX-License-Identifier: Apache-2.0 */
/* model_joins.c -- executor/joins.c and the inline fork and join of weft/join.h: an owner that forks and joins in its frame against thieves that ask, steal and
 * raid. Each child is run once, by its parent or by one thief, who sees its frame; the parent goes on when it has ended. */
#undef WEFT_NO_INLINE
#include "executor/joins.h"
#include "executor/worker.h"
#include "explore.h"

static struct weft__fiber fiber;
static struct explore_sync ended[4];
static bool has_ended[4];

__thread struct weft_here_ *weft_here_at_;

struct leaf {
    WEFT_FRAME;
    unsigned number, ran, result;
};
static int leaf(struct leaf *f)
{
    CHECK(f->ran == 0);
    f->ran++;
    f->result = 100 + f->number;
    return 0;
}
WEFT_CORO(leaf);

static struct weft__worker worker;

/* ---- what the inline join does not do itself: a model of await.c's join_elsewhere ---- */

__attribute__((no_sanitize("thread"))) static bool child_has_ended(void *child)
{
    const struct weft_child *c = child;
    return has_ended[((struct leaf *)(uintptr_t)c->opaque_[3])->number];
}
static int join_elsewhere(weft_child *child)
{
    explore_block(child_has_ended, child);
    explore_arrive(&ended[((struct leaf *)(uintptr_t)child->opaque_[3])->number]);
    return 0;
}
static int run_child(const weft_child *child)
{
    weft_frame *frame = (weft_frame *)(uintptr_t)child->opaque_[3];
    return frame->coro->entry(frame);
}
int weft_join_open_(weft_child *child, int64_t bottom)
{
    return weft__joins_pop_open(&worker.joins, bottom) ? run_child(child) : join_elsewhere(child);
}
int(weft_join)(weft_child *child)
{
    return weft__joins_pop(&worker.joins, (uintptr_t)child) != 0 ? run_child(child) : join_elsewhere(child);
}
int weft_join_end_(weft_child *child, int rc)
{
    (void)child;
    (void)rc;
    CHECK(false);
    return -1;
}
void weft_fork_(weft_child *child, weft_frame *frame)
{
    child->opaque_[1] = WEFT_CHILD_KIND_;
    child->opaque_[2] = WEFT_CHILD_NEW_;
    child->opaque_[3] = (uintptr_t)frame;
    child->opaque_[4] = 0;
    child->opaque_[6] = 0;
    CHECK(weft__joins_push_slow(&worker.joins, (uintptr_t)child));
    (void)weft__joins_share(&worker.joins);
}

/* ---- the threads ---- */

static void setup(void)
{
    CHECK(weft__joins_init(&worker.joins, 2, -1) == 0);
    memset(&fiber, 0, sizeof fiber);
    memset(ended, 0, sizeof ended);
    memset(has_ended, 0, sizeof has_ended);
    worker.current = &fiber;
    weft_here_at_ = (struct weft_here_ *)(void *)&worker;
}

static unsigned fork_and_join(unsigned n)
{
    weft_child children[3];
    struct leaf frames[3];
    unsigned sum = 0;
    for (unsigned i = 0; i < n; i++) {
        frames[i] = (struct leaf){.number = i};
        weft_fork(&children[i], leaf, &frames[i]);
    }
    for (unsigned i = n; i-- > 0;) {
        CHECK(weft_join(&children[i]) == 0);
        CHECK(frames[i].ran == 1);
        sum += frames[i].result;
    }
    return sum;
}
static void owner_two(void)
{
    CHECK(fork_and_join(2) == 201);
}
static void owner_three(void)
{
    CHECK(fork_and_join(3) == 303);
}
static void owner_twice(void)
{
    CHECK(fork_and_join(1) == 100);
    memset(has_ended, 0, sizeof has_ended); /* nobody has it any more */
    CHECK(fork_and_join(1) == 100);
}

__attribute__((no_sanitize("thread"))) static void tell_end(unsigned number)
{
    explore_leave(&ended[number]);
    has_ended[number] = true;
}
static void steal(void)
{
    uintptr_t item;
    if (weft__joins_steal(&worker.joins, &item) != WEFT__STEAL_GOT)
        return;
    const weft_child *child = (const weft_child *)item;
    unsigned number = ((struct leaf *)(uintptr_t)child->opaque_[3])->number;
    run_child(child);
    tell_end(number);
}
static void raider(void)
{
    if (weft__joins_raid(&worker.joins))
        steal();
}
static void raider_twice(void)
{
    raider();
    raider();
}
static void asker(void)
{
    weft__joins_ask(&worker.joins, 1);
    steal();
    steal();
}

static void finish(void)
{
    CHECK(weft__joins_size(&worker.joins) == 0 && weft__joins_open(&worker.joins) == 0);
    weft__joins_destroy(&worker.joins);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "joins-raid",
         .setup = setup,
         .thread = {owner_two, raider_twice},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "joins-raid-three",
         .setup = setup,
         .thread = {owner_three, raider_twice},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "joins-raiders",
         .setup = setup,
         .thread = {owner_two, raider, raider},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "joins-ask",
         .setup = setup,
         .thread = {owner_three, asker},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
        {.name = "joins-ask-raid",
         .setup = setup,
         .thread = {owner_three, asker, raider},
         .finish = finish,
         .preemptions = 2,
         .stale = 1},
        {.name = "joins-again",
         .setup = setup,
         .thread = {owner_twice, raider_twice},
         .finish = finish,
         .preemptions = 3,
         .stale = 2},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
