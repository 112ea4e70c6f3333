/* What the control socket does to a running machine, when asked: methods of vmm/control.h. */
#ifndef VMM_STEER_H
#define VMM_STEER_H

#include "vmm/control.h"

json_t *steer_pause(void *machine, json_t *params, char error[CONTROL_ERROR_SIZE]);
json_t *steer_resume(void *machine, json_t *params, char error[CONTROL_ERROR_SIZE]);
json_t *steer_quit(void *machine, json_t *params, char error[CONTROL_ERROR_SIZE]);

#endif
