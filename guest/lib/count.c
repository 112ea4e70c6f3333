/* The event counters. */
#include "guest/lib/count.h"

struct vm_count vm_count;
