# Completion of bifold's command line, for bash.

# Completes the current word from its arguments.
_bifold_words()
{
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur")
}

# Completes a file, or with -d a directory; a directory goes on with a slash.
_bifold_files()
{
	compopt -o filenames
	mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}

# Completes the control socket of a guest: a socket, or a directory on the way to one.
_bifold_sockets()
{
	local path

	compopt -o filenames
	while IFS= read -r path; do
		if [[ -S $path || -d $path ]]; then
			COMPREPLY+=("$path")
		fi
	done < <(compgen -f -- "$cur")
}

# The policies and their options are those that the program's help names.
_bifold_policies()
{
	"${words[0]}" run --help 2>/dev/null | awk '
		/^  -/ { inside = /^  --policy / }
		inside && match($0, /[^ ]/) == 27 { print name = $1 }
		inside && name && match($0, /[a-z]+=[A-Z]/) { print name "," substr($0, RSTART, RLENGTH - 1) }'
}

# Completes the value of an option of bifold run.
_bifold_value()
{
	case $1 in
	--memory) _bifold_words 64M 96M 256M 1G ;;
	--budget) _bifold_words 14M 64M 25% 50% ;;
	--cpus) _bifold_words 1 2 4 8 ;;
	--append) _bifold_words console=ttyS0 console=hvc0 swap=8M policy=fifo policy=lru policy=clock norandmaps ;;
	--swap-size) _bifold_words 256M 1G ;;
	--on-full) _bifold_words pause stop ;;
	--watch) _bifold_words auto scan notice ;;
	--swap)
		_bifold_files -d
		[[ none == "$cur"* ]] && COMPREPLY+=(none)
		;;
	--compressor) _bifold_words lz4 zstd none ;;
	--policy)
		_bifold_words "$(_bifold_policies)"
		# A policy may go on with its option, and that with a value.
		[[ ${COMPREPLY[*]} != *=* ]] || compopt -o nospace
		;;
	--file | --disk | --report | --kernel | --initrd) _bifold_files -f ;;
	--control) _bifold_sockets ;;
	--timeout) _bifold_words 10 60 600 ;;
	esac
}

# Completes the next word of bifold bench.
_bifold_bench()
{
	if ((cword == 2)); then
		_bifold_words translation --help
		return
	fi
	case $prev in
	--guest-pages | --host-pages) _bifold_words 4K 2M 1G 4K,2M ;;
	--loops) _bifold_words chase chase,packed chase,packed,stride,touch,scan ;;
	--least) _bifold_words 64K 1M ;;
	--most) _bifold_words 64M 256M 1G ;;
	--plot) _bifold_files -d ;;
	--rounds | --passes | --accesses | --events | --timeout) ;;
	*)
		_bifold_words --guest-pages --host-pages --reserve --least --most --loops --rounds --passes \
			--accesses --events --timeout --json --csv --plot --quiet --verbose --help
		;;
	esac
}

# The index of PROGRAM on bifold run's command line, or of where it would stand: past the current
# word, where that is an option's value.
_bifold_program_index()
{
	local i

	for ((i = 2; i < cword; i++)); do
		case ${words[i]} in
		--) echo $((i + 1)) && return ;;
		--memory | --budget | --cpus | --append | --swap | --swap-size | --on-full | --compressor | --policy | --watch | --file | \
			--report | --control | --timeout | --kernel | --initrd | --disk) ((i++)) ;;
		-*) ;;
		*) break ;;
		esac
	done
	echo "$i"
}

# Completes the command line of bifold translate and bifold maps.
_bifold_look()
{
	case $prev in
	--vcpu) _bifold_words 0 1 2 3 4 5 6 7 ;;
	--cr3) ;;
	--plot) _bifold_files -f ;;
	*)
		if [[ $cur != -* ]]; then
			_bifold_sockets
		elif [[ $1 == maps ]]; then
			_bifold_words --cr3 --vcpu --json --plot --help
		else
			_bifold_words --brief --cr3 --vcpu --json --help
		fi
		;;
	esac
}

# Completes the command line of those that tell of a running guest and steer it.
_bifold_steer()
{
	local options=--help

	case $1 in
	stat) options='--json --prometheus --watch --help' ;;
	top) options='--delay --help' ;;
	balloon | budget) options='--no-wait --help' ;;
	esac
	if [[ $prev == --watch || $prev == --delay ]]; then
		_bifold_words 0.5 1 5
	elif [[ $cur == -* ]]; then
		_bifold_words "$options"
	elif [[ $prev == "$1" || $prev == -* || ${words[cword - 2]} == @(--watch|--delay) ]]; then
		_bifold_sockets
	elif [[ $1 == balloon ]]; then
		_bifold_words 0 64M 256M 25% 50%
	elif [[ $1 == budget ]]; then
		_bifold_words none 64M 256M 25% 50%
	fi
}

_bifold()
{
	local cur prev cword program
	local -a words

	# "=" and ":" do not break words here: "watched=20" is one, and so is HOST:GUEST.
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n =: cur prev words cword
	else
		words=("${COMP_WORDS[@]}")
		cword=$COMP_CWORD
		cur=${words[cword]}
		prev=${words[cword - 1]}
	fi
	COMPREPLY=()

	if ((cword == 1)); then
		_bifold_words run doctor translate maps stat top balloon budget pause resume quit bench --help --version
		return
	fi
	if [[ ${words[1]} == doctor ]]; then
		if [[ $prev == --swap ]]; then
			_bifold_files -d
		else
			_bifold_words --swap --fix --json --help
		fi
		return
	fi
	if [[ ${words[1]} == translate || ${words[1]} == maps ]]; then
		_bifold_look "${words[1]}"
		return
	fi
	case ${words[1]} in
	stat | top | balloon | budget | pause | resume | quit)
		_bifold_steer "${words[1]}"
		return
		;;
	esac
	if [[ ${words[1]} == bench ]]; then
		_bifold_bench
		return
	fi
	[[ ${words[1]} == run ]] || return
	program=$(_bifold_program_index)
	if ((cword > program)); then
		_bifold_files -f
	elif ((cword < program)); then
		_bifold_value "$prev"
	elif [[ $cur == -* && $prev != -- ]]; then
		_bifold_words --memory --budget --cpus --append --swap --swap-size --on-full --compressor --policy --watch --file \
			--report --control --timeout --unmanaged --nested --kernel --initrd --disk --no-balloon --no-reporting --auto-balloon --force --quiet --verbose --version --help --
	else
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		[[ $cur != */* ]] || _bifold_files -f
	fi
}

complete -F _bifold bifold
