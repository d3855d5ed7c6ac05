/* SPDX-License-Identifier: Apache-2.0 */
/* executor/context_x86_64.S -- the switch and the first step of a context, System V ABI.
 *
 * A context that does not run is its stack pointer; above it lies, from low to high (context.c builds the same for a new one):
 *     +0 MXCSR, 4 bytes   +4 x87 control word, 2 bytes   +8 r15  +16 r14  +24 r13  +32 r12  +40 rbx  +48 rbp  +56 return address
 * All else is the caller's to save, as at any call. Both stacks have this same shape at the moment the stack pointer
 * changes, so one set of CFI rules is right before and after it: a debugger can unwind at each instruction, and a suspended
 * context too (registers sp = saved pointer, pc = weft__switch_saved).
 *
 * CET: this object declares neither IBT nor SHSTK in a .note.gnu.property, so a program linked with it runs without both
 * (a shadow stack would have to be switched along; its absence must be declared by nobody claiming it). A call here and the
 * `ret` that belongs to it happen on different stacks.
 *
 * Any thread. */
    .text

/* void weft__switch_asm(void **save_sp, void *to_sp) */
    .globl weft__switch_asm
    .hidden weft__switch_asm
    .type weft__switch_asm, @function
    .p2align 6
weft__switch_asm:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    /* Loading the control words costs more than a look whether they differ, and they rarely do. */
    movl (%rsp), %eax
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    .globl weft__switch_saved
    .hidden weft__switch_saved
weft__switch_saved:
    cmpl %eax, (%rsp)
    jne 1f
2:  cmpw %cx, 4(%rsp)
    jne 3f
4:  addq $8, %rsp
    .cfi_remember_state
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    ret
    .cfi_restore_state
1:  ldmxcsr (%rsp)
    jmp 2b
3:  fldcw 4(%rsp)
    jmp 4b
    .cfi_endproc
    .size weft__switch_asm, . - weft__switch_asm

/* void weft__lend_asm(void **save_sp, void *onto_sp, void (*call)(void *), void *argument)
 * Saves as weft__switch_asm does, and calls on the stack of a context that does not run, below what that has saved. So it ends in one of two ways: the
 * call returns, or somebody switches to what was saved; never both. Calls and returns stay in pairs, which saves two mispredicted ones.
 * Unwinders see no further than the call: who lent may have gone on meanwhile. */
    .globl weft__lend_asm
    .hidden weft__lend_asm
    .type weft__lend_asm, @function
    .p2align 6
weft__lend_asm:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %r8d
    movq %rsp, (%rdi)
    movq %rsp, %rbx
    .cfi_remember_state
    .cfi_undefined %rip
    movq %rsi, %rsp
    xorl %r12d, %r12d
    cmpl %eax, (%rsi)
    jne 1f
    cmpw %r8w, 4(%rsi)
    jne 1f
2:  movq %rcx, %rdi
    callq *%rdx
    movq %rbx, %rsp
    .cfi_restore_state
    .cfi_remember_state
    testl %r12d, %r12d
    jne 3f
4:  addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    ret
    .cfi_restore_state
1:  ldmxcsr (%rsi)
    fldcw 4(%rsi)
    movl $1, %r12d
    jmp 2b
3:  ldmxcsr (%rsp)
    fldcw 4(%rsp)
    jmp 4b
    .cfi_endproc
    .size weft__lend_asm, . - weft__lend_asm

/* weft__context_first is the return address of a new context: calls r12(r13). The outermost frame for unwinders: its return
 * address is undefined. The nop is there because unwinders look up the instruction before a return address. */
    .globl weft__context_start
    .hidden weft__context_start
    .type weft__context_start, @function
    .p2align 4
    .cfi_startproc
    .cfi_undefined %rip
weft__context_start:
    nop
    .globl weft__context_first
    .hidden weft__context_first
weft__context_first:
    movq %r13, %rdi
    callq *%r12
    ud2
    .cfi_endproc
    .size weft__context_start, . - weft__context_start

    .section .note.GNU-stack, "", @progbits
