/*
 * A stock guest's row: the parts of a PC that its kernel looks for (a serial port, a power switch,
 * the first chips and ACPI tables), and no doorbell.
 */

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "base/event.h"
#include "base/log.h"
#include "devices/pm_timer.h"
#include "devices/power.h"
#include "devices/serial.h"
#include "vmm/boot/acpi.h"
#include "vmm/boot/platform.h"
#include "vmm/machine/internal.h"

/*
 * The interrupt controllers of the PC's first days, as firmware leaves them: set up, and masked. A
 * kernel that does without them never touches them, and would get the PIT's interrupts as vector 0.
 */
static int mask_pics(struct machine *machine)
{
	static const uint8_t first_vector[] = {
		[KVM_IRQCHIP_PIC_MASTER] = 0x08, [KVM_IRQCHIP_PIC_SLAVE] = 0x70
	};

	for (uint32_t i = KVM_IRQCHIP_PIC_MASTER; i <= KVM_IRQCHIP_PIC_SLAVE; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		if (ioctl(machine->vm_fd, KVM_GET_IRQCHIP, &chip) != 0)
			return -errno;
		chip.chip.pic.irq_base = first_vector[i];
		chip.chip.pic.imr = 0xff;
		if (ioctl(machine->vm_fd, KVM_SET_IRQCHIP, &chip) != 0)
			return -errno;
	}
	return 0;
}

static int create_chips(struct machine *machine, const char **step)
{
	const struct kvm_pit_config timer = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int error;

	*step = "KVM_SET_IRQCHIP";
	error = mask_pics(machine);
	if (error != 0)
		return error;
	*step = "KVM_CREATE_PIT2";
	return ioctl(machine->vm_fd, KVM_CREATE_PIT2, &timer) == 0 ? 0 : -errno;
}

static void switched_off(void *context)
{
	machine_stop(context, MACHINE_EXITED, 0);
}

static void was_reset(void *context)
{
	if (machine_stop(context, MACHINE_EXITED, MACHINE_STATUS_REBOOTED))
		log_info("the guest has reset its machine");
}

static const struct power_events power_events = {
	.off = switched_off,
	.reset = was_reset,
};

static void input_room(void *context)
{
	event_put(((struct machine *)context)->input_fd);
}

static int add_serial(struct machine *machine, const struct machine_config *config)
{
	struct serial_config serial = {
		.loop = machine->devices.loop,
		.output_fd = config->output_fd,
		.stop_fd = machine->stop_fd,
		.input_room = input_room,
		.context = machine,
	};
	struct kvm_irqfd line = { .gsi = PLATFORM_SERIAL_GSI };
	int error = serial_create(&serial, &machine->serial);

	if (error != 0)
		return error;
	line.fd = (uint32_t)serial_interrupt_fd(machine->serial);
	if (ioctl(machine->vm_fd, KVM_IRQFD, &line) != 0)
		return -errno;
	return bus_add(&machine->ports, PLATFORM_SERIAL, SERIAL_PORTS, &serial_ops,
		       machine->serial);
}

static int add_devices(struct machine *machine, const struct machine_config *config)
{
	int error = add_serial(machine, config);

	machine->power = (struct power){ &power_events, machine };
	if (error == 0)
		error = bus_add(&machine->ports, PLATFORM_POWER, PLATFORM_POWER_COUNT, &power_ops,
				&machine->power);
	if (error == 0)
		error = bus_add(&machine->ports, PLATFORM_PM_TIMER, PM_TIMER_PORTS, &pm_timer_ops,
				NULL);
	if (error == 0)
		error = bus_add(&machine->ports, PLATFORM_KEYBOARD, 1, &power_keyboard_ops,
				&machine->power);
	if (error == 0)
		error = bus_add(&machine->ports, PLATFORM_PCI, PCI_HOST_PORTS, &pci_host_ops,
				&machine->pci_host);
	if (error != 0)
		log_error("cannot make the guest's devices: %s", strerror(-error));
	return error;
}

static void remove_devices(struct machine *machine)
{
	serial_destroy(machine->serial);
}

/*
 * Where a PC's firmware begins after a reset, at ffff:0000 in real mode. Linux jumps there to
 * reboot a machine that has hardware-reduced ACPI and no EFI; here the jump ends at the reset
 * register: mov dx, PLATFORM_POWER + 2; mov al, PLATFORM_RESET_VALUE; out dx, al; hlt.
 */
#define RESET_VECTOR 0xffff0u
static const uint8_t reset_code[] = {
	0xba, (PLATFORM_POWER + 2) & 255, (PLATFORM_POWER + 2) >> 8,
	0xb0, PLATFORM_RESET_VALUE,	  0xee,
	0xf4,
};

/* The tables that a PC's kernel looks for in the first MiB. */
static int put_firmware(struct machine *machine)
{
	const struct acpi_config acpi = {
		.cpu_count = machine->vcpu_count,
		.virtio_count = machine->devices.count,
	};
	uint8_t *tables = malloc(ACPI_BYTES);
	int error;

	CHECK(tables != NULL);
	error = ept_write(machine->space, gpa(ACPI_AT), tables, acpi_build(&acpi, tables));
	free(tables);
	if (error == 0)
		error = ept_write(machine->space, gpa(RESET_VECTOR), reset_code,
				  sizeof(reset_code));
	if (error != 0)
		log_error("cannot fill the guest's memory: %s", strerror(-error));
	return error;
}

static int load(struct machine *machine, struct loader_guest *guest, struct loader_result *entry)
{
	int error = put_firmware(machine);

	guest->stock = true;
	guest->rsdp = gpa(ACPI_AT);
	return error != 0 ? error : loader_load(machine->space, guest, entry);
}

const struct machine_kind_ops machine_stock_ops = {
	.create_chips = create_chips,
	.complete_cpuid = machine_complete_cpuid,
	.set_up_vcpu = machine_set_up_vcpu,
	.add_devices = add_devices,
	.remove_devices = remove_devices,
	.load = load,
	.probes = true,
	.output_first = true,
};

size_t machine_serial_input(struct machine *machine, const uint8_t *bytes, size_t length)
{
	return serial_input(machine->serial, bytes, length);
}

bool machine_console_is_virtio(const char *command_line)
{
	static const char word[] = "console=";
	bool is_virtio = false;

	for (const char *at = command_line; at != NULL && (at = strstr(at, word)) != NULL;) {
		bool begins = at == command_line || at[-1] == ' ';

		at += sizeof(word) - 1;
		if (begins)
			is_virtio = strncmp(at, "hvc", 3) == 0;
	}
	return is_virtio;
}

void machine_drain(struct machine *machine, int give_up_fd)
{
	if (machine->serial != NULL)
		serial_drain(machine->serial, give_up_fd);
}
