/*
 * The console; see fuzz_device.h. Events are input, a new size, and a reader at the other end of a
 * small pipe, who may go away.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/check.h"
#include "devices/virtio/console.h"
#include "fuzz_device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_console *console;
static int ends[2]; /* to read, -1: gone; to write */

static void on_room(void *context)
{
}

static const struct virtio_console_events events = { on_room };

static void open_console(struct fuzz_device *device)
{
	signal(SIGPIPE, SIG_IGN);
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	CHECK(virtio_console_create(&(struct virtio_console_config){ .space = device->space,
								     .loop = device->loop,
								     .output_fd = ends[1],
								     .events = &events },
				    &console) == 0);
	device->virtio = virtio_console_virtio(console);
}

static void event(struct fuzz_device *device, unsigned what, uint32_t value)
{
	static uint8_t bytes[65536];
	size_t length = value % sizeof(bytes);

	switch (what % 5) {
	case 0:
		CHECK(virtio_console_input(console, bytes, length) <= length);
		break;
	case 1:
		virtio_console_resize(console, (uint16_t)value, (uint16_t)(value >> 16));
		break;
	case 2:
		while (ends[0] >= 0 && read(ends[0], bytes, sizeof(bytes)) > 0)
			fuzz_device_serve(device);
		break;
	case 3:
		if (ends[0] >= 0)
			close(ends[0]);
		ends[0] = -1;
		break;
	case 4:
		virtio_console_drain(console, 0);
		break;
	}
}

static void close_console(struct fuzz_device *device)
{
	virtio_console_drain(console, 1);
	virtio_console_destroy(console);
	if (ends[0] >= 0)
		close(ends[0]);
	close(ends[1]);
}

static const struct fuzz_device_ops ops = { open_console, event, close_console };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_device_run(&ops, data, size);
}
