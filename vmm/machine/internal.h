/*
 * The inside of a machine, for the files of vmm/machine alone: its state, the differences between
 * the two kinds of guest, and the calls between the files.
 */
#ifndef VMM_MACHINE_INTERNAL_H
#define VMM_MACHINE_INTERNAL_H

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
#include "vmm/boot/loader.h"
#include "vmm/machine/machine.h"

struct kvm_cpuid2;
struct kvm_run;
struct serial;
struct vcpu;

/* The parts of a machine that depend on the kind of its guest. All hooks are required except where
 * it says NULL. */
struct machine_kind_ops {
	/* The chips that KVM makes beside the interrupt controllers. 0 or -errno, and in *step the
	 * name of what was refused. */
	int (*create_chips)(struct machine *machine, const char **step);
	/* Changes what CPUID tells; NULL: nothing. */
	void (*complete_cpuid)(const struct machine *machine, struct kvm_cpuid2 *cpuid);
	/* Leaves a vCPU's registers as a PC's firmware would; NULL: as KVM makes them. 0 or
	 * -errno. */
	int (*set_up_vcpu)(const struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid);
	/* The devices that are not virtio. 0 or -errno, logged; then remove_devices() has no more
	 * to do than after all were made. */
	int (*add_devices)(struct machine *machine, const struct machine_config *config);
	void (*remove_devices)(struct machine *machine); /* also when none was made */
	/* Completes the guest, and loads it. 0 or -errno, logged. */
	int (*load)(struct machine *machine, struct loader_guest *guest,
		    struct loader_result *entry);
	bool probes;	   /* it reads where nothing is, to find out */
	bool output_first; /* its console is for output before its driver is there */
};

extern const struct machine_kind_ops machine_quire_ops; /* quire.c */
extern const struct machine_kind_ops machine_stock_ops; /* stock.c */

/* (C) constant after create; (L) the machine's lock; (V) the vCPU's thread only */
struct vcpu {
	struct machine *machine;       /* (C) */
	unsigned number;	       /* (C) its APIC id */
	int fd, stats_fd;	       /* (C) stats_fd: kvm_stats.h */
	struct kvm_run *run;	       /* (V) but immediate_exit, which any thread may set */
	pthread_t thread;	       /* (L) */
	bool started;		       /* (L) and not yet to be joined: others may kick it */
	bool inside;		       /* (L) in KVM_RUN, or about to be */
	bool stood;		       /* (A) its process was stopped: the guest is to be told */
	int thread_id;		       /* (A) as the kernel numbers its thread; 0: not started */
	bool touched;		       /* (A) touch is to be told of at the next exit */
	struct mm_balloon_touch touch; /* owned by the thread that set touched until it clears */
};

/* (C) constant after create; (L) lock; (A) atomic; (O) the creator's */
struct machine {
	struct machine_about about;	     /* (C) */
	int kvm_fd, vm_fd, stats_fd;	     /* (C) */
	struct vcpu vcpu[QUIRE_CPU_MAX];     /* each its own key */
	unsigned vcpu_count;		     /* (C) */
	uint64_t memory_bytes;		     /* (C) */
	size_t run_size;		     /* (C) */
	struct ept_space *space;	     /* (C) */
	struct mm *mm;			     /* (C) NULL: unmanaged */
	struct bus ports, mmio;		     /* (C) after start */
	struct devices devices;		     /* its own key */
	const struct machine_kind_ops *kind; /* (C) */
	bool nested;			     /* (C) */
	bool (*load_stopped)(void *);	     /* (C) */
	void *load_context;		     /* (C) */
	struct quire_port port;		     /* (C) not stock */
	struct serial *serial;		     /* (C) stock only */
	struct power power;		     /* (C) stock only */
	struct pci_host pci_host;	     /* its own key; stock only */
	int stop_fd, input_fd; /* (C) eventfds: machine_stop_fd(), machine_input_fd() */

	pthread_mutex_t lock;
	pthread_cond_t gate;		  /* (L) a pause began to hold, or ended; or the stop */
	unsigned pauses;		  /* (L) how many want the vCPUs outside */
	bool held;			  /* (L) one of these is the user */
	bool full;			  /* (L) one is the disk of the swap file */
	bool stop_when_full;		  /* (C) instead */
	enum machine_stop_kind stop_kind; /* (L) */
	int stop_status;		  /* (L) */

	_Atomic uint64_t user_start_ns;	    /* (A) when the first user instruction ran, or 0 */
	_Atomic uint64_t user_start_cpu_ns; /* (A) CPU time the monitor had used by then */
};

/* kvm.c, for machine_create(): 0 or -errno, logged. */
int machine_open_kvm(struct machine *machine);
int machine_create_vm(struct machine *machine);

/* cpu.c: sets up the vCPU's processor. 0 or -errno. */
int machine_set_processor(struct vcpu *vcpu);
/* For the row of a kind that expects a PC: features beside those that KVM says it supports, and
 * registers as firmware leaves them. */
void machine_complete_cpuid(const struct machine *machine, struct kvm_cpuid2 *cpuid);
int machine_set_up_vcpu(const struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid);

/* vcpu.c: 0 or -errno, logged. */
int machine_set_registers(struct machine *machine, const struct loader_result *entry);
void *machine_vcpu_thread(void *vcpu);

/* The vCPU whose thread has this number; NULL: none, as for 0. From any thread. */
struct vcpu *machine_vcpu_of(struct machine *machine, int thread);
void machine_kick(struct machine *machine);
/* For the manager's hook: under -v, a line that names the thread, and says where a vCPU is then. */
void machine_balloon_touched(void *machine, const struct mm_balloon_touch *touch);

/* pause.c. The hooks of struct mm_config: the guest stands while the disk of the swap file is full.
 */
bool machine_full(void *machine, uint64_t since_ns);
void machine_full_no_more(void *machine);
void machine_gate_init(struct machine *machine); /* the lock and the gate */
/* For the vCPU's thread, around KVM_RUN. False: the machine stops. */
bool machine_enter(struct vcpu *vcpu);
void machine_left(struct vcpu *vcpu);

/* crash.c: registers, the bytes at RIP, both folds of RIP and of CR2, on standard error. */
void machine_dump(struct vcpu *vcpu);

#endif
