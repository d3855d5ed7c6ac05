/* SPDX-License-Identifier: Apache-2.0 */
/* model_interest.c -- io/registration.c: readiness of a descriptor: a reader on a fiber, events, a close, a wake by somebody else (a time limit, a
 * cancellation). What has arrived is read or the close is told; nobody sleeps beside data; the record is disposed of once, when nobody is inside. */
#include "executor/requests.h"
#include "fibers.h"
#include "io/park.h"
#include "io/registration.h"

static struct weft__io io;
static const struct weft__driver driver = {.park_arm = weft__park_arm,
                                           .park_resume = weft__park_resume,
                                           .park_end = weft__park_end,
                                           .park_names = weft__park_names};
static struct weft__registration reg;
static const struct weft__wait_kind reading = {.name = "reading"};
static _Atomic(uint32_t) arrived; /* the kernel's buffer */
static _Atomic(uint32_t) entered;
static unsigned disposed;
static int outcome;
static bool taken;

void weft__stream_dispose(struct weft__registration *r)
{
    CHECK(r == &reg && disposed == 0);
    disposed++;
    r->fd = -1;
}

static void setup(void)
{
    fibers_reset();
    memset(&reg, 0, sizeof reg);
    memset(&io, 0, sizeof io);
    reg.io = &io;
    reg.kind = WEFT__OF_TCP;
    io.rt = &rt;
    rt.driver = &driver;
    reg.fd = 3;
    weft__store_relaxed(&reg.interest[WEFT__READ].word, WEFT__READY);
    weft__store_relaxed(&arrived, 0);
    weft__store_relaxed(&entered, 0);
    disposed = 0;
    outcome = 0;
    taken = false;
}

/* recv of a non-blocking socket; a system call orders everything. */
static int receive(void)
{
    CHECK(reg.fd == 3); /* nobody may dispose of it while this one is inside */
    return (int)weft__exchange_seq_cst(&arrived, 0);
}
static int read_some(void)
{
    int n = weft__registration_enter(&reg, WEFT__READER);
    if (n < 0)
        return n;
    weft__store_release(&entered, 1);
    for (;;) {
        uint64_t word = weft__interest_consume(&reg, WEFT__READ);
        if (word & WEFT__CLOSED) {
            n = -EBADF;
            break;
        }
        if ((n = receive()) != 0)
            break;
        if ((n = weft__registration_wait(&reg, &fiber, 1u << WEFT__READ, &reading, WEFT_FOREVER)) < 0)
            break;
    }
    weft__registration_leave(&reg, WEFT__READER);
    return n;
}
static void reads(void)
{
    fiber_begin();
    outcome = read_some();
    fiber_end();
}
static void reads_twice(void)
{
    fiber_begin();
    outcome = read_some();
    if (outcome == 1)
        outcome += read_some();
    fiber_end();
}

/* The same by a task without a stack: it returns, is called again, and its use of the stream goes on (executor/parked.c, io/park.c). */
static void reads_parked(void)
{
    fiber_begin();
    if (weft__registration_enter(&reg, WEFT__READER) < 0)
        CHECK(false);
    weft__store_release(&entered, 1);
    while (outcome == 0) {
        uint64_t word = weft__interest_consume(&reg, WEFT__READ);
        outcome = word & WEFT__CLOSED ? -EBADF : receive();
        if (outcome != 0)
            break;
        reg.parked = 1u << WEFT__READ;
        weft__store_relaxed(&reg.interest[WEFT__READ].who, (uintptr_t)WEFT_FOREVER);
        weft__park_ask(&fiber, &reg.park);
        fiber_parks();
        weft__store_relaxed(&fiber.word, WEFT__FIBER_RUNNING);
        weft__parked_begin(&workers[explore_self()], &fiber, &task);
        task.below = NULL;
        outcome = weft__park_take_over(&fiber);
        if (outcome > 0) /* readable */
            outcome = 0;
    }
    weft__registration_leave(&reg, WEFT__READER);
    fiber_end();
}

static void arrives(void)
{
    weft__fetch_add_seq_cst(&arrived, 1);
    weft__registration_event(&reg, EPOLLIN);
}
/* While the reader is inside, or after that: who calls after a close was wrong anyhow. */
static void closes(void)
{
    while (weft__load_acquire(&entered) == 0)
        weft__cpu_relax();
    weft__registration_close(&reg, "model");
}
static void cancels(void)
{
    taken = weft_cancel(&task);
}

/* A dump looks at where it is parked: so long it stays there. */
static void looks(void)
{
    if (!weft__parked_hold(&task))
        return;
    CHECK(task.park == &reg.park && reg.parked == 1u << WEFT__READ && disposed == 0);
    weft__parked_release(&task);
}

static void finish_read(void)
{
    CHECK(outcome == 1 && disposed == 0);
}
static void finish_read_twice(void)
{
    CHECK(outcome == 2 && weft__load_relaxed(&arrived) == 0);
}
static void finish_closed(void)
{
    CHECK(outcome == 1 || outcome == -EBADF);
    CHECK(disposed == 1);
}
static void finish_closed_only(void)
{
    CHECK(outcome == -EBADF && disposed == 1);
}
static void finish_cancelled(void)
{
    CHECK(outcome == 1 || (outcome == -ECANCELED && taken));
    CHECK((weft__load_relaxed(&reg.interest[WEFT__READ].word) & WEFT__WAITING) == 0);
    CHECK(outcome == 1 || weft__load_relaxed(&arrived) == 0 ||
          (weft__load_relaxed(&reg.interest[WEFT__READ].word) & WEFT__READY) != 0);
}

static void finish_only_cancelled(void)
{
    CHECK(outcome == -ECANCELED && taken && !weft__requests_pending(&task));
    CHECK((weft__load_relaxed(&reg.interest[WEFT__READ].word) & WEFT__WAITING) == 0);
}

int main(int argc, char **argv)
{
    static const struct explore_model models[] = {
        {.name = "interest",
         .setup = setup,
         .thread = {reads, next_context, arrives},
         .finish = finish_read,
         .preemptions = 3,
         .stale = 1},
        {.name = "interest-twice",
         .setup = setup,
         .thread = {reads_twice, next_context, arrives, arrives},
         .finish = finish_read_twice,
         .preemptions = 2,
         .stale = 0},
        {.name = "interest-close",
         .setup = setup,
         .thread = {reads, next_context, arrives, closes},
         .finish = finish_closed,
         .preemptions = 2,
         .stale = 0},
        {.name = "interest-only-close",
         .setup = setup,
         .thread = {reads, next_context, closes},
         .finish = finish_closed_only,
         .preemptions = 3,
         .stale = 1},
        {.name = "interest-cancel",
         .setup = setup,
         .thread = {reads, next_context, arrives, cancels},
         .finish = finish_cancelled,
         .preemptions = 2,
         .stale = 0},
        {.name = "parked",
         .setup = setup,
         .thread = {reads_parked, arrives},
         .finish = finish_read,
         .preemptions = 3,
         .stale = 2},
        {.name = "parked-close",
         .setup = setup,
         .thread = {reads_parked, arrives, closes},
         .finish = finish_closed,
         .preemptions = 2,
         .stale = 1},
        {.name = "parked-only-close",
         .setup = setup,
         .thread = {reads_parked, closes},
         .finish = finish_closed_only,
         .preemptions = 3,
         .stale = 2},
        {.name = "parked-cancel",
         .setup = setup,
         .thread = {reads_parked, arrives, cancels},
         .finish = finish_cancelled,
         .preemptions = 2,
         .stale = 1},
        {.name = "parked-only-cancel",
         .setup = setup,
         .thread = {reads_parked, cancels},
         .finish = finish_only_cancelled,
         .preemptions = 3,
         .stale = 2},
        {.name = "parked-look",
         .setup = setup,
         .thread = {reads_parked, arrives, looks},
         .finish = finish_read,
         .preemptions = 2,
         .stale = 1},
        {.name = "parked-look-close",
         .setup = setup,
         .thread = {reads_parked, closes, looks},
         .finish = finish_closed_only,
         .preemptions = 2,
         .stale = 1},
        {.name = "parked-look-cancel",
         .setup = setup,
         .thread = {reads_parked, cancels, looks},
         .finish = finish_only_cancelled,
         .preemptions = 2,
         .stale = 1},
    };
    return explore_main(argc, argv, models, sizeof models / sizeof models[0]);
}
