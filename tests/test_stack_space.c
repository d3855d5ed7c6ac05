/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_stack_space.c -- executor/stack_space.h: few mappings for very many stacks, and what happens when large ones are not to be had. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/fiber_tools.h"
#include "executor/stack.h"

#if WEFT__VALGRIND
#define SLOWLY (RUNNING_ON_VALGRIND != 0)
#else
#define SLOWLY false
#endif

static size_t mmap_refuses_above = SIZE_MAX, mmap_largest;
#if !WEFT__FIBER_TOOLS
/* In the place of libc's: what is larger than this is refused. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (length > mmap_refuses_above) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    if (length > mmap_largest)
        mmap_largest = length;
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
#endif

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

enum { CHUNKS = 200 };
static struct weft__stack_arena a;

/* So many chunks of the largest stacks, and between each two another mapping, as those of other memory come to lie there. All are given back: how
 * many mappings it was, without the others. */
static unsigned take_chunks(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint32_t size_class = WEFT__STACK_CLASSES - 1,
             slots = (uint32_t)(WEFT__STACK_CHUNK / (WEFT__STACK_SLOT << size_class));
    void *between[CHUNKS];
    struct weft__stack s;
    unsigned before = map_entries();
    weft__stack_arena_init(&a);
    for (unsigned i = 0; i < CHUNKS; i++) {
        for (uint32_t k = 0; k < slots; k++) {
            assert_int_equal(weft__stack_get(&a, size_class, -1, &s), 0);
            assert_int_equal(s.base[s.size - 1], 0);
            s.base[s.size - 1] = 1;
        }
        between[i] =
            mmap(NULL, page, i % 2 == 0 ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(between[i], MAP_FAILED);
    }
    unsigned used = map_entries() - before;
    for (unsigned i = 0; i < CHUNKS; i++)
        munmap(between[i], page);
    weft__stack_arena_destroy(&a);
    if (!WEFT__TSAN && !RUNNING_ON_VALGRIND)           /* their shadow stays */
        assert_in_range(map_entries(), 0, before + 8); /* the headers lie in malloc's memory */
    return used > CHUNKS ? used - CHUNKS : 0;
}

static bool each_guard_is_a_mapping(void)
{
    weft__stack_arena_init(&a);
    bool each = !a.guard_install;
    weft__stack_arena_destroy(&a);
    return each;
}

static void test_few_mappings(void **state)
{
    (void)state;
    unsigned used = take_chunks();
    if (each_guard_is_a_mapping() || WEFT__TSAN) /* its shadow is in mappings of its own */
        skip();
    /* At most three for each region: what is used, the rest, and what it parts from another. Sanitizers: regions of four. */
    assert_in_range(used, 0, 3 * (WEFT__FIBER_TOOLS ? CHUNKS / 4 + 2 : 4));
}

/* What the kernel refuses is asked for by half, down to one chunk; and when that is refused, too, so is the stack. */
static void test_refused_regions_are_halved(void **state)
{
    (void)state;
    if (SLOWLY || WEFT__FIBER_TOOLS)
        skip();
    (void)take_chunks();
    assert_true(mmap_largest > 100 * WEFT__STACK_CHUNK);
    for (size_t chunks = 1; chunks <= 7; chunks += 3) {
        mmap_refuses_above = chunks * WEFT__STACK_CHUNK;
        mmap_largest = 0;
        (void)take_chunks();
        assert_in_range(mmap_largest, (chunks + 1) / 2 * WEFT__STACK_CHUNK, mmap_refuses_above);
    }
    mmap_refuses_above = WEFT__STACK_CHUNK / 2;
    struct weft__stack s;
    weft__stack_arena_init(&a);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft__stack_get(&a, 0, -1, &s), -ENOMEM);
    mmap_refuses_above = SIZE_MAX;
    assert_int_equal(weft__stack_get(&a, 0, -1, &s), 0); /* as soon as there is some */
    weft__stack_arena_destroy(&a);
}

/* False: it is not to be had. */
static bool limit_address_space(rlim_t bytes, struct rlimit *before)
{
    assert_int_equal(getrlimit(RLIMIT_AS, before), 0);
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = before->rlim_max};
    return bytes <= before->rlim_max && setrlimit(RLIMIT_AS, &limit) == 0;
}

/* A process with a limit on its address space needs the rest of it: chunks come one by one, until it is met. */
static void test_address_space_is_limited(void **state)
{
    (void)state;
    if (SLOWLY || WEFT__FIBER_TOOLS || each_guard_is_a_mapping())
        skip();
    struct rlimit before;
    mmap_largest = 0;
    if (!limit_address_space((rlim_t)1 << 40, &before))
        skip();
    (void)take_chunks();
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(mmap_largest, WEFT__STACK_CHUNK);

    enum { MOST = 8 * 1024 };
    struct weft__stack *s = calloc(MOST, sizeof *s), refused;
    assert_non_null(s);
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%ld", &pages), 1);
    fclose(statm);
    weft__stack_arena_init(&a);
    assert_true(limit_address_space((rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + 4 * WEFT__STACK_CHUNK, &before));
    size_t count = 0;
    while (count < MOST && weft__stack_get(&a, 0, -1, &s[count]) == 0)
        count++;
    bool refused_again = weft__stack_get(&a, 1, -1, &refused) == -ENOMEM;
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_true(refused_again);
    assert_in_range(count, 2 * WEFT__STACK_CHUNK / WEFT__STACK_SLOT, 4 * WEFT__STACK_CHUNK / WEFT__STACK_SLOT);
    for (size_t i = 0; i < count; i++)
        memset(s[i].base + s[i].size - 256, 1, 256);
    weft__stack_arena_destroy(&a);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_mappings),
        cmocka_unit_test(test_refused_regions_are_halved),
        cmocka_unit_test(test_address_space_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
