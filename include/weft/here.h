/* SPDX-License-Identifier: Apache-2.0 */
/* weft/here.h -- what the inline parts of weft/join.h know of the library: nothing here is for programs to use.
 *
 * weft_here_ points to the calling thread's worker, or to a stand-in whose queue is always full. It is read by an assembler
 * statement each time it is needed, because both compilers keep the address of a thread-local variable over calls, and after
 * a call that suspends the task may be in another thread. Where there is no such statement (or with WEFT_NO_INLINE defined,
 * and in C++) the functions of the library are called instead: they do the same. */
#ifndef WEFT_HERE_H
#define WEFT_HERE_H

#include <weft/coroutine.h>

WEFT_BEGIN_DECLS

#if defined(__x86_64__) && !defined(__ILP32__) && !defined(__cplusplus) && !defined(WEFT_NO_INLINE)
#define WEFT_INLINE_ 1
#else
#define WEFT_INLINE_ 0
#endif

/* The running fiber; the first fields of struct weft__fiber. */
struct weft_running_ {
    void *link;
    uint32_t kind, ticket;
    uint64_t word; /* atomic */
    void *task;    /* innermost */
    void *worker;
    char *stack_limit; /* below it there is no room for a child on this stack */
    uint16_t unusual;
};
#define WEFT_RUNNING_REQUEST_ UINT64_C(16) /* in word */

/* The worker; the first fields of struct weft__worker: its stack of forked children (executor/joins.h), and what runs. */
struct weft_here_ {
    int64_t bottom, floor, limit; /* atomic, all three */
    int64_t mask;
    void **slots;    /* its elements: atomic */
    uint64_t pushes; /* atomic */
    char others_[208];
    struct weft_running_ *fiber; /* NULL: no task runs */
};

#if WEFT_INLINE_
extern WEFT_API __thread struct weft_here_ *weft_here_at_ __attribute__((tls_model("initial-exec")));
#define WEFT_ALWAYS_ static inline __attribute__((always_inline))
WEFT_ALWAYS_ struct weft_here_ *weft_here_(void)
{
    struct weft_here_ *here;
    __asm__ volatile("movq weft_here_at_@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(here)::"memory");
    return here;
}
/* Where the stack is now, more or less. */
WEFT_ALWAYS_ char *weft_here_sp_(void)
{
    char *sp;
    __asm__("movq %%rsp, %0" : "=r"(sp));
    return sp;
}
#else
#define weft_here_sp_() ((char *)__builtin_frame_address(0))
#endif

WEFT_END_DECLS

#endif
