#!/usr/bin/env bash
# tests/fresh/enter: the command's exit status comes out, and neither a mount nor a process is left
# behind, also when what entered or who started it is killed outright.
# Usage: fresh.sh SOURCE_ROOT
set -eu

enter=$1/tests/fresh/enter
if [ "$(id -u)" -ne 0 ] || ! unshare --mount --pid --fork true 2>/dev/null; then
	echo "SKIP fresh: namespaces of one's own need root"
	exit 77
fi
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
mkdir -p "$root/bin" "$work/shared"
cp /bin/busybox "$root/bin/sh"
mkfifo "$work/shared/pipe"

fail()
{
	echo "fresh: $*"
	exit 1
}

no_mounts()
{
	! grep -F "$work" /proc/mounts || fail "a mount is left"
}

status=0
"$enter" "$root" /bin/sh -c '[ -e /dev/null ] && [ -e /sys/kernel ] && [ -e /proc/1/stat ] && exit 7' ||
	status=$?
[ "$status" -eq 7 ] || fail "exit status $status where the command's is 7"
no_mounts

# A pipe that the command and its child hold open ends when the last of them has gone.
inside='exec 3>/shared/pipe; echo here >&3; (while :; do sleep 1000; done) & while :; do sleep 1000; done'
for victim in enter parent; do
	bash -c '"$@" & echo $! >"$0"; wait' "$work/pid" \
		"$enter" --bind "$work/shared:/shared" "$root" /bin/sh -c "$inside" &
	parent=$!
	exec 4<"$work/shared/pipe"
	read -r line <&4
	[ "$line" = here ] || fail "the command said '$line'"
	case $victim in
	enter) kill -KILL "$(cat "$work/pid")" ;;
	parent) kill -KILL "$parent" ;;
	esac
	! read -r line <&4 || fail "the command went on when its $victim was killed"
	exec 4<&-
	wait "$parent" || true
	no_mounts
done
