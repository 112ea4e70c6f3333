/*
 * Questions to a running machine. The vCPUs are outside the guest while its registers and tables
 * are read, so that the steps of a walk belong together; a walk takes microseconds, unless a table
 * has to be read from the swap.
 */
#include "vmm/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine.h"
#include "vmm/maps.h"
#include "vmm/translation.h"

#define PAUSE_MS 2000 /* for a vCPU to come out */

/* A number, or a string as C writes one: "0x7fff0000". */
static bool get_number(const json_t *params, const char *name, uint64_t *value, bool *given,
		       char error[CONTROL_ERROR_SIZE])
{
	const json_t *item = json_object_get(params, name);
	const char *text = json_string_value(item);
	char *end = NULL;

	*given = item != NULL;
	if (item == NULL)
		return true;
	if (json_is_integer(item)) {
		*value = (uint64_t)json_integer_value(item);
		return true;
	}
	errno = 0;
	if (text != NULL && strspn(text, "0123456789") > 0)
		*value = strtoull(text, &end, 0);
	if (end != NULL && *end == '\0' && errno == 0)
		return true;
	snprintf(error, CONTROL_ERROR_SIZE, "\"%s\" is a number, or a string with one", name);
	return false;
}

static bool get_vcpu(struct machine *machine, const json_t *params, unsigned *vcpu,
		     char error[CONTROL_ERROR_SIZE])
{
	uint64_t number = 0;
	bool given;

	if (!get_number(params, "vcpu", &number, &given, error))
		return false;
	if (number >= machine->vcpu_count) {
		snprintf(error, CONTROL_ERROR_SIZE, "the guest has %u vCPU%s, numbered from 0",
			 machine->vcpu_count, machine->vcpu_count > 1 ? "s" : "");
		return false;
	}
	*vcpu = (unsigned)number;
	return true;
}

/* The vCPU's registers; true leaves the machine paused. */
static bool pause_and_read(struct machine *machine, unsigned vcpu, struct ept_paging *paging,
			   char error[CONTROL_ERROR_SIZE])
{
	int failed = machine_pause(machine, PAUSE_MS);

	if (failed != 0) {
		snprintf(error, CONTROL_ERROR_SIZE,
			 "a vCPU did not leave the guest in %d s: it waits for a page",
			 PAUSE_MS / 1000);
		return false;
	}
	failed = translation_paging(&machine->vcpu[vcpu], paging);
	if (failed == 0)
		return true;
	machine_resume(machine);
	snprintf(error, CONTROL_ERROR_SIZE, "the registers cannot be read: %s", strerror(-failed));
	return false;
}

static json_t *translate(void *context, json_t *params, char error[CONTROL_ERROR_SIZE])
{
	struct machine *machine = context;
	uint64_t address = 0, cr3 = 0;
	bool has_address, has_cr3;
	struct ept_paging paging;
	struct translation t;
	unsigned vcpu;

	if (!get_number(params, "address", &address, &has_address, error) ||
	    !get_number(params, "cr3", &cr3, &has_cr3, error) ||
	    !get_vcpu(machine, params, &vcpu, error))
		return NULL;
	if (!has_address) {
		snprintf(error, CONTROL_ERROR_SIZE, "\"address\" is missing");
		return NULL;
	}
	if (!pause_and_read(machine, vcpu, &paging, error))
		return NULL;
	if (has_cr3)
		paging.cr3 = cr3;
	translation_make(machine, vcpu, &paging, gva(address), &t);
	machine_resume(machine);
	kvm_stats_read_vm(machine, t.kvm);
	t.cr3_given = has_cr3;
	t.has_kvm_pages = true;
	return translation_to_json(&t);
}

/* The guest goes on while its tables are read: that may take a while. */
static json_t *maps(void *context, json_t *params, char error[CONTROL_ERROR_SIZE])
{
	struct machine *machine = context;
	struct ept_paging paging;
	uint64_t cr3 = 0;
	unsigned vcpu;
	bool has_cr3;

	if (!get_number(params, "cr3", &cr3, &has_cr3, error) ||
	    !get_vcpu(machine, params, &vcpu, error) ||
	    !pause_and_read(machine, vcpu, &paging, error))
		return NULL;
	machine_resume(machine);
	if (has_cr3)
		paging.cr3 = cr3;
	return maps_to_json(machine, vcpu, &paging);
}

const struct control_method inspect_methods[] = {
	{ "translate", translate },
	{ "maps", maps },
	{ NULL, NULL },
};
