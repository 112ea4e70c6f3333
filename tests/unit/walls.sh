#!/bin/sh
# The walls between the rooms (docs/architecture.md, "The folders are the layers"): what each may
# include, beside its own headers and those of C and POSIX. Anything else is a hole in a wall; a
# folder that is not here has none yet.
# Usage: walls.sh SOURCE_ROOT
cd "$1" || exit 2
bad=0
walled=

# room FOLDER HEADERS HOST: extended regular expressions of project headers and of the host's.
room() {
	walled="$walled $1"
	found=$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$1"/*.[chS] |
		grep -vE "include[[:space:]]*\"($1/[a-z0-9_]+\.h|${2:-none})\"")
	found="$found$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<' "$1"/*.[chS] |
		grep -vE "include[[:space:]]*<($3)>")"
	if [ -n "$found" ]; then
		printf '%s/ may not include:\n%s\n' "$1" "$found"
		bad=1
	fi
}

c='(ctype|errno|fcntl|getopt|inttypes|limits|locale|math|poll|pthread|sched|libgen|semaphore|signal|spawn|std[a-z]+|strings?|termios|time|unistd)\.h'
posix="$c|sys/(eventfd|epoll|ioctl|mman|prctl|random|resource|signalfd|socket|file|stat|statfs|statvfs|syscall|sysmacros|time|timerfd|types|uio|un|utsname|vfs|wait)\.h"

room base 'none' "$posix"
room policy 'none' "$c"
room pilot 'base/[a-z]+\.h' "$c"
room mm/store 'base/[a-z]+\.h' "$posix|(liburing|lz4|xxhash|zstd)\.h"
room mm/tier 'base/[a-z]+\.h|mm/(mm_internal|tiers)\.h' "$c"
room mm 'base/[a-z]+\.h|policy/policy\.h|mm/store/[a-z]+\.h' "$c|sys/mman\.h"
room ept 'base/[a-z]+\.h|mm/backing\.h' "$posix|linux/(kvm|userfaultfd|kernel-page-flags)\.h"
room devices 'base/[a-z]+\.h|ept/access\.h|guest/abi\.h' "$posix"
room devices/virtio 'base/[a-z]+\.h|ept/access\.h|devices/(bus|loop)\.h' "$posix|linux/(fs|virtio_[a-z]+)\.h|liburing\.h"

# quire has no libc, no header of the host's, and nothing of the monitor's. Its rooms are layers, from
# the bottom up: each may include those before it. abi.h, which is the monitor's too, is below all.
room guest 'none' 'std(arg|bool|def|int)\.h'
quire='guest/abi\.h'
for layer in lib monitor cpu memory process file device exec proc call boot; do
	room guest/$layer "$quire" 'std(arg|bool|def|int)\.h'
	quire="$quire|guest/$layer/[a-z_]+\.h"
done
for folder in runtime demo bench tests; do
	room guest/programs/$folder 'guest/(abi|programs/(runtime|bench)/[a-z]+)\.h' 'std(arg|bool|def|int)\.h|cpuid\.h'
done

# The program. The side that asks a guest knows the socket's protocol, and nothing of a machine.
shared='vmm/common/[a-z_]+\.h|base/[a-z]+\.h'
room vmm/common 'base/[a-z]+\.h' "$posix|jansson\.h|linux/[a-z-]+\.h|elf\.h"
room vmm/boot 'base/[a-z]+\.h|ept/space\.h' "$posix|linux/[a-z/]+\.h|elf\.h|endian\.h"
room vmm/machine "$shared|vmm/boot/(acpi|loader|platform)\.h|devices/([a-z]+/)?[a-z_]+\.h|ept/(access|host_page|space|walk)\.h|guest/abi\.h|mm/(look|mm)\.h|pilot/[a-z]+\.h" \
	"$posix|linux/(kvm|userfaultfd|virtio_ids)\.h|jansson\.h|cpuid\.h|asm/[a-z]+\.h"
room vmm/control "$shared|vmm/machine/(devices|devices_json|machine|report|translation)\.h|ept/(maps|space|walk)\.h|mm/look\.h" "$posix|jansson\.h"
room vmm/ask "$shared|vmm/control/(protocol|socket)\.h" "$posix|jansson\.h|curses\.h|ncurses\.h|term\.h"
room vmm/bench "$shared|vmm/boot/(archive|loader)\.h|vmm/machine/(kvm_stats|machine)\.h" "$posix|jansson\.h|linux/(kvm|perf_event)\.h|cpuid\.h"
room vmm "$shared|vmm/(boot/(archive|loader)|control/(methods|server)|machine/(devices|machine|report))\.h|base/[a-z]+\.h|ept/space\.h|guest/abi\.h|mm/mm\.h|policy/table\.h" \
	"$posix|jansson\.h|liburing\.h|linux/[a-z]+\.h|elf\.h|grp\.h|pwd\.h"

for folder in $(find base devices ept guest mm pilot policy vmm -name '*.[ch]' | sed 's,/[^/]*$,,' | sort -u); do
	case " $walled " in
	*" $folder "*) ;;
	*)
		printf '%s/ has no wall: say here what it may include\n' "$folder"
		bad=1
		;;
	esac
done
exit $bad
