/* SPDX-License-Identifier: Apache-2.0 */
/* tests/aarch64/context.c -- the context switch where there is no cmocka: a static program for an emulator.
 * Exit code 0, or 1 after a line for each thing found wrong. Stands on context.c and the assembly alone. */
#include "executor/context.h"
#include "tests/context_registers.h"

#include <stdio.h>
#include <stdlib.h>

#define STACK_SIZE ((size_t)64 * 1024)
#define FIBERS 100
#define ROUNDS 100000

static int failures;

static void check(bool ok, const char *what)
{
    if (!ok) {
        printf("wrong: %s\n", what);
        failures++;
    }
}

void weft__bug(const char *file, int line, const char *what)
{
    printf("%s:%d: %s\n", file, line, what);
    abort();
}

struct fiber {
    struct weft__context context, *back;
    unsigned runs;
    uint64_t fp_first;
    uintptr_t frame;
};

static struct weft__context main_context;

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

static void entry(void *argument)
{
    struct fiber *f = argument;
    f->fp_first = fp_control();
    f->frame = (uintptr_t)__builtin_frame_address(0);
    fp_set_control(FP_UPWARD);
    for (;;) {
        f->runs++;
        uint64_t lost = registers_hold(go_back, f, UINT64_C(0x1111000011110000) + f->runs);
        check(lost == 0, "a fiber's callee-saved registers");
        check(fp_control() == FP_UPWARD, "a fiber's floating point control");
    }
}

int main(void)
{
    static struct fiber fibers[FIBERS];
    weft__context_init_thread(&main_context);
    uint64_t fp_main = fp_control();
    check(fp_main == FP_STARTS, "the program's floating point control");
    fp_set_control(FP_DOWNWARD);
    for (int i = 0; i < FIBERS; i++) {
        void *stack = aligned_alloc(4096, STACK_SIZE);
        if (stack == NULL)
            return 1;
        fibers[i].back = &main_context;
        weft__context_init(&fibers[i].context, stack, STACK_SIZE, entry, &fibers[i]);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t lost = registers_hold(go_to, &fibers[i % FIBERS], UINT64_C(0x2222000022220000) + i);
        check(lost == 0, "the main context's callee-saved registers");
        check(fp_control() == FP_DOWNWARD, "the main context's floating point control");
    }
    for (int i = 0; i < FIBERS; i++) {
        check(fibers[i].runs == ROUNDS / FIBERS, "number of runs");
        check(fibers[i].fp_first == FP_STARTS, "floating point control at the entry");
        check(fibers[i].frame % 16 == 0, "alignment of the stack");
    }
    printf("%s\n", failures == 0 ? "ok" : "FAILED");
    return failures != 0;
}
