/*
 * Output processing stays on: the monitor's own lines end with a plain newline, and the guest's own
 * carriage returns do no harm.
 *
 * Keys that are typed while the guest does not listen are kept, as many as the buffer holds, and
 * then dropped: Ctrl-A x must be heard in any case. Other input waits at its source.
 */
#include "vmm/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

#define ESCAPE	    1 /* Ctrl-A */
#define BUFFER_SIZE 4096

struct terminal {
	struct terminal_config config;
	struct termios raw;
	bool is_terminal;
	bool ended;   /* no more input comes */
	bool escaped; /* the last key was ESCAPE */
	size_t used;  /* bytes that the guest has not taken */
	uint8_t buffer[BUFFER_SIZE];
};

/* For the signals that end the process, which know no context. */
static struct {
	volatile sig_atomic_t fd; /* -1: nothing to put back */
	struct termios mode;
} saved = { .fd = -1 };

/* Those that nobody waits for; SIGKILL is beyond help. */
static const int last_signals[] = { SIGSEGV, SIGBUS,  SIGILL,	 SIGFPE,  SIGABRT, SIGQUIT,
				    SIGTRAP, SIGSYS,  SIGXCPU,	 SIGXFSZ, SIGALRM, SIGVTALRM,
				    SIGPROF, SIGUSR2, SIGSTKFLT, SIGIO,	  SIGPWR };
#define LAST_SIGNAL_COUNT (sizeof(last_signals) / sizeof(last_signals[0]))

/* Async-signal-safe. */
static void put_back(void)
{
	int fd = saved.fd;

	if (fd >= 0)
		tcsetattr(fd, TCSANOW, &saved.mode);
}

/* The handler is gone after its first call: raised again, the signal ends the process. */
static void at_last_signal(int number)
{
	put_back();
	raise(number);
}

static void watch_signals(bool on)
{
	struct sigaction action = { .sa_handler = on ? at_last_signal : SIG_DFL,
				    .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < LAST_SIGNAL_COUNT; i++)
		sigaction(last_signals[i], &action, NULL);
}

static void make_raw(struct termios *mode)
{
	mode->c_iflag &=
		~(unsigned)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	mode->c_lflag &= ~(unsigned)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	mode->c_cflag &= ~(unsigned)(CSIZE | PARENB);
	mode->c_cflag |= CS8;
	mode->c_cc[VMIN] = 1;
	mode->c_cc[VTIME] = 0;
}

/* The signals first: from the mode's change on they find what to put back. */
static int take_terminal(struct terminal *terminal)
{
	CHECK(saved.fd < 0);
	if (tcgetattr(terminal->config.fd, &saved.mode) != 0)
		return -errno;
	terminal->raw = saved.mode;
	make_raw(&terminal->raw);
	saved.fd = terminal->config.fd;
	atexit(put_back);
	watch_signals(true);
	return tcsetattr(terminal->config.fd, TCSANOW, &terminal->raw) == 0 ? 0 : -errno;
}

int terminal_create(const struct terminal_config *config, struct terminal **out)
{
	struct terminal *terminal = calloc(1, sizeof(*terminal));
	int error = 0;

	CHECK(terminal != NULL);
	terminal->config = *config;
	terminal->is_terminal = !config->cooked && isatty(config->fd);
	if (terminal->is_terminal)
		error = take_terminal(terminal);
	if (error != 0) {
		log_error("cannot set the terminal's mode: %s", strerror(-error));
		terminal_destroy(terminal);
		return error;
	}
	terminal_measure(terminal);
	*out = terminal;
	return 0;
}

void terminal_destroy(struct terminal *terminal)
{
	if (terminal == NULL)
		return;
	if (terminal->is_terminal) {
		put_back();
		watch_signals(false);
		saved.fd = -1;
	}
	free(terminal);
}

int terminal_poll_fd(const struct terminal *terminal)
{
	bool wanted = terminal->is_terminal || terminal->used == 0;

	return wanted && !terminal->ended ? terminal->config.fd : -1;
}

void terminal_room(struct terminal *terminal)
{
	size_t taken;

	if (terminal->used == 0)
		return;
	taken = terminal->config.input(terminal->config.context, terminal->buffer, terminal->used);
	terminal->used -= taken;
	memmove(terminal->buffer, terminal->buffer + taken, terminal->used);
}

static void pass_on(struct terminal *terminal, uint8_t byte)
{
	if (terminal->used < sizeof(terminal->buffer))
		terminal->buffer[terminal->used++] = byte;
}

/* An answer, not an error; but a line in any case. */
static void say_help(void)
{
	log_error("Ctrl-A x ends the guest, Ctrl-A Ctrl-A sends it one Ctrl-A, Ctrl-A h says this");
}

/* The key after ESCAPE. One that means nothing was for the guest, and ESCAPE too. */
static void take_command(struct terminal *terminal, uint8_t key)
{
	switch (key) {
	case 'x':
		terminal->config.leave(terminal->config.context);
		break;
	case 'h':
		say_help();
		break;
	case ESCAPE:
		pass_on(terminal, ESCAPE);
		break;
	default:
		pass_on(terminal, ESCAPE);
		pass_on(terminal, key);
		break;
	}
}

static void take_key(struct terminal *terminal, uint8_t key)
{
	if (terminal->escaped) {
		terminal->escaped = false;
		take_command(terminal, key);
	} else if (key == ESCAPE) {
		terminal->escaped = true;
	} else {
		pass_on(terminal, key);
	}
}

void terminal_ready(struct terminal *terminal)
{
	uint8_t bytes[BUFFER_SIZE];
	ssize_t n = read(terminal->config.fd, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		terminal->ended = true;
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (terminal->is_terminal)
			take_key(terminal, bytes[i]);
		else
			pass_on(terminal, bytes[i]);
	}
	terminal_room(terminal);
}

void terminal_measure(struct terminal *terminal)
{
	struct winsize size;

	if (terminal->config.resized != NULL && ioctl(terminal->config.fd, TIOCGWINSZ, &size) == 0)
		terminal->config.resized(terminal->config.context, size.ws_col, size.ws_row);
}

void terminal_continue(struct terminal *terminal)
{
	if (terminal->is_terminal)
		tcsetattr(terminal->config.fd, TCSANOW, &terminal->raw);
}
