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
 * but for unmap, seal and release: there the host does not say how far it came, and they may be
 * done as well.
 *
 * A frame is *present* when the backing holds a page for it, *mapped* when the guest reaches that
 * page without a fault. Mapped implies present.
 *
 * There are two ways to hear of a touch of a frame that is present and not mapped:
 *   notice   it is a fault, and map() lets the guest in;
 *   scan     it is none: the host kernel maps the frame by itself, and scan() tells afterwards
 * which are mapped. Unmapping does not keep the guest from a frame then, so one that is to be
 *            stored is *sealed*: the guest may read it, and a write is a fault, until map() lifts
 *            the seal, or release() and a new page.
 */
#ifndef MM_BACKING_H
#define MM_BACKING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

enum mm_watch {
	MM_WATCH_NOTICE,
	MM_WATCH_SCAN,
};

struct mm_backing_ops {
	/*
	 * Make count absent frames from first on present and mapped, full of zeros.
	 */
	int (*zero)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/*
	 * The same with content: count * PAGE_SIZE bytes from source, page-aligned.
	 */
	int (*fill)(void *backing, gfn_t first, uint32_t count, const void *source, uint32_t *done);

	/*
	 * Let the guest reach count present frames: notice maps them, and one that is mapped
	 * already is not an error; scan lifts their seals, if they have any.
	 */
	int (*map)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/*
	 * Take count frames out of the guest's sight; their pages stay, and an absent frame is as
	 * before. When it returns, no
	 * access of the guest to them is under way any more: the next one faults, or (scan) maps
	 * the frame again.
	 */
	int (*unmap)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/*
	 * Only for scan. Seal those of count frames that are present, mapped or not: when it
	 * returns, no write of the guest to them is under way any more. After an error more may be
	 * sealed than is told.
	 */
	int (*seal)(void *backing, gfn_t first, uint32_t count, uint32_t *done);

	/* Only for scan. mapped[i]: is frame first + i? After an error, nothing is known. */
	int (*scan)(void *backing, gfn_t first, uint32_t count, bool *mapped);

	/*
	 * Give the pages of count frames back to the host. They are absent then. notice: they are
	 * unmapped before; scan: sealed, or unmapped and of no use to the guest any more.
	 */
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
