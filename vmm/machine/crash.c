/*
 * Describes a machine that cannot go on: registers, the bytes at RIP, and for RIP and CR2 both
 * folds: the guest's page tables entry by entry, then the memslot and host page under them.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "ept/access.h"
#include "ept/walk.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/translation.h"
#include "vmm/common/translation_text.h"

#define CODE_BYTES  16
#define CR0_PE	    1u
#define RESET_RIP   0xfff0u
#define RESET_CS_AT 0xffff0000u

static void dump_registers(const struct kvm_regs *r, const struct kvm_sregs *s)
{
	log_error("rip %016llx rsp %016llx rflags %08llx cs %04x (%s) cpl %d", r->rip, r->rsp,
		  r->rflags, s->cs.selector,
		  s->cs.l    ? "64-bit"
		  : s->cs.db ? "32-bit"
			     : "16-bit",
		  s->ss.dpl);
	log_error("rax %016llx rbx %016llx rcx %016llx rdx %016llx", r->rax, r->rbx, r->rcx,
		  r->rdx);
	log_error("rsi %016llx rdi %016llx rbp %016llx r8  %016llx", r->rsi, r->rdi, r->rbp, r->r8);
	log_error("r9  %016llx r10 %016llx r11 %016llx r12 %016llx", r->r9, r->r10, r->r11, r->r12);
	log_error("r13 %016llx r14 %016llx r15 %016llx", r->r13, r->r14, r->r15);
	log_error("cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx", s->cr0, s->cr2,
		  s->cr3, s->cr4, s->efer);
	log_error("gs %016llx fs %016llx gdt %016llx idt %016llx", s->gs.base, s->fs.base,
		  s->gdt.base, s->idt.base);
}

static void dump_code(struct machine *machine, const struct ept_paging *paging, uint64_t address)
{
	struct ept_walk walk;
	uint8_t code[CODE_BYTES];
	char text[3 * CODE_BYTES + 1] = "";
	size_t length = PAGE_SIZE - address % PAGE_SIZE;

	if (length > CODE_BYTES)
		length = CODE_BYTES;
	ept_walk(machine->space, paging, gva(address), &walk);
	if (walk.end != EPT_WALK_PAGE ||
	    ept_look(machine->space, walk.address, code, length) != 0) {
		log_error("code at rip: not readable");
		return;
	}
	for (size_t i = 0; i < length; i++)
		sprintf(text + 3 * i, " %02x", code[i]);
	log_error("code at rip:%s", text);
}

/* As 'bifold translate' shows it, line by line into the log. */
static void dump_folds(struct vcpu *vcpu, const struct ept_paging *paging, const char *name,
		       uint64_t address)
{
	struct translation t;
	char *text = NULL, *rest, *line;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	json_t *json;

	if (out == NULL)
		return;
	translation_make(vcpu->machine, vcpu->number, paging, gva(address), &t);
	translation_make_tables(vcpu->machine, &t);
	json = translation_to_json(&t);
	fprintf(out, "%s: ", name);
	translation_print(json, out);
	json_decref(json);
	fclose(out);
	rest = text;
	while ((line = strsep(&rest, "\n")) != NULL)
		if (line[0] != '\0')
			log_error("%s", line);
	free(text);
}

/* Where a processor begins; no kernel that runs is there in this mode. */
static bool is_reset(const struct kvm_regs *r, const struct kvm_sregs *s)
{
	return r->rip == RESET_RIP && s->cs.base == RESET_CS_AT && (s->cr0 & CR0_PE) == 0;
}

void machine_dump(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	struct kvm_regs registers;
	struct kvm_sregs special;
	struct ept_paging paging;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &registers) != 0 ||
	    ioctl(vcpu->fd, KVM_GET_SREGS, &special) != 0 ||
	    translation_paging(vcpu->machine, vcpu->number, &paging) != 0) {
		log_error("the registers cannot be read: %m");
		return;
	}
	if (machine->vcpu_count > 1)
		log_error("on vCPU %u of %u:", vcpu->number, machine->vcpu_count);
	if (is_reset(&registers, &special)) {
		log_error("on this processor KVM resets the vCPU at a triple fault: what it did "
			  "cannot be told any more");
		return;
	}
	dump_registers(&registers, &special);
	dump_code(machine, &paging, special.cs.base + registers.rip);
	dump_folds(vcpu, &paging, "rip", special.cs.base + registers.rip);
	dump_folds(vcpu, &paging, "cr2", special.cr2);
}
