/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_slab.c -- the slab: fresh, reused, through caches and without, enumerated, shared by threads, short of
 * memory. */
#define _DEFAULT_SOURCE /* mincore */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "executor/inbox.h"
#include "executor/slab.h"
#include "executor/slab_chunks.h"
#include "tests/support/threads.h"

#define MAGIC UINT64_C(0x77656674736c6162)

struct thing {
    char reserved[16]; /* the slab's while free */
    _Atomic(uint64_t) alive;
    struct weft__link link;
    _Atomic(unsigned) visits;
    char rest[60];
};

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (void *const *)a, y = (uintptr_t) * (void *const *)b;
    return x < y ? -1 : x > y;
}

static bool all_zero(const void *memory, size_t size)
{
    const char *p = memory;
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

static void fresh_objects(struct weft__slab_cache *cache, struct weft__slab *s)
{
    enum { COUNT = 5000 };
    static void *objects[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        objects[i] = weft__slab_get(s, cache);
        assert_non_null(objects[i]);
        assert_int_equal((uintptr_t)objects[i] % 16, 0);
        assert_true(all_zero(objects[i], s->object_size));
        memset(objects[i], 0xff, s->object_size);
    }
    qsort(objects, COUNT, sizeof *objects, by_address);
    for (unsigned i = 1; i < COUNT; i++)
        assert_true((uintptr_t)objects[i] - (uintptr_t)objects[i - 1] >= s->object_size);
    for (unsigned i = 0; i < COUNT; i++)
        weft__slab_put(s, cache, objects[i]);
}

static void test_fresh_objects_are_zero_and_apart(void **state)
{
    (void)state;
    static const size_t sizes[] = {16, 48, 100, 1024, 32768};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int cached = 0; cached < 2; cached++) {
            struct weft__slab s;
            weft__slab_init(&s, sizes[i]);
            assert_int_equal(s.object_size, (sizes[i] + 15) / 16 * 16);
            struct weft__slab_cache cache = {.slab = &s};
            fresh_objects(cached ? &cache : NULL, &s);
            weft__slab_destroy(&s);
        }
    }
}

static void test_a_freed_object_keeps_its_content_but_16_bytes(void **state)
{
    (void)state;
    struct weft__slab s;
    weft__slab_init(&s, sizeof(struct thing));
    struct weft__slab_cache cache = {.slab = &s};
    for (int cached = 0; cached < 2; cached++) {
        struct weft__slab_cache *c = cached ? &cache : NULL;
        struct thing *a = weft__slab_get(&s, c);
        memset(a->reserved, 1, sizeof a->reserved);
        memset(a->rest, 2, sizeof a->rest);
        weft__slab_put(&s, c, a);
        struct thing *b = weft__slab_get(&s, c);
        assert_ptr_equal(a, b); /* last in, first out */
        assert_true(all_zero(b->reserved, sizeof b->reserved));
        for (size_t i = 0; i < sizeof b->rest; i++)
            assert_int_equal(b->rest[i], 2);
    }
    weft__slab_destroy(&s);
}

/* The same addresses come again, whichever way objects went back and come out. */
static void test_memory_stays_of_its_type(void **state)
{
    (void)state;
    enum { COUNT = 6000 };
    static void *first[COUNT], *second[COUNT];
    struct weft__slab s;
    weft__slab_init(&s, sizeof(struct thing));
    struct weft__slab_cache caches[2] = {{.slab = &s}, {.slab = &s}};
    for (unsigned i = 0; i < COUNT; i++)
        first[i] = weft__slab_get(&s, &caches[0]);
    uint64_t mapped = weft__load_relaxed(&s.mapped_bytes);
    assert_true(mapped >= COUNT * sizeof(struct thing));
    uint64_t random = 5;
    for (int round = 0; round < 5; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            uint64_t how = weft__random(&random) >> 62;
            weft__slab_put(&s, how < 2 ? &caches[how] : NULL, first[i]);
            if (weft__random(&random) % 1000 == 0)
                weft__slab_cache_flush(&caches[how % 2]);
        }
        weft__slab_cache_flush(&caches[0]);
        weft__slab_cache_flush(&caches[1]);
        assert_int_equal(caches[0].count + caches[1].count, 0);
        for (unsigned i = 0; i < COUNT; i++) {
            second[i] = weft__slab_get(&s, round % 2 ? NULL : &caches[0]);
            assert_non_null(second[i]);
        }
        assert_true(weft__load_relaxed(&s.mapped_bytes) == mapped);
        qsort(first, COUNT, sizeof *first, by_address);
        qsort(second, COUNT, sizeof *second, by_address);
        for (unsigned i = 1; i < COUNT; i++)
            assert_ptr_not_equal(second[i - 1], second[i]);
        /* Some that were carved but not handed out in the first round may have come now. */
        unsigned strangers = 0;
        for (unsigned i = 0, k = 0; i < COUNT; i++) {
            while (k < COUNT && (uintptr_t)first[k] < (uintptr_t)second[i])
                k++;
            strangers += k == COUNT || first[k] != second[i];
        }
        assert_true(strangers <= 32);
        memcpy(first, second, sizeof first);
        weft__slab_cache_flush(&caches[0]);
    }
    weft__slab_destroy(&s);
}

static void test_a_full_cache_gives_half_back(void **state)
{
    (void)state;
    struct weft__slab s;
    weft__slab_init(&s, 64);
    struct weft__slab_cache cache = {.slab = &s}, other = {.slab = &s};
    void *objects[600];
    for (unsigned i = 0; i < 600; i++)
        objects[i] = weft__slab_get(&s, &cache);
    weft__slab_cache_flush(&cache);
    while (weft__slab_get(&s, &other) && other.count) /* what was carved beyond the 600 */
        ;
    for (unsigned i = 0; i < 256; i++)
        weft__slab_put(&s, &cache, objects[i]);
    assert_int_equal(cache.count, 256);
    assert_null(s.part->shared);
    weft__slab_put(&s, &cache, objects[256]);
    assert_int_equal(cache.count, 129);
    assert_non_null(s.part->shared);
    assert_ptr_equal(weft__slab_get(&s, &cache), objects[256]); /* it keeps the warm half */
    assert_ptr_equal(weft__slab_get(&s, &cache), objects[255]);
    assert_ptr_equal(weft__slab_get(&s, &other), objects[127]); /* and gives the cold one as a whole */
    assert_int_equal(other.count, 127);
    assert_null(s.part->shared);
    weft__slab_destroy(&s);
}

static void test_single_frees_gather_to_batches(void **state)
{
    (void)state;
    struct weft__slab s;
    weft__slab_init(&s, 64);
    void *objects[300];
    for (unsigned i = 0; i < 300; i++)
        objects[i] = weft__slab_get(&s, NULL);
    for (unsigned i = 0; i < 300; i++)
        weft__slab_put(&s, NULL, objects[i]);
    assert_ptr_equal(weft__slab_get(&s, NULL), objects[299]);
    assert_ptr_equal(weft__slab_get(&s, NULL), objects[298]);
    struct weft__slab_cache cache = {.slab = &s};
    assert_ptr_equal(weft__slab_get(&s, &cache), objects[297]);
    assert_int_equal(cache.count, 300 - 2 * 128 - 3); /* what is left of the batch begun last */
    struct weft__slab_cache second = {.slab = &s};
    assert_non_null(weft__slab_get(&s, &second));
    assert_int_equal(second.count, 127);
    weft__slab_destroy(&s);
}

/* ---- enumeration ---- */

struct census {
    unsigned visited, alive, wrong;
};

static void census_visit(void *user, void *object)
{
    struct census *c = user;
    struct thing *t = object;
    c->visited++;
    uint64_t mark = weft__load_acquire(&t->alive);
    c->alive += mark == MAGIC;
    c->wrong += mark != 0 && mark != MAGIC;
    weft__fetch_add_relaxed(&t->visits, 1);
}

static void test_each_visits_every_object_once(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    static struct thing *things[COUNT];
    struct weft__slab s;
    weft__slab_init(&s, sizeof(struct thing));
    struct census none = {0};
    weft__slab_each(&s, census_visit, &none);
    assert_int_equal(none.visited, 0);
    struct weft__slab_cache cache = {.slab = &s};
    for (unsigned i = 0; i < COUNT; i++) {
        things[i] = weft__slab_get(&s, i % 5 ? &cache : NULL);
        weft__store_release(&things[i]->alive, MAGIC);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        weft__store_release(&things[i]->alive, 0);
        weft__slab_put(&s, i % 4 ? &cache : NULL, things[i]);
    }
    struct census c = {0};
    weft__slab_each(&s, census_visit, &c);
    assert_int_equal(c.alive, COUNT / 2);
    assert_int_equal(c.wrong, 0);
    assert_true(c.visited >= COUNT && c.visited < COUNT + 64);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(weft__load_relaxed(&things[i]->visits), 1);
    weft__slab_destroy(&s);
}

/* A large slab goes on in few, large, aligned chunks. */
struct sum {
    size_t objects, marked;
};

static void add_up(void *user, void *object)
{
    struct sum *sum = user;
    sum->objects++;
    sum->marked += ((uint64_t *)object)[2] == 77;
}

static void test_a_large_slab_has_huge_pages(void **state)
{
    (void)state;
    enum { COUNT = 120000, SIZE = 256 };
    struct weft__slab s;
    weft__slab_init(&s, SIZE);
    struct weft__slab_cache cache = {.slab = &s};
    uintptr_t last = 0;
    unsigned apart = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t *object = weft__slab_get(&s, &cache);
        assert_non_null(object);
        assert_int_equal(object[2], 0);
        object[2] = 77;
        apart += (uintptr_t)object != last + SIZE;
        last = (uintptr_t)object;
    }
    assert_true(apart < 20); /* so many chunks at most */
    assert_true(weft__load_relaxed(&s.mapped_bytes) >= (uint64_t)COUNT * SIZE);
    assert_true(weft__load_relaxed(&s.mapped_bytes) < (uint64_t)COUNT * SIZE * 2);
    struct sum sum = {0, 0};
    weft__slab_each(&s, add_up, &sum);
    assert_int_equal(sum.marked, COUNT);
    assert_true(sum.objects < COUNT + 64);
    weft__slab_destroy(&s);
}

/* Of fresh objects the last one's link is read, and nothing written there so far: not on a page that nobody has written to. And each huge
 * page is told of once, when the first object reaches it, also one that begins with it. */
static void test_fresh_pages(void **state)
{
    (void)state;
    for (size_t size = 16; size <= 1024; size += 16) {
        struct weft__slab s;
        weft__slab_init(&s, size);
        uintptr_t told = 0;
        unsigned pages = 0;
        for (size_t most = 6 * WEFT__SLAB_HUGE, all = 0; all < most;) {
            uint32_t count = 0;
            struct weft__slab_fresh fresh = {NULL, NULL};
            uintptr_t first = (uintptr_t)weft__slab_carve(&s, &s.only, 32, &count, &fresh);
            assert_true(first != 0 && count != 0);
            uintptr_t last = first + (count - 1) * size;
            assert_true(count == 1 || last / 4096 == (last - size) / 4096);
            if (s.only.chunks->huge) {
                if (fresh.page != NULL) {
                    assert_true((uintptr_t)fresh.page > told && (uintptr_t)fresh.page % WEFT__SLAB_HUGE == 0);
                    told = (uintptr_t)fresh.page;
                    pages++;
                }
                assert_int_equal((last + size - 1) / WEFT__SLAB_HUGE, told / WEFT__SLAB_HUGE);
            }
            all += count * size;
        }
        assert_in_range(pages, 4, 5); /* 4 MiB are in small chunks */
        weft__slab_destroy(&s);
    }
}

static void test_destroy_unmaps(void **state)
{
    (void)state;
    struct weft__slab s;
    weft__slab_init(&s, 4096);
    void *first = weft__slab_get(&s, NULL), *last = NULL;
    for (int i = 0; i < 200; i++)
        last = weft__slab_get(&s, NULL);
    void *pages[2] = {(void *)((uintptr_t)first & ~(uintptr_t)4095), (void *)((uintptr_t)last & ~(uintptr_t)4095)};
    unsigned char resident;
    assert_int_equal(mincore(pages[0], 4096, &resident), 0);
    weft__slab_destroy(&s);
    assert_true(weft__load_relaxed(&s.mapped_bytes) == 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mincore(pages[i], 4096, &resident), -1);
        assert_int_equal(errno, ENOMEM);
    }
}

static int get_until_full(void)
{
    struct weft__slab s;
    weft__slab_init(&s, 1024);
    struct weft__slab_cache cache = {.slab = &s};
    unsigned got = 0;
    void *object = NULL, *last = NULL;
    while ((object = weft__slab_get(&s, &cache)) != NULL) {
        last = object;
        got++;
    }
    if (got < 1000 || weft__slab_get(&s, NULL) != NULL || weft__slab_get(&s, &cache) != NULL)
        return 1;
    weft__slab_put(&s, NULL, last);
    if (weft__slab_get(&s, &cache) != last || weft__slab_get(&s, &cache) != NULL)
        return 2;
    struct census c = {0};
    weft__slab_each(&s, census_visit, &c);
    weft__slab_destroy(&s);
    return c.visited == got ? 0 : 3;
}

static void test_short_memory_gives_null(void **state)
{
    (void)state;
    if (threads_cannot_starve())
        skip();
    assert_int_equal(threads_run_starved((size_t)16 << 20, get_until_full), 0);
}

/* ---- threads: objects travel, each is in one hand; thread 0 counts meanwhile ---- */

#define HANDS 4U

struct market {
    struct weft__slab s;
    struct weft__inbox boxes[HANDS];
    unsigned turns;
    _Atomic(unsigned) faults, closed;
    _Atomic(int64_t) held; /* got and not put */
    unsigned censuses;
};

static void market_drop(struct market *m, struct weft__slab_cache *cache, struct thing *t)
{
    if (weft__exchange_acq_rel(&t->alive, 0) != MAGIC)
        weft__fetch_add_relaxed(&m->faults, 1);
    weft__fetch_add_relaxed(&m->held, -1);
    weft__slab_put(&m->s, cache, t);
}

static void market_empty_box(struct market *m, struct weft__slab_cache *cache, unsigned hand)
{
    struct weft__link *l = weft__inbox_claim(&m->boxes[hand]);
    while (l) {
        struct thing *t = weft__container_of(l, struct thing, link);
        l = l->next;
        market_drop(m, cache, t);
    }
}

static void market_trade(struct market *m, unsigned hand)
{
    struct weft__slab_cache own = {.slab = &m->s};
    struct weft__slab_cache *cache = hand == HANDS - 1 ? NULL : &own; /* one has no cache */
    uint64_t random = hand + 1;
    for (unsigned turn = 0; turn < m->turns; turn++) {
        struct thing *t = weft__slab_get(&m->s, cache);
        if (!t || weft__exchange_acq_rel(&t->alive, MAGIC) != 0) {
            weft__fetch_add_relaxed(&m->faults, 1);
            continue;
        }
        weft__fetch_add_relaxed(&m->held, 1);
        uint64_t r = weft__random(&random) >> 32;
        if (r % 4 == 0)
            market_drop(m, cache, t);
        else
            weft__inbox_push(&m->boxes[r % HANDS], &t->link);
        if (turn % 512 == 511)
            market_empty_box(m, cache, hand);
        if (turn % 20000 == 19999)
            weft__slab_cache_flush(&own);
    }
    market_empty_box(m, cache, hand);
    weft__slab_cache_flush(&own);
    weft__fetch_add_acq_rel(&m->closed, 1);
}

static void market_body(void *shared, unsigned index)
{
    struct market *m = shared;
    if (index != 0) {
        market_trade(m, index - 1);
        return;
    }
    do { /* at least once: where threads run one after the other, the others may have ended already */
        struct census c = {0};
        weft__slab_each(&m->s, census_visit, &c);
        weft__fetch_add_relaxed(&m->faults, c.wrong);
        m->censuses++;
        sched_yield();
    } while (weft__load_acquire(&m->closed) < HANDS);
}

static void test_threads_share_exactly(void **state)
{
    (void)state;
    struct market m = {.turns = threads_scale(100000)};
    weft__slab_init(&m.s, sizeof(struct thing));
    for (unsigned i = 0; i < HANDS; i++)
        weft__inbox_init(&m.boxes[i]);
    threads_run(1 + HANDS, market_body, &m);
    struct census c = {0};
    weft__slab_each(&m.s, census_visit, &c);
    assert_int_equal(weft__load_relaxed(&m.faults), 0);
    assert_int_equal(c.wrong, 0);
    assert_true((int64_t)c.alive == weft__load_relaxed(&m.held)); /* what others put into a box that had closed */
    assert_true(m.censuses > 0);
    for (unsigned i = 0; i < HANDS; i++)
        market_empty_box(&m, NULL, i);
    assert_true(weft__load_relaxed(&m.held) == 0);
    /* Everything is back in the shared list, once. */
    for (unsigned i = 0; i < c.visited; i++) {
        struct thing *t = weft__slab_get(&m.s, NULL);
        assert_true(weft__exchange_acq_rel(&t->alive, MAGIC) == 0);
    }
    assert_null(m.s.part->shared);
    weft__slab_destroy(&m.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_objects_are_zero_and_apart),
        cmocka_unit_test(test_a_freed_object_keeps_its_content_but_16_bytes),
        cmocka_unit_test(test_memory_stays_of_its_type),
        cmocka_unit_test(test_a_full_cache_gives_half_back),
        cmocka_unit_test(test_single_frees_gather_to_batches),
        cmocka_unit_test(test_each_visits_every_object_once),
        cmocka_unit_test(test_a_large_slab_has_huge_pages),
        cmocka_unit_test(test_fresh_pages),
        cmocka_unit_test(test_destroy_unmaps),
        cmocka_unit_test(test_short_memory_gives_null),
        cmocka_unit_test(test_threads_share_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
