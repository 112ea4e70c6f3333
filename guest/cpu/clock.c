/* Clocks and the local APIC. */
#include "guest/cpu/clock.h"
#include "guest/cpu/apic.h"
#include "guest/cpu/cpu.h"
#include "guest/cpu/rate.h"
#include "guest/cpu/trap.h"
#include "guest/lib/asm.h"

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

#define KVM_CPUID_SIGNATURE 0x40000000
#define KVM_CPUID_FEATURES  0x40000001
#define KVM_FEATURE_CLOCK   (1 << 3)
#define MSR_KVM_WALL_CLOCK  0x4b564d00
#define MSR_KVM_SYSTEM_TIME 0x4b564d01
#define KVM_CLOCK_ENABLE    1

#define PIC_MASK_1 0x21
#define PIC_MASK_2 0xa1

#define PIT_HZ	      1193182
#define PIT_CHANNEL_0 0x40
#define PIT_COMMAND   0x43
#define PIT_COUNT     0x30 /* of channel 0: count down once */
#define PIT_LATCH     0x00 /* of channel 0 */

/* Both filled by KVM; version is odd while it writes. */
struct kvm_time {
	uint32_t version, padding;
	uint64_t tsc, system_ns;
	uint32_t multiplier;
	int8_t shift;
	uint8_t flags, rest[34]; /* one a cache line */
};

struct kvm_wall {
	uint32_t version, seconds, nanoseconds;
};

static volatile struct kvm_time kvm_times[CPU_MAX] __attribute__((aligned(64)));
static volatile struct kvm_wall kvm_wall __attribute__((aligned(16)));
static bool use_kvm;
static uint64_t tsc_hz, wall_offset;
static uint64_t apic_ticks_per_ms; /* 0: not measured yet */

static void kvm_clock_start(void)
{
	msr_write(MSR_KVM_SYSTEM_TIME,
		  ((uint64_t)&kvm_times[this_cpu()->number] - IMAGE_BASE) | KVM_CLOCK_ENABLE);
}

static bool kvm_clock_init(void)
{
	struct cpuid_result leaf = cpuid(KVM_CPUID_SIGNATURE, 0);

	if (leaf.ebx != 0x4b4d564b || leaf.ecx != 0x564b4d56 || leaf.edx != 0x4d)
		return false;
	if (!(cpuid(KVM_CPUID_FEATURES, 0).eax & KVM_FEATURE_CLOCK))
		return false;
	kvm_clock_start();
	msr_write(MSR_KVM_WALL_CLOCK, (uint64_t)&kvm_wall - IMAGE_BASE);
	wall_offset = kvm_wall.seconds * NS_PER_S + kvm_wall.nanoseconds;
	return true;
}

/* The board's timer goes round every 55 ms; it is read more often, but for a stall. */
struct pit {
	uint16_t last;
	uint64_t ticks;
	uint64_t tsc; /* where the TSC's count began */
};

static uint64_t pit_now(void *context)
{
	struct pit *pit = context;
	uint16_t at;

	out8(PIT_COMMAND, PIT_LATCH);
	at = in8(PIT_CHANNEL_0);
	at |= (uint16_t)(in8(PIT_CHANNEL_0) << 8);
	pit->ticks += (uint16_t)(pit->last - at);
	pit->last = at;
	return multiply_divide(pit->ticks, NS_PER_S, PIT_HZ);
}

static void tsc_start(void *context)
{
	((struct pit *)context)->tsc = rdtsc();
}

static uint64_t tsc_count(void *context)
{
	return rdtsc() - ((struct pit *)context)->tsc;
}

/* The TSC's Hz, by the board's timer, channel 0, whose interrupt is masked: not every board has the
 * gate of another. */
static uint64_t measure_tsc(void)
{
	struct pit pit = { .last = 0xffff };
	const struct rate_source source = {
		.now = pit_now,
		.start = tsc_start,
		.count = tsc_count,
		.context = &pit,
		.window_ns = 10 * NS_PER_MS,
		.unsure_most_ns = NS_PER_MS / 10,
	};

	out8(PIT_COMMAND, PIT_COUNT);
	out8(PIT_CHANNEL_0, 0xff);
	out8(PIT_CHANNEL_0, 0xff);
	return rate_measure(&source) * 1000;
}

static uint64_t cmos(uint8_t reg)
{
	uint8_t bcd;

	out8(0x70, reg);
	bcd = in8(0x71);
	return (bcd >> 4) * 10 + (bcd & 15);
}

/* ns since 1970 by the board's clock, which counts in BCD from 2000. */
static uint64_t board_time(void)
{
	uint64_t year = 2000 + cmos(9), month = cmos(8), day = cmos(7), days;

	/* The year starts in March, so that a leap day comes last. */
	year -= month <= 2;
	days = year * 365 + year / 4 - year / 100 + year / 400 +
	       (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1 - 719468;
	return (((days * 24 + cmos(4)) * 60 + cmos(2)) * 60 + cmos(0)) * NS_PER_S;
}

static void apic_enable(void)
{
	*apic(APIC_SPURIOUS) = APIC_ENABLE | VECTOR_SPURIOUS;
	*apic(APIC_DIVIDE) = APIC_DIVIDE_BY_1;
}

void clock_init_other(void)
{
	apic_enable();
	if (use_kvm)
		kvm_clock_start();
}

void clock_init(void)
{
	out8(PIC_MASK_1, 0xff);
	out8(PIC_MASK_2, 0xff);
	apic_enable();
	use_kvm = kvm_clock_init();
	if (use_kvm)
		return;
	tsc_hz = measure_tsc();
	wall_offset = board_time() - clock_now();
}

static uint64_t kvm_now(void)
{
	const volatile struct kvm_time *time = &kvm_times[this_cpu()->number];
	uint32_t version;
	uint64_t delta, now;

	do {
		version = time->version;
		__asm__ volatile("" : : : "memory");
		delta = rdtsc() - time->tsc;
		if (time->shift >= 0)
			delta <<= time->shift;
		else
			delta >>= -time->shift;
		now = time->system_ns +
		      (uint64_t)((unsigned __int128)delta * time->multiplier >> 32);
		__asm__ volatile("" : : : "memory");
	} while ((version & 1) || version != time->version);
	return now;
}

uint64_t clock_now(void)
{
	return use_kvm ? kvm_now() : multiply_divide(rdtsc(), NS_PER_S, tsc_hz);
}

uint64_t clock_ticks_ns(uint64_t ticks)
{
	const volatile struct kvm_time *time = &kvm_times[0];

	if (!use_kvm)
		return multiply_divide(ticks, NS_PER_S, tsc_hz);
	ticks = time->shift >= 0 ? ticks << time->shift : ticks >> -time->shift;
	return (uint64_t)((unsigned __int128)ticks * time->multiplier >> 32);
}

uint64_t clock_wall_offset(void)
{
	return wall_offset;
}

static uint64_t apic_now(void *context)
{
	return clock_now();
}

static void apic_start(void *context)
{
	*apic(APIC_LVT_TIMER) = APIC_LVT_MASKED;
	*apic(APIC_INITIAL) = UINT32_MAX;
}

static uint64_t apic_count(void *context)
{
	return UINT32_MAX - *apic(APIC_CURRENT);
}

static void measure_apic(void)
{
	static const struct rate_source source = {
		.now = apic_now,
		.start = apic_start,
		.count = apic_count,
		.window_ns = NS_PER_MS / 2,
		.unsure_most_ns = NS_PER_MS / 20,
	};

	apic_ticks_per_ms = rate_measure(&source);
}

static void start_timer(uint64_t ticks)
{
	*apic(APIC_LVT_TIMER) = VECTOR_TIMER;
	*apic(APIC_INITIAL) = (uint32_t)MIN(MAX(ticks, 1), UINT32_MAX);
}

void clock_set_alarm(uint64_t deadline)
{
	uint64_t now, wait;

	if (deadline == UINT64_MAX)
		return;
	if (!apic_ticks_per_ms)
		measure_apic();
	now = clock_now();
	wait = deadline > now ? MIN(deadline - now, NS_PER_S) : 0;
	start_timer(wait * apic_ticks_per_ms / NS_PER_MS);
}

void clock_start_timer(uint64_t wait)
{
	if (!use_kvm && !apic_ticks_per_ms)
		measure_apic();
	start_timer(use_kvm ? wait : wait * apic_ticks_per_ms / NS_PER_MS);
}

void interrupt_end(void)
{
	apic_end();
}
