/* The transport: registers, negotiation, queues. virtio.h says what drivers rely on. */
#include "guest/device/virtio.h"
#include "guest/cpu/cpu.h"
#include "guest/cpu/ioapic.h"
#include "guest/cpu/trap.h"
#include "guest/device/driver.h"
#include "guest/lib/errno.h"
#include "guest/lib/format.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/table.h"
#include "guest/monitor/doorbell.h"

/* Registers (section 4.2.2). */
enum {
	MAGIC = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SELECT = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SELECT = 0x024,
	QUEUE_SELECT = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	QUEUE_SIZE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESCRIPTORS = 0x080,
	QUEUE_AVAILABLE = 0x090,
	QUEUE_USED = 0x0a0,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

#define MAGIC_VALUE   0x74726976
#define VERSION_VALUE 2
#define INTERRUPT_ALL 3 /* a queue's, and of a change of the configuration */

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER	   2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64
#define STATUS_FAILED	   128

#define RESET_TRIES 1000

#define DESCRIPTOR_NEXT	 1
#define DESCRIPTOR_WRITE 2
#define NO_INTERRUPT	 1 /* available->flags */
#define NO_NOTIFY	 1 /* used->flags */

struct virtq_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct virtq_available {
	uint16_t flags, index, ring[];
};

struct virtq_used {
	uint16_t flags, index;
	struct {
		uint32_t id, length;
	} ring[];
};

/* Of each descriptor. The device could change what is in its own. */
struct virtq_slot {
	void *token;	   /* first of a chain in flight: whose it is */
	uint64_t writable; /* and bytes that the device may write */
	uint16_t next;	   /* in the chain, or of the free ones */
};

static const struct virtio_driver *const drivers[] = { &block_driver, &console_driver,
						       &balloon_driver };

static struct virtio_device devices[DEVICE_MAX];
static unsigned device_count;

static uint32_t reg_read(const struct virtio_device *device, unsigned reg)
{
	return device->registers[reg / 4];
}

static void reg_write(struct virtio_device *device, unsigned reg, uint32_t value)
{
	device->registers[reg / 4] = value;
}

static void status_add(struct virtio_device *device, uint32_t bits)
{
	reg_write(device, STATUS, reg_read(device, STATUS) | bits);
}

/* --- the configuration space --- */

uint8_t virtio_config_8(const struct virtio_device *device, unsigned offset)
{
	return ((volatile uint8_t *)device->registers)[CONFIG + offset];
}

uint16_t virtio_config_16(const struct virtio_device *device, unsigned offset)
{
	return ((volatile uint16_t *)device->registers)[(CONFIG + offset) / 2];
}

uint32_t virtio_config_32(const struct virtio_device *device, unsigned offset)
{
	return reg_read(device, CONFIG + offset);
}

uint64_t virtio_config_64(const struct virtio_device *device, unsigned offset)
{
	uint32_t generation, low, high;

	do {
		generation = reg_read(device, CONFIG_GENERATION);
		low = virtio_config_32(device, offset);
		high = virtio_config_32(device, offset + 4);
	} while (generation != reg_read(device, CONFIG_GENERATION));
	return (uint64_t)high << 32 | low;
}

void virtio_config_set_32(struct virtio_device *device, unsigned offset, uint32_t value)
{
	reg_write(device, CONFIG + offset, value);
}

/* --- failure --- */

/* False: it does not say that it is reset. */
static bool reset(struct virtio_device *device)
{
	reg_write(device, STATUS, 0);
	for (unsigned i = 0; i < RESET_TRIES; i++) {
		if (reg_read(device, STATUS) == 0)
			return true;
		doorbell_yield();
	}
	return false;
}

void virtio_fail(struct virtio_device *device, const char *text, ...)
{
	char reason[128];
	va_list list;

	if (device->failed)
		return;
	va_start(list, text);
	format_list(reason, sizeof(reason), text, list);
	va_end(list);
	device->failed = true;
	ioapic_mask(device->line);
	/* Without a reset the device may still write to memory that others would use. */
	if (!reset(device))
		panic("%s %u: %s, and it cannot be reset", device->driver->name, device->number,
		      reason);
	device->driver->failed(device);
	log_line(QUIRE_LEVEL_ERROR, "%s %u has failed: %s", device->driver->name, device->number,
		 reason);
}

/* --- queues --- */

struct quire_segment virtio_segment(const void *memory, uint64_t length)
{
	CHECK((uint64_t)memory < VMAP_BASE);
	return (struct quire_segment){ (uint64_t)memory - DIRECT_BASE, length };
}

static void set_address(struct virtio_device *device, unsigned reg, const volatile void *memory)
{
	uint64_t physical = (uint64_t)memory - DIRECT_BASE;

	reg_write(device, reg, (uint32_t)physical);
	reg_write(device, reg + 4, (uint32_t)(physical >> 32));
}

/* One page: descriptors, the available ring, the used ring. */
static bool place(struct virtio_queue *queue)
{
	uint64_t used_at = queue->size * sizeof(struct virtq_descriptor) +
			   sizeof(struct virtq_available) + queue->size * 2;
	struct page *page = page_alloc(0, PAGE_ZERO);

	queue->slot = memory_alloc_zero(queue->size * sizeof(*queue->slot));
	if (!page || !queue->slot)
		return false;
	queue->descriptor = page_address(page);
	queue->available = (void *)(queue->descriptor + queue->size);
	queue->used = (void *)queue->descriptor + ROUND_UP(used_at, 4);
	for (unsigned i = 0; i < queue->size; i++)
		queue->slot[i].next = i + 1;
	queue->free_count = queue->size;
	return true;
}

int virtio_queue_init(struct virtio_device *device, unsigned number)
{
	struct virtio_queue *queue = &device->queue[number];
	uint64_t most;

	reg_write(device, QUEUE_SELECT, number);
	most = MIN(reg_read(device, QUEUE_SIZE_MAX), VIRTIO_QUEUE_MAX);
	if (most == 0 || reg_read(device, QUEUE_READY))
		return -ENOENT;
	queue->device = device;
	queue->number = number;
	queue->size = 1u << (63 - __builtin_clzll(most));
	if (!place(queue))
		return -ENOMEM;
	reg_write(device, QUEUE_SIZE, queue->size);
	set_address(device, QUEUE_DESCRIPTORS, queue->descriptor);
	set_address(device, QUEUE_AVAILABLE, queue->available);
	set_address(device, QUEUE_USED, queue->used);
	reg_write(device, QUEUE_READY, 1);
	return 0;
}

bool virtio_add(struct virtio_queue *queue, const struct quire_segment *segment, unsigned out,
		unsigned in, void *token)
{
	unsigned count = out + in, first = queue->free_first, at = first, last = first;
	struct virtq_slot *slot = &queue->slot[first];

	if (queue->device->failed || count > queue->free_count)
		return false;
	slot->writable = 0;
	for (unsigned i = 0; i < count; i++) {
		queue->descriptor[at] = (struct virtq_descriptor){
			.address = segment[i].gpa,
			.length = segment[i].length,
			.flags = (i < out ? 0 : DESCRIPTOR_WRITE) |
				 (i + 1 < count ? DESCRIPTOR_NEXT : 0),
			.next = queue->slot[at].next,
		};
		slot->writable += i < out ? 0 : segment[i].length;
		last = at;
		at = queue->slot[at].next;
	}
	queue->slot[last].next = queue->size; /* the end */
	queue->free_first = at;
	queue->free_count -= count;
	slot->token = token;
	queue->available->ring[queue->available_next++ & (queue->size - 1)] = first;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	queue->available->index = queue->available_next;
	return true;
}

void virtio_kick(struct virtio_queue *queue)
{
	/* The device looks at the index after it lets kicks through, we at the flag after the
	 * index is written: one of the two sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!queue->device->failed && !(queue->used->flags & NO_NOTIFY))
		reg_write(queue->device, QUEUE_NOTIFY, queue->number);
}

static void free_chain(struct virtio_queue *queue, unsigned first)
{
	unsigned last = first, count = 1;

	for (; queue->slot[last].next != queue->size; count++)
		last = queue->slot[last].next;
	queue->slot[first].token = NULL;
	queue->slot[last].next = queue->free_first;
	queue->free_first = first;
	queue->free_count += count;
}

void *virtio_take(struct virtio_queue *queue, uint32_t *length)
{
	uint16_t there = queue->used->index - queue->used_next;
	unsigned at = queue->used_next & (queue->size - 1);
	uint32_t id;
	void *token;

	if (there == 0 || queue->device->failed)
		return NULL;
	if (there > queue->size) {
		virtio_fail(queue->device, "queue %u: %u of %u are done", queue->number, there,
			    queue->size);
		return NULL;
	}
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	id = queue->used->ring[at].id;
	if (id >= queue->size || !queue->slot[id].token) {
		virtio_fail(queue->device, "queue %u: %u is done, which it was not given",
			    queue->number, id);
		return NULL;
	}
	*length = MIN(queue->used->ring[at].length, queue->slot[id].writable);
	queue->used_next++;
	token = queue->slot[id].token;
	free_chain(queue, id);
	return token;
}

void virtio_want_interrupts(struct virtio_queue *queue, bool wanted)
{
	queue->available->flags = wanted ? 0 : NO_INTERRUPT;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Everything is acknowledged, then everything looked at: what comes in between raises the line
 * again. */
void virtio_poll(struct virtio_device *device)
{
	if (!device->driver || device->failed)
		return;
	reg_write(device, INTERRUPT_ACK, INTERRUPT_ALL);
	if (reg_read(device, STATUS) & STATUS_NEEDS_RESET)
		virtio_fail(device, "it asks to be reset");
	else
		device->driver->interrupt(device);
}

void virtio_interrupts(uint32_t bits)
{
	for (; bits; bits &= bits - 1)
		virtio_poll(&devices[__builtin_ctz(bits)]);
}

/* --- finding and starting --- */

static const struct virtio_driver *driver_for(uint32_t id)
{
	for (unsigned i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (drivers[i]->id == id)
			return drivers[i];
	}
	return NULL;
}

static bool negotiate(struct virtio_device *device)
{
	for (unsigned i = 0; i < 2; i++) {
		reg_write(device, DEVICE_FEATURES_SELECT, i);
		device->offered |= (uint64_t)reg_read(device, DEVICE_FEATURES) << 32 * i;
	}
	device->features = device->offered & (device->driver->features | VIRTIO_F_VERSION_1);
	for (unsigned i = 0; i < 2; i++) {
		reg_write(device, DRIVER_FEATURES_SELECT, i);
		reg_write(device, DRIVER_FEATURES, (uint32_t)(device->features >> 32 * i));
	}
	status_add(device, STATUS_FEATURES_OK);
	return (device->features & VIRTIO_F_VERSION_1) &&
	       (reg_read(device, STATUS) & STATUS_FEATURES_OK);
}

static void start(struct virtio_device *device, const struct virtio_driver *driver)
{
	int error;

	device->driver = driver;
	for (const struct virtio_device *other = devices; other < device; other++)
		device->number += other->driver == driver;
	if (!reset(device)) {
		log_line(QUIRE_LEVEL_ERROR, "%s %u cannot be reset", driver->name, device->number);
		device->failed = true;
		return;
	}
	status_add(device, STATUS_ACKNOWLEDGE);
	status_add(device, STATUS_DRIVER);
	error = negotiate(device) ? driver->begin(device) : -EOPNOTSUPP;
	if (error) {
		log_line(QUIRE_LEVEL_ERROR, "%s %u cannot be used: error %d", driver->name,
			 device->number, -error);
		device->failed = true;
		status_add(device, STATUS_FAILED);
		return;
	}
	ioapic_route(device->line, VECTOR_DEVICE + (device - devices));
	status_add(device, STATUS_DRIVER_OK);
	if (driver->start)
		driver->start(device);
}

/* A number in decimal or, with 0x, hexadecimal; perhaps with K, M or G behind. */
static bool parse_number(const char **text, uint64_t *value)
{
	const char *at = *text;
	unsigned base = at[0] == '0' && at[1] == 'x' ? 16 : 10;
	const char *first = at += base == 16 ? 2 : 0;

	for (*value = 0;; at++) {
		unsigned digit = *at >= '0' && *at <= '9'   ? *at - '0'
				 : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10
				 : *at >= 'A' && *at <= 'F' ? *at - 'A' + 10
							    : 16;

		if (digit >= base)
			break;
		if (*value >> 58)
			return false;
		*value = *value * base + digit;
	}
	*text = at;
	return at > first;
}

static bool parse_size(const char **text, uint64_t *value)
{
	static const char units[] = "KMG";

	if (!parse_number(text, value))
		return false;
	for (unsigned i = 0; i < 3; i++) {
		if (**text != units[i])
			continue;
		(*text)++;
		*value <<= 10 * (i + 1);
		break;
	}
	return *value < 1ull << 40;
}

struct place {
	uint64_t size, base, line;
};

/* SIZE@BASE:LINE, perhaps with a number behind, which means nothing here. */
static bool parse_place(const char *word, struct place *place)
{
	uint64_t id;

	return parse_size(&word, &place->size) && *word++ == '@' &&
	       parse_size(&word, &place->base) && *word++ == ':' &&
	       parse_number(&word, &place->line) &&
	       (!*word || (*word++ == ':' && parse_number(&word, &id) && !*word));
}

/* Why nothing can be there, or NULL. */
static const char *refuse(const struct place *place, const struct page_range *memory,
			  unsigned memory_count, unsigned lines)
{
	if (place->size < CONFIG || place->base % 4)
		return "too small, or not at a multiple of 4";
	for (unsigned i = 0; i < memory_count; i++) {
		if (place->base < memory[i].end && place->base + place->size > memory[i].start)
			return "memory is there";
	}
	if (place->line >= lines)
		return "the I/O APIC has no such line";
	for (unsigned i = 0; i < device_count; i++) {
		if (devices[i].line == place->line)
			return "the line is another's";
	}
	return device_count == DEVICE_MAX ? "too many" : NULL;
}

static const char *add(const struct place *place)
{
	struct virtio_device *device = &devices[device_count];
	const struct virtio_driver *driver;
	volatile uint32_t *registers = vmap_registers(place->base, MIN(place->size, PAGE_SIZE));

	if (!registers)
		return "no memory";
	if (registers[MAGIC / 4] != MAGIC_VALUE || registers[VERSION / 4] != VERSION_VALUE)
		return "no virtio device of version 2";
	driver = driver_for(registers[DEVICE_ID / 4]);
	*device = (struct virtio_device){ .registers = registers, .line = place->line };
	device_count++;
	if (driver)
		start(device, driver);
	return NULL;
}

void virtio_init(const char *const place_of[], unsigned count, const struct page_range *memory,
		 unsigned memory_count)
{
	unsigned lines = count > 0 ? ioapic_init(vmap_registers(IOAPIC_PHYSICAL, PAGE_SIZE)) : 0;

	for (unsigned i = 0; i < count; i++) {
		struct place place;
		const char *why = parse_place(place_of[i], &place)
					  ? refuse(&place, memory, memory_count, lines)
					  : "not SIZE@BASE:LINE";

		if (!why)
			why = add(&place);
		if (why)
			log_line(QUIRE_LEVEL_ERROR, "virtio_mmio.device=%s is ignored: %s",
				 place_of[i], why);
	}
}
