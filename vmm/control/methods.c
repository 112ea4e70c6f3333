/*
 * Questions to a running machine. The vCPUs are outside the guest while its registers and tables
 * are read, so that the steps of a walk belong together; a walk takes microseconds, unless a table
 * has to be read from the swap.
 */
#include "vmm/control/methods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/common/json.h"
#include "vmm/machine/machine.h"
#include "vmm/control/maps.h"
#include "vmm/control/stat.h"
#include "vmm/control/steer.h"
#include "vmm/machine/translation.h"

#define PAUSE_MS      2000 /* for a vCPU to come out */
#define ADDRESSES_MAX 256  /* in one question */

/* A number, or a string as C writes one: "0x7fff0000". */
static bool is_number(const json_t *item, uint64_t *value)
{
	const char *text = json_string_value(item);
	char *end = NULL;

	if (json_is_integer(item)) {
		*value = (uint64_t)json_integer_value(item);
		return true;
	}
	errno = 0;
	if (text != NULL && strspn(text, "0123456789") > 0)
		*value = strtoull(text, &end, 0);
	return end != NULL && *end == '\0' && errno == 0;
}

static bool get_number(const json_t *params, const char *name, uint64_t *value, bool *given,
		       struct control_error *error)
{
	const json_t *item = json_object_get(params, name);

	*given = item != NULL;
	if (item == NULL || is_number(item, value))
		return true;
	control_refuse(error, CONTROL_BAD_PARAMETER, "\"%s\" is a number, or a string with one",
		       name);
	return false;
}

/* The page tables that a question is about. */
struct view {
	unsigned vcpu;
	bool cr3_given;
	uint64_t cr3;		  /* if given */
	struct ept_paging paging; /* by pause_and_read() */
};

static bool get_view(struct machine *machine, const json_t *params, struct view *view,
		     struct control_error *error)
{
	unsigned count = machine_vcpu_count(machine);
	uint64_t number = 0;
	bool given;

	*view = (struct view){ 0 };
	if (!get_number(params, "cr3", &view->cr3, &view->cr3_given, error) ||
	    !get_number(params, "vcpu", &number, &given, error))
		return false;
	if (number >= count) {
		control_refuse(error, CONTROL_OUT_OF_RANGE,
			       "the guest has %u vCPU%s, numbered from 0", count,
			       count > 1 ? "s" : "");
		return false;
	}
	view->vcpu = (unsigned)number;
	return true;
}

/* The vCPU's registers; true leaves the machine paused. */
static bool pause_and_read(struct machine *machine, struct view *view, struct control_error *error)
{
	int failed = machine_pause(machine, PAUSE_MS);

	if (failed != 0) {
		control_refuse(error, CONTROL_BUSY,
			       "a vCPU did not leave the guest in %d s: it waits for a page",
			       PAUSE_MS / 1000);
		return false;
	}
	failed = translation_paging(machine, view->vcpu, &view->paging);
	if (failed == 0) {
		if (view->cr3_given)
			view->paging.cr3 = view->cr3;
		return true;
	}
	machine_resume(machine);
	control_refuse(error, CONTROL_FAILED, "the registers cannot be read: %s",
		       strerror(-failed));
	return false;
}

/* Those asked for, in memory that is the caller's; NULL, and why. */
static gva_t *get_addresses(const json_t *params, size_t *count, struct control_error *error)
{
	const json_t *list = json_object_get(params, "addresses");
	gva_t *addresses;

	if (list != NULL && json_object_get(params, "address") != NULL) {
		control_refuse(error, CONTROL_BAD_PARAMETER,
			       "\"address\" and \"addresses\" exclude each other");
		return NULL;
	}
	*count = list != NULL ? json_array_size(list) : 1;
	if (*count == 0 || *count > ADDRESSES_MAX) {
		control_refuse(error, CONTROL_BAD_PARAMETER, "\"addresses\" is an array of 1 to %d",
			       ADDRESSES_MAX);
		return NULL;
	}
	addresses = calloc(*count, sizeof(*addresses));
	for (size_t i = 0; addresses != NULL && i < *count; i++) {
		const json_t *item =
			list != NULL ? json_array_get(list, i) : json_object_get(params, "address");

		if (is_number(item, &addresses[i].v))
			continue;
		control_refuse(error, CONTROL_BAD_PARAMETER,
			       item == NULL ? "\"address\" is missing"
					    : "an address is a number, or a string with one");
		free(addresses);
		return NULL;
	}
	return addresses;
}

struct question {
	struct view view;
	bool brief;
	gva_t *address; /* owned */
	size_t count;
};

/* Of all of them the machine, which is paused, is as it was at one moment. It goes on here. */
static json_t *answer_all(struct machine *machine, const struct question *q)
{
	struct translation *t = calloc(q->count, sizeof(*t));
	json_t *array = json_array();

	for (size_t i = 0; t != NULL && i < q->count; i++) {
		translation_make(machine, q->view.vcpu, &q->view.paging, q->address[i], &t[i]);
		if (!q->brief)
			translation_make_tables(machine, &t[i]);
	}
	machine_resume(machine);
	if (t != NULL && !q->brief)
		kvm_stats_read_vm(machine, t[0].kvm);
	for (size_t i = 0; t != NULL && i < q->count; i++) {
		memcpy(t[i].kvm, t[0].kvm, sizeof(t[i].kvm));
		t[i].has_kvm_pages = true;
		t[i].cr3_given = q->view.cr3_given;
		json_array_append_new(array, q->brief ? translation_to_brief(&t[i])
						      : translation_to_json(&t[i]));
	}
	free(t);
	return array;
}

static json_t *translate(void *context, json_t *params, struct control_error *error)
{
	struct machine *machine = context;
	struct question q = { .brief = json_truth(params, "brief") };
	json_t *brief = json_object_get(params, "brief"), *array = NULL, *result;

	if (brief != NULL && !json_is_boolean(brief)) {
		control_refuse(error, CONTROL_BAD_PARAMETER, "\"brief\" is true or false");
		return NULL;
	}
	if (!get_view(machine, params, &q.view, error))
		return NULL;
	q.address = get_addresses(params, &q.count, error);
	if (q.address != NULL && pause_and_read(machine, &q.view, error))
		array = answer_all(machine, &q);
	free(q.address);
	if (json_object_get(params, "addresses") != NULL)
		return array;
	result = json_incref(json_array_get(array, 0));
	json_decref(array);
	return result;
}

/* The guest goes on while its tables are read: that may take a while. */
static json_t *maps(void *context, json_t *params, struct control_error *error)
{
	struct machine *machine = context;
	struct view view;

	if (!get_view(machine, params, &view, error) || !pause_and_read(machine, &view, error))
		return NULL;
	machine_resume(machine);
	return maps_to_json(machine, view.vcpu, &view.paging);
}

static json_t *stat(void *context, json_t *params, struct control_error *error)
{
	return stat_to_json(context);
}

static json_t *hello(void *context, json_t *params, struct control_error *error)
{
	json_t *names = json_array();

	for (const struct control_method *m = inspect_methods; m->name != NULL; m++)
		json_array_append_new(names, json_string(m->name));
	return json_pack("{s:i, s:s, s:o}", "protocol", CONTROL_PROTOCOL, "version", BIFOLD_VERSION,
			 "methods", names);
}

const struct control_method inspect_methods[] = {
	{ "hello", hello, "" },
	{ "translate", translate, "address addresses brief cr3 vcpu" },
	{ "maps", maps, "cr3 vcpu" },
	{ "stat", stat, "" },
	{ "pause", steer_pause, "" },
	{ "resume", steer_resume, "" },
	{ "quit", steer_quit, "" },
	{ "balloon", steer_balloon, "bytes" },
	{ "budget", steer_budget, "bytes" },
	{ NULL, NULL, NULL },
};
