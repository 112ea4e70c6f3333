/*
 * The part that all virtio devices have in common (VIRTIO 1.2, sections 2 to 4): status, features,
 * queues in guest memory, and the virtio-mmio registers (version 2) in front of them. A device
 * proper is a table of operations behind a struct virtio.
 *
 * The guest is hostile until checked. A queue's three parts are pinned (ept/access.h) from the
 * moment it is ready until it is stopped or the device is reset, so its indices are read and
 * written as they are shared, by single loads and stores, and cannot fail; their values, and those
 * of the descriptors, are read once, and checked before they are used. A breach of the rules by the
 * driver (a descriptor out of range, a chain in a loop or longer than its queue, a queue that is
 * changed while it is live) breaks the device: DEVICE_NEEDS_RESET, one line in the log, and its
 * queues are left alone until the driver resets it. Nothing else of the machine notices.
 *
 * Threads: registers are accessed on vCPUs' threads, queues are served on the loop's. One lock a
 * device keeps them apart: all operations of struct virtio_ops are called with it held, and a
 * device does all other work on its queues (input has come, a request is done) between
 * virtio_lock() and virtio_unlock(). A kick and an interrupt handler's accesses need no lock.
 *
 * A thread that would wait for long with the lock, for a page that has no room or for the kernel's
 * I/O, is *away*: it lets go of the lock meanwhile, and others that want to change what it works on
 * wait for it. The main thread and the control socket's, which end the VM, never do: they only
 * glance.
 */
#ifndef DEVICES_VIRTIO_VIRTIO_H
#define DEVICES_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "devices/bus.h"

struct ept_space;
struct loop;
struct vring_avail;
struct vring_desc;
struct vring_used;

#define VIRTIO_QUEUES	   8	  /* of a device, at most */
#define VIRTIO_QUEUE_SIZE  256	  /* entries of a queue, at most */
#define VIRTIO_MMIO_BYTES  0x1000 /* the registers and the configuration space */
#define VIRTIO_MMIO_NOTIFY 0x50	  /* the register that a kick writes a queue's number to */

/* The buffers that a driver gave: first those that the device may read, then those that it may
 * write. */
struct virtio_segment {
	gpa_t address;
	uint32_t length; /* not 0 */
};

struct virtio_chain {
	uint16_t head;
	uint16_t count, readable;		 /* segments; of these, for the device to read */
	uint64_t readable_bytes, writable_bytes; /* together 4 GiB at most */
	struct virtio_segment segment[VIRTIO_QUEUE_SIZE];
};

struct virtio_ops {
	const char *name; /* "block": for messages */
	uint32_t id;	  /* section 5 */
	unsigned queue_count;
	/* On the loop's thread: the driver has made buffers available, or the queue was kicked
	 * otherwise. A device that has done much for one call kicks itself (virtio_kick()) and
	 * returns, so that others have their turn. Required. */
	void (*notify)(void *device, unsigned queue);
	/* The driver is ready (DRIVER_OK): features and queues are settled. Every queue will be
	 * kicked. NULL: nothing to do. */
	void (*start)(void *device);
	/* The driver stops one queue, after DRIVER_OK: forget its chains, as reset() does those of
	 * all. The device may be broken. NULL: nothing to forget. */
	void (*stop)(void *device, unsigned queue);
	/* The driver resets the device, which may be broken. Forget every chain: none may be pushed
	 * any more, nor guest memory of theirs be touched once this returns. (Breaking by itself
	 * needs no forgetting: chains pushed then are ignored.) NULL: nothing to forget. */
	void (*reset)(void *device);
	/* The driver wrote to these bytes of config, which holds them now. NULL: it is read-only.
	 */
	void (*configured)(void *device, unsigned offset, unsigned size);
};

/* (C) constant after virtio_init(); (L) lock; (A) atomic; (R) the device's, read under the lock */
struct virtio_queue {
	struct virtio *virtio; /* (C) */
	/* (C) eventfd, written by KVM or by a register access when the driver notifies */
	int kick_fd;

	/* A reset clears the rest. */
	bool ready;		 /* (L) */
	bool quiet;		 /* (L) the driver was asked not to notify; not with EVENT_IDX */
	uint16_t size;		 /* (L) entries: a power of two; 0: not given yet */
	uint16_t next_available; /* (L) */
	uint16_t next_used;	 /* (L) */
	uint16_t signalled;	 /* (L) used index when the driver was last interrupted */
	gpa_t descriptors_at, available_at, used_at; /* (L) */
	/* (L) while ready: these, pinned */
	struct vring_desc *descriptors;
	struct vring_avail *available;
	struct vring_used *used;
};

struct virtio {
	const struct virtio_ops *ops; /* (C) */
	void *device;		      /* (C) */
	struct ept_space *space;      /* (C) */
	struct loop *loop;	      /* (C) */
	char name[24];		      /* (C) "block 0": for messages */
	uint64_t offered;   /* (C) feature bits, VERSION_1 and those of the ring included */
	uint8_t *config;    /* (R) the device's configuration space, little-endian */
	size_t config_size; /* (C) */
	int interrupt_fd;   /* (C) eventfd: KVM's irqfd. The interrupt is edge-triggered. */

	uint32_t interrupt_status; /* (A) */

	pthread_mutex_t lock;
	pthread_cond_t back; /* nobody is away any more */
	bool away;	     /* (L) a thread is amid its work, and waits */
	bool missed;	     /* (L) somebody left something undone rather than wait */
	bool hurried;	     /* (L) the lock's holder cannot wait: a page without room is left */
	uint64_t accepted;   /* (L) feature bits */
	uint32_t status;     /* (L) */
	uint32_t config_generation; /* (L) */
	uint32_t feature_select[2]; /* (L) of the device, of the driver */
	uint32_t queue_select;	    /* (L) */
	uint64_t told_ns;	    /* (L) when its being broken was last logged; 0: never */
	unsigned untold;	    /* (L) how often it broke since, without a line */
	struct virtio_queue queue[VIRTIO_QUEUES];
};

struct virtio_config {
	const struct virtio_ops *ops;
	void *device;
	unsigned number; /* among its kind, for messages */
	struct ept_space *space;
	struct loop *loop;
	uint64_t features; /* of the device; those of rings and of virtio itself are added */
	void *config;	   /* stays the device's, and may change under the lock */
	size_t config_size;
};

/* Makes the eventfds and watches the queues' in the loop. 0 or -errno, with nothing left. */
int virtio_init(struct virtio *virtio, const struct virtio_config *config);
/* Neither loop nor vCPUs may run any more; the space and its manager must still be there. */
void virtio_finish(struct virtio *virtio);

/* Its device is a struct virtio: VIRTIO_MMIO_BYTES on the bus of memory addresses. */
extern const struct bus_ops virtio_mmio_ops;

/* Waits for a thread that is away. */
void virtio_lock(struct virtio *virtio);
void virtio_unlock(struct virtio *virtio);

/*
 * Locks, too, but waits for nobody: false when a thread is away, and then queues and chains are
 * that thread's. A caller that leaves something undone because of it sets missed, and every queue
 * is kicked afterwards.
 */
bool virtio_glance(struct virtio *virtio);

/* Calls notify() from the loop, as if the driver had asked for it. From any thread, any time. */
void virtio_kick(struct virtio *virtio, unsigned queue);

/* All of the following with the lock held. */

/* DRIVER_OK, and neither broken nor given up: queues may be served. */
bool virtio_is_live(const struct virtio *virtio);
static inline bool virtio_has(const struct virtio *virtio, uint64_t feature)
{
	return (virtio->accepted & feature) != 0;
}

/*
 * The next chain that the driver made available: true. False: there is none, and the driver will
 * notify of the next; or the queue is not ready, or the device broke. Every segment lies in guest
 * RAM.
 */
bool virtio_pop(struct virtio *virtio, unsigned queue, struct virtio_chain *chain);

/* Back to where it was before the last virtio_pop(), for a device that cannot serve the chain yet.
 */
void virtio_unpop(struct virtio *virtio, unsigned queue);

/* The chain is done; written bytes went into its writable part. In any order. Ignored when the
 * device is broken. */
void virtio_push(struct virtio *virtio, unsigned queue, uint16_t head, uint32_t written);

/* Interrupts the driver if chains were pushed since the last time and it wants to know. */
void virtio_signal(struct virtio *virtio, unsigned queue);

/* The device's configuration has changed: tells the driver. */
void virtio_config_changed(struct virtio *virtio);

/* The driver broke a rule. Logs which (once a reset, and not too often), and asks for a reset. */
void virtio_break(struct virtio *virtio, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Amid work that others may not see: lets go of the lock to wait for long, and takes it again. */
void virtio_leave(struct virtio *virtio);
void virtio_return(struct virtio *virtio);

/* A pin or an access failed so that the VM ends: neither for want of room (-ENOMEM, -EBUSY) nor for
 * an address that the guest gave (-EFAULT, -EINVAL). */
bool virtio_vm_ends(int error);

/* Then: the VM says by itself why it ends, and the device does no more. */
void virtio_end(struct virtio *virtio);

/* Brings the page in at an address of the guest's, away. An error has stopped the VM; the device is
 * broken. */
int virtio_bring_in(struct virtio *virtio, gpa_t address);

/*
 * Copies between the monitor and a chain's readable or writable part, from offset on, as much as
 * there is. Pages without room are waited for, away. Returns bytes copied; a failed access breaks
 * the device and copies less. In a hurry a page without room, too, ends it.
 */
size_t virtio_read(struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset,
		   void *buffer, size_t length);
size_t virtio_write(struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset,
		    const void *buffer, size_t length);

#endif
