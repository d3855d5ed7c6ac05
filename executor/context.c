/* SPDX-License-Identifier: Apache-2.0 */
/* executor/context.c -- what of a context is not assembly: the first frame, the C++ runtime's account of exceptions, and the
 * switch as the sanitizers need it.
 *
 * Invariants: 1. A context runs in at most one thread; who switches to it owns it. 2. While it does not run, everything it
 * needs lies above its sp and in struct weft__context. 3. A thread that switches has no C++ exceptions on its account at the
 * moment of the switch: they went into the context that leaves; so a context that has none need not look when it goes on.
 * Any thread. */
#include "executor/context.h"

#include <string.h>

/* The C++ ABI's __cxa_eh_globals (libstdc++ and libc++abi alike). */
struct weft__cxa_globals {
    void *caught;
    unsigned uncaught;
};

extern const char weft__context_first[]; /* code */

/* The saved registers of a context that did not run yet, as the assembly pops them. */
#if defined(__x86_64__)

struct weft__first_frame {
    uint32_t mxcsr;
    uint16_t x87_control;
    uint64_t r15, r14, r13, r12, rbx, rbp;
    uint64_t start;
};
_Static_assert(offsetof(struct weft__first_frame, r15) == 8 && sizeof(struct weft__first_frame) == 64,
               "the layout told in context_x86_64.S");

static void fill_first_frame(struct weft__first_frame *f, void (*entry)(void *), void *argument)
{
    f->mxcsr = 0x1f80;
    f->x87_control = 0x37f;
    f->r12 = (uintptr_t)entry;
    f->r13 = (uintptr_t)argument;
    f->start = (uintptr_t)weft__context_first;
}

#elif defined(__aarch64__)

struct weft__first_frame {
    uint64_t x19, x20, x21_28[8], x29, x30;
    double d8_15[8];
    uint64_t fpcr, unused;
};
_Static_assert(offsetof(struct weft__first_frame, fpcr) == 160 && sizeof(struct weft__first_frame) == 176,
               "the layout told in context_aarch64.S");

static void fill_first_frame(struct weft__first_frame *f, void (*entry)(void *), void *argument)
{
    f->x19 = (uintptr_t)entry;
    f->x20 = (uintptr_t)argument;
    f->x30 = (uintptr_t)weft__context_first;
}

#else
#error                                                                                                                 \
    "weft has no context switch for this architecture: write executor/context_<architecture>.S and its first frame here"
#endif

#if WEFT__FIBER_TOOLS
static WEFT__UNINSTRUMENTED void start_with_tools(void *context)
{
    struct weft__context *c = context;
    weft__tools_arrive(&c->tools);
    c->tools.entry(c->tools.argument);
    weft__bug(__FILE__, __LINE__, "the entry of a context returned");
}
#endif

WEFT__UNINSTRUMENTED void weft__context_init(struct weft__context *c, void *base, size_t size, void (*entry)(void *),
                                             void *argument)
{
#if WEFT__FIBER_TOOLS
    weft__tools_init(&c->tools, base, size);
    c->tools.entry = entry;
    c->tools.argument = argument;
    entry = start_with_tools;
    argument = c;
#endif
    /* The frame ends at the stack's top: after the first return sp is aligned as a call wants it. */
    uintptr_t top = ((uintptr_t)base + size) & ~(uintptr_t)15;
    struct weft__first_frame *f = (struct weft__first_frame *)(top - sizeof *f);
    memset(f, 0, sizeof *f);
    fill_first_frame(f, entry, argument);
    c->sp = f;
    c->caught = NULL;
    c->uncaught = 0;
    c->exceptions = false;
}

WEFT__UNINSTRUMENTED void weft__context_init_thread(struct weft__context *c)
{
#if WEFT__FIBER_TOOLS
    weft__tools_init_thread(&c->tools);
#endif
    c->sp = NULL;
    c->caught = NULL;
    c->uncaught = 0;
    c->exceptions = false;
}

WEFT__UNINSTRUMENTED void weft__context_destroy(struct weft__context *c)
{
#if WEFT__FIBER_TOOLS
    weft__tools_drop(&c->tools);
#endif
    c->sp = NULL;
}

/* Both out of line: the address that __cxa_get_globals returns is the thread's and must not be kept across the switch. */
WEFT__NOINLINE void weft__context_take_exceptions(struct weft__context *c)
{
    struct weft__cxa_globals *globals = __cxa_get_globals();
    if (weft__likely(globals->caught == NULL && globals->uncaught == 0))
        return;
    c->caught = globals->caught;
    c->uncaught = globals->uncaught;
    c->exceptions = true;
    globals->caught = NULL;
    globals->uncaught = 0;
}

WEFT__NOINLINE void weft__context_give_exceptions(struct weft__context *c)
{
    struct weft__cxa_globals *globals = __cxa_get_globals();
    globals->caught = c->caught;
    globals->uncaught = c->uncaught;
    c->exceptions = false;
}

#if WEFT__FIBER_TOOLS
WEFT__UNINSTRUMENTED void weft__context_switch(struct weft__context *from, struct weft__context *to)
{
    if (__cxa_get_globals != NULL)
        weft__context_take_exceptions(from);
    weft__tools_leave(&from->tools, &to->tools);
    weft__switch_asm(&from->sp, to->sp);
    weft__tools_arrive(&from->tools);
    if (from->exceptions)
        weft__context_give_exceptions(from);
}
#endif
