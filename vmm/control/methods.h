/* The methods of the control socket. */
#ifndef VMM_CONTROL_METHODS_H
#define VMM_CONTROL_METHODS_H

#include "vmm/control/server.h"

/* The context is the struct machine. */
extern const struct control_method inspect_methods[];

#endif
