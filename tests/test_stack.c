/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_stack.c -- executor/stack.h: slots, guards, memory given back, both ways to make guards, and the arena's limits.
 * What happens on overflow is in test_stack_overflow.c. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <weft/run.h>

#include "executor/stack.h"

#if WEFT__VALGRIND
#define SLOWLY (RUNNING_ON_VALGRIND != 0)
#else
#define SLOWLY false
#endif

/* Would a store there fault? The kernel is asked to make it. Overwrites the bytes if not. */
static bool is_guarded(const void *address)
{
    errno = 0;
    return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, address) == -1 && errno == EFAULT;
}

static size_t resident_pages(const struct weft__stack *s)
{
    static unsigned char in[16 * 1024]; /* 64 MiB */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
    size_t length = (s->size + page - 1) & ~(page - 1);
    assert_int_equal(mincore(s->base, length, in), 0);
    for (size_t i = 0; i < length / page; i++)
        count += in[i] & 1;
    return count;
}

static unsigned map_entries(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    unsigned lines = 0;
    for (int c = getc(maps); c != EOF; c = getc(maps))
        lines += c == '\n';
    fclose(maps);
    return lines;
}

static void test_classes(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(weft__stack_class(1), 0);
    if (page == 4096)
        assert_int_equal(weft__stack_class(WEFT__STACK_DEFAULT), 0);
    uint32_t last = 0;
    for (size_t guaranteed = 1024; guaranteed <= WEFT_MAX_STACK; guaranteed += 1024) {
        uint32_t size_class = weft__stack_class(guaranteed);
        assert_in_range(size_class, last, WEFT__STACK_CLASSES - 1);
        assert_true((WEFT__STACK_PLAIN_SLOT << size_class) >= guaranteed + guaranteed / 2 + page);
        last = size_class;
    }
    assert_int_equal(last, WEFT__STACK_CLASSES - 1);
}

static void test_slots_of_each_class(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int by_protect = 0; by_protect < 2; by_protect++) {
        weft__stack_arena_init(&a);
        if (by_protect)
            a.guard_install = false;
        for (uint32_t size_class = 0; size_class < WEFT__STACK_CLASSES; size_class++) {
            struct weft__stack s[3];
            for (int i = 0; i < 3; i++) {
                assert_int_equal(weft__stack_get(&a, size_class, -1, &s[i]), 0);
                assert_int_equal(s[i].size_class, size_class);
                assert_in_range(s[i].size, (WEFT__STACK_SLOT << size_class) - page - 1024 - WEFT__STACK_OWNER,
                                (WEFT__STACK_SLOT << size_class) - page - WEFT__STACK_OWNER);
                assert_int_equal((uintptr_t)s[i].base % page, 0);
                assert_int_equal((uintptr_t)(s[i].base + s[i].size) % 64, 0);
                assert_true(is_guarded(s[i].base - 16));
                assert_true(is_guarded(s[i].base - page));
                assert_false(is_guarded(s[i].base));
                memset(s[i].base, i + 1, page);
                memset(s[i].base + s[i].size - page, i + 1, page);
            }
            for (int i = 0; i < 3; i++) {
                assert_int_equal(s[i].base[0], i + 1);
                assert_int_equal(s[i].base[s[i].size - 1], i + 1);
                weft__stack_put(&a, &s[i]);
            }
        }
        assert_int_equal(weft__load_relaxed(&a.live), 0); /* relaxed: one thread */
        assert_int_equal(weft__load_relaxed(&a.mapped), 3 * WEFT__STACK_CLASSES);
        weft__stack_arena_destroy(&a);
    }
}

static void test_memory_is_given_back(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    weft__stack_arena_init(&a);
    struct weft__stack s[20];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(weft__stack_get(&a, 0, -1, &s[i]), 0);
        assert_int_equal(resident_pages(&s[i]), 0);
        memset(s[i].base, 1, s[i].size);
        assert_int_equal(resident_pages(&s[i]), (s[i].size + page - 1) / page);
        weft__stack_trim(&s[i]);
        assert_int_equal(resident_pages(&s[i]), 1);
        assert_int_equal(s[i].base[s[i].size - 2048], 1);
        assert_int_equal(s[i].base[s[i].size - 1], 1);
        memset(s[i].base, 1, s[i].size);
    }
    for (int i = 0; i < 20; i++) {
        struct weft__stack before = s[i];
        weft__stack_put(&a, &s[i]);
        assert_int_equal(resident_pages(&before), 0);
        assert_true(is_guarded(before.base - 16)); /* for life */
    }
    /* the last one first, clean, with its guard */
    assert_int_equal(weft__stack_get(&a, 0, -1, &s[0]), 0);
    assert_int_equal(s[0].slot, 19);
    assert_int_equal(s[0].base[s[0].size - 1], 0);
    assert_true(is_guarded(s[0].base - 16));
    assert_int_equal(weft__load_relaxed(&a.mapped), 20); /* relaxed: one thread */
    weft__stack_put(&a, &s[0]);
    weft__stack_arena_destroy(&a);
}

static void test_find_guard(void **state)
{
    (void)state;
    static struct weft__stack_arena a, b;
    weft__stack_arena_init(&a);
    weft__stack_arena_init(&b);
    struct weft__stack one, other, deep;
    assert_int_equal(weft__stack_get(&a, 0, -1, &one), 0);
    assert_int_equal(weft__stack_get(&a, 0, -1, &other), 0);
    assert_int_equal(weft__stack_get(&b, 3, -1, &deep), 0);
    void *owner = NULL;
    size_t size = 0, page = (size_t)sysconf(_SC_PAGESIZE);
    assert_true(weft__stack_find_guard((uintptr_t)one.base - 1, &owner, &size));
    assert_ptr_equal(owner, weft__stack_owner(&one));
    assert_int_equal(size, WEFT__STACK_SLOT - page);
    assert_true(weft__stack_find_guard((uintptr_t)other.base - page, &owner, &size));
    assert_ptr_equal(owner, weft__stack_owner(&other));
    assert_true(weft__stack_find_guard((uintptr_t)deep.base - 1, &owner, &size));
    assert_ptr_equal(owner, weft__stack_owner(&deep));
    assert_int_equal(size, (WEFT__STACK_SLOT << 3) - page);
    assert_false(weft__stack_find_guard((uintptr_t)one.base, &owner, &size));
    assert_false(weft__stack_find_guard((uintptr_t)one.base - page - 1, &owner, &size));
    assert_false(weft__stack_find_guard((uintptr_t)other.base + WEFT__STACK_SLOT, &owner, &size)); /* never given out */
    assert_false(weft__stack_find_guard(0, &owner, &size));
    assert_false(weft__stack_find_guard((uintptr_t)&a, &owner, &size));
    uintptr_t gone = (uintptr_t)one.base - 1;
    weft__stack_put(&a, &one);
    assert_false(weft__stack_find_guard(gone, &owner, &size)); /* nobody's */
    gone = (uintptr_t)other.base - 1;
    weft__stack_arena_destroy(&a);
    assert_false(weft__stack_find_guard(gone, &owner, &size));
    weft__stack_put(&b, &deep);
    weft__stack_arena_destroy(&b);
}

/* A task asleep costs one page of its slot, whatever the slot's colour: its stack and the owner's bytes share it. */
static void test_owner_lies_in_the_first_page(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    static const char zero[WEFT__STACK_OWNER];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    weft__stack_arena_init(&a);
    for (int i = 0; i < 40; i++) {
        struct weft__stack s;
        assert_int_equal(weft__stack_get(&a, (uint32_t)(i % 3), -1, &s), 0);
        char *owner = weft__stack_owner(&s);
        assert_ptr_equal(owner, s.base + s.size);
        assert_int_equal((uintptr_t)owner % 64, 0);
        assert_memory_equal(owner, zero, WEFT__STACK_OWNER);
        memset(owner, 'o', WEFT__STACK_OWNER);
        assert_int_equal(((uintptr_t)owner + WEFT__STACK_OWNER - 1) / page, (uintptr_t)(owner - 2048) / page);
        assert_int_equal(resident_pages(&s), 1);
        memset(s.base, 's', s.size);
        assert_int_equal(owner[0], 'o'); /* not part of the stack */
        weft__stack_trim(&s);
        assert_int_equal(resident_pages(&s), 1);
        assert_int_equal(owner[0], 'o');
        assert_int_equal(owner[WEFT__STACK_OWNER - 1], 'o');
        if (i % 2 == 0) /* the next of its class gets this one, and finds it zero */
            weft__stack_put(&a, &s);
    }
    weft__stack_arena_destroy(&a);
}

static void count_owner(void *user, void *owner)
{
    unsigned *seen = user;
    seen[*(unsigned *)owner]++;
}

static void put_owner(void *user, void *owner)
{
    struct weft__stack s = *(struct weft__stack *)owner;
    weft__stack_put(user, &s);
}

static void test_each(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    struct weft__stack s[60];
    weft__stack_arena_init(&a);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(weft__stack_get(&a, i % WEFT__STACK_CLASSES, -1, &s[i]), 0);
        *(unsigned *)weft__stack_owner(&s[i]) = i;
    }
    for (unsigned i = 0; i < 60; i += 4)
        weft__stack_put(&a, &s[i]);
    unsigned seen[60] = {0};
    weft__stack_each(&a, count_owner, seen);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(seen[i], i % 4 != 0);
        if (i % 4 != 0)
            *(struct weft__stack *)weft__stack_owner(&s[i]) = s[i];
    }
    weft__stack_each(&a, put_owner, &a);              /* as the end of a run does */
    assert_int_equal(weft__load_relaxed(&a.live), 0); /* relaxed: one thread */
    weft__stack_each(&a, count_owner, seen);
    assert_int_equal(seen[0], 0);
    weft__stack_arena_destroy(&a);
}

/* Headers of chunks are used again, with nothing left over of their last life. */
static void test_arenas_come_and_go(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    for (int round = 0; round < 50; round++) {
        weft__stack_arena_init(&a);
        struct weft__stack s;
        for (uint32_t size_class = 0; size_class < 3; size_class++) {
            assert_int_equal(weft__stack_get(&a, size_class, -1, &s), 0);
            assert_int_equal(s.slot, 0);
            void *owner = NULL;
            size_t size = 0;
            assert_true(weft__stack_find_guard((uintptr_t)s.base - 1, &owner, &size));
            assert_false(
                weft__stack_find_guard((uintptr_t)s.base - 1 + (WEFT__STACK_SLOT << size_class), &owner, &size));
        }
        weft__stack_arena_destroy(&a); /* with slots in use */
    }
}

static void test_a_hundred_thousand(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    weft__stack_arena_init(&a);
    if (!a.guard_install) {
        weft__stack_arena_destroy(&a);
        skip();
    }
    size_t count = SLOWLY ? 3000 : 100000;
    struct weft__stack *s = calloc(count, sizeof *s);
    assert_non_null(s);
    unsigned before = map_entries();
    for (size_t i = 0; i < count; i++)
        assert_int_equal(weft__stack_get(&a, 0, -1, &s[i]), 0);
    assert_in_range(map_entries(), before, before + 2 * (count * WEFT__STACK_SLOT >> 26) + 20);
    assert_int_equal(weft__load_relaxed(&a.live), count); /* relaxed: one thread */
    for (size_t i = 0; i < count; i += count / 100)
        assert_true(is_guarded(s[i].base - 16) && !is_guarded(s[i].base) && !is_guarded(s[i].base + s[i].size - 16));
    for (size_t i = 0; i < count; i++)
        weft__stack_put(&a, &s[i]);
    assert_int_equal(weft__load_relaxed(&a.live), 0); /* relaxed: one thread */
    for (size_t i = 0; i < count; i++)
        assert_int_equal(weft__stack_get(&a, 0, -1, &s[i]), 0);
    assert_int_equal(weft__load_relaxed(&a.mapped), count); /* relaxed: one thread */
    weft__stack_arena_destroy(&a);
    free(s);
}

/* Gets until it is refused; then put and get go on with what there is. Returns how many there were. */
static size_t exhaust(struct weft__stack_arena *a, struct weft__stack *s, size_t most)
{
    size_t count = 0;
    while (count < most && weft__stack_get(a, 0, -1, &s[count]) == 0)
        count++;
    if (count == most)
        return count;
    struct weft__stack refused;
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft__stack_get(a, 0, -1, &refused), -ENOMEM);
    assert_int_equal(weft__stack_get(a, 1, -1, &refused), -ENOMEM);
    assert_int_equal(weft__load_relaxed(&a->live), count); /* relaxed: one thread */
    for (size_t i = 0; i < count; i += count / 5)
        weft__stack_put(a, &s[i]);
    for (size_t i = 0; i < count; i += count / 5) {
        assert_int_equal(weft__stack_get(a, 0, -1, &s[i]), 0);
        assert_true(is_guarded(s[i].base - 16));
        memset(s[i].base, 1, s[i].size);
    }
    assert_int_equal(weft__stack_get(a, 0, -1, &refused), -ENOMEM);
    return count;
}

static void test_protect_limit(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    struct weft__stack s[101];
    for (int round = 0; round < 3; round++) { /* what an arena used is free again after it */
        weft__stack_arena_init(&a);
        a.guard_install = false;
        a.protect_limit = 100;
        assert_int_equal(exhaust(&a, s, 101), 100);
        weft__stack_arena_destroy(&a);
    }
}

/* The last slot of a chunk is refused its guard: it is the next to be given out when there is one. */
static void test_refused_slot_is_not_lost(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    uint32_t size_class = WEFT__STACK_CLASSES - 1,
             slots = (uint32_t)(((size_t)64 << 20) / (WEFT__STACK_SLOT << size_class));
    struct weft__stack s[2];
    weft__stack_arena_init(&a);
    a.guard_install = false;
    a.protect_limit = slots - 1;
    for (uint32_t i = 0; i < slots - 1; i++)
        assert_int_equal(weft__stack_get(&a, size_class, -1, &s[0]), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft__stack_get(&a, size_class, -1, &s[1]), -ENOMEM);
    a.protect_limit = slots;
    assert_int_equal(weft__stack_get(&a, size_class, -1, &s[1]), 0);
    assert_int_equal(s[1].slot, slots - 1);
    assert_true(slots == 1 || s[1].chunk == s[0].chunk);
    assert_ptr_equal(a.chunks, s[1].chunk); /* no other was mapped */
    weft__stack_arena_destroy(&a);
}

/* A touched stack costs its pages, also where the system gives huge pages to all. */
static void test_no_huge_pages(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    struct weft__stack s;
    weft__stack_arena_init(&a);
    assert_int_equal(weft__stack_get(&a, 0, -1, &s), 0);
    FILE *smaps = fopen("/proc/self/smaps", "r");
    assert_non_null(smaps);
    static char line[1024];
    bool here = false, flags_seen = false, refused = false;
    while (fgets(line, sizeof line, smaps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= (uintptr_t)s.base && (uintptr_t)s.base < to;
        else if (here && strncmp(line, "VmFlags:", 8) == 0) {
            flags_seen = true;
            refused = strstr(line, " nh") != NULL;
        }
    }
    fclose(smaps);
    weft__stack_arena_destroy(&a);
    if (!flags_seen || access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0)
        skip();
    assert_true(refused);
}

/* The limits of the kernel itself: ours first, which leaves mappings to the program; then its own refusal. */
static void test_kernel_limit(void **state)
{
    (void)state;
    if (SLOWLY || WEFT__FIBER_TOOLS)
        skip();
    static struct weft__stack_arena a;
    size_t most = 40000;
    struct weft__stack *s = calloc(most, sizeof *s);
    assert_non_null(s);
    for (int own_limit = 1; own_limit >= 0; own_limit--) {
        weft__stack_arena_init(&a);
        a.guard_install = false;
        uint64_t limit = a.protect_limit;
        if (limit >= most) { /* a machine set up for more */
            weft__stack_arena_destroy(&a);
            free(s);
            skip();
        }
        if (!own_limit)
            a.protect_limit = UINT64_MAX;
        size_t count = exhaust(&a, s, most);
        if (own_limit) {
            assert_int_equal(count, limit);
            void *more[50]; /* the rest of the program can still map memory */
            for (int i = 0; i < 50; i++) {
                more[i] = mmap(NULL, 4096, i % 2 == 0 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                assert_ptr_not_equal(more[i], MAP_FAILED);
            }
            for (int i = 0; i < 50; i++)
                munmap(more[i], 4096);
        } else {
            assert_in_range(count, limit, limit + 200);
        }
        weft__stack_arena_destroy(&a);
    }
    free(s);
}

/* Kept apart by node only where there are several. */
static void test_nodes(void **state)
{
    (void)state;
    static struct weft__stack_arena a;
    struct weft__stack any, zero, huge;
    weft__stack_arena_init(&a);
    a.many_nodes = true;
    assert_int_equal(weft__stack_get(&a, 0, -1, &any), 0);
    assert_int_equal(weft__stack_get(&a, 0, 0, &zero), 0);
    assert_int_equal(weft__stack_get(&a, 0, 10000, &huge), 0); /* beyond what is told apart */
    assert_ptr_not_equal(any.chunk, zero.chunk);
    assert_ptr_equal(any.chunk, huge.chunk);
    memset(zero.base, 1, zero.size);
    weft__stack_put(&a, &any);
    weft__stack_put(&a, &zero);
    assert_int_equal(weft__stack_get(&a, 0, 0, &zero), 0);
    assert_int_equal(zero.slot, 0);
    weft__stack_arena_destroy(&a);
    weft__stack_arena_init(&a);
    a.many_nodes = false;
    assert_int_equal(weft__stack_get(&a, 0, -1, &any), 0);
    assert_int_equal(weft__stack_get(&a, 0, 5, &zero), 0);
    assert_ptr_equal(any.chunk, zero.chunk);
    weft__stack_arena_destroy(&a);
}

#define THREADS 4
#define HELD 50

static struct weft__stack_arena shared;

static void *get_and_put(void *argument)
{
    uint64_t random = (uintptr_t)argument + 1, *failures = calloc(1, sizeof *failures);
    struct weft__stack held[HELD] = {0};
    for (int i = 0; i < (SLOWLY ? 300 : 5000); i++) {
        struct weft__stack *s = &held[weft__random(&random) % HELD];
        if (s->base == NULL) {
            if (weft__stack_get(&shared, weft__random(&random) % 2, -1, s) != 0) {
                ++*failures;
                continue;
            }
            uintptr_t *top = (uintptr_t *)(void *)(s->base + s->size) - 1;
            *failures += *top != 0; /* clean: nobody else has it */
            *top = (uintptr_t)argument;
        } else {
            uintptr_t *top = (uintptr_t *)(void *)(s->base + s->size) - 1;
            *failures += *top != (uintptr_t)argument;
            weft__stack_put(&shared, s);
        }
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].base != NULL)
            weft__stack_put(&shared, &held[i]);
    return failures;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int by_protect = 0; by_protect < 2; by_protect++) {
        weft__stack_arena_init(&shared);
        if (by_protect)
            shared.guard_install = false;
        for (uintptr_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, get_and_put, (void *)(i + 1)), 0);
        for (int i = 0; i < THREADS; i++) {
            void *failures;
            assert_int_equal(pthread_join(threads[i], &failures), 0);
            assert_int_equal(*(uint64_t *)failures, 0);
            free(failures);
        }
        assert_int_equal(weft__load_relaxed(&shared.live), 0); /* relaxed: the threads are gone */
        assert_in_range(weft__load_relaxed(&shared.mapped), 1, 2 * THREADS * HELD);
        weft__stack_arena_destroy(&shared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_slots_of_each_class),
        cmocka_unit_test(test_memory_is_given_back),
        cmocka_unit_test(test_owner_lies_in_the_first_page),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_find_guard),
        cmocka_unit_test(test_arenas_come_and_go),
        cmocka_unit_test(test_a_hundred_thousand),
        cmocka_unit_test(test_protect_limit),
        cmocka_unit_test(test_refused_slot_is_not_lost),
        cmocka_unit_test(test_no_huge_pages),
        cmocka_unit_test(test_kernel_limit),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
