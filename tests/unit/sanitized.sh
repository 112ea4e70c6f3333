#!/bin/sh
# Run a sanitised Criterion test. LeakSanitizer speaks when a test's process is already on its way
# out, and Criterion takes no notice: so a report of it fails the run here.
log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
"$@" 2>"$log"
status=$?
cat "$log" >&2
if grep -q 'ERROR: LeakSanitizer' "$log"; then
	echo 'sanitized.sh: a test leaked' >&2
	exit 1
fi
exit $status
