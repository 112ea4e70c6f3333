/* Copies standard input to standard output, and at the end says on standard error how much it was.
 */
#include "guest/programs/runtime/runtime.h"

int main(int argc, char **argv)
{
	static char buffer[65536];
	uint64_t total = 0;

	for (;;) {
		long got = syscall3(SYS_READ, 0, buffer, sizeof(buffer));

		if (got == 0)
			break;
		if (got < 0)
			return 1;
		for (long done = 0; done < got;) {
			long put = syscall3(SYS_WRITE, 1, buffer + done, got - done);

			if (put < 0)
				return 1;
			done += put;
		}
		total += got;
	}
	print_error("echo: %lu bytes\n", total);
	return 0;
}
