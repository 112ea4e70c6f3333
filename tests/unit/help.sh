# shellcheck shell=bash disable=SC2034,SC2154 # failed and bifold
# Reads bifold's --help, for the tests that compare something with it. A test sets bifold to the program
# and failed to 0 before it sources this, and exits with failed.

complain()
{
	echo "$(basename "$0" .sh): $*"
	failed=1
}

help_of()
{
	# shellcheck disable=SC2086 # a command may be two words
	"$bifold" $1 --help
}

# Those of the left column.
options_in_help()
{
	help_of "$1" | sed -n '/^  -/ { s/^  //; s/  .*//; p }' | options_in_words
}

options_in_words()
{
	tr -s ' ,=[|' '\n' | grep -E '^--[a-z]' | sed 's/[^a-z0-9-].*//' | sort -u
}

# The names of the policies, from the message about an unknown one.
policies()
{
	"$bifold" run --policy '?' 2>&1 | sed -n 's/.*: expected //p' | sed 's/, \| or /\n/g' | sort
}

# compare WHAT WHERE OPTIONS FOUND
compare()
{
	local differ

	differ=$(diff <(echo "$3") <(echo "$4") | sed -n 's/^</not there:/p; s/^>/only there:/p')
	[ -z "$differ" ] || complain "$1: the $2 and --help differ:" "$differ"
}

mapfile -t commands < <("$bifold" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' |
	sed 's/^bench$/bench translation/')
[ ${#commands[@]} -gt 5 ] || complain "bifold --help names no commands"
