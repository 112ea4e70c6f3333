/* A translation for people, from its JSON, which may have come over a socket: it is printed, never
 * trusted. */
#include <errno.h>
#include <string.h>

#include "vmm/common/arguments.h"
#include "vmm/common/json.h"
#include "vmm/common/translation_text.h"
#include "vmm/common/words.h"

static bool has(const json_t *object, const char *name)
{
	return json_object_get(object, name) != NULL;
}

static const char *size_name(long long bytes)
{
	return bytes == 1 << 30 ? "1 GiB" : bytes == 2 << 20 ? "2 MiB" : "4 KiB";
}

/* "compressed to 1203 bytes (lz4)" */
static void print_state(const json_t *fold, FILE *out)
{
	const char *state = json_text(fold, "state");

	fputs(word_text(state), out);
	if (has(fold, "content"))
		fprintf(out, ", its content %s", word_text(json_text(fold, "content")));
	if (has(fold, "value"))
		fprintf(out, " with %s", json_text(fold, "value"));
	if (has(fold, "bytes"))
		fprintf(out, " to %lld bytes (%s)", json_number(fold, "bytes"),
			json_text(fold, "compressor"));
	if (has(fold, "slot"))
		fprintf(out,
			strcmp(has(fold, "content") ? json_text(fold, "content") : state,
			       "swapped") == 0
				? " at slot %lld"
				: ", an older copy at slot %lld",
			json_number(fold, "slot"));
	if (has(fold, "in_balloon"))
		fputs(", in the guest's balloon", out);
	if (has(fold, "pins"))
		fputs(", pinned by the monitor", out);
}

static void print_step(const json_t *step, FILE *out)
{
	const json_t *in = json_object_get(step, "in"), *bit;
	char place[32], bits[64] = "";
	size_t i, n = 0;

	snprintf(place, sizeof(place), "%s[%lld]", json_text(step, "table"),
		 json_number(step, "index"));
	fprintf(out, "  %-9s at %-12s ", place, json_text(step, "at"));
	if (!has(step, "entry")) {
		fputs(WORD_NOTHING "\n", out);
		return;
	}
	json_array_foreach(json_object_get(step, "bits"), i,
			   bit) if (n < sizeof(bits) && json_is_string(bit)) n +=
		(size_t)snprintf(bits + n, sizeof(bits) - n, "%s%s", i > 0 ? " " : "",
				 json_string_value(bit));
	fprintf(out, "%s  %-11s", json_text(step, "entry"), i > 0 ? bits : WORD_NOTHING);
	if (json_number(step, "key") != 0 && i > 0)
		fprintf(out, " key %lld", json_number(step, "key"));
	if (has(in, "state")) {
		fputs("  table: ", out);
		print_state(in, out);
	}
	if (has(step, "same_as"))
		fprintf(out, "; it is the %s again", json_text(step, "same_as"));
	fputc('\n', out);
}

static const char *const rights_names[] = { "read", "write", "execute" };

/* " (W is clear in the PT)" */
static void print_why(const json_t *verdict, FILE *out)
{
	const char *bit = json_text(verdict, "bit");

	if (!has(verdict, "table"))
		fprintf(out, " (%s)", bit);
	else if (strcmp(bit, "key") == 0)
		fprintf(out, " (by the key in the %s)", json_text(verdict, "table"));
	else
		fprintf(out, " (%s is %s in the %s)", bit, strcmp(bit, "NX") == 0 ? "set" : "clear",
			json_text(verdict, "table"));
}

/* "  a program may read, execute; not write (W is clear in the PT)" */
static void print_rights(const char *who, const json_t *rights, FILE *out)
{
	const json_t *verdict[3];
	const char *separator = " may ";

	fprintf(out, "  %s", who);
	for (int i = 0; i < 3; i++) {
		verdict[i] = json_object_get(rights, rights_names[i]);
		if (!json_truth(verdict[i], "allowed"))
			continue;
		fprintf(out, "%s%s", separator, rights_names[i]);
		separator = ", ";
	}
	separator = separator[0] == ',' ? "; not " : " may not ";
	for (int i = 0; i < 3; i++) {
		if (json_truth(verdict[i], "allowed"))
			continue;
		fprintf(out, "%s%s", separator, rights_names[i]);
		separator = ", ";
		/* Once is enough for neighbours that stop at the same place. */
		if (i == 2 || !json_equal(verdict[i], verdict[i + 1]))
			print_why(verdict[i], out);
	}
	fputc('\n', out);
}

static void print_first(const json_t *t, FILE *out)
{
	const json_t *step;
	size_t i;

	fputs("First layer: the guest's page tables\n", out);
	json_array_foreach(json_object_get(t, "steps"), i, step) print_step(step, out);
	if (!has(t, "guest_physical")) {
		fprintf(out, "  stops here: %s\n", json_text(t, "reason"));
		return;
	}
	if (i == 0)
		fprintf(out, "  %s\n", json_text(t, "reason"));
	fprintf(out, "  = guest-physical %s, in a page of %s\n", json_text(t, "guest_physical"),
		size_name(json_number(t, "page_size")));
	if (i == 0)
		return;
	print_rights("a program", json_object_get(json_object_get(t, "access"), "user"), out);
	print_rights("the kernel", json_object_get(json_object_get(t, "access"), "kernel"), out);
}

static void print_host(const json_t *second, FILE *out)
{
	const json_t *kvm = json_object_get(second, "kvm_mappings");

	fprintf(out, "  host-virtual %s, backed by pages of %s%s\n",
		json_text(second, "host_virtual"),
		size_name(json_number(second, "backing_page_size")),
		!has(second, "host_mapped")	    ? ""
		: json_truth(second, "host_mapped") ? ", mapped"
						    : ", not mapped: a touch is a fault");
	if (has(second, "host_frame"))
		fprintf(out, "  host frame %s%s%s\n", json_text(second, "host_frame"),
			has(second, "host_flags") ? ": " : "",
			has(second, "host_flags") ? json_text(second, "host_flags") : "");
	else if (json_truth(second, "host_mapped"))
		fputs("  host frame: not shown to this user by the kernel\n", out);
	if (kvm != NULL)
		fprintf(out,
			"  KVM's mappings of the whole guest: %lld of 4 KiB, %lld of 2 MiB, %lld "
			"of 1 GiB\n",
			json_number(kvm, "4K"), json_number(kvm, "2M"), json_number(kvm, "1G"));
}

static void print_second(const json_t *second, FILE *out)
{
	fprintf(out, "Second layer: %s\n", json_text(second, "layer"));
	if (!json_truth(second, "memory")) {
		fputs("  stops here: the guest has no memory there, an access leaves it\n", out);
		return;
	}
	fprintf(out, "  memslot %lld, offset %s\n  frame %s: ", json_number(second, "memslot"),
		json_text(second, "offset"), json_text(second, "frame"));
	if (has(second, "state"))
		print_state(second, out);
	else
		fputs("the host kernel's to manage", out);
	fputc('\n', out);
	print_host(second, out);
}

static void print_bill(const json_t *bill, FILE *out)
{
	long long g = json_number(bill, "guest_levels"), h = json_number(bill, "second_levels");
	const json_t *way;
	size_t i;

	fputs("Bill: memory references of a hardware walk\n", out);
	if (!json_truth(bill, "complete")) {
		fprintf(out,
			"  %4lld  until it stops: %lld of the guest's entries, each found by %lld "
			"more\n",
			json_number(bill, "references"), g, h);
		return;
	}
	fprintf(out, "  %4lld  nested: (g+1)(h+1)-1 with g = %lld and h = %lld levels%s\n",
		json_number(bill, "references"), g, h,
		has(bill, "references_shadow") ? "; not done here" : "");
	if (has(bill, "references_shadow"))
		fprintf(out, "  %4lld  here: a shadow table folds both layers into one\n",
			json_number(bill, "references_shadow"));
	fprintf(out, "  %4lld  with one layer, as a process on the host\n",
		json_number(bill, "references_one_layer"));
	json_array_foreach(json_object_get(bill, "cached"), i, way) fprintf(
		out, "  %4lld  where %s\n", json_number(way, "references"), json_text(way, "what"));
}

static void print_brief(const json_t *t, FILE *out)
{
	fprintf(out, "%-18s  ", json_text(t, "address"));
	if (!has(t, "guest_physical")) {
		fprintf(out, "%s\n", json_text(t, "reason"));
		return;
	}
	fprintf(out, "%-14s  %s  %s  ", json_text(t, "guest_physical"),
		size_name(json_number(t, "page_size")), json_text(t, "may"));
	print_state(t, out);
	fputc('\n', out);
}

static void print_whole(const json_t *t, FILE *out)
{
	fprintf(out, "%s on vCPU %lld, %sCR3 %s\n", json_text(t, "address"), json_number(t, "vcpu"),
		json_truth(t, "cr3_given") ? "with the given " : "", json_text(t, "cr3"));
	print_first(t, out);
	if (has(t, "second"))
		print_second(json_object_get(t, "second"), out);
	if (has(t, "bill"))
		print_bill(json_object_get(t, "bill"), out);
}

int translation_print(const json_t *t, FILE *out)
{
	struct arguments_fit fit;

	if (!json_is_object(t) || !has(t, "address") || !has(t, "end"))
		return -EINVAL;
	out = arguments_fit_begin(&fit, out);
	if (has(t, "steps"))
		print_whole(t, out);
	else
		print_brief(t, out);
	arguments_fit_end(&fit);
	return 0;
}
