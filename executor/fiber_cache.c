/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber_cache.c -- where fibers come from: made once for a slot of the stack arena, then kept warm. A worker keeps a few of each
 * stack class, what is more goes to pools that all workers of a node share; what nobody needed for a second gives its pages back, all but the top one: of
 * caches before their worker sleeps, of pools by and by at the reactor thread's ticks, also when everybody sleeps. A fiber whose stack
 * lies on another node, and which came here with what ran on it, goes to the pool of its home, with some others.
 *
 * Both are arrays of pointers, so fibers come and go without being touched: each lies in a page of its own, and those of the pool have
 * left the caches. For the same reason a worker that has got some from the pool asks for the memory of the next ones
 * whenever it takes one. A pool has room for every fiber of its class from the moment that the fiber is made.
 *
 * Threads: the worker's own; the pools under fiber_guard; pools_* the reactor thread; destroy_all when nothing runs any more. */
#include <stdlib.h>
#include <string.h>

#include "executor/ahead.h"
#include "executor/guard.h"
#include "executor/runtime.h"

#define HALF (WEFT__STACK_CACHE / 2)
#define TRIM_MOST 256 /* of a pool, in one go */
#define TRIM_TIMES 16 /* that, in one second */
#define TRIM_EVERY WEFT_SEC(1)

/* Where this worker's fibers come from. */
static inline struct weft__fiber_pool *pool_of(const struct weft__worker *w, uint32_t stack_class)
{
    return &w->rt->pools[w->home][stack_class];
}

/* Room in the pool for one fiber more than there are. False: memory. */
static bool reserve(struct weft_runtime *rt, struct weft__fiber_pool *pool)
{
    bool done = true;
    weft__guard_lock(&rt->fiber_guard);
    if (weft__unlikely(pool->made == pool->capacity)) {
        uint32_t capacity = pool->capacity != 0 ? 2 * pool->capacity : 256;
        struct weft__fiber **fibers = realloc(pool->fibers, capacity * sizeof *fibers);
        done = fibers != NULL;
        if (done) {
            pool->fibers = fibers;
            pool->capacity = capacity;
        }
    }
    pool->made += done;
    weft__guard_unlock(&rt->fiber_guard);
    return done;
}

static WEFT__NOINLINE struct weft__fiber *make_fiber(struct weft__worker *w, uint32_t stack_class)
{
    struct weft_runtime *rt = w->rt;
    struct weft__stack stack;
    struct weft__fiber_pool *pool = pool_of(w, stack_class);
    if (!reserve(rt, pool))
        return NULL;
    if (weft__stack_get(&rt->arena, stack_class, w->place.node, &stack) < 0) {
        weft__guard_lock(&rt->fiber_guard);
        pool->made--;
        weft__guard_unlock(&rt->fiber_guard);
        return NULL;
    }
    struct weft__fiber *f = weft__stack_owner(&stack); /* all zero */
    f->kind = WEFT__KIND_FIBER;
    f->rt = rt;
    f->stack = stack;
    f->stack.home = w->home;
#ifdef WEFT_DEBUG
    f->stack_limit = (char *)UINTPTR_MAX; /* joins count */
#else
    size_t room = WEFT__STACK_SLOT / 2 << rt->stack_class;
    f->stack_limit = rt->stack_class <= stack_class ? f->stack.base + room : (char *)UINTPTR_MAX;
#endif
    weft__fiber_timer_init(f);
    weft__context_init(&f->context, f->stack.base, f->stack.size, weft__fiber_main, f);
    return f;
}

static inline uint32_t count_of(_Atomic(uint32_t) *count)
{
    return weft__load_relaxed(count); /* relaxed: own, or under the guard, or a hint */
}

static inline void set_count(_Atomic(uint32_t) *at, uint32_t count)
{
    weft__store_relaxed(at, count); /* relaxed: one writer, or under the guard */
}

/* The worker has none: take some that were used last. */
static WEFT__NOINLINE void refill(struct weft_runtime *rt, struct weft__fiber_cache *cache,
                                  struct weft__fiber_pool *pool)
{
    weft__guard_lock(&rt->fiber_guard);
    uint32_t count = count_of(&pool->count), n = count < HALF ? count : HALF;
    count -= n;
    if (n != 0)
        memcpy(cache->fibers, pool->fibers + count, n * sizeof *cache->fibers);
    set_count(&pool->count, count);
    if (pool->trimmed > count)
        pool->trimmed = count;
    if (pool->low > count)
        pool->low = count;
    weft__guard_unlock(&rt->fiber_guard);
    set_count(&cache->count, n);
    cache->cold = n;
    for (uint32_t i = n; i != 0 && i + 6 > n; i--)
        weft__ahead_first(cache->fibers[i - 1]);
}

/* The fiber at this place was the last of the cold ones. */
static inline void next_cold(struct weft__fiber_cache *cache, uint32_t place)
{
    cache->cold = place;
    if (weft__likely(place >= 6))
        weft__ahead_first(cache->fibers[place - 6]);
    if (weft__likely(place >= 2))
        weft__ahead_fresh(cache->fibers[place - 2]);
}

struct weft__fiber *weft__fiber_get(struct weft__worker *w, uint32_t stack_class)
{
    struct weft__fiber_cache *cache = &w->stacks[stack_class];
    uint32_t count = count_of(&cache->count);
    if (weft__unlikely(count == 0)) {
        struct weft__fiber_pool *pool = pool_of(w, stack_class);
        if (count_of(&pool->count) != 0)
            refill(w->rt, cache, pool);
        count = count_of(&cache->count);
        if (count == 0)
            return make_fiber(w, stack_class);
    }
    struct weft__fiber *f = cache->fibers[--count];
    set_count(&cache->count, count);
    if (weft__unlikely(count < cache->cold))
        next_cold(cache, count);
    if (count < cache->low)
        cache->low = count;
    return f;
}

/* The worker has too many: the older half goes. */
static WEFT__NOINLINE void spill(struct weft_runtime *rt, struct weft__fiber_cache *cache,
                                 struct weft__fiber_pool *pool)
{
    weft__guard_lock(&rt->fiber_guard);
    uint32_t count = count_of(&pool->count);
    memcpy(pool->fibers + count, cache->fibers, HALF * sizeof *cache->fibers);
    set_count(&pool->count, count + HALF);
    weft__guard_unlock(&rt->fiber_guard);
    count = count_of(&cache->count) - HALF;
    memmove(cache->fibers, cache->fibers + HALF, count * sizeof *cache->fibers);
    set_count(&cache->count, count);
    cache->cold = cache->cold > HALF ? cache->cold - HALF : 0;
    if (cache->low > count)
        cache->low = count;
}

static void send_home(struct weft__worker *w)
{
    uint32_t n = count_of(&w->away_count);
    if (n == 0)
        return;
    weft__guard_lock(&w->rt->fiber_guard);
    for (uint32_t i = 0; i < n; i++) {
        const struct weft__stack *s = &w->away[i]->stack;
        struct weft__fiber_pool *pool = &w->rt->pools[s->home][s->size_class];
        pool->fibers[count_of(&pool->count)] = w->away[i];
        set_count(&pool->count, count_of(&pool->count) + 1);
    }
    weft__guard_unlock(&w->rt->fiber_guard);
    set_count(&w->away_count, 0);
}

static WEFT__NOINLINE void put_away(struct weft__worker *w, struct weft__fiber *f)
{
    uint32_t n = count_of(&w->away_count);
    w->away[n] = f;
    set_count(&w->away_count, n + 1);
    weft__count(&w->stacks_away[f->stack.home], 1);
    if (n + 1 == WEFT__STACK_AWAY)
        send_home(w);
}

void weft__fiber_put(struct weft__worker *w, struct weft__fiber *f)
{
    uint32_t stack_class = f->stack.size_class;
    struct weft__fiber_cache *cache = &w->stacks[stack_class];
    if (weft__unlikely(f->stack.home != w->home)) {
        put_away(w, f);
        return;
    }
    if (weft__unlikely(count_of(&cache->count) == WEFT__STACK_CACHE))
        spill(w->rt, cache, pool_of(w, stack_class));
    uint32_t count = count_of(&cache->count);
    cache->fibers[count] = f;
    set_count(&cache->count, count + 1);
}

/* So many of a pool, at most, that have not yet give their memory back: the oldest, which stay the oldest. They are taken out for that, so that nobody runs
 * on them meanwhile. */
static void trim_some(struct weft_runtime *rt, struct weft__fiber_pool *pool, uint32_t n)
{
    struct weft__fiber *old[TRIM_MOST];
    weft__guard_lock(&rt->fiber_guard);
    uint32_t count = count_of(&pool->count), warm = count > pool->trimmed ? count - pool->trimmed : 0;
    n = n < warm ? n : warm;
    if (n != 0) { /* the newest fill the gap */
        struct weft__fiber **gap = pool->fibers + pool->trimmed;
        memcpy(old, gap, n * sizeof *old);
        uint32_t behind = count - pool->trimmed - n, fill = behind < n ? behind : n;
        memmove(gap, pool->fibers + count - fill, fill * sizeof *old);
        set_count(&pool->count, count - n);
    }
    weft__guard_unlock(&rt->fiber_guard);
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++)
        weft__stack_trim(&old[i]->stack);
    weft__guard_lock(&rt->fiber_guard);
    count = count_of(&pool->count);
    struct weft__fiber **place = pool->fibers + pool->trimmed;
    uint32_t behind = count - pool->trimmed, moved = behind < n ? behind : n;
    memmove(pool->fibers + count + n - moved, place, moved * sizeof *old);
    memcpy(place, old, n * sizeof *old);
    pool->trimmed += n;
    set_count(&pool->count, count + n);
    weft__guard_unlock(&rt->fiber_guard);
}

/* Half of those that nobody needed since the last time. */
static void trim_pool(struct weft_runtime *rt, struct weft__fiber_pool *pool)
{
    weft__guard_lock(&rt->fiber_guard);
    uint32_t count = count_of(&pool->count), unused = pool->low < count ? pool->low : count, n = 0;
    if (unused > pool->trimmed && unused > WEFT__STACK_CACHE)
        n = (unused - pool->trimmed + 1) / 2;
    weft__guard_unlock(&rt->fiber_guard);
    for (uint32_t i = 0; i < TRIM_TIMES && n != 0; i++) {
        uint32_t some = n < TRIM_MOST ? n : TRIM_MOST;
        trim_some(rt, pool, some);
        n -= some;
    }
    weft__guard_lock(&rt->fiber_guard);
    pool->low = count_of(&pool->count);
    weft__guard_unlock(&rt->fiber_guard);
}

void weft__fiber_pools_trim(struct weft_runtime *rt, weft_ns now)
{
    if (now - weft__load_relaxed(&rt->last_trim) < TRIM_EVERY) /* relaxed: own, but for tests */
        return;
    weft__store_relaxed(&rt->last_trim, now); /* relaxed: as above */
    for (uint32_t h = 0; h < rt->homes; h++) {
        for (uint32_t c = 0; c < WEFT__STACK_CLASSES; c++)
            if (count_of(&rt->pools[h][c].count) > WEFT__STACK_CACHE)
                trim_pool(rt, &rt->pools[h][c]);
    }
}

weft_ns weft__fiber_pools_due(struct weft_runtime *rt)
{
    bool warm = false;
    weft__guard_lock(&rt->fiber_guard);
    for (uint32_t h = 0; h < rt->homes; h++) {
        for (uint32_t c = 0; c < WEFT__STACK_CLASSES; c++) {
            uint32_t count = count_of(&rt->pools[h][c].count);
            warm |= count > WEFT__STACK_CACHE && count > rt->pools[h][c].trimmed;
        }
    }
    weft__guard_unlock(&rt->fiber_guard);
    return warm ? weft__load_relaxed(&rt->last_trim) + TRIM_EVERY : WEFT_FOREVER; /* relaxed: own, but for tests */
}

/* Once a second at most: fibers that nobody needed since the last look keep their stack's top page and give the rest back. */
void weft__fiber_cache_trim(struct weft__worker *w, weft_ns now)
{
    if (now - w->last_trim < TRIM_EVERY)
        return;
    w->last_trim = now;
    send_home(w);
    for (unsigned i = 0; i < WEFT__ROOMS; i++)
        weft__slab_cache_send(&w->tasks[i]);
    weft__slab_cache_send(&w->blocks);
    weft__slab_cache_send(&w->large_blocks);
    for (uint32_t c = 0; c < WEFT__STACK_CLASSES; c++) {
        struct weft__fiber_cache *cache = &w->stacks[c];
        uint32_t unused = cache->low;
        cache->low = count_of(&cache->count);
        for (uint32_t i = 0; i < unused; i++)
            weft__stack_trim(&cache->fibers[i]->stack);
    }
}

/* The arena's end, which comes next, takes their slots as a whole. */
static void destroy(void *runtime, void *fiber)
{
    struct weft__fiber *f = fiber;
    (void)runtime;
    weft__context_destroy(&f->context);
    weft__tools_stack_unregister(f->stack.valgrind_id);
}

void weft__fiber_destroy_all(struct weft_runtime *rt)
{
    weft__stack_each(&rt->arena, destroy, rt);
    for (uint32_t h = 0; h < rt->homes; h++) {
        for (uint32_t c = 0; c < WEFT__STACK_CLASSES; c++) {
            free(rt->pools[h][c].fibers);
            rt->pools[h][c] = (struct weft__fiber_pool){.fibers = NULL};
        }
    }
}
