/* System calls on the machine. */
#include "guest/call/call.h"
#include "guest/call/linux.h"
#include "guest/cpu/clock.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/memory/page.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define RANDOM_FLAGS 7

int64_t call_uname(reg_t buffer)
{
	/* The release is the Linux whose calls these are; static glibc asks for 3.2 at least. */
	static const struct linux_utsname name = {
		.system = "Linux",
		.node = "quire",
		.release = "6.1.0-quire",
		.version = "#1 bifold",
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
		.free = page_free_total,
		.processes = process_count(),
		.unit = PAGE_SIZE,
	};

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
