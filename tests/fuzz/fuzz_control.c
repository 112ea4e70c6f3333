/*
 * A client of the control socket that sends anything, to the methods of a machine whose page tables
 * are anything. The server is the real one, with its thread; what it is asked about has no KVM.
 *
 * The input is what the client sends, in pieces as long as its first byte says. Every line must be
 * answered, with one line that is an answer, before the connection ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "devices/loop.h"
#include "devices/virtio/balloon.h"
#include "vmm/control/server.h"
#include "vmm/control/socket.h"
#include "vmm/control/methods.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/translation.h"
#include "policy/table.h"

#define MEMORY	    (1u << 20)
#define TABLE_COUNT 16 /* the first pages of memory */
#define ENTRY_COUNT 6  /* in each of them */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_translation_paging(struct machine *asked, unsigned vcpu, struct ept_paging *paging);

static char path[256];
static struct machine machine = {
	.kvm_fd = -1, .vm_fd = -1, .stats_fd = -1, .vcpu_count = 2, .memory_bytes = MEMORY
};
static struct control *control;

/* In place of what asks KVM. */
int __wrap_translation_paging(struct machine *asked, unsigned vcpu, struct ept_paging *paging)
{
	*paging = (struct ept_paging){
		.cr0 = 0x80050033,
		.cr3 = 0,
		.cr4 = vcpu == 0 ? 0x20 : 0x300020, /* SMEP and SMAP */
		.efer = 0xd01,
	};
	return 0;
}

/* Tables of few entries, that lead to one another, to themselves, to pages and out of memory. */
static void make_tables(struct ept_space *space)
{
	unsigned seed = 1;

	for (unsigned table = 0; table < TABLE_COUNT; table++)
		for (unsigned i = 0; i < ENTRY_COUNT; i++) {
			uint64_t flags = (uint64_t)(rand_r(&seed) & 0x1ff) | EPT_PRESENT |
					 (i == 5 ? EPT_NO_EXECUTE : 0);
			uint64_t target = (uint64_t)rand_r(&seed) % (MEMORY / PAGE_SIZE + 8);
			uint64_t entry = target << PAGE_SHIFT | flags;
			uint64_t at = table * PAGE_SIZE + (i < 4 ? i : 506 + i) * 8;

			CHECK(ept_write(space, gpa(at), &entry, sizeof(entry)) == 0);
		}
}

/* With nobody in the guest to give it pages, and a loop that nobody runs. */
static int move_pages(void *context, gfn_t first, uint32_t count)
{
	return 0;
}

static int report_pages(void *context, gfn_t first, uint32_t count, uint32_t poison)
{
	return 0;
}

static void hear(void *context)
{
}

static void make_balloon(void)
{
	static const struct virtio_balloon_events events = { move_pages, move_pages, report_pages,
							     hear, hear };

	CHECK(loop_create(&machine.devices.loop) == 0);
	CHECK(virtio_balloon_create(&(struct virtio_balloon_config){ .space = machine.space,
								     .loop = machine.devices.loop,
								     .reporting = true,
								     .events = &events },
				    &machine.devices.balloon) == 0);
}

static void fail(void *context, const struct mm_failure *failure)
{
	CHECK(!"no page is ever brought in");
}

/* Of memory that nobody touches; it can be given a budget. */
static void make_manager(void)
{
	const struct mm_config config = {
		.frame_count = MEMORY / PAGE_SIZE,
		.policy = mm_policy_find("fifo"),
		.backing_ops = &ept_backing_ops,
		.backing = machine.space,
		.failed = fail,
		.no_reclaimer = true,
	};

	CHECK(mm_create(&config, &machine.mm) == 0);
}

/* Undoes a client's pauses and stops, so that the next input finds a running machine. */
static void set_right(void)
{
	machine_let_go(&machine);
	pthread_mutex_lock(&machine.lock);
	CHECK(machine.pauses == 0);
	machine.stop_kind = MACHINE_RUNNING;
	pthread_mutex_unlock(&machine.lock);
}

static void remove_folder(void)
{
	control_destroy(control);
	control = NULL;
	virtio_balloon_destroy(machine.devices.balloon);
	loop_destroy(machine.devices.loop);
	mm_destroy(machine.mm);
	ept_space_destroy(machine.space);
	machine.space = NULL;
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct ept_config config = { .memory_bytes = MEMORY };
	const char *folder = getenv("TMPDIR");
	char *made;

	log_set_verbosity(-1);
	snprintf(path, sizeof(path) - 16, "%s/bifold-fuzz-XXXXXX",
		 folder != NULL ? folder : "/tmp");
	made = mkdtemp(path);
	CHECK(made != NULL);
	strcat(path, "/control");
	CHECK(ept_space_create(&config, &machine.space) == 0);
	make_tables(machine.space);
	for (unsigned i = 0; i < machine.vcpu_count; i++)
		machine.vcpu[i] = (struct vcpu){ .machine = &machine, .number = i, .fd = -1 };
	machine_gate_init(&machine);
	make_balloon();
	make_manager();
	machine.stop_fd = eventfd(0, EFD_NONBLOCK);
	CHECK(control_create(path, inspect_methods, &machine, &control) == 0);
	atexit(remove_folder);
	return 0;
}

/* How many answers the lines in data are due. */
static unsigned count_requests(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	unsigned count = 0;

	while (data < end) {
		const uint8_t *newline = memchr(data, '\n', (size_t)(end - data));
		size_t length = (size_t)((newline != NULL ? newline : end) - data);
		size_t blank = 0;

		while (blank < length && strchr(" \t\r", data[blank]) != NULL && data[blank] != 0)
			blank++;
		count += length >= CONTROL_LINE_MAX || (newline != NULL && blank < length);
		data += length + 1;
	}
	return count;
}

static void check_answer(const char *line, size_t length)
{
	json_t *answer = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);

	CHECK(json_is_object(answer) && json_object_get(answer, "id") != NULL);
	CHECK((json_object_get(answer, "result") != NULL) !=
	      (json_string_value(json_object_get(answer, "error")) != NULL));
	json_decref(answer);
}

/* Takes the whole lines out of what has come. */
static unsigned check_answers(char *text, size_t *size)
{
	char *line = text, *end;
	unsigned count = 0;

	while ((end = memchr(line, '\n', *size)) != NULL) {
		check_answer(line, (size_t)(end - line));
		*size -= (size_t)(end + 1 - line);
		line = end + 1;
		count++;
	}
	memmove(text, line, *size);
	return count;
}

/* One piece out. False: all is out. */
static bool send_piece(int fd, const uint8_t *data, size_t size, size_t *sent)
{
	size_t piece = data[0] > 0 ? data[0] : 256;
	ssize_t n = send(fd, data + *sent, size - *sent < piece ? size - *sent : piece,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	CHECK(n > 0 || errno == EAGAIN);
	*sent += n > 0 ? (size_t)n : 0;
	if (*sent < size)
		return true;
	shutdown(fd, SHUT_WR);
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[4u << 20];
	struct pollfd poll_fd = { .fd = control_socket_connect(path) };
	size_t sent = 0, got = 0;
	unsigned count = 0;
	bool sending = size > 0;
	ssize_t n = 1;

	CHECK(poll_fd.fd >= 0);
	while (n != 0 && size > 0) {
		poll_fd.events = sending ? POLLIN | POLLOUT : POLLIN;
		poll(&poll_fd, 1, -1);
		if (poll_fd.revents & POLLOUT)
			sending = send_piece(poll_fd.fd, data, size, &sent);
		n = recv(poll_fd.fd, text + got, sizeof(text) - got, MSG_DONTWAIT);
		CHECK(n >= 0 || errno == EAGAIN);
		got += n > 0 ? (size_t)n : 0;
		count += check_answers(text, &got);
		CHECK(got < sizeof(text));
	}
	CHECK(got == 0 && count == count_requests(data, size));
	close(poll_fd.fd);
	set_right();
	return 0;
}
