#include "vmm/ask/top_model.h"

#include "vmm/common/json.h"

void top_model_finish(struct top_model *model)
{
	json_decref(model->now);
	json_decref(model->before);
	*model = (struct top_model){ 0 };
}

void top_model_put(struct top_model *model, json_t *stat)
{
	json_decref(model->before);
	model->before = model->now;
	model->now = stat;
}

/* How far a counter went up; one that went down is another guest's. */
static uint64_t growth(const struct top_model *model, const char *path)
{
	uint64_t now = json_count(model->now, path), before = json_count(model->before, path);

	return now > before ? now - before : 0;
}

double top_seconds(const struct top_model *model)
{
	return model->before != NULL ? (double)growth(model, "wall_ns") / 1e9 : 0;
}

double top_rate(const struct top_model *model, const char *path)
{
	double seconds = top_seconds(model);

	return seconds > 0 ? (double)growth(model, path) / seconds : 0;
}

static const json_t *buckets_of(const json_t *stat, const char *kind)
{
	return json_object_get(json_object_get(json_object_get(stat, "latency_ns"), kind),
			       "buckets");
}

static uint64_t bucket_end(const json_t *buckets, size_t i)
{
	return json_count_of(json_array_get(json_array_get(buckets, i), 0));
}

static uint64_t bucket_count(const json_t *buckets, size_t i)
{
	return json_count_of(json_array_get(json_array_get(buckets, i), 1));
}

/* How many came into bucket i of now since before. Both rise; *at is where before is. */
static uint64_t bucket_growth(const json_t *now, size_t i, const json_t *before, size_t *at)
{
	uint64_t end = bucket_end(now, i), count = bucket_count(now, i), had = 0;

	while (*at < json_array_size(before) && bucket_end(before, *at) < end)
		++*at;
	if (*at < json_array_size(before) && bucket_end(before, *at) == end)
		had = bucket_count(before, *at);
	return count > had ? count - had : 0;
}

uint64_t top_permille(const struct top_model *model, const char *kind, unsigned permille)
{
	const json_t *now = buckets_of(model->now, kind);
	const json_t *before = buckets_of(model->before, kind);
	uint64_t total = 0, seen = 0, last = UINT64_MAX;
	size_t at = 0;

	for (size_t i = 0; i < json_array_size(now); i++)
		total += bucket_growth(now, i, before, &at);
	at = 0;
	for (size_t i = 0; i < json_array_size(now) && total > 0; i++) {
		uint64_t count = bucket_growth(now, i, before, &at);

		seen += count;
		if (count > 0)
			last = bucket_end(now, i);
		if ((double)seen * 1000 >= (double)total * permille && seen > 0)
			break;
	}
	return last;
}
