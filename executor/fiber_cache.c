/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber_cache.c -- where fibers come from: made once for a slot of the stack arena, then kept warm. A worker keeps a few of each
 * stack class, what is more goes to caches that all workers share; what nobody needed for a second gives its pages back.
 *
 * Threads: the worker's own; the shared caches under fiber_guard; destroy_all when nothing runs any more. */
#include "executor/guard.h"
#include "executor/runtime.h"

static struct weft__fiber *make_fiber(struct weft__worker *w, uint32_t stack_class)
{
    struct weft_runtime *rt = w->rt;
    struct weft__stack stack;
    if (weft__stack_get(&rt->arena, stack_class, w->place.node, &stack) < 0)
        return NULL;
    struct weft__fiber *f = weft__stack_owner(&stack); /* all zero */
    f->kind = WEFT__KIND_FIBER;
    f->rt = rt;
    f->stack = stack;
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

static inline uint32_t count_of(const struct weft__fiber_cache *c)
{
    return weft__load_relaxed(&c->count); /* relaxed: own, or under the guard, or a hint */
}

static inline struct weft__fiber *next_cached(struct weft__fiber *f)
{
    return f->link.next != NULL ? weft__container_of(f->link.next, struct weft__fiber, link) : NULL;
}

static inline void set_next_cached(struct weft__fiber *f, struct weft__fiber *next)
{
    f->link.next = next != NULL ? &next->link : NULL;
}

/* Move up to `n` fibers from the shared cache to the worker's, or back. */
static void move(struct weft__fiber_cache *from, struct weft__fiber_cache *to, uint32_t n)
{
    while (n-- != 0 && from->first != NULL) {
        struct weft__fiber *f = from->first;
        from->first = next_cached(f);
        weft__count(&from->count, (uint32_t)-1);
        set_next_cached(f, to->first);
        to->first = f;
        weft__count(&to->count, 1);
    }
}

struct weft__fiber *weft__fiber_get(struct weft__worker *w, uint32_t stack_class)
{
    struct weft__fiber_cache *cache = &w->stacks[stack_class];
    if (weft__unlikely(cache->first == NULL)) {
        struct weft__fiber_cache *shared = &w->rt->shared_stacks[stack_class];
        if (count_of(shared) != 0) {
            weft__guard_lock(&w->rt->fiber_guard);
            move(shared, cache, WEFT__STACK_CACHE / 2);
            weft__guard_unlock(&w->rt->fiber_guard);
        }
        if (cache->first == NULL)
            return make_fiber(w, stack_class);
    }
    struct weft__fiber *f = cache->first;
    cache->first = next_cached(f);
    weft__count(&cache->count, (uint32_t)-1);
    if (count_of(cache) < cache->low)
        cache->low = count_of(cache);
    return f;
}

void weft__fiber_put(struct weft__worker *w, struct weft__fiber *f)
{
    struct weft__fiber_cache *cache = &w->stacks[f->stack.size_class];
    set_next_cached(f, cache->first);
    cache->first = f;
    weft__count(&cache->count, 1);
    if (weft__unlikely(count_of(cache) > WEFT__STACK_CACHE)) {
        weft__guard_lock(&w->rt->fiber_guard);
        move(cache, &w->rt->shared_stacks[f->stack.size_class], WEFT__STACK_CACHE / 2);
        weft__guard_unlock(&w->rt->fiber_guard);
        if (cache->low > count_of(cache))
            cache->low = count_of(cache);
    }
}

/* Once a second at most: fibers that nobody needed since the last look keep their stack's top page and give the rest back;
 * of the shared ones, that no worker wanted, half give everything back but their slot. */
void weft__fiber_cache_trim(struct weft__worker *w, weft_ns now)
{
    if (now - w->last_trim < WEFT_SEC(1))
        return;
    w->last_trim = now;
    for (uint32_t c = 0; c < WEFT__STACK_CLASSES; c++) {
        struct weft__fiber_cache *cache = &w->stacks[c];
        uint32_t unused = cache->low;
        cache->low = count_of(cache);
        struct weft__fiber *f = cache->first;
        for (uint32_t skip = count_of(cache) - unused; skip != 0 && f != NULL; skip--)
            f = next_cached(f);
        for (; f != NULL; f = next_cached(f))
            weft__stack_trim(&f->stack);
    }
    for (uint32_t c = 0; c < WEFT__STACK_CLASSES; c++) {
        struct weft__fiber_cache *shared = &w->rt->shared_stacks[c];
        struct weft__fiber_cache old = {.first = NULL};
        weft__guard_lock(&w->rt->fiber_guard);
        uint32_t unused = count_of(shared) < shared->low ? count_of(shared) : shared->low;
        if (unused > WEFT__STACK_CACHE)
            move(shared, &old, unused / 2 < 512 ? unused / 2 : 512);
        shared->low = count_of(shared);
        weft__guard_unlock(&w->rt->fiber_guard);
        /* The fibers stay (their memory is type-stable); their pages go. They come back at the end of the list. */
        for (struct weft__fiber *f = old.first; f != NULL; f = next_cached(f))
            weft__stack_trim(&f->stack);
        if (old.first != NULL) {
            weft__guard_lock(&w->rt->fiber_guard);
            struct weft__fiber *last = shared->first;
            while (last != NULL && next_cached(last) != NULL)
                last = next_cached(last);
            if (last != NULL)
                set_next_cached(last, old.first);
            else
                shared->first = old.first;
            weft__count(&shared->count, count_of(&old));
            weft__guard_unlock(&w->rt->fiber_guard);
        }
    }
}

static void destroy(void *runtime, void *fiber)
{
    struct weft_runtime *rt = runtime;
    struct weft__fiber *f = fiber;
    struct weft__stack stack = f->stack; /* f goes with it */
    weft__context_destroy(&f->context);
    weft__stack_put(&rt->arena, &stack);
}

void weft__fiber_destroy_all(struct weft_runtime *rt)
{
    weft__stack_each(&rt->arena, destroy, rt);
}
