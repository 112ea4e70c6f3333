#compdef bifold
# Completion of bifold's command line, for zsh.

# The policies and their options are those that the program's help names.
_bifold_policies()
{
	local -a policies
	policies=(${(f)"$(_call_program policies $bifold run --help | awk '
		/^  -/ { inside = /^  --policy / }
		inside && match($0, /[^ ]/) == 27 { print name = $1 }
		inside && name && match($0, /[a-z]+=[A-Z]/) { print name "," substr($0, RSTART, RLENGTH - 1) }')"})
	compadd "$@" -- ${policies:#*=}
	compadd "$@" -S '' -- ${(M)policies:#*=}
}

# The control socket of a guest: a socket, or a directory on the way to one.
_bifold_sockets()
{
	_path_files "$@" -g '*(=,/)'
}

_bifold_swap()
{
	_alternative 'words:no swap file:(none)' 'directories:directory:_directories'
}

_bifold_run()
{
	_arguments -s -S -A '-*' : $help \
		"--memory=[the guest's memory]:size:(64M 96M 256M 1G)" \
		"--budget=[what it may hold of the host's memory]:size or percentage:(14M 64M 25% 50%)" \
		"--cpus=[the guest's processors]:number:(1 2 4 8)" \
		"--append=[options for the guest's kernel]:words:(console=ttyS0 console=hvc0 swap=8M policy=fifo
			policy=lru policy=clock norandmaps)" \
		'--swap=[where the swap file goes]:directory:_bifold_swap' \
		'--swap-size=[the most the swap file may hold]:size:(256M 1G)' \
		"--on-full=[when the swap file's disk is full]:what to do:(pause stop)" \
		'--compressor=[what compresses pages]:compressor:(lz4 zstd none)' \
		'--policy=[which pages go first]:policy:_bifold_policies' \
		'--watch=[how touches of watched pages become known]:way:(auto scan notice)' \
		"*--file=[put this file into the guest's root, too]:file:_files" \
		'*--disk=[a raw file or a block device as a disk]:file:_files' \
		'--no-balloon[no balloon]' \
		'--no-reporting[the guest does not tell which of its pages are free]' \
		'--auto-balloon[ask the guest for the memory that it can spare]' \
		'--report=[write what happened as JSON]:file:_files' \
		'--control=[answer questions on this socket]:socket:_bifold_sockets' \
		'--timeout=[stop the guest after that long]:seconds:(10 60 600)' \
		"--unmanaged[leave the guest's memory to the host kernel]" \
		"--nested[the guest may use the processor's virtualization]" \
		'--kernel=[boot this kernel]:file:_files' \
		"--initrd=[a stock kernel's initrd, or module]:file:_files" \
		'--force[try a stock kernel where ring 0 is emulated]' \
		'(-q --quiet)'{-q,--quiet}'[say nothing but errors]' \
		'*'{-v,--verbose}'[say more]' \
		'(- *)--version[print the version]' \
		'(-):program: _command_names -e' \
		'*::argument: _normal'
}

_bifold_doctor()
{
	_arguments : $help \
		'--swap=[check this swap directory]:directory:_directories' \
		'(--json)--fix[print a script that mends what a script can]' \
		'(--fix)--json[print the findings as JSON]'
}

_bifold_translate()
{
	_arguments : $help $look \
		'--brief[a line each]' \
		':socket:_bifold_sockets' \
		'*:address: '
}

_bifold_maps()
{
	_arguments : $help $look \
		'--plot=[also draw it into this file, as SVG]:file:_files' \
		':socket:_bifold_sockets'
}

_bifold_stat()
{
	_arguments : $help \
		'(--prometheus)--json[print it as JSON]' \
		"(--json)--prometheus[metrics, in Prometheus's text format]" \
		'--watch=[again and again, after so many seconds]:seconds:(0.5 1 5)' \
		':socket:_bifold_sockets'
}

_bifold_top()
{
	_arguments : $help \
		'--delay=[seconds between two looks]:seconds:(0.5 1 5)' \
		':socket:_bifold_sockets'
}

_bifold_balloon()
{
	_arguments : $help '--no-wait[ask, and do not follow]' \
		':socket:_bifold_sockets' ':size or percentage:(0 64M 256M 25% 50%)'
}

_bifold_budget()
{
	_arguments : $help '--no-wait[ask, and do not follow]' \
		':socket:_bifold_sockets' ':size or percentage:(none 64M 256M 25% 50%)'
}

_bifold_pause _bifold_resume _bifold_quit()
{
	_arguments : $help ':socket:_bifold_sockets'
}

_bifold_bench()
{
	if (( CURRENT == 2 )); then
		_arguments : $help ':what to measure:((translation\:"what the translation of addresses costs"))'
		return
	fi
	[[ $words[2] == translation ]] || return
	shift words
	(( CURRENT-- ))
	_arguments -s : $help \
		"--guest-pages=[sizes of the guest's pages]:sizes:(4K 2M 1G 4K,2M)" \
		"--host-pages=[sizes of the host's pages]:sizes:(4K 2M 1G 4K,2M)" \
		'--reserve[set missing huge pages aside meanwhile]' \
		'--least=[the smallest working set]:size:(64K 1M)' \
		'--most=[the largest working set]:size:(64M 256M 1G)' \
		'--loops=[what is measured]:loops:(chase chase,packed chase,packed,stride,touch,scan)' \
		'--rounds=[measurements of each in a run]:number: ' \
		'--passes=[runs of each]:number: ' \
		'--accesses=[accesses of a round, at least]:number: ' \
		'--events=[how often each event is timed]:number: ' \
		'--timeout=[seconds for each run]:seconds: ' \
		'--json=-[the figures as JSON]::file:_files' \
		'--csv=-[the figures as CSV]::file:_files' \
		'--plot=[SVG pictures]:directory:_directories' \
		'(-q --quiet)'{-q,--quiet}'[say nothing but errors]' \
		'(-v --verbose)'{-v,--verbose}'[say more]'
}

_bifold()
{
	local curcontext=$curcontext state line bifold=$words[1]
	local -a subcommands=(
		'run:run a program in a guest whose memory bifold manages'
		'doctor:check whether this host can do it, and mend what it lacks'
		'translate:follow an address of a running guest through both layers'
		'maps:print the address space of a running guest'
		'stat:tell how a running guest is'
		'top:watch and steer a running guest on a terminal'
		'balloon:ask a running guest for memory, or give it back'
		"budget:change what a running guest may hold of the host's memory"
		'pause:stop a running guest where it is'
		'resume:let a paused guest go on'
		'quit:end a running guest'
		'bench:measure what the two layers of translation cost on this host'
	)
	local -a help=('(- *)'{-h,--help}'[say how it is used]')
	local -a look=(
		'--cr3=[walk the page tables at this address]:guest-physical address: '
		'--vcpu=[use the registers of this vCPU]:number:(0 1 2 3 4 5 6 7)'
		'--json[print it as JSON]'
	)

	_arguments -C : $help '(- *)--version[print the version]' ':command:->command' '*::argument:->argument'
	case $state in
	command) _describe -t commands command subcommands ;;
	argument) ! (( $+functions[_bifold_$words[1]] )) || _bifold_$words[1] ;;
	esac
}

_bifold "$@"
