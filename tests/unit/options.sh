#!/usr/bin/env bash
# What --help of each command says, the manual and the completion say too, and the program takes: the
# same options. --help fits a terminal of 80 columns, and the completion offers sockets, and nothing
# else, where the control socket of a guest is meant.
# Usage: options.sh SOURCE_ROOT BIFOLD
set -eu

manual=$1/docs/bifold.1
bifold=$2
failed=0
# shellcheck source=/dev/null
. "$1/completions/bifold.bash"

complain()
{
	echo "options: $*"
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

# complete_words WORD...: sets COMPREPLY to what the last one, which may be empty, is completed to.
complete_words()
{
	COMP_WORDS=(bifold "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_bifold
}

# No function of bash-completion, and no terminal to set options of.
# shellcheck disable=SC2317 # the completion calls it
compopt()
{
	:
}
unset -f _get_comp_words_by_ref 2>/dev/null || true

options_in_completion()
{
	# shellcheck disable=SC2086 # a command may be two words
	complete_words $1 --
	printf '%s\n' "${COMPREPLY[@]}" | grep -E '^--[a-z]' | sort -u
}

# compare COMMAND WHERE OPTIONS: with those of its help.
compare()
{
	local differ

	differ=$(diff <(echo "$in_help") <(echo "$3") | sed -n 's/^</not there:/p; s/^>/only there:/p')
	[ -z "$differ" ] || complain "bifold $1: the $2 and --help differ:" "$differ"
}

mapfile -t commands < <("$bifold" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' |
	sed 's/^bench$/bench translation/')
[ ${#commands[@]} -gt 5 ] || complain "bifold --help names no commands"
all=$(for command in '' "${commands[@]}"; do options_in_help "$command"; done | sort -u)

for command in '' "${commands[@]}"; do
	wide=$(help_of "$command" | awk 'length > 80')
	[ -z "$wide" ] || complain "bifold $command --help is wider than 80 columns:" "$wide"
	in_help=$(options_in_help "$command")
	compare "$command" manual "$(options_in_manual "$command")"
	compare "$command" completion "$(options_in_completion "$command")"
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

# ---- what is printed, in its widest known form

wide=$(awk 'length > 80' "$1/tests/unit/golden/maps.txt" "$1/tests/unit/golden/translation.txt")
[ -z "$wide" ] || complain "wider than 80 columns:" "$wide"

# ---- where sockets are meant

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/folder"
touch "$work/file"
mkfifo "$work/fifo"
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die' "$work/socket"
for command in translate maps stat top balloon budget pause resume quit; do
	complete_words "$command" "$work/"
	offered=$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ')
	[ "$offered" = "$work/folder $work/socket " ] ||
		complain "bifold $command: offered for a socket: $offered"
	[ "$command" = maps ] || [ "$command" = translate ] || continue
	complete_words "$command" --vcpu 0 "$work/"
	offered=$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ')
	[ "$offered" = "$work/folder $work/socket " ] ||
		complain "bifold $command: offered for a socket behind options: $offered"
done
for command in 'stat --watch 1' 'top --delay 2'; do
	# shellcheck disable=SC2086 # several words
	complete_words $command "$work/"
	offered=$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ')
	[ "$offered" = "$work/folder $work/socket " ] ||
		complain "bifold $command: offered for a socket behind a value: $offered"
done
complete_words maps --plot "$work/"
[[ " ${COMPREPLY[*]} " == *" $work/file "* ]] || complain "maps --plot: no file is offered"

exit "$failed"
