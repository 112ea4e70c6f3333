#!/bin/sh
#
# In a Debian guest (tools/linux-guest): takes the drivers of its virtio devices away and brings
# them back, and sees each time that the devices still work.
#
#   drivers.sh idle TIMES   unloads and loads every driver's module
#   drivers.sh busy TIMES   takes every driver off its device, while that is busy, and puts it back
set -u

modules='virtio_console virtio_blk virtio_rng virtio_balloon'
drivers=/sys/bus/virtio/drivers

fail()
{
	echo "drivers.sh: $*"
	exit 1
}

sum_of_disk()
{
	dd if=/dev/vda bs=64k 2>/dev/null | md5sum
}

# Every device has its driver, and does what it is for. The balloon: see the test.
check()
{
	for status in /sys/bus/virtio/devices/*/status; do
		[ "$(cat "$status")" = 0x0000000f ] || fail "$1: $status is $(cat "$status")"
	done
	[ "$(sum_of_disk)" = "$sum" ] || fail "$1: the disk reads otherwise"
	[ "$(dd if=/dev/hwrng bs=16 count=4 2>/dev/null | wc -c)" = 64 ] ||
		fail "$1: there is no randomness"
	echo "the console after $1" >/dev/hvc0 || fail "$1: the console takes nothing"
}

file_of()
{
	case $1 in
	virtio_rng) echo /lib/modules/virtio-rng.ko ;;
	*) echo "/lib/modules/$1.ko" ;;
	esac
}

reload()
{
	rmmod "$1" || fail "$1 cannot be unloaded"
	insmod "$(file_of "$1")" || fail "$1 cannot be loaded"
}

# Makes its device busy, for ever. The balloon is: each driver fills it anew.
load()
{
	case $1 in
	virtio_blk)
		while :; do
			dd if=/dev/vda of=/dev/null bs=64k
			dd if=/dev/zero of=/dev/vdb bs=64k
		done
		;;
	virtio_rng) while :; do dd if=/dev/hwrng of=/dev/null bs=4k count=16; done ;;
	virtio_console) while :; do head -c 4096 /proc/kallsyms >/dev/hvc0; done ;;
	virtio_balloon) while :; do cat /proc/meminfo >/dev/null; done ;;
	esac >/dev/null 2>&1
}

rebind()
{
	for device in "$drivers/$1"/virtio*; do
		device=${device##*/}
		echo "$device" >"$drivers/$1/unbind" || fail "$1 does not leave $device"
		echo "$device" >"$drivers/$1/bind" || fail "$1 does not take $device"
	done
}

repeat()
{
	for driver in $modules; do
		if [ "$what" = busy ]; then
			load "$driver" &
		fi
		i=0
		while [ "$i" -lt "$times" ]; do
			"$1" "$driver"
			i=$((i + 1))
		done
		if [ "$what" = busy ]; then
			kill %% && wait
		fi
		check "$driver"
	done
}

what=$1 times=$2
sum=$(sum_of_disk)
check nothing
case $what in
idle) repeat reload ;;
busy)
	repeat rebind
	# What was cut off is an I/O error; no more than that may be said.
	dmesg | grep -E 'WARNING|BUG|Oops' && fail 'the kernel complains'
	dmesg -c >/dev/null
	;;
esac
echo 'all drivers are back'
