/*
 * The PVH entry: 32-bit protected mode, paging off, %ebx = physical address of hvm_start_info.
 * Everything that paging needs is data laid out by the assembler, so that long mode is a few
 * instructions away: load the tables, switch, jump to the higher half, call kernel_main().
 */
#include "guest/lib/layout.h"

#define PHYS(symbol) (symbol - IMAGE_BASE)

#define PTE_P  0x001
#define PTE_W  0x002
#define PTE_A  0x020
#define PTE_D  0x040
#define PTE_PS 0x080
#define PTE_G  0x100
#define PTE_NX 0x8000000000000000

#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long PHYS(pvh_entry)

	.section .text.boot, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	cli
	cld
	movl $PHYS(boot_pml4), %eax
	movl %eax, %cr3
	movl $0xa0, %eax			/* PAE, PGE */
	movl %eax, %cr4
	movl $0xc0000080, %ecx			/* EFER: SCE, LME, NXE */
	movl $0x901, %eax
	xorl %edx, %edx
	wrmsr
	lgdt PHYS(boot_gdt_pointer)
	movl $0x80010033, %eax			/* PG, WP, NE, ET, MP, PE */
	movl %eax, %cr0
	ljmp $SELECTOR_KERNEL_CODE, $PHYS(long_mode)

	.code64
long_mode:
	movabs $high_half, %rax
	jmp *%rax
high_half:
	movl $SELECTOR_KERNEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movq $boot_stack_end, %rsp
	xorl %ebp, %ebp
	movl %ebx, %edi
	call kernel_main
1:	hlt
	jmp 1b

/*
 * Where the other CPUs begin: copied to TRAMPOLINE, entered there in real mode by SIPI. From real
 * mode straight to long mode with boot_pml4, whose identity mapping holds this page too; then the
 * stack that smp.c left, and ap_main().
 */
#define HERE(symbol) (symbol - trampoline_start)
	.balign 16
	.globl trampoline_start, trampoline_end
	.code16
trampoline_start:
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	lgdtl HERE(trampoline_gdt_pointer)
	movl $0xa0, %eax			/* PAE, PGE */
	movl %eax, %cr4
	movl $PHYS(boot_pml4), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx			/* EFER: SCE, LME, NXE */
	movl $0x901, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x80010033, %eax			/* PG, WP, NE, ET, MP, PE */
	movl %eax, %cr0
	ljmpl $SELECTOR_KERNEL_CODE, $(TRAMPOLINE + HERE(trampoline_long))
	.code64
trampoline_long:
	movabs $trampoline_high, %rax
	jmp *%rax
	.balign 4
trampoline_gdt_pointer:
	.word gdt_end - gdt - 1
	.long PHYS(gdt)
trampoline_end:

trampoline_high:
	movl $SELECTOR_KERNEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movq smp_stack(%rip), %rsp
	xorl %ebp, %ebp
	call ap_main
1:	hlt
	jmp 1b

	.section .data.pages, "aw"
	.balign 4096
	.globl boot_pml4
boot_pml4:
	.quad PHYS(low_pdpt) + (PTE_P | PTE_W)
	.fill DIRECT_SLOT - 1, 8, 0
	.quad PHYS(direct_pdpt) + (PTE_P | PTE_W) + PTE_NX
	.fill VMAP_SLOT - DIRECT_SLOT - 1, 8, 0
	.quad PHYS(vmap_pdpt) + (PTE_P | PTE_W) + PTE_NX
	.fill IMAGE_SLOT - VMAP_SLOT - 1, 8, 0
	.quad PHYS(image_pdpt) + (PTE_P | PTE_W)

/* Identity mapping of the image and of the trampoline's unit, for the instructions between paging
 * on and the jump up. smp_start() takes it away. */
low_pdpt:
	.quad PHYS(low_pd) + (PTE_P | PTE_W)
	.fill 511, 8, 0
low_pd:
	.quad 0 + (PTE_P | PTE_A | PTE_PS)
	.quad PHYS(image_pt) + (PTE_P | PTE_W)
	.fill 510, 8, 0

	.globl direct_pdpt
direct_pdpt:
	.quad PHYS(direct_pd) + (PTE_P | PTE_W)
	.fill 511, 8, 0

/* The first GiB of RAM; memory_init() adds what the machine has beyond the first 4 MiB. The unit
 * with the image shares the image's table: its text is read-only here too. */
	.globl direct_pd
direct_pd:
	.quad 0 + (PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS | PTE_G)
	.quad PHYS(image_pt) + (PTE_P | PTE_W)
	.fill 510, 8, 0

image_pdpt:
	.fill 510, 8, 0
	.quad PHYS(image_pd) + (PTE_P | PTE_W)
	.quad 0

image_pd:
	.quad 0
	.quad PHYS(image_pt) + (PTE_P | PTE_W)
	.fill 510, 8, 0

image_pt:
	.set page, IMAGE_PHYS
	.rept IMAGE_TEXT_PAGES
	.quad page + (PTE_P | PTE_A | PTE_G)
	.set page, page + PAGE_SIZE
	.endr
	.rept IMAGE_RODATA_PAGES
	.quad page + (PTE_P | PTE_A | PTE_G) + PTE_NX
	.set page, page + PAGE_SIZE
	.endr
	.rept IMAGE_PAGES - IMAGE_TEXT_PAGES - IMAGE_RODATA_PAGES
	.quad page + (PTE_P | PTE_W | PTE_A | PTE_D | PTE_G) + PTE_NX
	.set page, page + PAGE_SIZE
	.endr

	.globl vmap_pdpt
vmap_pdpt:
	.quad PHYS(vmap_pd) + (PTE_P | PTE_W)
	.fill 511, 8, 0
vmap_pd:
	.quad PHYS(vmap_pt) + (PTE_P | PTE_W)
	.fill 511, 8, 0
	.globl vmap_pt
vmap_pt:
	.fill 512, 8, 0

	.section .data, "aw"
	.balign 8
	.globl gdt
gdt:
	.set selector, 0
	.rept GDT_ENTRIES
	.if selector == SELECTOR_KERNEL_CODE
	.quad 0x00af9b000000ffff		/* kernel code, 64-bit */
	.elseif selector == SELECTOR_KERNEL_DATA
	.quad 0x00cf93000000ffff
	.elseif selector == SELECTOR_USER_CODE32 - 3
	.quad 0x00cffb000000ffff		/* user code, 32-bit: process/segment.c */
	.elseif selector == SELECTOR_USER_DATA - 3
	.quad 0x00cff3000000ffff
	.elseif selector == SELECTOR_USER_CODE - 3
	.quad 0x00affb000000ffff		/* user code, 64-bit */
	.else
	.quad 0					/* null, and the TSS: cpu_init() fills it */
	.endif
	.set selector, selector + 8
	.endr
gdt_end:
boot_gdt_pointer:
	.word gdt_end - gdt - 1
	.long PHYS(gdt)

	.section .bss.pages, "aw", @nobits
	.balign 4096
	.globl boot_stack_end
boot_stack:
	.skip 16384
boot_stack_end:

	.section .note.GNU-stack, "", @progbits
