/*
 * The measurements of bench translation: a cell for each pair of guest page and host page, and one
 * for the ordinary process on each page size; in a cell, the samples of each loop at each working
 * set, and the events. Lines of guest/programs/bench/translation.c go in, medians come out.
 */
#ifndef VMM_BENCH_RESULT_H
#define VMM_BENCH_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_page { BENCH_4K, BENCH_2M, BENCH_1G, BENCH_PAGES };

struct bench_page_size {
	const char *name; /* "4K" */
	uint64_t bytes;
	unsigned levels; /* of tables that a walk goes through */
};
extern const struct bench_page_size bench_page_size[BENCH_PAGES];

/* In the place of the host's page: no guest, an ordinary process. */
#define BENCH_NATIVE BENCH_PAGES

enum bench_loop { BENCH_CHASE, BENCH_PACKED, BENCH_STRIDE, BENCH_TOUCH, BENCH_SCAN, BENCH_LOOPS };
extern const char *const bench_loop_name[BENCH_LOOPS];

/* Working sets are powers of two from BENCH_LEAST on. */
#define BENCH_LEAST_SHIFT 16
#define BENCH_LEAST	  (1ull << BENCH_LEAST_SHIFT)
#define BENCH_SIZES	  20
#define BENCH_EVENTS	  16

/* Events that processors count, where we may read them. */
enum bench_counter { BENCH_TLB_MISSES, BENCH_WALK_CYCLES, BENCH_COUNTERS };
extern const char *const bench_counter_name[BENCH_COUNTERS];

struct bench_series {
	double *value; /* owned */
	size_t count;
};

struct bench_set {
	struct bench_series ns;	  /* an access; a sample a round */
	struct bench_series pace; /* of the processor in that round, ns; beside ns */
	uint64_t accesses;	  /* of all rounds */
	uint64_t counted[BENCH_COUNTERS];
};

struct bench_event {
	char name[32];
	struct bench_series p50, p99; /* ns; a sample a pass */
	char absent[96];	      /* why there is none; empty: there is */
};

struct bench_cell {
	char absent[192]; /* why nothing was measured; empty: it was */
	struct bench_set set[BENCH_LOOPS][BENCH_SIZES];
	struct bench_event event[BENCH_EVENTS];
	size_t event_count;
	uint64_t mapped[BENCH_PAGES]; /* second-layer mappings by size; UINT64_MAX: not known */
	struct bench_series tick;     /* of the processor's counter, fs; two a run */
	bool pcid;		      /* process switches kept the TLB */
	bool right;		      /* content was checked, and the program came to its end */
	bool counted;		      /* the sets have counters */
};

void bench_cell_init(struct bench_cell *cell);
void bench_cell_finish(struct bench_cell *cell);

/*
 * One line of the program's, without newline. 0, also for a line that only announces; -EPROTO: no
 * line of that program's; -EBADMSG: the program found wrong content.
 */
int bench_cell_take(struct bench_cell *cell, const char *line);

/* The set that a "start" or "set" line is about, or NULL. */
struct bench_set *bench_cell_set(struct bench_cell *cell, const char *line);

/* The event of that name; NULL: none was measured, nor said to be absent. */
const struct bench_event *bench_cell_event(const struct bench_cell *cell, const char *name);

/* Adds a sample, or why there is none, to the event of that name. -ENOSPC: too many events. */
int bench_event_add(struct bench_cell *cell, const char *name, double p50, double p99);
int bench_event_absent(struct bench_cell *cell, const char *name, const char *reason);

void bench_series_add(struct bench_series *series, double value);
double bench_median(const struct bench_series *series); /* NAN when empty */
/* The spread of the middle half of the samples, as a share of the median; NAN when empty. */
double bench_spread(const struct bench_series *series);

/*
 * Leaves out the rounds in which others slowed the processor itself down, such as a neighbour on
 * its second thread: those with a pace above `limit` ns, but for the three with the best. How many.
 */
size_t bench_set_drop_disturbed(struct bench_set *set, double limit);

/* The value that a share (0..1) of the series does not exceed. */
double bench_quantile(const struct bench_series *series, double share);

/* Of a cell: median ns an access, NAN where it was not measured. */
double bench_cell_ns(const struct bench_cell *cell, enum bench_loop loop, unsigned size);
/* The middle half of its rounds spreads by more than half of the median: no figure to rely on. */
bool bench_cell_unsure(const struct bench_cell *cell, enum bench_loop loop, unsigned size);

/*
 * Refuses the cells whose counter did not tick as that of most: their absent says so. All count the
 * same counter, so it is the calibration that went wrong. How many.
 */
size_t bench_refuse_ticks(struct bench_cell *cells, size_t count);

/* The largest working set that all measured ones of these cells have; -1: none. */
int bench_common_size(const struct bench_cell *const *cells, size_t count);

/*
 * Memory references of a walk that no cache helps: (g+1)(h+1)-1 with g and h levels under nested
 * paging; under shadow paging, one table with the smaller page's levels. second_layer is
 * host_second_layer()'s.
 */
bool bench_is_nested(const char *second_layer);
unsigned bench_references_nested(enum bench_page guest, enum bench_page host);
unsigned bench_references(const char *second_layer, enum bench_page guest, enum bench_page host);

#endif
