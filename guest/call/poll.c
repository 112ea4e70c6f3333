/*
 * poll and select. All waiting threads share one channel, and look again at every change of any
 * file. A file without a poll hook is always ready; so is the console's input, where only the next
 * read finds out.
 */
#include "guest/call/call.h"
#include "guest/cpu/clock.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/lib/string.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull
#define SET_WORDS (FILE_TABLE_MAX / 64)

const char poll_channel;

static int16_t ready(int fd, int16_t wanted)
{
	struct file *file = file_of(fd);
	unsigned events = POLL_IN | POLL_OUT;

	if (fd < 0)
		return 0;
	if (!file)
		return POLL_NVAL;
	if (file->ops->poll)
		events = file->ops->poll(file);
	return events & (wanted | POLL_ERROR | POLL_HANGUP);
}

/* One look at all. How many are ready, or -errno. */
static int64_t poll_once(reg_t descriptors, uint32_t count)
{
	struct linux_pollfd entry;
	int64_t total = 0;

	for (uint32_t i = 0; i < count; i++) {
		reg_t at = descriptors + i * sizeof(entry);

		if (user_read(&entry, at, sizeof(entry)))
			return -EFAULT;
		entry.revents = ready(entry.fd, entry.events);
		total += entry.revents != 0;
		if (user_write(at, &entry, sizeof(entry)))
			return -EFAULT;
	}
	return total;
}

static int64_t poll_until(reg_t descriptors, uint32_t count, uint64_t deadline)
{
	int64_t total;

	if (count > FILE_TABLE_MAX)
		return -EINVAL;
	while ((total = poll_once(descriptors, count)) == 0 && clock_now() < deadline) {
		if (!thread_wait(&poll_channel, deadline))
			return -EINTR;
	}
	return total;
}

int64_t call_poll(reg_t descriptors, reg_t count, reg_t timeout_ms)
{
	int32_t timeout = timeout_ms;
	uint64_t deadline = timeout < 0 ? WAIT_FOREVER : clock_now() + timeout * NS_PER_MS;

	return poll_until(descriptors, count, deadline);
}

static int64_t deadline_of(reg_t timeout, uint64_t *deadline)
{
	uint64_t ns;
	int64_t error;

	*deadline = WAIT_FOREVER;
	if (!timeout)
		return 0;
	error = call_read_time(timeout, &ns);
	if (!error)
		*deadline = clock_now() + ns;
	return error;
}

int64_t call_ppoll(reg_t descriptors, reg_t count, reg_t timeout)
{
	uint64_t deadline;
	int64_t error = deadline_of(timeout, &deadline);

	if (error)
		return error;
	error = poll_until(descriptors, count, deadline);
	call_write_time_left(timeout, deadline);
	return error;
}

struct select_set {
	uint64_t wanted[SET_WORDS], found[SET_WORDS];
};

static int64_t select_look(struct select_set *set, unsigned count, int16_t event)
{
	int64_t total = 0;

	memset(set->found, 0, sizeof(set->found));
	for (unsigned fd = 0; fd < count; fd++) {
		uint64_t bit = 1ull << fd % 64;
		int16_t result;

		if (!(set->wanted[fd / 64] & bit))
			continue;
		result = ready(fd, event);
		if (result & POLL_NVAL)
			return -EBADF;
		if (!(result & event) && !(result & POLL_HANGUP && event == POLL_IN) &&
		    !(result & POLL_ERROR && event == POLL_OUT))
			continue;
		set->found[fd / 64] |= bit;
		total++;
	}
	return total;
}

static int64_t select_once(struct select_set *set, unsigned count)
{
	static const int16_t event[3] = { POLL_IN, POLL_OUT, 0 };
	int64_t total = 0;

	for (unsigned i = 0; i < 3; i++) {
		int64_t result = select_look(&set[i], count, event[i]);

		if (result < 0)
			return result;
		total += result;
	}
	return total;
}

static int64_t select_until(reg_t count, const reg_t *address, uint64_t deadline)
{
	struct select_set set[3] = { 0 };
	size_t size;
	int64_t total;

	if ((int)count < 0)
		return -EINVAL;
	count = MIN((int)count, FILE_TABLE_MAX);
	size = (count + 63) / 64 * 8;
	for (unsigned i = 0; i < 3; i++) {
		if (address[i] && user_read(set[i].wanted, address[i], size))
			return -EFAULT;
	}
	while ((total = select_once(set, count)) == 0 && clock_now() < deadline) {
		if (!thread_wait(&poll_channel, deadline))
			return -EINTR;
	}
	for (unsigned i = 0; i < 3 && total >= 0; i++) {
		if (address[i] && user_write(address[i], set[i].found, size))
			return -EFAULT;
	}
	return total;
}

int64_t call_select(reg_t count, reg_t in, reg_t out, reg_t except, reg_t timeout)
{
	reg_t set[3] = { in, out, except };
	struct linux_timeval time;
	uint64_t deadline = WAIT_FOREVER;
	int64_t result;

	if (timeout) {
		if (user_read(&time, timeout, sizeof(time)))
			return -EFAULT;
		if (time.seconds < 0 || time.microseconds < 0 || time.microseconds >= 1000000)
			return -EINVAL;
		deadline =
			clock_now() + (uint64_t)time.seconds * NS_PER_S + time.microseconds * 1000;
	}
	result = select_until(count, set, deadline);
	if (timeout) {
		uint64_t left = call_time_left(deadline);

		time = (struct linux_timeval){ left / NS_PER_S, left % NS_PER_S / 1000 };
		user_write(timeout, &time, sizeof(time));
	}
	return result;
}

int64_t call_pselect6(reg_t count, reg_t in, reg_t out, reg_t except, reg_t timeout)
{
	reg_t set[3] = { in, out, except };
	uint64_t deadline;
	int64_t error = deadline_of(timeout, &deadline);

	if (error)
		return error;
	error = select_until(count, set, deadline);
	call_write_time_left(timeout, deadline);
	return error;
}
