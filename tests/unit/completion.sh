#!/usr/bin/env bash
# A shell's completion offers every option that --help names, every policy, and sockets, and nothing
# else, where the control socket of a guest is meant.
# Usage: completion.sh bash|zsh|fish SOURCE_ROOT BIFOLD
set -eu

shell=$1
bifold=$3
completion=$2/completions/bifold.$shell
failed=0
if ! command -v "$shell" >/dev/null; then
	echo "SKIP completion-$shell: $shell is not installed (tools/setup --tests installs it)"
	exit 77
fi
# shellcheck source=tests/unit/help.sh
. "$2/tests/unit/help.sh"
PATH=$(dirname "$bifold"):$PATH
# The user's own settings are neither read nor changed.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home"
export HOME=$work/home XDG_CONFIG_HOME=$work/home XDG_DATA_HOME=$work/home XDG_CACHE_HOME=$work/home

case $shell in
bash)
	# No function of bash-completion, and no terminal to set options of.
	unset -f _get_comp_words_by_ref 2>/dev/null || true
	# shellcheck disable=SC2317 # the completion calls it
	compopt()
	{
		:
	}
	# shellcheck source=/dev/null
	. "$completion"
	;;
zsh)
	coproc zsh -f "$(dirname "$0")/complete.zsh" "$completion"
	exec 3<&"${COPROC[0]}" 4>&"${COPROC[1]}"
	;;
esac

# offer WORD...: prints the completions of the last word, which may be empty. Of a path it prints the
# last part, which is all that complete.zsh tells.
offer()
{
	case $shell in
	bash)
		COMP_WORDS=(bifold "$@")
		COMP_CWORD=$#
		COMPREPLY=()
		_bifold
		printf '%s\n' "${COMPREPLY[@]}"
		;;
	zsh)
		echo "bifold $*" >&4
		while read -r -u 3 offered && [ -n "$offered" ]; do
			echo "$offered"
		done
		;;
	fish)
		# shellcheck disable=SC2016 # fish's own variables
		fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$completion" "bifold $*" |
			cut -f 1
		;;
	esac | sed 's,/$,,; s,.*/,,' | sort -u
}

# expect EXPECTED WORD...: the completions are these words, no more and no less.
expect()
{
	local expected=$1 offered

	shift
	offered=$(offer "$@" | paste -sd ' ')
	[ "$offered" = "$expected" ] || complain "bifold $*: offered: '$offered', not '$expected'"
}

# ---- options and words

for command in '' "${commands[@]}"; do
	# shellcheck disable=SC2086 # a command may be two words
	compare "bifold $command" "completion for $shell" "$(options_in_help "$command")" \
		"$(offer $command -- | grep -E '^--[a-z]')"
done
compare bifold "completion for $shell" "$("$bifold" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | sort)" \
	"$(offer '' | grep -v '^-')"
expect translation bench t
compare --policy "completion for $shell" "$(policies)" "$(offer run --policy '' | grep -v =)"
expect sfifo,watched= run --policy sfifo,
expect 'lz4 none zstd' run --compressor ''
expect 'pause stop' run --on-full ''
expect 'auto notice scan' run --watch ''

# ---- files, and where sockets are meant

mkdir -p "$work/there/folder"
touch "$work/there/file"
mkfifo "$work/there/fifo"
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die' "$work/there/socket"
for words in translate maps stat top balloon budget pause resume quit 'translate --vcpu 0' 'maps --vcpu 0' \
	'stat --watch 1' 'top --delay 2'; do
	# shellcheck disable=SC2086 # several words
	expect 'folder socket' $words "$work/there/"
done
expect 'fifo file folder socket' maps --plot "$work/there/"
expect 'fifo file folder socket' run -- /bin/busybox "$work/there/"
expect folder run --memory 64M --swap "$work/there/"
# The words after the program belong to the program.
[[ $(offer run --quiet /bin/busybox --) != *--memory* ]] || complain "run offers its options behind PROGRAM"

exit "$failed"
