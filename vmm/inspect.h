/* What the control socket answers. */
#ifndef VMM_INSPECT_H
#define VMM_INSPECT_H

#include "vmm/control.h"

/* The context is the struct machine. */
extern const struct control_method inspect_methods[];

#endif
