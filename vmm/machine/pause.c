/*
 * The gate before the guest. A vCPU's thread passes it on its way into KVM_RUN; while somebody
 * holds the machine paused, or once it stops, it does not. Those inside are called out the way a
 * stop does it: immediate_exit for one about to enter, the signal for one inside.
 *
 * A vCPU whose thread is at a device's work counts as outside: it cannot come back in, and KVM
 * answers for its registers. One that waits for a page is inside until it has it.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "vmm/machine/internal.h"

#define FULL_SECONDS 60u		 /* the longest wait for room on the disk */
#define FULL_LOOK_NS (250 * 1000 * 1000) /* between two looks whether there is some */

void machine_gate_init(struct machine *machine)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&machine->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&machine->gate, &attr);
	pthread_condattr_destroy(&attr);
}

/*
 * The clocks have gone on: a guest that knows KVM's clock is told, so that its watchdogs do not
 * take the time for their own. Others have no such flag, and the ioctl fails. The vCPU is outside.
 */
static void tell_it_stood(struct vcpu *vcpu)
{
	ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
}

bool machine_enter(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	bool go_in;

	pthread_mutex_lock(&machine->lock);
	while (machine->pauses > 0 && machine->stop_kind == MACHINE_RUNNING)
		pthread_cond_wait(&machine->gate, &machine->lock);
	go_in = machine->stop_kind == MACHINE_RUNNING;
	if (go_in) {
		/* Left over from a pause. A stop sets it again, after stop_kind. */
		__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELEASE);
		vcpu->inside = true;
	}
	pthread_mutex_unlock(&machine->lock);
	if (__atomic_exchange_n(&vcpu->stood, false, __ATOMIC_ACQ_REL))
		tell_it_stood(vcpu);
	return go_in;
}

void machine_left(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;

	pthread_mutex_lock(&machine->lock);
	vcpu->inside = false;
	if (machine->pauses > 0)
		pthread_cond_broadcast(&machine->gate);
	pthread_mutex_unlock(&machine->lock);
}

static bool any_inside(const struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		if (machine->vcpu[i].inside)
			return true;
	return false;
}

struct waiting {
	struct machine *machine;
	bool vcpu[QUIRE_CPU_MAX];
};

static void note_waiting(void *context, int thread)
{
	struct waiting *waiting = context;
	struct vcpu *vcpu = machine_vcpu_of(waiting->machine, thread);

	if (vcpu != NULL)
		waiting->vcpu[vcpu - waiting->machine->vcpu] = true;
}

/*
 * While a signal is pending, KVM retries its own access to a missing page in a loop. The page that
 * there is no room for may be missing for a minute, and so may all whose faults wait behind it:
 * those vCPUs get no signal. (One that faults between the question and its signal may still loop.)
 */
static void call_out(struct machine *machine)
{
	struct waiting waiting = { .machine = machine };

	if (machine->full)
		ept_space_waiting(machine->space, note_waiting, &waiting);
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		struct vcpu *vcpu = &machine->vcpu[i];

		if (!vcpu->inside)
			continue;
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
		if (vcpu->started && !waiting.vcpu[i])
			pthread_kill(vcpu->thread, SIGUSR1);
	}
}

void machine_continued(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		__atomic_store_n(&machine->vcpu[i].stood, true, __ATOMIC_RELEASE);
	pthread_mutex_lock(&machine->lock);
	call_out(machine);
	pthread_mutex_unlock(&machine->lock);
}

int machine_pause(struct machine *machine, unsigned milliseconds)
{
	struct timespec deadline;
	int error = 0;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += milliseconds / 1000;
	deadline.tv_nsec += (long)(milliseconds % 1000) * 1000000;
	deadline.tv_sec += deadline.tv_nsec / 1000000000;
	deadline.tv_nsec %= 1000000000;
	pthread_mutex_lock(&machine->lock);
	machine->pauses++;
	call_out(machine);
	while (error == 0 && any_inside(machine))
		error = -pthread_cond_timedwait(&machine->gate, &machine->lock, &deadline);
	pthread_mutex_unlock(&machine->lock);
	if (error != 0)
		machine_resume(machine);
	return error;
}

void machine_resume(struct machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	CHECK(machine->pauses > 0);
	if (--machine->pauses == 0)
		pthread_cond_broadcast(&machine->gate);
	pthread_mutex_unlock(&machine->lock);
}

static bool is_set(struct machine *machine, const bool *flag)
{
	bool set;

	pthread_mutex_lock(&machine->lock);
	set = *flag;
	pthread_mutex_unlock(&machine->lock);
	return set;
}

bool machine_held(struct machine *machine)
{
	return is_set(machine, &machine->held);
}

bool machine_standing(struct machine *machine)
{
	return is_set(machine, &machine->full);
}

static void set_held(struct machine *machine, bool held)
{
	pthread_mutex_lock(&machine->lock);
	machine->held = held;
	pthread_mutex_unlock(&machine->lock);
}

int machine_hold(struct machine *machine, unsigned milliseconds)
{
	int error = machine_held(machine) ? 0 : machine_pause(machine, milliseconds);

	if (error == 0)
		set_held(machine, true);
	return error;
}

void machine_let_go(struct machine *machine)
{
	if (!machine_held(machine))
		return;
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		tell_it_stood(&machine->vcpu[i]);
	set_held(machine, false);
	machine_resume(machine);
}

/*
 * No vCPU is waited for: one of them waits for the very page that there is no room for. The others
 * stay outside, so that the guest stands as a whole and nothing in it runs into a time limit. A
 * guest that is still being loaded does not stand: the thread that loads it could answer nobody.
 */
bool machine_full(void *context, uint64_t since_ns)
{
	struct machine *machine = context;
	struct timespec deadline;
	bool first, running;
	int error = 0;

	pthread_mutex_lock(&machine->lock);
	if (machine->stop_when_full || !machine->vcpu[0].started) {
		pthread_mutex_unlock(&machine->lock);
		return false;
	}
	first = !machine->full;
	if (first) {
		machine->full = true;
		machine->pauses++;
	}
	/* Each time: one that waited may have got its page meanwhile. */
	call_out(machine);
	pthread_mutex_unlock(&machine->lock);
	if (first)
		log_warn("the disk of the swap file is full: the guest stands until there is room, "
			 "for %u s at most",
			 FULL_SECONDS);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_nsec += FULL_LOOK_NS;
	deadline.tv_sec += deadline.tv_nsec / 1000000000;
	deadline.tv_nsec %= 1000000000;
	pthread_mutex_lock(&machine->lock);
	while (error == 0 && machine->stop_kind == MACHINE_RUNNING)
		error = pthread_cond_timedwait(&machine->gate, &machine->lock, &deadline);
	running = machine->stop_kind == MACHINE_RUNNING;
	pthread_mutex_unlock(&machine->lock);
	return running && since_ns < FULL_SECONDS * 1000000000ull;
}

void machine_full_no_more(void *context)
{
	struct machine *machine = context;
	bool was_full;

	pthread_mutex_lock(&machine->lock);
	was_full = machine->full;
	machine->full = false;
	pthread_mutex_unlock(&machine->lock);
	if (!was_full)
		return;
	log_warn("there is room on the disk of the swap file again: the guest goes on");
	machine_continued(machine);
	machine_resume(machine);
}
