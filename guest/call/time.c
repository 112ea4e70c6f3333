/* System calls on time. */
#include "guest/call/call.h"
#include "guest/cpu/clock.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
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

/* The offset to subtract from the program's clock to get clock_now(). */
static int64_t clock_offset(int clock, uint64_t *offset)
{
	if ((unsigned)clock >= CLOCK_COUNT)
		return -EINVAL;
	*offset = 0;
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI)
		*offset = clock_wall_offset();
	else if (clock == CLOCK_PROCESS)
		*offset = clock_ticks_ns(process_usage(current_process()).ran) - clock_now();
	else if (clock == CLOCK_THREAD)
		*offset = clock_ticks_ns(thread_ran(current())) - clock_now();
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

uint64_t call_time_left(uint64_t deadline)
{
	uint64_t now = clock_now();

	return deadline > now ? deadline - now : 0;
}

void call_write_time_left(uint64_t address, uint64_t deadline)
{
	struct linux_timespec left = to_timespec(call_time_left(deadline));

	if (address)
		user_write(address, &left, sizeof(left));
}

static int64_t sleep_until(uint64_t deadline, reg_t left_address)
{
	struct linux_timespec left;

	while (clock_now() < deadline) {
		if (thread_wait(NULL, deadline))
			continue;
		left = to_timespec(call_time_left(deadline));
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
	struct process *process = current_process();
	struct usage usage = process_usage(process);
	struct time_split own = usage_split(&usage, &process->told);
	struct time_split children = usage_split(&process->children_usage, &process->children_told);
	uint64_t tick = NS_PER_S / USER_HZ;
	struct linux_tms tms = { own.user / tick, own.system / tick, children.user / tick,
				 children.system / tick };

	if (buffer && user_write(buffer, &tms, sizeof(tms)))
		return -EFAULT;
	return clock_now() / tick;
}

int call_write_usage(uint64_t address, const struct usage *usage, struct time_split *told)
{
	struct time_split time = usage_split(usage, told);
	struct linux_rusage rusage;

	memset(&rusage, 0, sizeof(rusage));
	rusage.user = to_timeval(time.user);
	rusage.system = to_timeval(time.system);
	rusage.minor_faults = usage->minor_faults;
	rusage.major_faults = usage->major_faults;
	rusage.max_resident = usage->resident_max * (PAGE_SIZE / 1024);
	return user_write(address, &rusage, sizeof(rusage));
}

int64_t call_getrusage(reg_t who, reg_t address)
{
	struct process *process = current_process();
	struct usage usage = process_usage(process);

	if ((int)who == USAGE_CHILDREN)
		return call_write_usage(address, &process->children_usage, &process->children_told);
	if ((int)who != 0 && (int)who != 1)
		return -EINVAL;
	return call_write_usage(address, &usage, &process->told);
}

static int from_timeval(const struct linux_timeval *time, uint64_t *ns)
{
	if (time->seconds < 0 || time->microseconds < 0 || time->microseconds >= 1000000)
		return -EINVAL;
	*ns = MIN((uint64_t)time->seconds, SECONDS_MAX) * NS_PER_S + time->microseconds * 1000;
	return 0;
}

/* Sets the process's alarm; what was left of the last. */
static uint64_t set_alarm(uint64_t value, uint64_t interval)
{
	struct process *process = current_process();
	uint64_t now = clock_now(), left = 0;

	if (process->alarm.set)
		left = process->alarm.deadline > now ? process->alarm.deadline - now : 1000;
	process->alarm_interval = interval;
	if (value)
		timer_set(&process->alarm, now + value);
	else
		timer_clear(&process->alarm);
	return left;
}

int64_t call_alarm(reg_t seconds)
{
	uint64_t left = set_alarm((uint32_t)seconds * NS_PER_S, 0);

	/* To the nearest second, but no alarm is told as none. */
	return left ? MAX((left + NS_PER_S / 2) / NS_PER_S, 1) : 0;
}

int64_t call_getitimer(reg_t which, reg_t address)
{
	struct process *process = current_process();
	struct linux_itimerval value = { .interval = to_timeval(process->alarm_interval) };
	uint64_t now = clock_now();

	if ((int)which != 0)
		return -EINVAL;
	if (process->alarm.set && process->alarm.deadline > now)
		value.value = to_timeval(process->alarm.deadline - now);
	return user_write(address, &value, sizeof(value));
}

/* ITIMER_REAL alone: samples (process/sample.h) are too coarse for alarms of processor time. */
int64_t call_setitimer(reg_t which, reg_t address, reg_t old)
{
	struct linux_itimerval new, was = { 0 };
	uint64_t value, interval;

	if ((int)which != 0)
		return -EINVAL;
	if (user_read(&new, address, sizeof(new)))
		return -EFAULT;
	if (from_timeval(&new.value, &value) || from_timeval(&new.interval, &interval))
		return -EINVAL;
	was.interval = to_timeval(current_process()->alarm_interval);
	was.value = to_timeval(set_alarm(value, interval));
	return old ? user_write(old, &was, sizeof(was)) : 0;
}
