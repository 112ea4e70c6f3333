#!/bin/sh
# The walls between the folders (docs: the folder map): each folder includes only what it may know.
# Usage: walls.sh SOURCE_ROOT
cd "$1" || exit 2
bad=0

# $1: folder, $2: a pattern of includes it must not have, $3: why
forbid() {
	[ -d "$1" ] || return
	found=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*$2" "$1" --include='*.[chS]')
	if [ -n "$found" ]; then
		printf '%s: %s\n%s\n' "$1" "$3" "$found"
		bad=1
	fi
}

forbid mm '<(linux/kvm|linux/userfaultfd|sys/ioctl)\.h>' 'mm knows neither KVM nor userfaultfd'
forbid mm '"(vmm|ept|devices|guest|tests|tools)/' 'mm includes only mm/ and base/'
forbid base '"(vmm|ept|devices|guest|tests|tools|mm)/' 'base includes only base/'
forbid ept '"(vmm|devices|tests|tools|mm/(mm|policy|frame|mm_internal|pool|swap|codec|stream|fault|queue))[./h]' \
	'ept knows mm by mm/backing.h at most: not which page to evict'
forbid devices '<linux/kvm\.h>' 'devices do not know KVM'
forbid devices '"(vmm|mm|tests|tools)/' 'devices know the bus and the guest-memory accessors'
forbid guest '<(stdio|stdlib|string|unistd|errno|pthread|sys/.*|linux/.*)\.h>' 'quire has no libc and no host headers'
forbid guest '"(vmm|ept|devices|mm|base|tests|tools)/' 'quire includes only itself'
forbid vmm '"mm/(frame|mm_internal|pool|swap|codec|stream|fault|queue)\.h"' \
	'the program does not know the state of a page'

# Every quoted include of mm/ names its folder.
odd=$(grep -rnE '^#include "' mm --include='*.[ch]' | grep -vE '#include "(mm|base)/')
if [ -n "$odd" ]; then
	printf 'mm: includes by path\n%s\n' "$odd"
	bad=1
fi
exit $bad
