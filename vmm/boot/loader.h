/*
 * Puts a kernel into guest memory as its boot protocol says: its command line, its memory map and
 * one module, which is quire's root archive or Linux' initrd. The image tells which protocol it has
 * (loader_formats in loader.c).
 */
#ifndef VMM_BOOT_LOADER_H
#define VMM_BOOT_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "ept/space.h"
#include "vmm/boot/archive.h"

/* The module that a kernel gets: an archive, or a file. */
struct loader_module {
	const char *what; /* for messages: "the files" */
	uint64_t size;	  /* bytes */
	struct archive *archive;
	int fd; /* where archive is NULL; stays the caller's */
};

struct loader_guest {
	const void *kernel; /* the image */
	size_t kernel_size;
	const char *command_line;	    /* NULL: one that suits the protocol */
	const struct loader_module *module; /* or NULL */
	bool stock; /* a kernel that expects a PC: the first MiB has a PC's holes */
	gpa_t rsdp; /* of the ACPI tables; 0: there are none */
	/* Asked after every so many bytes whether to give up; or NULL. */
	bool (*stopped)(void *context);
	void *context;
};

enum loader_mode {
	LOADER_PROTECTED, /* flat 32-bit segments, no paging */
	LOADER_LONG,	  /* 64 bits, with the page tables at cr3 */
};

#define LOADER_GDT_ENTRIES 4
#define LOADER_GDT_LIMIT   (LOADER_GDT_ENTRIES * 8 - 1)

/* How the first vCPU begins. */
struct loader_result {
	enum loader_mode mode;
	gpa_t entry;
	gpa_t cr3, gdt; /* LOADER_LONG only */
	gpa_t start_info;
	uint32_t rax; /* start_info goes to rbx, and to rsi */
};

/* Whether some format knows the image as a kernel, for a stock guest or quire's port. 0 or
 * -ENOEXEC, logged. */
int loader_probe(const void *kernel, size_t kernel_size, bool stock);

/*
 * 0 or -errno, with a line logged: -ENOEXEC, it is no kernel or a broken one; -ENOMEM or -ENOSPC,
 * memory is too small for it or for the module; -ECANCELED, not
 * logged: stopped() said so; -E2BIG, the command line is too long. The image's
 * every offset is checked: a kernel from --kernel is no more trusted than a guest.
 */
int loader_load(struct ept_space *space, const struct loader_guest *guest,
		struct loader_result *result);

#endif
