/*
 * bifold doctor's parts: the finding of a check, and the faults that a script can mend.
 */
#ifndef VMM_DOCTOR_H
#define VMM_DOCTOR_H

#define DOCTOR_TEXT_SIZE 192

enum doctor_outcome {
	DOCTOR_OK,
	DOCTOR_LIMITED, /* run works without it */
	DOCTOR_PROBLEM, /* run cannot work */
};

/* The faults that doctor_fix_print() mends; bits. */
enum doctor_fix {
	DOCTOR_FIX_DEVICES = 1 << 0, /* the devices belong to the group, now and after each boot */
	DOCTOR_FIX_MEMBER = 1 << 1,  /* the user is in the group */
	DOCTOR_FIX_SYSCTL = 1 << 2,  /* userfaultfd for everyone: a kernel without the device */
	DOCTOR_FIX_INTEL = 1 << 3,   /* KVM's module is loaded, now and after each boot */
	DOCTOR_FIX_AMD = 1 << 4,
};

struct doctor_finding {
	enum doctor_outcome outcome;
	char what[DOCTOR_TEXT_SIZE];
	char mend[DOCTOR_TEXT_SIZE]; /* what to do; empty: nothing, or nothing known */
	unsigned fix;		     /* bits; with any, mend is to run the script */
};

void doctor_found(struct doctor_finding *finding, enum doctor_outcome outcome, const char *format,
		  ...) __attribute__((format(printf, 3, 4)));
void doctor_mend(struct doctor_finding *finding, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Why this user could not open a device, whose file is called name in /dev, for reading and
 * writing: error, positive, says how open() failed.
 */
void doctor_device(struct doctor_finding *finding, const char *name, int error);

/* Prints a shell script for root that mends what the bits say. fix may be 0. */
void doctor_fix_print(unsigned fix);

/* The user's name, or NULL where the host has none for it. Valid until the next call. */
const char *doctor_user(void);

#endif
