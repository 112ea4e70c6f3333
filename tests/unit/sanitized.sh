#!/bin/sh
# Run a sanitised Criterion test. LeakSanitizer speaks when a test's process is already on its way
# out, and Criterion takes no notice: so a report of it fails the run here. What Criterion's own
# runner leaks, and now and then it leaks a time-out, is not ours: no frame but the library's is in
# its stack.
log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
"$@" 2>"$log"
status=$?
cat "$log" >&2
if awk '
	/leak of [0-9]+ byte.*allocated from:$/ { stack = 1; ours = 0 }
	stack && /^ +#/ && !/libsanitizer|libcriterion\.so/ { ours = 1 }
	stack && /^$/ { leaks += ours; stack = 0 }
	/ERROR: LeakSanitizer/ { reports++ }
	/^SUMMARY: AddressSanitizer: .* leaked/ { summaries++ }
	END { exit leaks > 0 || stack || reports != summaries ? 0 : 1 }' "$log"; then
	echo 'sanitized.sh: a test leaked' >&2
	exit 1
fi
# The runner's own leak ended it, and nothing else did.
if grep -q 'ERROR: LeakSanitizer' "$log" && grep -q 'Failing: 0 | Crashing: 0' "$log"; then
	exit 0
fi
exit $status
