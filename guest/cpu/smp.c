/*
 * The other processors: how they start, the interrupts between them, and the kernel lock's slow
 * side.
 *
 * A CPU that waits for the lock has interrupts off, and the one that holds it may be waiting for
 * its TLB: so a waiting CPU answers. And where CPUs are threads of a busy host, spinning takes the
 * time that the holder needs: after a while the monitor is asked to let others run.
 */
#include "guest/cpu/apic.h"
#include "guest/cpu/clock.h"
#include "guest/cpu/cpu.h"
#include "guest/cpu/tlb.h"
#include "guest/lib/asm.h"
#include "guest/lib/layout.h"
#include "guest/lib/string.h"
#include "guest/monitor/doorbell.h"

#define SPINS	   8
#define START_WAIT 1000000000ull /* ns */

extern const uint8_t trampoline_start[], trampoline_end[];
extern uint64_t boot_pml4[];

volatile uint32_t kernel_lock = 1; /* the first CPU begins in the kernel */
uint64_t smp_stack;		   /* of the CPU that starts */
static struct cpu *smp_starting;
static void (*idle)(void); /* what it does then, for good */

void kernel_lock_take(void)
{
	for (unsigned spins = 1; __atomic_exchange_n(&kernel_lock, 1, __ATOMIC_ACQUIRE); spins++) {
		while (kernel_lock && spins % SPINS) {
			tlb_answer();
			pause();
			spins++;
		}
		if (spins % SPINS == 0)
			doorbell_yield();
		tlb_answer();
	}
}

void kernel_lock_give(void)
{
	__atomic_store_n(&kernel_lock, 0, __ATOMIC_RELEASE);
}

void smp_interrupt(const struct cpu *cpu, unsigned vector)
{
	apic_send(cpu->number, APIC_FIXED | vector);
}

/* From the trampoline. */
NORETURN void ap_main(void);

void ap_main(void)
{
	struct cpu *cpu = smp_starting;

	cpu_init(cpu);
	cpu_enable();
	clock_init_other();
	cpu->current = cpu->idle;
	cpu->online = true;
	kernel_lock_take();
	cpu->switched = cpu->started = rdtsc();
	idle();
	__builtin_unreachable();
}

static bool start(struct cpu *cpu, uint64_t (*prepare)(struct cpu *cpu))
{
	uint64_t deadline = clock_now() + START_WAIT;

	cpu->number = cpu - cpus;
	smp_starting = cpu;
	smp_stack = prepare(cpu) - 16;
	apic_send(cpu->number, APIC_INIT);
	apic_send(cpu->number, APIC_STARTUP | TRAMPOLINE >> PAGE_SHIFT);
	while (!cpu->online) {
		if (clock_now() > deadline)
			return false;
		doorbell_yield();
	}
	return true;
}

void smp_start(unsigned count, uint64_t (*prepare)(struct cpu *cpu), void (*run)(void))
{
	idle = run;
	if (count > 1)
		memcpy(direct(TRAMPOLINE), trampoline_start, trampoline_end - trampoline_start);
	while (cpu_count < MIN(count, CPU_MAX) && start(&cpus[cpu_count], prepare))
		cpu_count++;
	if (cpu_count < count)
		log_line(QUIRE_LEVEL_ERROR, "CPU %u does not start: %u of %u run", cpu_count,
			 cpu_count, count);
	boot_pml4[0] = 0;
	cr3_write(cr3_read());
}
