/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_queue_store.c -- the queue's ring, stack and heap against plain arrays. */
#include "tests/sync_support.h"

#include "executor/queue_store.h"

/* Room for one more, as the queue makes it. */
static void make_room(struct weft__store *s)
{
    if (s->count < s->capacity)
        return;
    size_t capacity = weft__store_next_capacity(s);
    void *block = weft__store_allocate(s, capacity);
    assert_non_null(block);
    free(weft__store_adopt(s, block, capacity));
}

static int by_key(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

/* The next item by the rules, of n in the order put: index into the array. */
static size_t next_of(enum weft__store_kind kind, int items[][2], size_t n)
{
    size_t next = kind == WEFT__STORE_STACK ? n - 1 : 0;
    for (size_t i = 1; kind == WEFT__STORE_HEAP && i < n; i++)
        if (items[i][0] < items[next][0])
            next = i; /* the first put of equal ones */
    return next;
}

static void compare_with_array(enum weft__store_kind kind, unsigned puts_of_8, size_t most)
{
    static int items[3000][2];
    struct weft__store s;
    size_t n = 0;
    uint64_t seed = 4711;
    assert_int_equal(weft__store_init(&s, kind, sizeof items[0], 5, by_key), 0);
    assert_true(s.capacity >= 5 && s.capacity <= 8);
    for (int step = 0; step < 6000; step++) {
        uint64_t random = weft__random(&seed);
        if (n < most && (random & 7) < puts_of_8) {
            int item[2] = {(int)(random >> 8 & 15), step};
            make_room(&s);
            weft__store_put(&s, item);
            memcpy(items[n++], item, sizeof item);
        } else if (n > 0) {
            int item[2];
            size_t at = next_of(kind, items, n--);
            free(weft__store_take(&s, item));
            assert_memory_equal(item, items[at], sizeof item);
            memmove(items[at], items[at + 1], (n - at) * sizeof items[0]);
        }
        assert_int_equal(s.count, n);
    }
    free(weft__store_clear(&s));
    assert_int_equal(s.count, 0);
    free(s.block);
}

static void test_against_array(void **state)
{
    (void)state;
    for (int kind = WEFT__STORE_RING; kind <= WEFT__STORE_HEAP; kind++) {
        compare_with_array((enum weft__store_kind)kind, 4, 20);   /* round and round in a small block */
        compare_with_array((enum weft__store_kind)kind, 5, 2900); /* growing */
    }
}

/* Items of a type lie where the type may lie; small ones side by side. */
static void test_alignment(void **state)
{
    (void)state;
    static const struct {
        size_t size, alignment;
    } cases[] = {{1, 1}, {2, 2}, {3, 1}, {4, 4}, {8, 8}, {12, 4}, {16, 16}, {24, 8}, {32, 32}, {48, 16}, {192, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weft__store s;
        assert_int_equal(weft__store_init(&s, WEFT__STORE_HEAP, cases[i].size, 0, by_key), 0);
        assert_int_equal((uintptr_t)s.block % cases[i].alignment, 0);
        assert_int_equal(s.stride % cases[i].alignment, 0);
        assert_true(s.stride >= cases[i].size + sizeof(uint64_t));
        free(s.block);
        assert_int_equal(weft__store_init(&s, WEFT__STORE_RING, cases[i].size, 0, NULL), 0);
        assert_int_equal((uintptr_t)s.block % cases[i].alignment, 0);
        assert_int_equal(s.stride, cases[i].size);
        free(s.block);
    }
}

/* A burst's block goes when it has run empty, a small one stays. */
static void test_giving_back(void **state)
{
    (void)state;
    for (int kind = WEFT__STORE_RING; kind <= WEFT__STORE_HEAP; kind++) {
        struct weft__store s;
        int item[2] = {1, 2};
        assert_int_equal(weft__store_init(&s, (enum weft__store_kind)kind, sizeof item, 0, by_key), 0);
        for (int round = 0; round < 2; round++) {
            for (int i = 0; i < 20000; i++) {
                make_room(&s);
                weft__store_put(&s, item);
            }
            void *block = NULL;
            for (int i = 0; i < 20000; i++) {
                assert_null(block);
                block = weft__store_take(&s, item);
            }
            assert_non_null(block);
            free(block);
            assert_null(s.block);
            assert_int_equal(s.capacity, 0);
        }
        make_room(&s);
        weft__store_put(&s, item);
        assert_null(weft__store_take(&s, item));
        assert_non_null(s.block);
        assert_null(weft__store_clear(&s));
        for (int i = 0; i < 20000; i++) {
            make_room(&s);
            weft__store_put(&s, item);
        }
        void *block = weft__store_clear(&s);
        assert_non_null(block);
        free(block);
        assert_int_equal(s.count, 0);
    }
}

/* What cannot be had is refused, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    struct weft__store s;
    assert_int_equal(weft__store_init(&s, WEFT__STORE_RING, SIZE_MAX, 0, NULL), -ENOMEM);
    assert_int_equal(weft__store_init(&s, WEFT__STORE_HEAP, SIZE_MAX / 4 + 1, 0, by_key), -ENOMEM);
    assert_int_equal(weft__store_init(&s, WEFT__STORE_RING, 8, 0, NULL), 0);
    assert_null(weft__store_allocate(&s, 0)); /* what doubling gives in the end */
    assert_null(weft__store_allocate(&s, SIZE_MAX / 4));
    assert_null(weft__store_allocate(&s, SIZE_MAX / 16 + 1));
    free(s.block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_array),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_giving_back),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
