/* What this host is. */
#ifndef VMM_HOST_H
#define VMM_HOST_H

#include <stdbool.h>

/* "ept", "npt" or "shadow": how KVM here folds guest-physical addresses. */
const char *host_second_layer(void);

/* How many levels the tables of KVM's second layer have here, for pages of 4 KiB. */
unsigned host_second_levels(void);

/* Whether KVM here emulates a guest's ring 0: it has neither VMX nor SVM. */
bool host_emulates_ring0(void);

#endif
