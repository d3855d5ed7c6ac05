/* SPDX-License-Identifier: Apache-2.0 */
/* Two tasks hand a number to and fro over two queues of capacity 1: as they come to lie, under a time limit, and forced apart. */
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

struct player {
    WEFT_FRAME;
    weft_queue *in, *out;
    long rounds;
    weft_ns limit; /* each get under a time limit of its own */
};
static int player(struct player *f)
{
    for (long i = 0; i < f->rounds; i++) {
        long item;
        weft_timeout scope;
        if (f->limit != 0)
            (void)weft_timeout_begin(&scope, f->limit);
        int rc = weft_queue_get(f->in, &item);
        if (f->limit != 0)
            rc = weft_timeout_end(&scope, rc);
        item++;
        if (rc < 0 || (rc = weft_queue_put(f->out, &item)) < 0)
            return rc;
    }
    return 0;
}
WEFT_CORO(player);

static void ping_pong(long n, weft_ns limit, struct outcome *out)
{
    weft_queue *a = weft_queue_create(sizeof(long), 1), *b = weft_queue_create(sizeof(long), 1);
    for (int pass = 0; pass < 2; pass++) {
        long rounds = pass == 0 ? n / 10 + 1 : n, item = 1;
        bench_start(out);
        weft_task *server = weft_create_task(player, .in = a, .out = b, .rounds = rounds);
        out->wrong |= weft_queue_put(a, &item) != 0;
        weft_task *client = weft_create_task(player, .in = b, .out = a, .rounds = rounds - 1, .limit = limit);
        out->wrong |= weft_await_release(client) != 0;
        out->wrong |= weft_await_release(server) != 0;
        out->wrong |= weft_queue_get(b, &item) != 0 || item != 2 * rounds;
        bench_stop(out);
    }
    out->operations = (double)n;
    weft_queue_destroy(a);
    weft_queue_destroy(b);
}
static void run_ping_pong(long n, struct outcome *out)
{
    ping_pong(n, 0, out);
}
static void run_timeout_pend(long n, struct outcome *out)
{
    ping_pong(n, WEFT_SEC(1), out);
}

/* ---- forced apart ----
 * Each end says at every message on which thread it is, if that is another one than before (a store each time would be part of the figure, and
 * no part of handing over). Who has handed over and knows the other end on its own thread keeps that thread busy until the other has been taken
 * elsewhere: so from the second hand-over on, each end has a worker of its own unless the runtime brings them together; then moving them apart is
 * part of the figure. A run ends after 2 s. */

struct end {
    _Alignas(64) _Atomic(const void *) thread;
    long forced; /* hand-overs that had to wait for the other to be taken away */
};

struct apart {
    WEFT_FRAME;
    weft_queue *in, *out;
    struct end *mine, *other;
    long rounds;         /* of the client: at most */
    weft_ns work, limit; /* of the client: before each message; on the whole */
    long done;
};

static void work_for(weft_ns duration)
{
    for (weft_ns until = weft_now() + duration; weft_now() < until;)
        ;
}

static void say_where(struct end *e)
{
    if (atomic_load_explicit(&e->thread, memory_order_relaxed) != this_thread())
        atomic_store(&e->thread, this_thread());
}

static int hand_over(struct apart *f, long item)
{
    say_where(f->mine);
    int rc = weft_queue_put(f->out, &item);
    if (rc == 0 && atomic_load(&f->other->thread) == this_thread()) {
        f->mine->forced++;
        while (atomic_load(&f->other->thread) == this_thread())
            ;
    }
    return rc;
}

static int take(struct apart *f, long *item)
{
    int rc = weft_queue_get(f->in, item);
    say_where(f->mine);
    return rc;
}

enum { LAST = -1 };

static int ask(struct apart *f)
{
    long item = 0;
    int rc = 0;
    weft_ns until = weft_now() + f->limit;
    for (; f->done < f->rounds && rc == 0; f->done++) {
        if (f->done % 64 == 0 && weft_now() > until)
            break;
        if (f->work != 0)
            work_for(f->work);
        if ((rc = hand_over(f, item)) == 0 && (rc = take(f, &item)) == 0 && item != f->done + 1)
            rc = -1;
    }
    long last = LAST;
    return rc < 0 ? rc : weft_queue_put(f->out, &last);
}

static int answer(struct apart *f)
{
    long item;
    int rc;
    while ((rc = take(f, &item)) == 0 && item != LAST && (rc = hand_over(f, item + 1)) == 0)
        f->done++;
    return rc;
}

static int apart(struct apart *f)
{
    return f->rounds != 0 ? ask(f) : answer(f);
}
WEFT_CORO(apart);

static void ping_pong_apart(long n, weft_ns work, const char *const names[2], struct outcome *out)
{
    if (!bench_needs_workers(out, 2))
        return;
    weft_queue *to = weft_queue_create(sizeof(long), 1), *from = weft_queue_create(sizeof(long), 1);
    for (int pass = 0; pass < 2; pass++) {
        struct end ends[2];
        for (int i = 0; i < 2; i++) {
            atomic_init(&ends[i].thread, NULL);
            ends[i].forced = 0;
        }
        double cpu = process_cpu();
        bench_start(out);
        weft_task *server = weft_create_task(apart, .in = to, .out = from, .mine = &ends[1], .other = &ends[0]);
        weft_task *client = weft_create_task(apart, .in = from, .out = to, .mine = &ends[0], .other = &ends[1],
                                             .rounds = pass == 0 ? n / 10 + 1 : n, .work = work,
                                             .limit = WEFT_SEC(pass == 0 ? 0.2 : 2));
        out->wrong |= weft_gather(server, client) != 0;
        bench_stop(out);
        cpu = process_cpu() - cpu;
        long done = weft_result(apart, client)->done;
        out->wrong |= done == 0 || weft_result(apart, server)->done != done;
        weft_release(server);
        weft_release(client);
        if (pass == 1) {
            bench_extra(out, names[0], 50 * (double)(ends[0].forced + ends[1].forced) / (double)done);
            bench_extra(out, names[1], cpu / ((double)out->elapsed / 1e9));
            out->elapsed -= done * work;
            out->operations = (double)done;
        }
    }
    weft_queue_destroy(to);
    weft_queue_destroy(from);
}

static void run_ping_pong_apart(long n, struct outcome *out)
{
    static const char *const names[] = {"ping_pong_apart_forced_percent", "ping_pong_apart_cores"};
    ping_pong_apart(n, 0, names, out);
}

static void run_ping_pong_gap(long n, struct outcome *out)
{
    static const char *const names[] = {"ping_pong_gap_forced_percent", "ping_pong_gap_cores"};
    ping_pong_apart(n, WEFT_US(100), names, out);
}

const struct workload hand_over_workloads[] = {
    {.name = "ping_pong", .what = "a round trip over two queues of capacity 1", .n = 500000, .run = run_ping_pong},
    {.name = "timeout_pend", .what = "the same, the client under a time limit", .n = 500000, .run = run_timeout_pend},
    {.name = "ping_pong_apart",
     .what = "a round trip, each end kept on a worker of its own",
     .n = 200000,
     .run = run_ping_pong_apart},
    {.name = "ping_pong_gap",
     .what = "the same with 100 us of work before each, which are subtracted; a line for the cores used",
     .n = 5000,
     .run = run_ping_pong_gap},
    {.name = NULL},
};
