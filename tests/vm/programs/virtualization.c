/* Prints which virtualization the processor says it has: "vmx", "svm" or "none". */
#include <cpuid.h>
#include <stdio.h>

int main(void)
{
	unsigned a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 5))
		puts("vmx");
	else if (__get_cpuid(0x80000001u, &a, &b, &c, &d) && (c & 1u << 2))
		puts("svm");
	else
		puts("none");
	return 0;
}
