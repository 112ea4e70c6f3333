/* The methods of the control socket that change a running machine: see vmm/control/server.h. */
#ifndef VMM_CONTROL_STEER_H
#define VMM_CONTROL_STEER_H

#include "vmm/control/server.h"

json_t *steer_pause(void *machine, json_t *params, struct control_error *error);
json_t *steer_resume(void *machine, json_t *params, struct control_error *error);
json_t *steer_quit(void *machine, json_t *params, struct control_error *error);

/* {bytes}: the balloon's target; without it, nothing is changed. Its state, as in stat. */
json_t *steer_balloon(void *machine, json_t *params, struct control_error *error);

/* {bytes}: the budget, 0 for none; without it, nothing is changed. {budget_bytes: in force,
 * budget_wanted_bytes}. */
json_t *steer_budget(void *machine, json_t *params, struct control_error *error);

#endif
