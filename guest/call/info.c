/* System calls on the machine. */
#include "guest/call/call.h"
#include "guest/cpu/clock.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/memory/page.h"
#include "guest/memory/swap.h"
#include "guest/memory/user.h"
#include "guest/process/load.h"
#include "guest/process/process.h"

#define RANDOM_FLAGS	   7
#define SYSINFO_LOAD_SHIFT 16

int64_t call_uname(reg_t buffer)
{
	static const struct linux_utsname name = {
		.system = "Linux",
		.node = "quire",
		.release = UNAME_RELEASE,
		.version = UNAME_VERSION,
		.machine = "x86_64",
		.domain = "(none)",
	};

	return user_write(buffer, &name, sizeof(name));
}

int64_t call_sysinfo(reg_t buffer)
{
	struct linux_sysinfo info = {
		.uptime = clock_now() / 1000000000,
		.total = page_total,
		.free = page_free_count(),
		.swap_total = swap_pages_total,
		.swap_free = swap_pages_total - MIN(swap_pages_total, swap_pages_used),
		.processes = process_count(),
		.unit = PAGE_SIZE,
	};

	for (unsigned i = 0; i < LOAD_COUNT; i++)
		info.loads[i] = load_averages()[i] << (SYSINFO_LOAD_SHIFT - LOAD_SHIFT);
	return user_write(buffer, &info, sizeof(info));
}

int64_t call_getrandom(reg_t buffer, reg_t length, reg_t flags)
{
	struct io_vector vector = { buffer, MIN(length, INT32_MAX) };
	uint64_t offset = 0;

	if (flags & ~(reg_t)RANDOM_FLAGS)
		return -EINVAL;
	return random_ops.read(NULL, &vector, 1, &offset);
}
