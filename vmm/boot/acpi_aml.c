#include "vmm/boot/acpi_aml.h"

#include <string.h>

#include "base/check.h"

/* Operators. */
#define OP_ZERO	    0x00
#define OP_ONE	    0x01
#define OP_NAME	    0x08
#define OP_BYTE	    0x0a
#define OP_WORD	    0x0b
#define OP_DWORD    0x0c
#define OP_STRING   0x0d
#define OP_SCOPE    0x10
#define OP_BUFFER   0x11
#define OP_PACKAGE  0x12
#define OP_EXTENDED 0x5b
#define OP_DEVICE   0x82

/* Resource descriptors. */
#define RESOURCE_IO	   0x47
#define RESOURCE_END	   0x79
#define RESOURCE_MEMORY32  0x86
#define RESOURCE_INTERRUPT 0x89

void aml_bytes(struct aml *aml, const void *bytes, size_t length)
{
	CHECK(length <= aml->size - aml->used);
	memcpy(aml->data + aml->used, bytes, length);
	aml->used += length;
}

void aml_byte(struct aml *aml, uint8_t byte)
{
	aml_bytes(aml, &byte, 1);
}

void aml_le16(struct aml *aml, uint16_t value)
{
	aml_byte(aml, value & 255);
	aml_byte(aml, value >> 8);
}

void aml_le32(struct aml *aml, uint32_t value)
{
	aml_le16(aml, value & 65535);
	aml_le16(aml, value >> 16);
}

static void put_path(struct aml *aml, const char *path)
{
	CHECK(strlen(path) == 4 || (path[0] == '\\' && strlen(path) == 5));
	aml_bytes(aml, path, strlen(path));
}

void aml_name(struct aml *aml, const char *path)
{
	aml_byte(aml, OP_NAME);
	put_path(aml, path);
}

void aml_integer(struct aml *aml, uint32_t value)
{
	if (value <= 1) {
		aml_byte(aml, value == 0 ? OP_ZERO : OP_ONE);
	} else if (value <= UINT8_MAX) {
		aml_byte(aml, OP_BYTE);
		aml_byte(aml, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		aml_byte(aml, OP_WORD);
		aml_le16(aml, (uint16_t)value);
	} else {
		aml_byte(aml, OP_DWORD);
		aml_le32(aml, value);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	aml_byte(aml, OP_STRING);
	aml_bytes(aml, text, strlen(text) + 1);
}

static unsigned hex_digit(char digit)
{
	return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)(digit - 'A' + 10);
}

/* Three letters of five bits and four hexadecimal digits, most significant byte first. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	unsigned letters = 0, digits = 0;

	CHECK(strlen(id) == 7);
	for (int i = 0; i < 3; i++)
		letters = letters << 5 | (unsigned)(id[i] - '@');
	for (int i = 3; i < 7; i++)
		digits = digits << 4 | hex_digit(id[i]);
	aml_byte(aml, OP_DWORD);
	aml_byte(aml, letters >> 8);
	aml_byte(aml, letters & 255);
	aml_byte(aml, digits >> 8);
	aml_byte(aml, digits & 255);
}

/* An object that aml_end() completes begins with its length, for which this leaves room in its
 * longest form. */
#define LENGTH_BYTES 2

static size_t begin(struct aml *aml)
{
	size_t begun = aml->used;

	aml_le16(aml, 0);
	return begun;
}

size_t aml_begin_scope(struct aml *aml, const char *path)
{
	size_t begun;

	aml_byte(aml, OP_SCOPE);
	begun = begin(aml);
	put_path(aml, path);
	return begun;
}

size_t aml_begin_device(struct aml *aml, const char *name)
{
	size_t begun;

	aml_byte(aml, OP_EXTENDED);
	aml_byte(aml, OP_DEVICE);
	begun = begin(aml);
	put_path(aml, name);
	return begun;
}

size_t aml_begin_package(struct aml *aml, uint8_t element_count)
{
	size_t begun;

	aml_byte(aml, OP_PACKAGE);
	begun = begin(aml);
	aml_byte(aml, element_count);
	return begun;
}

/* The length counts itself: the low four bits, the number of further bytes, the rest. */
void aml_end(struct aml *aml, size_t begun)
{
	size_t length = aml->used - begun;

	CHECK(length < 1 << 12);
	aml->data[begun] = (uint8_t)((LENGTH_BYTES - 1) << 6 | (length & 15));
	aml->data[begun + 1] = (uint8_t)(length >> 4);
}

/* A buffer says its size twice: as a package, and as an integer of two bytes in front of the bytes.
 */
size_t aml_begin_resources(struct aml *aml)
{
	size_t begun;

	aml_byte(aml, OP_BUFFER);
	begun = begin(aml);
	aml_byte(aml, OP_WORD);
	aml_le16(aml, 0);
	return begun;
}

void aml_end_resources(struct aml *aml, size_t begun)
{
	size_t size_at = begun + LENGTH_BYTES + 1, length;

	aml_byte(aml, RESOURCE_END);
	aml_byte(aml, 0); /* a checksum that is not used */
	length = aml->used - size_at - 2;
	aml->data[size_at] = length & 255;
	aml->data[size_at + 1] = (uint8_t)(length >> 8);
	aml_end(aml, begun);
}

void aml_resource_io(struct aml *aml, uint16_t port, uint8_t count)
{
	aml_byte(aml, RESOURCE_IO);
	aml_byte(aml, 1);    /* decodes 16 bits */
	aml_le16(aml, port); /* the lowest place it can have */
	aml_le16(aml, port); /* and the highest */
	aml_byte(aml, 1);    /* alignment */
	aml_byte(aml, count);
}

void aml_resource_memory(struct aml *aml, uint32_t address, uint32_t length)
{
	aml_byte(aml, RESOURCE_MEMORY32);
	aml_le16(aml, 9);
	aml_byte(aml, 1); /* it can be written */
	aml_le32(aml, address);
	aml_le32(aml, length);
}

void aml_resource_interrupt(struct aml *aml, uint32_t gsi)
{
	aml_byte(aml, RESOURCE_INTERRUPT);
	aml_le16(aml, 6);
	aml_byte(aml, 3); /* consumer; edge; active high; exclusive */
	aml_byte(aml, 1); /* how many */
	aml_le32(aml, gsi);
}
