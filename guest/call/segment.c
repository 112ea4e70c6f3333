/* modify_ldt(2): data segments for compatibility mode. */
#include "guest/call/call.h"
#include "guest/lib/errno.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"
#include "guest/process/segment.h"

/* Linux's struct user_desc. */
struct descriptor {
	uint32_t number, base, limit, flags;
};

#define FLAG_CONTENTS  0x06 /* 0: data, growing up */
#define FLAG_READ_ONLY 0x08
#define FLAG_PAGES     0x10
#define FLAG_NOT_THERE 0x20

#define FUNCTION_READ	   0
#define FUNCTION_WRITE_OLD 1
#define FUNCTION_WRITE	   0x11

static int64_t read_table(reg_t address, reg_t size)
{
	const uint64_t *ldt = current_process()->ldt;
	uint64_t length = ldt ? MIN(size, SEGMENT_COUNT * sizeof(*ldt)) : 0;

	return user_write(address, ldt, length) ? -EFAULT : (int64_t)length;
}

int64_t call_modify_ldt(reg_t function, reg_t address, reg_t size)
{
	struct descriptor d;

	if (function == FUNCTION_READ)
		return read_table(address, size);
	if (function != FUNCTION_WRITE && function != FUNCTION_WRITE_OLD)
		return -ENOSYS;
	if (size != sizeof(d))
		return -EINVAL;
	if (user_read(&d, address, sizeof(d)))
		return -EFAULT;
	if (d.flags & (FLAG_CONTENTS | FLAG_NOT_THERE))
		return -EINVAL;
	return segment_set(d.number, d.base, d.limit, d.flags & FLAG_PAGES,
			   !(d.flags & FLAG_READ_ONLY));
}
