/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_context.c -- executor/context.h: the switch between stacks, and what debuggers see of it.
 * "test_context --for-gdb" is the program that the last test runs under gdb. */
#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/context.h"
#include "tests/context_registers.h"

#if WEFT__VALGRIND
#define SLOWLY (RUNNING_ON_VALGRIND != 0)
#else
#define SLOWLY false
#endif

#define STACK_SIZE ((size_t)256 * 1024)

void weft__context_start(void);

/* A stack, a context on it, and the context to go back to. */
struct fiber {
    struct weft__context context, *back;
    void *stack;
    uint32_t valgrind_id;
    unsigned long runs;
    uint64_t lost, fp_first, fp_later;
    uintptr_t frame;
    pthread_t threads[2];
    void *frames[64];
    int frame_count;
};

static void fiber_open(struct fiber *f, struct weft__context *back)
{
    memset(f, 0, sizeof *f);
    f->back = back;
    f->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(f->stack, MAP_FAILED);
    f->valgrind_id = weft__tools_stack_register(f->stack, STACK_SIZE);
}

static void fiber_close(struct fiber *f)
{
    weft__context_destroy(&f->context);
    weft__tools_stack_unregister(f->valgrind_id);
    weft__tools_stack_forget(f->stack, STACK_SIZE);
    munmap(f->stack, STACK_SIZE);
}

static void fiber_start(struct fiber *f, void (*entry)(void *))
{
    weft__context_init(&f->context, f->stack, STACK_SIZE, entry, f);
}

static void go_back(void *argument)
{
    struct fiber *f = argument;
    weft__context_switch(&f->context, f->back);
}

static void go_to(void *argument)
{
    struct fiber *f = argument;
    weft__context_switch(f->back, &f->context);
}

static void count_for_ever(void *argument)
{
    struct fiber *f = argument;
    for (;;) {
        f->runs++;
        go_back(f);
    }
}

static void test_there_and_back(void **state)
{
    (void)state;
    unsigned long rounds = SLOWLY ? 20000 : 1000000;
    struct weft__context here;
    struct fiber f;
    weft__context_init_thread(&here);
    fiber_open(&f, &here);
    fiber_start(&f, count_for_ever);
    for (unsigned long i = 0; i < rounds; i++)
        go_to(&f);
    assert_int_equal(f.runs, rounds);
    fiber_close(&f);
    weft__context_destroy(&here);
}

static void note_frame(void *argument)
{
    struct fiber *f = argument;
    f->frame = (uintptr_t)__builtin_frame_address(0);
    for (;;)
        go_back(f);
}

static void test_entry_stack_is_aligned_and_inside(void **state)
{
    (void)state;
    struct weft__context here;
    struct fiber f;
    weft__context_init_thread(&here);
    fiber_open(&f, &here);
    /* odd sizes: the top is made even */
    for (size_t cut = 0; cut < 64; cut += 8) {
        weft__context_init(&f.context, f.stack, STACK_SIZE - cut, note_frame, &f);
        go_to(&f);
        assert_int_equal(f.frame % 16, 0);
        assert_in_range(f.frame, (uintptr_t)f.stack + STACK_SIZE - 4096, (uintptr_t)f.stack + STACK_SIZE - cut);
    }
    fiber_close(&f);
    weft__context_destroy(&here);
}

static void hold_registers(void *argument)
{
    struct fiber *f = argument;
    f->fp_first = fp_control();
    fp_set_control(FP_UPWARD);
    for (;;) {
        f->runs++;
        f->lost |= registers_hold(go_back, f, UINT64_C(0x1111000011110000) + f->runs);
        f->fp_later = fp_control();
    }
}

static void test_registers_and_fp_control_survive(void **state)
{
    (void)state;
    struct weft__context here;
    struct fiber f;
    weft__context_init_thread(&here);
    fiber_open(&f, &here);
    uint64_t fp_before = fp_control(), lost = 0, fp_main = 0;
    fp_set_control(FP_DOWNWARD); /* that the context is prepared in this state does not matter to it */
    fiber_start(&f, hold_registers);
    for (unsigned i = 0; i < 1000; i++) {
        lost |= registers_hold(go_to, &f, UINT64_C(0x2222000022220000) + i);
        fp_main = fp_control();
    }
    fp_set_control(fp_before);
    assert_int_equal(lost, 0);
    assert_int_equal(f.lost, 0);
    assert_int_equal(fp_main, FP_DOWNWARD);
    assert_int_equal(f.fp_first, FP_STARTS);
    assert_int_equal(f.fp_later, FP_UPWARD);
    fiber_close(&f);
    weft__context_destroy(&here);
}

static void note_threads(void *argument)
{
    struct fiber *f = argument;
    for (;;) {
        f->threads[f->runs % 2] = pthread_self();
        f->runs++;
        go_back(f);
    }
}

static void *run_once(void *argument)
{
    struct fiber *f = argument;
    struct weft__context here;
    weft__context_init_thread(&here);
    f->back = &here;
    go_to(f);
    weft__context_destroy(&here);
    return NULL;
}

/* Begun in one thread, gone on in another, and back. */
static void test_moves_between_threads(void **state)
{
    (void)state;
    struct fiber f;
    fiber_open(&f, NULL);
    fiber_start(&f, note_threads);
    for (unsigned round = 0; round < 50; round++) {
        run_once(&f);
        pthread_t other;
        assert_int_equal(pthread_create(&other, NULL, run_once, &f), 0);
        assert_int_equal(pthread_join(other, NULL), 0);
        assert_int_equal(f.runs, 2 * round + 2);
    }
    fiber_close(&f);
}

#define RING 500

static struct fiber ring[RING];

static void pass_on(void *argument)
{
    struct fiber *f = argument;
    size_t next = (size_t)(f - ring + 1);
    for (;;) {
        f->runs++;
        weft__context_switch(&f->context, next == RING ? f->back : &ring[next].context);
    }
}

/* Each switches to the next without the thread's own stack in between. */
static void test_many_in_a_ring(void **state)
{
    (void)state;
    unsigned long rounds = SLOWLY ? 20 : 1000;
    struct weft__context here;
    weft__context_init_thread(&here);
    for (size_t i = 0; i < RING; i++) {
        fiber_open(&ring[i], &here);
        fiber_start(&ring[i], pass_on);
    }
    for (unsigned long i = 0; i < rounds; i++)
        weft__context_switch(&here, &ring[0].context);
    for (size_t i = 0; i < RING; i++) {
        assert_int_equal(ring[i].runs, rounds);
        fiber_close(&ring[i]);
    }
    weft__context_destroy(&here);
}

/* Leaves for ever from some depth, with an array in each frame for ASan to put red zones round. */
static WEFT__NOINLINE unsigned sink(struct fiber *f, unsigned depth)
{
    volatile char local[64];
    memset((void *)local, (int)depth, sizeof local);
    if (depth == 0)
        go_back(f);
    else
        sink(f, depth - 1);
    return (unsigned)local[depth];
}

static void sink_entry(void *argument)
{
    struct fiber *f = argument;
    f->runs++;
    sink(f, 10);
}

static void fill_entry(void *argument)
{
    struct fiber *f = argument;
    volatile char local[16384];
    memset((void *)local, 1, sizeof local);
    f->runs += (unsigned char)local[f->runs % sizeof local];
    go_back(f);
}

static void test_starts_over(void **state)
{
    (void)state;
    struct weft__context here;
    struct fiber f;
    weft__context_init_thread(&here);
    fiber_open(&f, &here);
    unsigned rounds = SLOWLY ? 500 : 20000;
    for (unsigned i = 0; i < rounds; i++) {
        fiber_start(&f, i % 2 == 0 ? sink_entry : fill_entry);
        go_to(&f);
        assert_int_equal(f.runs, i + 1);
    }
    /* initialised and never run; destroyed and initialised again */
    fiber_start(&f, sink_entry);
    weft__context_destroy(&f.context);
    fiber_start(&f, sink_entry);
    go_to(&f);
    assert_int_equal(f.runs, rounds + 1);
    fiber_close(&f);
    weft__context_destroy(&here);
}

static WEFT__NOINLINE void note_frames(struct fiber *f)
{
    f->frame_count = backtrace(f->frames, 64);
    f->runs++;
}

static void unwind_entry(void *argument)
{
    struct fiber *f = argument;
    for (;;) {
        note_frames(f);
        go_back(f);
    }
}

/* The compiler's unwinder (that of C++ exceptions too) stops at the context's first frame. */
static void test_unwinding_ends_at_the_entry(void **state)
{
    (void)state;
    struct weft__context here;
    struct fiber f;
    weft__context_init_thread(&here);
    fiber_open(&f, &here);
    fiber_start(&f, unwind_entry);
    go_to(&f);
    assert_in_range(f.frame_count, 3, 8);
    uintptr_t start = (uintptr_t)weft__context_start;
    assert_in_range((uintptr_t)f.frames[f.frame_count - 1], start, start + 16);
    fiber_close(&f);
    weft__context_destroy(&here);
}

/* ---- gdb ---- */

void gdb_level_two(struct fiber *f);
void gdb_level_one(void *argument);
void gdb_stop_running(void);
void gdb_stop_suspended(void);
extern void *volatile gdb_suspended_sp, *volatile gdb_fresh_sp;
void *volatile gdb_suspended_sp, *volatile gdb_fresh_sp;

WEFT__NOINLINE void gdb_stop_running(void)
{
    __asm__ volatile("" ::: "memory");
}

WEFT__NOINLINE void gdb_stop_suspended(void)
{
    __asm__ volatile("" ::: "memory");
}

WEFT__NOINLINE void gdb_level_two(struct fiber *f)
{
    gdb_stop_running();
    go_back(f);
    f->runs++; /* no tail call */
}

WEFT__NOINLINE void gdb_level_one(void *argument)
{
    struct fiber *f = argument;
    gdb_level_two(f);
    go_back(f);
}

static int be_debugged(void)
{
    struct weft__context here;
    struct fiber f, fresh;
    weft__context_init_thread(&here);
    fiber_open(&f, &here);
    fiber_open(&fresh, &here);
    fiber_start(&f, gdb_level_one);
    fiber_start(&fresh, gdb_level_one);
    go_to(&f);
    gdb_suspended_sp = f.context.sp;
    gdb_fresh_sp = fresh.context.sp;
    gdb_stop_suspended();
    fiber_close(&fresh);
    fiber_close(&f);
    return 0;
}

/* The text between two marks of gdb's output holds the whole chain of calls (of a context that began), and gdb had nothing
 * to complain about. */
static void assert_good_backtrace(const char *output, const char *begin, const char *end, bool began)
{
    const char *from = strstr(output, begin), *to = strstr(output, end);
    assert_non_null(from);
    assert_non_null(to);
    static char part[65536];
    memcpy(part, from, (size_t)(to - from));
    part[to - from] = '\0';
    /* gdb writes weft.context_start where it takes the assembly for Ada */
    const char *two = strstr(part, "gdb_level_two"), *one = strstr(part, "gdb_level_one");
    const char *start = strstr(part, "context_start");
    bool complaint = strstr(part, "stopped") != NULL || strstr(part, "corrupt") != NULL;
    if (start == NULL || complaint || (two != NULL) != began)
        print_error("%s\n", part);
    assert_false(complaint);
    assert_non_null(start);
    if (began) {
        assert_non_null(two);
        assert_non_null(one);
        assert_true(two < one && one < start);
    } else {
        assert_null(one);
    }
    assert_null(strstr(start, "\n#")); /* the last frame */
}

static void test_gdb_shows_running_and_suspended(void **state)
{
    (void)state;
    if (SLOWLY || system("gdb --version >/dev/null 2>&1") != 0)
        skip();
    char self[512], command[2048];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    int length = snprintf(command, sizeof command,
                          "gdb -nx -batch -ex 'set confirm off' -ex 'set debuginfod enabled off' "
                          "-ex 'break gdb_stop_running' -ex 'break gdb_stop_suspended' -ex run "
                          "-ex 'echo MARK-ONE\\n' -ex bt -ex 'echo MARK-TWO\\n' -ex continue "
                          "-ex 'set $sp = *(unsigned long *)&gdb_suspended_sp' "
                          "-ex 'set $pc = (unsigned long)&weft__switch_saved' "
                          "-ex 'echo MARK-THREE\\n' -ex bt -ex 'echo MARK-FOUR\\n' "
                          "-ex 'set $sp = *(unsigned long *)&gdb_fresh_sp' -ex bt -ex 'echo MARK-FIVE\\n' -ex kill "
                          "--args '%s' --for-gdb 2>&1 </dev/null",
                          self);
    assert_in_range(length, 1, sizeof command - 1);
    FILE *gdb = popen(command, "r");
    assert_non_null(gdb);
    static char output[65536];
    size_t got = fread(output, 1, sizeof output - 1, gdb);
    output[got] = '\0';
    pclose(gdb);
    if (strstr(output, "Breakpoint 1, ") == NULL) {
        print_message("gdb cannot run programs here: %s\n", output);
        skip();
    }
    assert_good_backtrace(output, "MARK-ONE", "MARK-TWO", true);
    assert_good_backtrace(output, "MARK-THREE", "MARK-FOUR", true);
    assert_good_backtrace(output, "MARK-FOUR", "MARK-FIVE", false);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--for-gdb") == 0)
        return be_debugged();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_entry_stack_is_aligned_and_inside),
        cmocka_unit_test(test_registers_and_fp_control_survive),
        cmocka_unit_test(test_moves_between_threads),
        cmocka_unit_test(test_many_in_a_ring),
        cmocka_unit_test(test_starts_over),
        cmocka_unit_test(test_unwinding_ends_at_the_entry),
        cmocka_unit_test(test_gdb_shows_running_and_suspended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
