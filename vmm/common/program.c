#include "vmm/common/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "vmm/common/path.h"

#define PROGRAM_HEADER_MAX 128

static int refuse(const char *path, const char *why)
{
	log_error("%s %s", path, why);
	return PROGRAM_CANNOT_RUN;
}

static int check_headers(const char *path, int fd, const Elf64_Ehdr *header, uint64_t size)
{
	Elf64_Phdr program[PROGRAM_HEADER_MAX];
	bool loads = false;
	size_t bytes = header->e_phnum * sizeof(program[0]);
	ssize_t got;

	if (header->e_phentsize != sizeof(program[0]) || header->e_phnum == 0 ||
	    header->e_phnum > PROGRAM_HEADER_MAX)
		return refuse(path, "has no usable program headers");
	got = pread(fd, program, bytes, (off_t)header->e_phoff);
	if (got < 0)
		return refuse(path, strerror(errno));
	if (got != (ssize_t)bytes)
		return refuse(path, "is truncated: its program headers lie past its end");
	for (unsigned i = 0; i < header->e_phnum; i++) {
		if (program[i].p_type == PT_INTERP)
			return refuse(path, "is dynamically linked: build it with -static");
		if (program[i].p_type != PT_LOAD)
			continue;
		loads = true;
		if (program[i].p_offset > size || program[i].p_filesz > size - program[i].p_offset)
			return refuse(path, "is truncated: a segment lies past its end");
	}
	return loads ? 0 : refuse(path, "has nothing to load");
}

static int check_elf(const char *path, int fd, uint64_t size)
{
	Elf64_Ehdr header;
	ssize_t n = pread(fd, &header, sizeof(header), 0);

	if (n < 0)
		return refuse(path, strerror(errno));
	if (n >= 2 && memcmp(&header, "#!", 2) == 0)
		return refuse(path, "is a script: name its interpreter, and add it with --file");
	if (n < SELFMAG || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return refuse(path, "is not an ELF program");
	if (n > EI_CLASS && header.e_ident[EI_CLASS] == ELFCLASS32)
		return refuse(path, "is a 32-bit program: only x86-64 programs run");
	if (n < (ssize_t)sizeof(header))
		return refuse(path, "is truncated: its ELF header is not whole");
	if (header.e_machine != EM_X86_64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
		return refuse(path, "is a program for another processor: only x86-64 programs run");
	if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
		return refuse(path, "is an ELF file, but not a program");
	return check_headers(path, fd, &header, size);
}

int program_find(const char *name, char **out)
{
	char *path = path_search(name);
	struct stat status;
	int fd = -1, result;

	if (path == NULL || stat(path, &status) != 0) {
		bool absent = path == NULL || errno == ENOENT || errno == ENOTDIR;

		log_error("%s: %s", name, path == NULL ? "not found in PATH" : strerror(errno));
		free(path);
		return absent ? PROGRAM_NOT_FOUND : PROGRAM_CANNOT_RUN;
	}
	if (S_ISDIR(status.st_mode))
		result = refuse(path, "is a directory");
	else if (!S_ISREG(status.st_mode))
		result = refuse(path, "is not a regular file");
	else if (access(path, X_OK) != 0)
		result = refuse(path, "is not executable: chmod +x it");
	else if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		result = refuse(path, strerror(errno));
	else
		result = check_elf(path, fd, (uint64_t)status.st_size);
	if (fd >= 0)
		close(fd);
	if (result == 0)
		*out = path;
	else
		free(path);
	return result;
}
