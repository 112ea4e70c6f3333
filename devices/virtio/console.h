/*
 * The virtio console (VIRTIO 1.2, section 5.3): one port, no multiport.
 *
 * Output: the guest's chains go to a descriptor, many with one write. While the descriptor takes no
 * more, chains wait in the guest's ring until the loop says that it does: not a byte is lost and
 * nobody waits. Once its reader has gone (EPIPE), output is dropped.
 *
 * Input: the owner of the terminal (or the pipe, or the file) reads it and pushes bytes in, as many
 * as the guest has room for, and hears when there is room again.
 */
#ifndef DEVICES_VIRTIO_CONSOLE_H
#define DEVICES_VIRTIO_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ept_space;
struct loop;
struct virtio;
struct virtio_console;

struct virtio_console_events {
	/* The driver has posted buffers after virtio_console_input() could not take all. On the
	 * loop's thread, with the device's lock held: call nothing of the console's from here, but
	 * watch the input again. An owner whose input is read on the loop too cannot miss it. */
	void (*room)(void *context);
};

struct virtio_console_config {
	struct ept_space *space;
	struct loop *loop;
	int output_fd; /* the caller's; its file status flags are left as they are */
	uint16_t columns, rows;
	/* For Linux. No input before the guest has sent something: it throws input away that comes
	 * between filling the queue and setting its console up. Then it is told the size, for it
	 * looks only when told. */
	bool output_first;
	const struct virtio_console_events *events;
	void *context;
};

/* 0 or -errno. */
int virtio_console_create(const struct virtio_console_config *config,
			  struct virtio_console **console);
/* Takes NULL. The loop must not run any more, vCPUs neither. */
void virtio_console_destroy(struct virtio_console *console);

/* For the bus, and for its interrupt and its queues' kicks. */
struct virtio *virtio_console_virtio(struct virtio_console *console);

/* From any thread: gives the guest what it has room for now. Returns bytes taken; when that is less
 * than length, room() will be called. */
size_t virtio_console_input(struct virtio_console *console, const void *bytes, size_t length);

/* From any thread: tells the guest the terminal's size. */
void virtio_console_resize(struct virtio_console *console, uint16_t columns, uint16_t rows);

/*
 * The loop has returned and no vCPU runs: writes the bytes that the guest has sent and that are not
 * out yet, for timeout_ms at most where the reader is slow. To be called before the guest's memory
 * goes.
 */
void virtio_console_drain(struct virtio_console *console, unsigned timeout_ms);

#endif
