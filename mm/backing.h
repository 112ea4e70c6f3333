/*
 * The interface that the memory manager needs of the layer that holds guest memory.
 *
 * ept/ implements this over a memfd and userfaultfd; tests/unit implements a fake one; the
 * simulator will be a third. All of a range's frames are inside the guest (mm checks). Every
 * operation returns 0 or -errno and may be called from any thread; mm never runs two operations
 * on the same frame at once, except that unmap and map may race with the guest's own touches.
 *
 * An operation that fails may have been done in part, and a part is a result: *done says how many
 * frames, from first on, are done, whatever is returned. The frames behind them are as they were,
 * but for unmap and release: there the host does not say how far it came, and they may be done as
 * well.
 *
 * A frame is *present* when the backing holds a page for it, *mapped* when the guest reaches that
 * page without a fault. Mapped implies present.
 */
#ifndef MM_BACKING_H
#define MM_BACKING_H

#include <stdint.h>

#include "base/addr.h"

struct mm_backing_ops {
	/*
	 * Make count absent frames from first on present and mapped, full of zeros.
	 */
	int (*zero)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/*
	 * The same with content: count * PAGE_SIZE bytes from source, page-aligned.
	 */
	int (*fill)(void *backing, gfn_t first, uint32_t count, const void *source, uint32_t *done);

	/* Map count present frames. A frame mapped already is not an error. */
	int (*map)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/*
	 * Take count present frames out of the guest's sight; the pages stay. When it returns, no
	 * access of the guest to them is under way any more: the next one faults.
	 */
	int (*unmap)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/* Give the pages of count unmapped frames back to the host. They are absent then. */
	int (*release)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/*
	 * Wake the threads that wait on count frames: they try again. No other operation wakes
	 * anybody; mm_fault() calls this when all else is done.
	 */
	int (*wake)(void *backing, gfn_t first, uint32_t count);

	/*
	 * Copy one present frame's content, as the guest left it, to destination. Preferred to
	 * page() where a copy will do: it leaves no mapping behind that release would have to take
	 * down.
	 */
	int (*read)(void *backing, gfn_t frame, void *destination);

	/*
	 * The page of a present frame, for the monitor's own reading and writing. Valid while the
	 * frame stays present. Reading an absent frame gives zeros, not the guest's data.
	 */
	void *(*page)(void *backing, gfn_t frame);
};

#endif
