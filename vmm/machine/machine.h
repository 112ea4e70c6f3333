/*
 * A virtual machine: KVM's file descriptors, the address space, the memory manager, its vCPUs
 * and the devices, put together and taken apart. One machine a process today; nothing here is a
 * singleton.
 *
 * Life: create, load, start, wait for stop_fd, stop, finish. Threads: the creator's; the vCPUs';
 * the fault thread (ept/); the reclaimer (mm/); the devices' (devices.h). Any of them may end the
 * machine with machine_stop(): the first reason given is the one that counts.
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/bus.h"
#include "devices/pci_host.h"
#include "devices/power.h"
#include "devices/quire_port.h"
#include "ept/space.h"
#include "guest/abi.h"
#include "mm/mm.h"
#include "vmm/machine/devices.h"
#include "vmm/boot/loader.h"

struct kvm_run;
struct serial;

enum machine_stop_kind {
	MACHINE_RUNNING,
	MACHINE_EXITED,	     /* the program ended: status is its exit status, or 128 + signal */
	MACHINE_CANNOT_RUN,  /* the guest's kernel could not start the program */
	MACHINE_FAILED,	     /* the monitor, the manager or the guest's kernel failed */
	MACHINE_INTERRUPTED, /* SIGINT, SIGTERM: status is 128 + signal */
	MACHINE_TIMED_OUT,
	MACHINE_QUIT, /* the user asked for its end: status 0 */
};

#define MACHINE_STATUS_TIMED_OUT 124
#define MACHINE_STATUS_FAILED	 125

/* For people. The caller owns the strings, which outlive the machine. */
struct machine_about {
	const char *name;   /* what runs in it */
	const char *kernel; /* "quire", or the file it came from */
	const char *policy, *compressor;
	uint64_t start_ns; /* clock_now_ns() at the start of it all */
};

struct machine_config {
	struct machine_about about;
	uint64_t memory_bytes;
	unsigned cpu_count; /* 1..QUIRE_CPU_MAX */
	bool stock;	    /* vmm/machine/stock.h */
	bool unmanaged;
	bool stop_when_full; /* the disk of the swap file; else the guest stands for a while */
	bool nested;	     /* unmanaged only: the guest sees VMX or SVM, where KVM offers it */
	bool (*load_stopped)(void *context); /* as in struct loader_guest */
	void *load_context;
	uint64_t host_page_bytes; /* unmanaged: as in struct ept_config */
	struct mm_config mm;	  /* frame_count, backing and failed are filled in by the machine */
	struct devices_config devices;
};

struct machine;

/* (C) constant after create; (L) the machine's lock; (V) the vCPU's thread only */
struct vcpu {
	struct machine *machine;       /* (C) */
	unsigned number;	       /* (C) its APIC id */
	int fd, stats_fd;	       /* (C) stats_fd: kvm_stats.h */
	struct kvm_run *run;	       /* (V) but immediate_exit, which any thread may set */
	pthread_t thread;	       /* (L) */
	bool started;		       /* (L) and not yet to be joined: others may kick it */
	bool inside;		       /* (L) in KVM_RUN, or about to be */
	bool starves;		       /* (L) its page finds no room: see machine_full() */
	bool stood;		       /* (A) its process was stopped: the guest is to be told */
	int thread_id;		       /* (A) as the kernel numbers its thread; 0: not started */
	bool touched;		       /* (A) touch is to be told of at the next exit */
	struct mm_balloon_touch touch; /* whoever has set touched owns it until it is clear again */
};

/* (C) constant after create; (L) lock; (A) atomic; (O) the creator's */
struct machine {
	struct machine_about about;	 /* (C) */
	int kvm_fd, vm_fd, stats_fd;	 /* (C) */
	struct vcpu vcpu[QUIRE_CPU_MAX]; /* each its own key */
	unsigned vcpu_count;		 /* (C) */
	uint64_t memory_bytes;		 /* (C) */
	size_t run_size;		 /* (C) */
	struct ept_space *space;	 /* (C) */
	struct mm *mm;			 /* (C) NULL: unmanaged */
	struct bus ports, mmio;		 /* (C) after start */
	struct devices devices;		 /* its own key */
	bool stock, nested;		 /* (C) */
	bool (*load_stopped)(void *);	 /* (C) */
	void *load_context;		 /* (C) */
	struct quire_port port;		 /* (C) not stock */
	struct serial *serial;		 /* (C) stock only */
	struct power power;		 /* (C) stock only */
	struct pci_host pci_host;	 /* its own key; stock only */
	int stop_fd;			 /* (C) eventfd, readable once the machine stops */
	int input_fd; /* (C) eventfd, written when the guest waits for input, or takes it again */

	pthread_mutex_t lock;
	pthread_cond_t gate;		  /* (L) a pause began to hold, or ended; or the stop */
	unsigned pauses;		  /* (L) who wants the vCPUs outside */
	bool held;			  /* (L) one of these is the user */
	bool full;			  /* (L) one is the disk of the swap file */
	bool stop_when_full;		  /* (C) instead */
	enum machine_stop_kind stop_kind; /* (L) */
	int stop_status;		  /* (L) */

	_Atomic uint64_t user_start_ns;	    /* (A) when the first user instruction ran, or 0 */
	_Atomic uint64_t user_start_cpu_ns; /* (A) CPU time the monitor had used by then */
};

/* 0 or -errno, with a line logged that says what was refused. */
int machine_create(const struct machine_config *config, struct machine **machine);

/* Puts the kernel and its files in and sets the first vCPU's registers; the others wait for INIT
 * and SIPI. 0 or -errno, logged. */
int machine_load(struct machine *machine, const void *kernel, size_t kernel_size,
		 const char *command_line, struct archive *root);

/* Starts the vCPUs. 0 or -errno, logged. */
int machine_start(struct machine *machine);

/*
 * End the machine for this reason, with this exit status. From any thread, any number of times: the
 * first counts, and is told so: whoever has something to say about it says it afterwards. Returns
 * at once; stop_fd becomes readable.
 */
bool machine_stop(struct machine *machine, enum machine_stop_kind kind, int status);

/* The monitor's failure: stops it with 125, and logs the sentence if that is why it stops. */
void machine_fail(struct machine *machine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

bool machine_stopping(struct machine *machine);

/* Waits for the vCPUs to leave the guest, then ends the fault thread. After machine_stop(). */
void machine_join(struct machine *machine);

/* Input has come, or has ended: raise the guest's interrupt. */
void machine_input_ready(struct machine *machine);

/* Takes NULL. After machine_join(), or before machine_start(). */
void machine_destroy(struct machine *machine);

/* One more on an eventfd. */
void machine_put_event(int fd);

/* kvm.c, for machine_create(): 0 or -errno, logged. */
int machine_open_kvm(struct machine *machine);
int machine_create_vm(struct machine *machine);

/* Bounds what KVM keeps of shadow tables by the budget (0: none). May be called at any time. */
void machine_bound_tables(struct machine *machine, uint64_t budget_bytes);

/* cpu.c: what processor it is. 0 or -errno. */
int machine_set_processor(struct vcpu *vcpu);

/* quire.c: the device that quire talks to. 0 or -errno. */
int machine_add_doorbell(struct machine *machine);

/* vcpu.c: 0 or -errno, logged. */
int machine_set_registers(struct machine *machine, const struct loader_result *entry);
void *machine_vcpu_thread(void *vcpu);

/* The vCPU whose thread has this number; NULL: none, as for 0. From any thread. */
struct vcpu *machine_vcpu_of(struct machine *machine, int thread);
void machine_kick(struct machine *machine);
/* For the manager's hook: under -v, a line that says who it was, and where a vCPU is then. */
void machine_balloon_touched(void *machine, const struct mm_balloon_touch *touch);

/*
 * pause.c. The vCPUs are kept out of the guest until machine_resume(), as often as paused; their
 * registers may be read meanwhile. -ETIMEDOUT when one does not come out in time (it waits for a
 * page): then it goes on as if nothing had been asked. Not from a vCPU's thread.
 */
int machine_pause(struct machine *machine, unsigned milliseconds);
void machine_resume(struct machine *machine);
/*
 * A pause that the user asked for, until he takes it back; asking again changes nothing. As
 * machine_pause() and machine_resume(). From one thread.
 */
int machine_hold(struct machine *machine, unsigned milliseconds);
void machine_let_go(struct machine *machine);
bool machine_held(struct machine *machine);
/* Whether it stands until there is room on the disk of its swap file. */
bool machine_standing(struct machine *machine);
/* The hooks of struct mm_config: the guest stands while the disk of the swap file is full. */
bool machine_full(void *machine, int thread, uint64_t since_ns);
void machine_full_no_more(void *machine);
void machine_gate_init(struct machine *machine); /* the lock and the gate */
/* The process was stopped (SIGSTOP, Ctrl-Z in its shell) and goes on: the guest is told. */
void machine_continued(struct machine *machine);
/* For the vCPU's thread, around KVM_RUN. False: the machine stops. */
bool machine_enter(struct vcpu *vcpu);
void machine_left(struct vcpu *vcpu);

/* crash.c: registers, the bytes at RIP, both folds of RIP and of CR2, on standard error. */
void machine_dump(struct vcpu *vcpu);

#endif
