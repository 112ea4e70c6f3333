#!/usr/bin/env bash
# Checks that --help of each command, the manual and the program have the same options and policies,
# and that --help fits a terminal of 80 columns.
# Usage: options.sh SOURCE_ROOT BIFOLD
set -eu

manual=$1/docs/bifold.1
bifold=$2
failed=0
# shellcheck source=tests/unit/help.sh
. "$1/tests/unit/help.sh"

# The options of its list in the manual: its own section, or one that it shares with others.
options_in_manual()
{
	awk -v name="$1" '
		/^\.S[hs]/ {
			inside = 0
			if ($0 ~ /^\.Ss bifold /)
				for (i = 3; i <= NF; i++)
					if (name == $i || name "," == $i || (name ~ /^bench/ && $i == "bench"))
						inside = 1
			if (name == "" && $0 ~ /^\.Sh DESCRIPTION/)
				inside = 1
		}
		inside && /^\.It .*Fl/' "$manual" | options_of_mdoc
}

# Those of its entry in the synopsis.
options_in_synopsis()
{
	awk -v name="$1" '
		/^\.Sh/ { synopsis = $2 == "SYNOPSIS" }
		!synopsis { next }
		/^\.Nm/ { inside = name == "" }
		/^\.Cm/ {
			inside = 0
			for (i = 2; i <= NF; i++)
				if ($i == name || (name ~ /^bench/ && $i == "bench"))
					inside = 1
		}
		inside && /Fl/' "$manual" | options_of_mdoc
}

options_of_mdoc()
{
	grep -oE '\\-[a-z][a-z0-9-]*' | sed 's/^\\-/--/' | sort -u || true
}

# Those under its option --policy.
policies_in_manual()
{
	awk '/^\.It Fl / { inside = / \\-policy / } inside && /^\.It Cm / { print $3 }' "$manual" | sort
}

all=$(for command in '' "${commands[@]}"; do options_in_help "$command"; done | sort -u)

for command in '' "${commands[@]}"; do
	wide=$(help_of "$command" | awk 'length > 80')
	[ -z "$wide" ] || complain "bifold $command --help is wider than 80 columns:" "$wide"
	in_help=$(options_in_help "$command")
	compare "bifold $command" manual "$in_help" "$(options_in_manual "$command")"
	only=$(comm -13 <(echo "$in_help") <(options_in_synopsis "$command"))
	[ -z "$only" ] || complain "bifold $command: the synopsis alone has" "$only"
	# And none that --help is silent about. An option is looked at before what follows it.
	for option in $(comm -23 <(echo "$all") <(echo "$in_help")); do
		# shellcheck disable=SC2086 # a command may be two words
		said=$(timeout 10 "$bifold" $command "$option" --help 2>&1 </dev/null) || true
		[[ $said == *"no option '$option"* || $said == *"no command"* ]] ||
			complain "bifold $command takes $option, which --help is silent about: $said"
	done
done

compare --policy manual "$(policies)" "$(policies_in_manual)"

# ---- what is printed, in its widest known form

wide=$(awk 'length > 80' "$1/tests/unit/golden/maps.txt" "$1/tests/unit/golden/translation.txt")
[ -z "$wide" ] || complain "wider than 80 columns:" "$wide"

exit "$failed"
