#include "vmm/steer.h"

#include "base/log.h"
#include "vmm/machine.h"

#define PAUSE_MS 2000 /* for a vCPU to come out */

json_t *steer_pause(void *context, json_t *params, char error[CONTROL_ERROR_SIZE])
{
	struct machine *machine = context;

	if (machine_hold(machine, PAUSE_MS) != 0) {
		snprintf(error, CONTROL_ERROR_SIZE,
			 "a vCPU did not leave the guest in %d s: it waits for a page",
			 PAUSE_MS / 1000);
		return NULL;
	}
	log_info("paused, until 'bifold resume'");
	return json_pack("{s:s}", "state", "paused");
}

json_t *steer_resume(void *context, json_t *params, char error[CONTROL_ERROR_SIZE])
{
	machine_let_go(context);
	return json_pack("{s:s}", "state", "running");
}

json_t *steer_quit(void *context, json_t *params, char error[CONTROL_ERROR_SIZE])
{
	struct machine *machine = context;

	if (!machine_stopping(machine))
		log_error("stopped by 'bifold quit'");
	machine_stop(machine, MACHINE_QUIT, 0);
	return json_pack("{s:s}", "state", "stopping");
}
