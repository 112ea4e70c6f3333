/*
 * Registers as in the PC16550D's data sheet. Transmission takes no time: the holding register is
 * empty as long as the output has room. An interrupt is an edge when a source becomes pending; the
 * guest's handler looks until none is.
 *
 * The guest listens once it has enabled the receive interrupt, or when it does nothing but look at
 * the line status for a while. (Linux empties the receiver when it opens the line.)
 */
#include "devices/serial.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/event.h"
#include "devices/output.h"

/* Registers; the first two are the divisor's while LCR_DLAB is set. */
enum {
	DATA, /* RBR, THR */
	IER,
	IIR,	   /* read */
	FCR = IIR, /* write */
	LCR,
	MCR,
	LSR,
	MSR,
	SCR,
};

#define IER_RECEIVE  1u
#define IER_TRANSMIT 2u
#define IER_MASK     15u

#define IIR_NONE     1u
#define IIR_TRANSMIT 2u
#define IIR_RECEIVE  4u
#define IIR_FIFO     0xc0u

#define FCR_ENABLE	  1u
#define FCR_CLEAR_RECEIVE 2u

#define LCR_DLAB 128u

#define MCR_DTR	 1u
#define MCR_RTS	 2u
#define MCR_OUT1 4u
#define MCR_OUT2 8u
#define MCR_LOOP 16u
#define MCR_MASK 31u

#define LSR_READY 1u
#define LSR_EMPTY 0x60u /* the holding and the shift register */

#define MSR_CTS 16u
#define MSR_DSR 32u
#define MSR_RI	64u
#define MSR_DCD 128u

#define FIFO_SIZE 16
/* So many looks at the line status, one after the other: the guest waits for input. A driver that
 * waits to transmit sends when it has looked. */
#define PATIENT_LOOKS 64

/* (C) constant after create; (L) lock */
struct serial {
	struct serial_config config; /* (C) */
	struct output *output;	     /* (C) */
	int interrupt_fd;	     /* (C) */

	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr, divisor[2]; /* (L) */
	bool fifo;				/* (L) */
	bool transmit_pending;			/* (L) until IIR told of it */
	unsigned raised;			/* (L) sources that made their edge: IER's bits */
	unsigned looks;				/* (L) at LSR in a row */
	uint8_t received[FIFO_SIZE];		/* (L) the oldest first */
	unsigned received_count;		/* (L) */
	bool input_waits;			/* (L) serial_input() took less than there was */
};

/* With the lock: makes the edge for every source that has become pending. */
static void update(struct serial *serial)
{
	unsigned pending = (serial->received_count > 0 ? IER_RECEIVE : 0) |
			   (serial->transmit_pending ? IER_TRANSMIT : 0);

	pending &= serial->ier;
	if (pending & ~serial->raised)
		event_put(serial->interrupt_fd); /* a guest that misses one asks again */
	serial->raised = pending;
}

/* All interrupts at once on a line that is not up are a driver's look for what the chip is. */
static bool listens(const struct serial *serial)
{
	bool probes = serial->ier == IER_MASK && !(serial->mcr & MCR_RTS);

	return ((serial->ier & IER_RECEIVE) && !probes) || serial->looks >= PATIENT_LOOKS;
}

/* With the lock: whether to tell the owner, once it is released, that there is room. */
static bool wants_input(struct serial *serial)
{
	bool tell = serial->input_waits && serial->received_count == 0 && listens(serial);

	if (tell)
		serial->input_waits = false;
	return tell;
}

static void receive(struct serial *serial, uint8_t byte)
{
	if (serial->received_count < FIFO_SIZE)
		serial->received[serial->received_count++] = byte;
}

static uint8_t take_received(struct serial *serial)
{
	uint8_t byte = serial->received[0];

	if (serial->received_count == 0)
		return 0;
	serial->received_count--;
	memmove(serial->received, serial->received + 1, serial->received_count);
	return byte;
}

static uint8_t identify(struct serial *serial)
{
	uint8_t fifo = serial->fifo ? IIR_FIFO : 0;

	if ((serial->ier & IER_RECEIVE) && serial->received_count > 0)
		return fifo | IIR_RECEIVE;
	if ((serial->ier & IER_TRANSMIT) && serial->transmit_pending) {
		serial->transmit_pending = false;
		return fifo | IIR_TRANSMIT;
	}
	return fifo | IIR_NONE;
}

/* In the loop the outputs are joined to the inputs; else the other side is there and ready. */
static uint8_t modem_status(const struct serial *serial)
{
	uint8_t mcr = serial->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static uint8_t line_status(struct serial *serial)
{
	serial->looks += serial->looks < PATIENT_LOOKS;
	return (serial->received_count > 0 ? LSR_READY : 0) |
	       (output_has_room(serial->output) ? LSR_EMPTY : 0);
}

static uint8_t read_register(struct serial *serial, unsigned number)
{
	bool divisor = serial->lcr & LCR_DLAB;

	switch (number) {
	case DATA:
		return divisor ? serial->divisor[0] : take_received(serial);
	case IER:
		return divisor ? serial->divisor[1] : serial->ier;
	case IIR:
		return identify(serial);
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		return line_status(serial);
	case MSR:
		return modem_status(serial);
	default:
		return serial->scr;
	}
}

static void enable_interrupts(struct serial *serial, uint8_t value)
{
	/* To be told of an empty holding register is to be told at once. */
	if (value & ~serial->ier & IER_TRANSMIT)
		serial->transmit_pending = output_has_room(serial->output);
	serial->ier = value & IER_MASK;
}

/* All but the data. */
static void write_register(struct serial *serial, unsigned number, uint8_t value)
{
	switch (number) {
	case IER:
		if (serial->lcr & LCR_DLAB)
			serial->divisor[1] = value;
		else
			enable_interrupts(serial, value);
		break;
	case FCR:
		serial->fifo = value & FCR_ENABLE;
		if (value & FCR_CLEAR_RECEIVE)
			serial->received_count = 0;
		break;
	case LCR:
		serial->lcr = value;
		break;
	case MCR:
		serial->mcr = value & MCR_MASK;
		break;
	case SCR:
		serial->scr = value;
		break;
	default:
		break; /* the status registers */
	}
}

/* The byte leaves without the lock: it may have to wait for room. */
static void transmit(struct serial *serial, uint8_t byte)
{
	bool out = !(serial->mcr & MCR_LOOP);

	serial->looks = 0;
	if (out) {
		pthread_mutex_unlock(&serial->lock);
		output_put(serial->output, byte);
		pthread_mutex_lock(&serial->lock);
	} else {
		receive(serial, byte);
	}
	serial->transmit_pending = output_has_room(serial->output);
}

/* After an access, with the lock, which it lets go. */
static void finish_access(struct serial *serial)
{
	bool tell;

	update(serial);
	tell = wants_input(serial);
	pthread_mutex_unlock(&serial->lock);
	if (tell)
		serial->config.input_room(serial->config.context);
}

/* Each byte of a wider access is for a register of its own, as on the ISA bus. */
static int write_ports(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	struct serial *serial = device;

	pthread_mutex_lock(&serial->lock);
	for (unsigned i = 0; i < size && offset + i < SERIAL_PORTS; i++, value >>= 8) {
		unsigned number = (unsigned)offset + i;

		if (number == DATA && (serial->lcr & LCR_DLAB))
			serial->divisor[0] = (uint8_t)value;
		else if (number == DATA)
			transmit(serial, (uint8_t)value);
		else
			write_register(serial, number, (uint8_t)value);
	}
	finish_access(serial);
	return 0;
}

static int read_ports(void *device, uint64_t offset, unsigned size, uint64_t *value)
{
	struct serial *serial = device;

	*value = 0;
	pthread_mutex_lock(&serial->lock);
	for (unsigned i = 0; i < size; i++) {
		uint64_t byte = offset + i < SERIAL_PORTS
					? read_register(serial, (unsigned)offset + i)
					: 255;

		*value |= byte << (8 * i);
	}
	finish_access(serial);
	return 0;
}

const struct bus_ops serial_ops = {
	.name = "serial",
	.write = write_ports,
	.read = read_ports,
};

static void output_room(void *context)
{
	struct serial *serial = context;

	pthread_mutex_lock(&serial->lock);
	serial->transmit_pending = true;
	update(serial);
	pthread_mutex_unlock(&serial->lock);
}

int serial_create(const struct serial_config *config, struct serial **out)
{
	struct serial *serial = calloc(1, sizeof(*serial));
	struct output_config output = {
		.loop = config->loop,
		.fd = config->output_fd,
		.stop_fd = config->stop_fd,
		.room = output_room,
		.context = serial,
	};
	int error;

	CHECK(serial != NULL);
	serial->config = *config;
	pthread_mutex_init(&serial->lock, NULL);
	serial->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = serial->interrupt_fd < 0 ? -errno : 0;
	if (error == 0)
		error = output_create(&output, &serial->output);
	if (error != 0) {
		serial_destroy(serial);
		return error;
	}
	*out = serial;
	return 0;
}

void serial_destroy(struct serial *serial)
{
	if (serial == NULL)
		return;
	output_destroy(serial->output);
	if (serial->interrupt_fd >= 0)
		close(serial->interrupt_fd);
	pthread_mutex_destroy(&serial->lock);
	free(serial);
}

int serial_interrupt_fd(const struct serial *serial)
{
	return serial->interrupt_fd;
}

size_t serial_input(struct serial *serial, const uint8_t *bytes, size_t length)
{
	size_t taken = 0;

	pthread_mutex_lock(&serial->lock);
	if (listens(serial) && !(serial->mcr & MCR_LOOP))
		while (taken < length && serial->received_count < FIFO_SIZE)
			receive(serial, bytes[taken++]);
	serial->input_waits = serial->input_waits || taken < length;
	update(serial);
	pthread_mutex_unlock(&serial->lock);
	return taken;
}

void serial_drain(struct serial *serial, int give_up_fd)
{
	output_drain(serial->output, give_up_fd);
}
