/* SPDX-License-Identifier: Apache-2.0 */
/* stress/sync.c -- locks, semaphores, conditions, events and barriers under random time limits and cancels.
 * Invariants: one holder; every acquisition counted once; permits and items conserved; a notification is never lost (it
 * would be a hang); a barrier's round begins when all are there and hands out every number once. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "stress.h"

#define MOST 24

/* ---- what they share: players, and who cancels them ------------------------------------------------------------*/

struct game {
    uint64_t seed;
    bool disturb;
    unsigned players, turns;
    void *state;
    int (*play)(struct game *g, struct rng *r, unsigned player);
    _Atomic(uint32_t) in, out; /* players that have begun, finished */
};

struct player {
    WEFT_FRAME;
    struct game *game;
    unsigned number;
};
static int player(struct player *f)
{
    struct rng r = rng_make(f->game->seed, 100 + f->number);
    atomic_fetch_add(&f->game->in, 1);
    int rc = f->game->play(f->game, &r, f->number);
    atomic_fetch_add(&f->game->out, 1);
    return rc;
}
WEFT_CORO(player);

/* Players swallow cancels (try_again), so all of them play to the end. */
static int play_all(struct game *g)
{
    struct rng r = rng_make(g->seed, 1);
    weft_task *t[MOST];
    for (unsigned i = 0; i < g->players; i++)
        t[i] = weft_create_task(player, .game = g, .number = i);
    /* One that is cancelled before its first step would not play. */
    while (g->disturb && atomic_load(&g->in) < g->players)
        (void)weft_sleep(WEFT_US(50));
    while (g->disturb && atomic_load(&g->out) < g->players) {
        (void)weft_sleep(WEFT_US(rng_below(&r, 200)));
        unsigned victim = rng_below(&r, g->players);
        (void)weft_cancel(t[victim]);
    }
    int bad = weft_gather_settled_n(t, g->players);
    for (unsigned i = 0; i < g->players; i++) {
        int status = weft_status(t[i]);
        /* A request that came after the last suspension makes a cancelled outcome of a good one. */
        CHECK(status == 0 || (status == -ECANCELED && g->disturb), "player %u of %u ended with %d", i, g->players,
              status);
        weft_release(t[i]);
    }
    return bad < 0 ? bad : 0;
}

static void draw_game(struct round *r, struct game *g)
{
    g->seed = r->seed;
    g->disturb = rng_chance(&r->rng, 50);
    g->players = 1 + rng_below(&r->rng, MOST);
    g->turns = 10 + rng_below(&r->rng, 60);
}

/* The call was interrupted by a time limit or a cancel, which is taken back. */
static bool interrupted(int rc)
{
    if (rc == -ECANCELED)
        (void)weft_uncancel(weft_current_task());
    return rc == -ECANCELED || rc == -ETIMEDOUT;
}

/* call(object), sometimes under a time limit. */
static int limited(struct rng *r, int (*call)(void *object), void *object)
{
    if (rng_chance(r, 70))
        return call(object);
    weft_timeout limit;
    int rc = weft_timeout_begin(&limit, WEFT_US(rng_below(r, 150)));
    CHECK(rc == 0, "timeout_begin: %d", rc);
    rc = call(object);
    return weft_timeout_end(&limit, rc);
}

/* A pause that is not cut short by a cancel more than once. */
static void rest(struct rng *r, uint32_t us)
{
    (void)interrupted(stress_pause(r, us));
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

struct locked {
    weft_lock lock;
    uint64_t count; /* plain memory: thread sanitizer sees whether the lock orders */
    unsigned inside;
    _Atomic(uint64_t) entered;
};

static int acquire_lock(void *lock)
{
    return weft_lock_acquire(lock);
}

static int play_lock(struct game *g, struct rng *r, unsigned player_number)
{
    struct locked *s = g->state;
    (void)player_number;
    for (unsigned i = 0; i < g->turns;) {
        int rc = rng_chance(r, 10) ? weft_lock_try_acquire(&s->lock) : limited(r, acquire_lock, &s->lock);
        if (rc == -EBUSY || interrupted(rc)) {
            rest(r, 20);
            continue;
        }
        CHECK(rc == 0, "acquire: %d", rc);
        CHECK(s->inside == 0, "%u others hold the lock", s->inside);
        s->inside++;
        s->count++;
        if (rng_chance(r, 30))
            rest(r, 30);
        s->inside--;
        rc = weft_lock_release(&s->lock);
        CHECK(rc == 0, "release: %d", rc);
        atomic_fetch_add(&s->entered, 1);
        stress_progress(1);
        i++;
    }
    return 0;
}

static int locks_body(void *arg)
{
    struct game *g = arg;
    struct locked *s = g->state;
    int rc = play_all(g);
    CHECK(!weft_lock_locked(&s->lock), "locked, and nobody is there");
    CHECK(s->count == atomic_load(&s->entered), "counted %llu, entered %llu", (unsigned long long)s->count,
          (unsigned long long)atomic_load(&s->entered));
    return rc;
}

static void locks(struct round *r)
{
    struct locked s = {.lock = WEFT_LOCK_INIT};
    struct game g = {.state = &s, .play = play_lock};
    draw_game(r, &g);
    int rc = stress_run(r, locks_body, &g);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- semaphores -------------------------------------------------------------------------------------------------- */

struct permits {
    weft_semaphore semaphore;
    int64_t value;
    _Atomic(int64_t) held;
    _Atomic(bool) stop; /* of the foreign thread */
    uint64_t seed;
};

static int acquire_permit(void *semaphore)
{
    return weft_semaphore_acquire(semaphore);
}

static void give_back(struct permits *s)
{
    atomic_fetch_sub(&s->held, 1);
    int rc = weft_semaphore_release(&s->semaphore);
    CHECK(rc == 0, "release: %d", rc);
}

static int play_semaphore(struct game *g, struct rng *r, unsigned player_number)
{
    struct permits *s = g->state;
    (void)player_number;
    for (unsigned i = 0; i < g->turns;) {
        int rc =
            rng_chance(r, 10) ? weft_semaphore_try_acquire(&s->semaphore) : limited(r, acquire_permit, &s->semaphore);
        if (rc == -EBUSY || interrupted(rc)) {
            rest(r, 20);
            continue;
        }
        CHECK(rc == 0, "acquire: %d", rc);
        int64_t held = atomic_fetch_add(&s->held, 1) + 1;
        CHECK(held <= s->value, "%lld permits held, there are %lld", (long long)held, (long long)s->value);
        rest(r, 30);
        give_back(s);
        stress_progress(1);
        i++;
    }
    return 0;
}

static void *foreign_permits(void *arg)
{
    struct permits *s = arg;
    struct rng r = rng_make(s->seed, 50);
    while (!atomic_load(&s->stop)) {
        if (weft_semaphore_try_acquire(&s->semaphore) == 0) {
            int64_t held = atomic_fetch_add(&s->held, 1) + 1;
            CHECK(held <= s->value, "%lld permits held, there are %lld", (long long)held, (long long)s->value);
            weft_ns until = weft_now() + WEFT_US(rng_below(&r, 30));
            while (weft_now() < until)
                ;
            give_back(s);
        }
        weft_ns until = weft_now() + WEFT_US(rng_below(&r, 100));
        while (weft_now() < until)
            ;
    }
    return NULL;
}

static int semaphores_body(void *arg)
{
    struct game *g = arg;
    int rc = play_all(g);
    struct permits *s = g->state;
    atomic_store(&s->stop, true);
    return rc;
}

static void semaphores(struct round *r)
{
    struct permits s = {.value = 1 + rng_below(&r->rng, 5), .seed = r->seed};
    struct game g = {.state = &s, .play = play_semaphore};
    draw_game(r, &g);
    int rc = weft_bounded_semaphore_init(&s.semaphore, s.value);
    CHECK(rc == 0, "init: %d", rc);
    pthread_t thread;
    bool foreign = rng_chance(&r->rng, 50) && pthread_create(&thread, NULL, foreign_permits, &s) == 0;
    rc = stress_run(r, semaphores_body, &g);
    CHECK(rc == 0, "the run: %d", rc);
    if (foreign)
        pthread_join(thread, NULL);
    for (int64_t i = 0; i < s.value; i++) {
        rc = weft_semaphore_try_acquire(&s.semaphore);
        CHECK(rc == 0, "permit %lld of %lld is lost", (long long)i, (long long)s.value);
    }
    CHECK(weft_semaphore_try_acquire(&s.semaphore) == -EBUSY, "more than %lld permits", (long long)s.value);
}

/* ---- conditions: a bounded buffer -------------------------------------------------------------------------------- */

struct buffer {
    weft_lock lock;
    weft_condition not_empty, not_full;
    unsigned size, filled, producing;
    uint64_t put, got; /* sums, under the lock */
};

static int wait_condition(void *condition)
{
    return weft_condition_wait(condition);
}

/* With the lock held, cancelled or not. */
static void lock_buffer(struct buffer *b)
{
    while (weft_lock_acquire(&b->lock) != 0)
        (void)weft_uncancel(weft_current_task());
}

static void wait_in_buffer(struct buffer *b, struct rng *r, weft_condition *c)
{
    int rc = limited(r, wait_condition, c);
    CHECK(rc == 0 || interrupted(rc), "condition_wait: %d", rc);
    CHECK(weft_lock_locked(&b->lock), "condition_wait returned %d without the lock", rc);
}

static int play_buffer(struct game *g, struct rng *r, unsigned number)
{
    struct buffer *b = g->state;
    bool producer = number % 2 == 0;
    for (unsigned i = 0; !producer || i < g->turns; i++) {
        rest(r, 20);
        lock_buffer(b);
        while (producer ? b->filled == b->size : b->filled == 0 && b->producing > 0)
            wait_in_buffer(b, r, producer ? &b->not_full : &b->not_empty);
        if (!producer && b->filled == 0) {
            weft_lock_release(&b->lock);
            return 0;
        }
        b->filled = producer ? b->filled + 1 : b->filled - 1;
        *(producer ? &b->put : &b->got) += 1;
        if (producer && i + 1 == g->turns)
            b->producing--;
        int rc = weft_condition_notify(producer ? &b->not_empty : &b->not_full, 1);
        CHECK(rc == 0, "notify: %d", rc);
        if (b->producing == 0)
            (void)weft_condition_notify_all(&b->not_empty);
        weft_lock_release(&b->lock);
        stress_progress(1);
    }
    return 0;
}

static int conditions_body(void *arg)
{
    return play_all(arg);
}

static void conditions(struct round *r)
{
    struct buffer b = {.lock = WEFT_LOCK_INIT, .size = 1 + rng_below(&r->rng, 4)};
    weft_condition_init(&b.not_empty, &b.lock);
    weft_condition_init(&b.not_full, &b.lock);
    struct game g = {.state = &b, .play = play_buffer};
    draw_game(r, &g);
    g.players = g.players < 2 ? 2 : g.players;
    b.producing = (g.players + 1) / 2;
    uint64_t all = (uint64_t)b.producing * g.turns;
    int rc = stress_run(r, conditions_body, &g);
    CHECK(rc == 0, "the run: %d", rc);
    CHECK(b.put == all && b.got == all && b.filled == 0, "%llu to put: %llu put, %llu got, %u left",
          (unsigned long long)all, (unsigned long long)b.put, (unsigned long long)b.got, b.filled);
}

/* ---- events: one leader, two events in turn, every player answers each ------------------------------------------- */

struct signalled {
    weft_event events[2];
    weft_semaphore answers;
    _Atomic(unsigned) phase;
};

static int wait_event(void *event)
{
    return weft_event_wait(event);
}

static int play_event(struct game *g, struct rng *r, unsigned number)
{
    struct signalled *s = g->state;
    for (unsigned i = 0; i < g->turns; i++) {
        int rc;
        if (number == 0) {
            rest(r, 20);
            atomic_store(&s->phase, i + 1);
            weft_event_set(&s->events[i % 2]);
            for (unsigned n = 1; n < g->players; n++) {
                while ((rc = limited(r, acquire_permit, &s->answers)) != 0)
                    CHECK(interrupted(rc), "acquire: %d", rc);
            }
            weft_event_clear(&s->events[i % 2]);
        } else {
            while ((rc = limited(r, wait_event, &s->events[i % 2])) != 0)
                CHECK(interrupted(rc), "event_wait: %d", rc);
            unsigned phase = atomic_load(&s->phase);
            CHECK(phase == i + 1, "in turn %u woken by phase %u", i, phase);
            rest(r, 20);
            rc = weft_semaphore_release(&s->answers);
            CHECK(rc == 0, "release: %d", rc);
        }
        stress_progress(1);
    }
    return 0;
}

static void events(struct round *r)
{
    struct signalled s = {.events = {WEFT_EVENT_INIT, WEFT_EVENT_INIT}, .answers = WEFT_SEMAPHORE_INIT(0)};
    struct game g = {.state = &s, .play = play_event};
    draw_game(r, &g);
    int rc = stress_run(r, conditions_body, &g);
    CHECK(rc == 0, "the run: %d", rc);
}

/* ---- barriers ---------------------------------------------------------------------------------------------------- */

struct meeting {
    weft_barrier barrier;
    _Atomic(uint32_t) arrived[128], taken[128]; /* of each round: how many came, and a bit for each number given */
    _Atomic(uint32_t) through;
    uint32_t target;
    bool exact; /* nobody is disturbed, all play all turns */
};

static int wait_barrier(void *barrier)
{
    return weft_barrier_wait(barrier);
}

static int play_exact(struct game *g, struct rng *r, unsigned number)
{
    struct meeting *m = g->state;
    (void)number;
    for (unsigned i = 0; i < g->turns; i++) {
        rest(r, 30);
        atomic_fetch_add(&m->arrived[i], 1);
        int rc = weft_barrier_wait(&m->barrier);
        CHECK(rc >= 0 && rc < (int)g->players, "barrier_wait: %d", rc);
        CHECK(atomic_load(&m->arrived[i]) == g->players, "round %u: only %u are there", i, atomic_load(&m->arrived[i]));
        uint32_t bit = rc >= 0 ? UINT32_C(1) << rc : 0;
        CHECK((atomic_fetch_or(&m->taken[i], bit) & bit) == 0, "round %u: number %d twice", i, rc);
        stress_progress(1);
    }
    return 0;
}

static int play_barrier(struct game *g, struct rng *r, unsigned number)
{
    struct meeting *m = g->state;
    if (m->exact)
        return play_exact(g, r, number);
    while (atomic_load(&m->through) < m->target) {
        if (rng_chance(r, 2)) {
            weft_barrier_reset(&m->barrier);
            if (atomic_load(&m->through) >= m->target)
                break; /* somebody may have broken it off just before the reset */
        }
        int rc = limited(r, wait_barrier, &m->barrier);
        CHECK(rc == -EPIPE || interrupted(rc) || (rc >= 0 && rc < (int)g->players), "barrier_wait: %d", rc);
        if (rc >= 0 && atomic_fetch_add(&m->through, 1) + 1 >= m->target)
            break;
        stress_progress(1);
        rest(r, 20);
    }
    weft_barrier_abort(&m->barrier);
    return 0;
}

static int barriers_body(void *arg)
{
    struct game *g = arg;
    struct meeting *m = g->state;
    int rc = play_all(g);
    CHECK(weft_barrier_n_waiting(&m->barrier) == 0, "%u wait at the end", weft_barrier_n_waiting(&m->barrier));
    CHECK(weft_barrier_broken(&m->barrier) == !m->exact, "broken: %d", weft_barrier_broken(&m->barrier));
    return rc;
}

static void barriers(struct round *r)
{
    struct meeting *m = stress_alloc(1, sizeof *m);
    struct game g = {.state = m, .play = play_barrier};
    draw_game(r, &g);
    m->exact = rng_chance(&r->rng, 50);
    m->target = g.players * g.turns / 4 + 1;
    g.disturb = g.disturb && !m->exact;
    int rc = weft_barrier_init(&m->barrier, g.players);
    CHECK(rc == 0, "init: %d", rc);
    rc = stress_run(r, barriers_body, &g);
    CHECK(rc == 0, "the run: %d", rc);
    free(m);
}

const struct stressor sync_stressors[] = {
    {"locks", "locks under random time limits and cancels", locks},
    {"semaphores", "bounded semaphores, with a foreign thread", semaphores},
    {"conditions", "a bounded buffer of a lock and two conditions", conditions},
    {"events", "events set and cleared", events},
    {"barriers", "barriers, also reset and broken", barriers},
    {NULL, NULL, NULL},
};
