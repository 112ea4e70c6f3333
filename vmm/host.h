/* What this host is. */
#ifndef VMM_HOST_H
#define VMM_HOST_H

/* "ept", "npt" or "shadow": how KVM here folds guest-physical addresses. */
const char *host_second_layer(void);

#endif
