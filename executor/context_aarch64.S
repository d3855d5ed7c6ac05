/* SPDX-License-Identifier: Apache-2.0 */
/* executor/context_aarch64.S -- the switch and the first step of a context, AAPCS64.
 *
 * A context that does not run is its stack pointer; above it lies, from low to high (context.c builds the same for a new one):
 *     +0 x19 .. +72 x28   +80 x29   +88 x30 (where to go on)   +96 d8 .. +152 d15   +160 FPCR   +168 unused
 * All else is the caller's to save, as at any call. Both stacks have this same shape at the moment the stack pointer
 * changes, so one set of CFI rules is right before and after it: a debugger can unwind at each instruction, and a suspended
 * context too (registers sp = saved pointer, pc = weft__switch_saved).
 *
 * BTI and PAC: this object declares neither in a .note.gnu.property (as for CET on x86-64). Return addresses that a caller
 * signed stay valid: they were signed with a stack pointer that is the same when the context goes on.
 *
 * Any thread. */
    .text

/* void weft__switch_asm(void **save_sp, void *to_sp) */
    .globl weft__switch_asm
    .hidden weft__switch_asm
    .type weft__switch_asm, %function
    .p2align 6
weft__switch_asm:
    .cfi_startproc
    sub sp, sp, #176
    .cfi_def_cfa_offset 176
    stp x19, x20, [sp, #0]
    .cfi_offset x19, -176
    .cfi_offset x20, -168
    stp x21, x22, [sp, #16]
    .cfi_offset x21, -160
    .cfi_offset x22, -152
    stp x23, x24, [sp, #32]
    .cfi_offset x23, -144
    .cfi_offset x24, -136
    stp x25, x26, [sp, #48]
    .cfi_offset x25, -128
    .cfi_offset x26, -120
    stp x27, x28, [sp, #64]
    .cfi_offset x27, -112
    .cfi_offset x28, -104
    stp x29, x30, [sp, #80]
    .cfi_offset x29, -96
    .cfi_offset x30, -88
    stp d8, d9, [sp, #96]
    .cfi_offset d8, -80
    .cfi_offset d9, -72
    stp d10, d11, [sp, #112]
    .cfi_offset d10, -64
    .cfi_offset d11, -56
    stp d12, d13, [sp, #128]
    .cfi_offset d12, -48
    .cfi_offset d13, -40
    stp d14, d15, [sp, #144]
    .cfi_offset d14, -32
    .cfi_offset d15, -24
    mrs x2, fpcr
    str x2, [sp, #160]
    mov x3, sp
    str x3, [x0]
    mov sp, x1
    .globl weft__switch_saved
    .hidden weft__switch_saved
weft__switch_saved:
    /* Writing FPCR costs more than a look whether it differs, and it rarely does. */
    ldr x4, [sp, #160]
    cmp x4, x2
    b.ne 1f
2:  ldp d14, d15, [sp, #144]
    ldp d12, d13, [sp, #128]
    ldp d10, d11, [sp, #112]
    ldp d8, d9, [sp, #96]
    ldp x29, x30, [sp, #80]
    ldp x27, x28, [sp, #64]
    ldp x25, x26, [sp, #48]
    ldp x23, x24, [sp, #32]
    ldp x21, x22, [sp, #16]
    ldp x19, x20, [sp, #0]
    .cfi_remember_state
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    .cfi_restore d8
    .cfi_restore d9
    .cfi_restore d10
    .cfi_restore d11
    .cfi_restore d12
    .cfi_restore d13
    .cfi_restore d14
    .cfi_restore d15
    add sp, sp, #176
    .cfi_def_cfa_offset 0
    ret
    .cfi_restore_state
1:  msr fpcr, x4
    b 2b
    .cfi_endproc
    .size weft__switch_asm, . - weft__switch_asm

/* weft__context_first is where a new context goes on: calls x19(x20). The outermost frame for unwinders: its return address
 * is undefined. The nop is there because unwinders look up the instruction before a return address. */
    .globl weft__context_start
    .hidden weft__context_start
    .type weft__context_start, %function
    .p2align 4
    .cfi_startproc
    .cfi_undefined x30
weft__context_start:
    nop
    .globl weft__context_first
    .hidden weft__context_first
weft__context_first:
    mov x0, x20
    blr x19
    brk #1
    .cfi_endproc
    .size weft__context_start, . - weft__context_start

    .section .note.GNU-stack, "", %progbits
