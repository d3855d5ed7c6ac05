/* SPDX-License-Identifier: Apache-2.0 */
/* tests/context_registers.h -- the machine's part of the tests of a context: do all callee-saved registers and the floating
 * point control state survive a call? For test_context.c and aarch64/context.c; included once in a program. */
#ifndef WEFT_TESTS_CONTEXT_REGISTERS_H
#define WEFT_TESTS_CONTEXT_REGISTERS_H

#include <stdint.h>

/* Fills every callee-saved register with a value made of `pattern`, calls function(argument), and compares: 0 if all have
 * their values still, else the differing bits. */
uint64_t registers_hold(void (*function)(void *), void *argument, uint64_t pattern);

#if defined(__x86_64__)

__asm__(".text\n"
        ".globl registers_hold\n"
        ".type registers_hold, @function\n"
        "registers_hold:\n"
        ".cfi_startproc\n"
        "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n    push %rdx\n"
        ".cfi_def_cfa_offset 64\n"
        "    mov %rdi, %rax\n    mov %rsi, %rdi\n"
        "    lea 1(%rdx), %rbx\n    lea 2(%rdx), %rbp\n    lea 3(%rdx), %r12\n"
        "    lea 4(%rdx), %r13\n    lea 5(%rdx), %r14\n    lea 6(%rdx), %r15\n"
        "    call *%rax\n"
        "    mov (%rsp), %rdx\n    xor %eax, %eax\n"
        "    lea 1(%rdx), %rcx\n    xor %rbx, %rcx\n    or %rcx, %rax\n"
        "    lea 2(%rdx), %rcx\n    xor %rbp, %rcx\n    or %rcx, %rax\n"
        "    lea 3(%rdx), %rcx\n    xor %r12, %rcx\n    or %rcx, %rax\n"
        "    lea 4(%rdx), %rcx\n    xor %r13, %rcx\n    or %rcx, %rax\n"
        "    lea 5(%rdx), %rcx\n    xor %r14, %rcx\n    or %rcx, %rax\n"
        "    lea 6(%rdx), %rcx\n    xor %r15, %rcx\n    or %rcx, %rax\n"
        "    pop %rdx\n    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbx\n    pop %rbp\n"
        ".cfi_def_cfa_offset 8\n"
        "    ret\n"
        ".cfi_endproc\n"
        ".size registers_hold, . - registers_hold\n");

#define FP_STARTS UINT64_C(0x37f00001f80) /* what the ABI has a program start with */
#define FP_UPWARD UINT64_C(0xb7f00005f80)
#define FP_DOWNWARD UINT64_C(0x77f00003f80)

static inline uint64_t fp_control(void)
{
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (mxcsr & ~UINT32_C(0x3f)) | (uint64_t)x87 << 32; /* without the flags of past operations */
}

static inline void fp_set_control(uint64_t word)
{
    uint32_t mxcsr = (uint32_t)word;
    uint16_t x87 = (uint16_t)(word >> 32);
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
}

#elif defined(__aarch64__)

__asm__(".text\n"
        ".globl registers_hold\n"
        ".type registers_hold, %function\n"
        "registers_hold:\n"
        "    sub sp, sp, #176\n"
        "    stp x19, x20, [sp]\n    stp x21, x22, [sp, #16]\n    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n    stp x27, x28, [sp, #64]\n    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n    stp d10, d11, [sp, #112]\n    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n    str x2, [sp, #160]\n"
        ".altmacro\n"
        ".macro fill_x n\n    add x\\n, x2, #\\n\n.endm\n"
        ".macro fill_d n\n    add x3, x2, #(32+\\n)\n    fmov d\\n, x3\n.endm\n"
        ".macro look_x n\n    add x3, x2, #\\n\n    eor x3, x3, x\\n\n    orr x0, x0, x3\n.endm\n"
        ".macro look_d n\n    add x3, x2, #(32+\\n)\n    fmov x4, d\\n\n    eor x3, x3, x4\n    orr x0, x0, x3\n.endm\n"
        ".irp n,19,20,21,22,23,24,25,26,27,28,29\n    fill_x \\n\n.endr\n"
        ".irp n,8,9,10,11,12,13,14,15\n    fill_d \\n\n.endr\n"
        "    mov x3, x0\n    mov x0, x1\n    blr x3\n"
        "    ldr x2, [sp, #160]\n    mov x0, #0\n"
        ".irp n,19,20,21,22,23,24,25,26,27,28,29\n    look_x \\n\n.endr\n"
        ".irp n,8,9,10,11,12,13,14,15\n    look_d \\n\n.endr\n"
        "    ldp x19, x20, [sp]\n    ldp x21, x22, [sp, #16]\n    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n    ldp x27, x28, [sp, #64]\n    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n    ldp d10, d11, [sp, #112]\n    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #176\n    ret\n"
        ".size registers_hold, . - registers_hold\n");

#define FP_STARTS UINT64_C(0)
#define FP_UPWARD (UINT64_C(1) << 22)
#define FP_DOWNWARD (UINT64_C(2) << 22)

static inline uint64_t fp_control(void)
{
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
}

static inline void fp_set_control(uint64_t word)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(word));
}

#endif
#endif
