#!/usr/bin/env bash
# tools/kvm-opens: says why /dev/kvm does not open, and makes no file of that name.
# Usage: kvm_opens.sh SOURCE_ROOT
set -eu

kvm_opens=$1/tools/kvm-opens
if [ "$(id -u)" -ne 0 ] || ! unshare --mount true 2>/dev/null; then
	echo "SKIP kvm_opens: mounts of one's own need root"
	exit 77
fi

# expect SAID SETUP: in a /dev of its own, which SETUP fills.
expect()
{
	local status=0 said

	# shellcheck disable=SC2016 # that shell's variables
	said=$(unshare --mount bash -euc '
		mount -t tmpfs none /dev
		mknod -m 666 /dev/null c 1 3
		eval "$2"
		before=$(ls -l /dev)
		status=0
		"$1" || status=$?
		[ "$(ls -l /dev)" = "$before" ] || echo "changed /dev"
		exit "$status"' bash "$kvm_opens" "$2") || status=$?
	if [ "$status" -ne 1 ] || [ "$said" != "$1" ]; then
		echo "kvm_opens: with '$2': exit status $status, and it said: $said"
		exit 1
	fi
}

expect "/dev/kvm: No such file or directory" ""
expect "/dev/kvm: not a device" ": >/dev/kvm"
# No driver has this number: it is kept for local use.
expect "/dev/kvm: No such device or address" "mknod /dev/kvm c 60 0"
