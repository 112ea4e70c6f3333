/* Shared by the files of ept/. */
#ifndef EPT_INTERNAL_H
#define EPT_INTERNAL_H

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "ept/space.h"

#define EPT_FAULT_QUEUE 32 /* more faults wait in the kernel */

/* (C) constant after create; (O) the thread that creates, starts and destroys; (Q) queue_lock */
struct ept_space {
	const struct ept_host_ops *host;	   /* (C) */
	const struct ept_manager_ops *manager_ops; /* (C) NULL: unmanaged */
	void *manager;				   /* (C) */
	struct ept_range range[EPT_RANGE_MAX];	   /* (C) */
	size_t range_count;			   /* (C) */
	uint64_t size;		   /* (C) bytes of address space, the hole included */
	int memfd;		   /* (C) */
	bool huge;		   /* (C) the memfd has pages of hugetlbfs */
	enum mm_watch watch;	   /* (C) */
	int uffd;		   /* (C) */
	int pagemap;		   /* (C) of this process; -1 with MM_WATCH_NOTICE */
	uint8_t *guest_view;	   /* (C) */
	uint8_t *monitor_view;	   /* (C) */
	int stop_fd;		   /* (C) eventfd: written once, the fault thread ends */
	pthread_t fault_thread;	   /* (O) */
	bool fault_thread_started; /* (O) */

	/* The faults that have been read and not yet answered, from first on; the first of them is
	 * being served. Taken last of all locks. */
	pthread_mutex_t queue_lock;
	struct uffd_msg queue[EPT_FAULT_QUEUE]; /* (Q) */
	unsigned queue_first, queue_end;	/* (Q) */
};

/* A new userfaultfd, non-blocking, that takes faults of the kernel too; or -errno. */
int ept_userfaultfd_open(void);

/* The backing's scan(). */
int ept_scan(void *backing, gfn_t first, uint32_t count, bool *mapped);

#endif
