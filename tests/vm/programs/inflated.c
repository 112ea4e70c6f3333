/*
 * A Multiboot kernel (long_mode.S) that breaks its word: it puts two pages into its balloon and
 * writes to one of them, twice, having said with which instruction it does.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdint.h>

#define DEVICES 0xd0000000ull
#define BALLOON 5
#define PAGE	4096ull
#define FIRST	0x800000ull /* the two pages */
#define SERIAL	0x3f8
#define ENTRIES 8

static struct vring_desc descriptors[ENTRIES] __attribute__((aligned(4096)));
static struct {
	uint16_t flags, index, ring[ENTRIES];
} available __attribute__((aligned(4096)));
static struct {
	uint16_t flags;
	volatile uint16_t index;
	struct vring_used_elem ring[ENTRIES];
} used __attribute__((aligned(4096)));
static uint32_t numbers[] = { FIRST / PAGE, FIRST / PAGE + 1 };

extern char here[]; /* the instruction */

static void put(char c)
{
	__asm__ volatile("outb %0, %w1" ::"a"(c), "d"(SERIAL));
}

static void put_text(const char *text)
{
	while (*text != '\0')
		put(*text++);
}

static void put_address(uint64_t address)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		put("0123456789abcdef"[address >> shift & 15]);
}

static volatile uint32_t *reg(uint64_t device, unsigned offset)
{
	return (volatile uint32_t *)(device + offset);
}

static void set(uint64_t device, unsigned offset, uint64_t value)
{
	*reg(device, offset) = (uint32_t)value;
}

static uint64_t find_balloon(void)
{
	uint64_t device = DEVICES;

	while (*reg(device, VIRTIO_MMIO_DEVICE_ID) != BALLOON)
		device += 0x1000;
	return device;
}

static void start(uint64_t device)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	set(device, VIRTIO_MMIO_STATUS, status);
	set(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(device, VIRTIO_MMIO_DRIVER_FEATURES, 1); /* VERSION_1 */
	set(device, VIRTIO_MMIO_STATUS, status |= VIRTIO_CONFIG_S_FEATURES_OK);
	set(device, VIRTIO_MMIO_QUEUE_SEL, 0);
	set(device, VIRTIO_MMIO_QUEUE_NUM, ENTRIES);
	set(device, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint64_t)descriptors);
	set(device, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint64_t)&available);
	set(device, VIRTIO_MMIO_QUEUE_USED_LOW, (uint64_t)&used);
	set(device, VIRTIO_MMIO_QUEUE_READY, 1);
	set(device, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

void main(void)
{
	uint64_t device = find_balloon();

	start(device);
	descriptors[0] = (struct vring_desc){ (uint64_t)numbers, sizeof(numbers), 0, 0 };
	__asm__ volatile("" ::: "memory");
	available.index = 1;
	set(device, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	while (used.index == 0)
		;
	put_text("at RIP 0x");
	put_address((uint64_t)here);
	put('\n');
	__asm__ volatile("movl $2, %%ecx\n"
			 ".globl here\n"
			 "here: movl $1, (%0)\n"
			 "loop here\n" ::"r"(FIRST)
			 : "ecx", "memory");
	put_text("done\n");
}
