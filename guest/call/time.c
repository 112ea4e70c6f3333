/* System calls on time. */
#include "guest/call/call.h"
#include "guest/call/linux.h"
#include "guest/cpu/clock.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define NS_PER_S	      1000000000ull
#define CLOCK_REALTIME	      0
#define CLOCK_PROCESS	      2
#define CLOCK_THREAD	      3
#define CLOCK_REALTIME_COARSE 5
#define CLOCK_TAI	      11
#define CLOCK_COUNT	      12
#define TIMER_ABSOLUTE	      1
#define SECONDS_MAX	      (1ull << 33)
#define USAGE_CHILDREN	      (-1)

static struct linux_timespec to_timespec(uint64_t ns)
{
	return (struct linux_timespec){ ns / NS_PER_S, ns % NS_PER_S };
}

static struct linux_timeval to_timeval(uint64_t ns)
{
	return (struct linux_timeval){ ns / NS_PER_S, ns % NS_PER_S / 1000 };
}

int call_read_time(uint64_t address, uint64_t *ns)
{
	struct linux_timespec time;

	if (user_read(&time, address, sizeof(time)))
		return -EFAULT;
	if (time.seconds < 0 || time.nanoseconds < 0 || time.nanoseconds >= (int64_t)NS_PER_S)
		return -EINVAL;
	*ns = MIN((uint64_t)time.seconds, SECONDS_MAX) * NS_PER_S + time.nanoseconds;
	return 0;
}

/* What to subtract from the program's clock to get clock_now(). */
static int64_t clock_offset(int clock, uint64_t *offset)
{
	if ((unsigned)clock >= CLOCK_COUNT)
		return -EINVAL;
	*offset = 0;
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI)
		*offset = clock_wall_offset();
	else if (clock == CLOCK_PROCESS || clock == CLOCK_THREAD)
		*offset = -(current()->started + current()->waited_ns);
	return 0;
}

int64_t call_clock_gettime(reg_t clock, reg_t address)
{
	struct linux_timespec time;
	uint64_t offset;
	int64_t error = clock_offset(clock, &offset);

	if (error)
		return error;
	time = to_timespec(clock_now() + offset);
	return user_write(address, &time, sizeof(time));
}

int64_t call_clock_getres(reg_t clock, reg_t address)
{
	struct linux_timespec time = { 0, 1 };
	uint64_t offset;
	int64_t error = clock_offset(clock, &offset);

	if (error || !address)
		return error;
	return user_write(address, &time, sizeof(time));
}

static int64_t sleep_until(uint64_t deadline, reg_t left_address)
{
	struct linux_timespec left;
	uint64_t now;

	while ((now = clock_now()) < deadline) {
		if (process_wait(NULL, deadline))
			continue;
		left = to_timespec(deadline - now);
		if (left_address && user_write(left_address, &left, sizeof(left)))
			return -EFAULT;
		return -EINTR;
	}
	return 0;
}

int64_t call_clock_nanosleep(reg_t clock, reg_t flags, reg_t time, reg_t left)
{
	uint64_t ns, offset;
	int64_t error = clock_offset(clock, &offset);

	if (error || (int)clock == CLOCK_THREAD)
		return -EINVAL;
	error = call_read_time(time, &ns);
	if (error)
		return error;
	if (!(flags & TIMER_ABSOLUTE))
		return sleep_until(clock_now() + ns, left);
	return ns > offset ? sleep_until(ns - offset, 0) : 0;
}

int64_t call_nanosleep(reg_t time, reg_t left)
{
	return call_clock_nanosleep(1, 0, time, left);
}

int64_t call_gettimeofday(reg_t address, reg_t zone_address)
{
	struct linux_timeval time = to_timeval(clock_now() + clock_wall_offset());
	int32_t zone[2] = { 0, 0 };

	if (address && user_write(address, &time, sizeof(time)))
		return -EFAULT;
	return zone_address ? user_write(zone_address, zone, sizeof(zone)) : 0;
}

int64_t call_time(reg_t address)
{
	int64_t seconds = (clock_now() + clock_wall_offset()) / NS_PER_S;

	if (address && user_write(address, &seconds, sizeof(seconds)))
		return -EFAULT;
	return seconds;
}

int64_t call_times(reg_t buffer)
{
	const struct process *process = current();
	struct linux_tms tms = { .user = process_ran_ns(process) / (NS_PER_S / USER_HZ),
				 .children_user = process->children_ns / (NS_PER_S / USER_HZ) };

	if (buffer && user_write(buffer, &tms, sizeof(tms)))
		return -EFAULT;
	return clock_now() / (NS_PER_S / USER_HZ);
}

int call_write_usage(uint64_t address, uint64_t user_ns, uint64_t faults)
{
	struct linux_rusage usage;

	memset(&usage, 0, sizeof(usage));
	usage.user = to_timeval(user_ns);
	usage.minor_faults = faults;
	return user_write(address, &usage, sizeof(usage));
}

int64_t call_getrusage(reg_t who, reg_t address)
{
	const struct process *process = current();

	if ((int)who == USAGE_CHILDREN)
		return call_write_usage(address, process->children_ns, 0);
	if ((int)who != 0 && (int)who != 1)
		return -EINVAL;
	return call_write_usage(address, process_ran_ns(process), process->space->minor_faults);
}
