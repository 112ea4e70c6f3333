/* A file that is mapped and changed: what is written one way is read every other. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 20000

static int failures;

static void expect(int right, const char *what)
{
	if (!right) {
		printf("mapfile: %s\n", what);
		failures++;
	}
}

int main(void)
{
	int fd = open("/tmp/mapfile", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char buffer[16], *shared, *private;

	expect(fd >= 0 && ftruncate(fd, SIZE) == 0, "no file");
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	expect(shared != MAP_FAILED && private != MAP_FAILED, "no mapping");
	expect(pwrite(fd, "written", 8, 5000) == 8 && !strcmp(shared + 5000, "written"),
	       "a mapping does not see a write");
	strcpy(shared + 9000, "mapped");
	expect(pread(fd, buffer, 7, 9000) == 7 && !strcmp(buffer, "mapped"),
	       "a read does not see the mapping");
	expect(!strcmp(private + 9000, "mapped"), "the private mapping does not see it");
	strcpy(private + 9000, "mine");
	expect(!strcmp(shared + 9000, "mapped"), "a private write is shared");
	expect(msync(shared, SIZE, MS_SYNC) == 0, "msync");
	expect(ftruncate(fd, 6000) == 0 && lseek(fd, 0, SEEK_END) == 6000, "truncation");
	expect(!strcmp(shared + 5000, "written"), "truncation took too much");
	unlink("/tmp/mapfile");
	expect(pread(fd, buffer, 8, 5000) == 8 && !strcmp(buffer, "written"),
	       "an open file went with its name");
	puts(failures ? "mapfile: wrong" : "mapfile: all is right");
	return failures != 0;
}
