/*
 * The figures that 'bifold top' shows: the last answer of the guest (vmm/control/stat.h), and how
 * it differs from the one before. Both came over a socket and may be anything.
 */
#ifndef VMM_ASK_TOP_MODEL_H
#define VMM_ASK_TOP_MODEL_H

#include <jansson.h>
#include <stdint.h>

/* Zeroed: nothing has come yet. */
struct top_model {
	json_t *now, *before; /* owned, or NULL */
};

void top_model_finish(struct top_model *model);

/* A new answer, which becomes the model's. */
void top_model_put(struct top_model *model, json_t *stat);

/* Seconds between the two answers, by the guest's clock; 0: there are not two. */
double top_seconds(const struct top_model *model);

/* How often a second a counter of the answer, "faults.swap", went up between the two. */
double top_rate(const struct top_model *model, const char *path);

/*
 * Of the faults of a kind between the two answers: the latency in ns that permille / 1000 of them
 * did not exceed (as hist_permille(), but the bucket's end). UINT64_MAX: there were none.
 */
uint64_t top_permille(const struct top_model *model, const char *kind, unsigned permille);

#endif
