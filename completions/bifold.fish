# Completion of bifold's command line, for fish.

# The operands of the command before the current word: neither options nor their values.
function __bifold_operands
	set -l valued --memory --budget --cpus --append --swap --swap-size --on-full --compressor --policy --file \
		--disk --report --control --timeout --kernel --initrd --cr3 --vcpu --plot --watch --delay
	set -l before
	for word in (commandline -opc)[3..]
		if not contains -- "$before" $valued; and not string match -q -- '-*' $word
			echo $word
		end
		set before $word
	end
end

# Whether the command is one of those named.
function __bifold_in
	set -l words (commandline -opc)
	contains -- "$words[2]" $argv
end

# The same, with this number of operands before the current word.
function __bifold_at -a count
	__bifold_in $argv[2..]; and test (count (__bifold_operands)) -eq $count
end

# Whether an option of bifold run may stand here: before PROGRAM and --.
function __bifold_run_option
	__bifold_at 0 run; and not contains -- -- (commandline -opc)
end

# Whether bifold bench translation's may.
function __bifold_translation_option
	set -l words (commandline -opc)
	__bifold_in bench; and test "$words[3]" = translation
end

# The policies and their options are those that the program's help names.
function __bifold_policies
	set -l words (commandline -opc)
	$words[1] run --help 2>/dev/null | awk '
		/^  -/ { inside = /^  --policy / }
		inside && match($0, /[^ ]/) == 27 { print name = $1 }
		inside && name && match($0, /[a-z]+=[A-Z]/) { print name "," substr($0, RSTART, RLENGTH - 1) }'
end

# The control socket of a guest: a socket, or a directory on the way to one.
function __bifold_sockets
	for path in (commandline -ct)*
		if test -d $path
			echo $path/
		else if test -S $path
			echo $path
		end
	end
end

# ---- commands

complete -c bifold -f
complete -c bifold -n 'not __bifold_in run; or __bifold_run_option' -s h -l help -d 'Say how it is used'
complete -c bifold -n __fish_is_first_token -l version -d 'Print the version'
complete -c bifold -n __fish_is_first_token -a run -d 'Run a program in a guest'
complete -c bifold -n __fish_is_first_token -a doctor -d 'Check whether this host can do it'
complete -c bifold -n __fish_is_first_token -a translate -d 'Follow an address through both layers'
complete -c bifold -n __fish_is_first_token -a maps -d 'Print the address space of a guest'
complete -c bifold -n __fish_is_first_token -a stat -d 'Tell how a guest is'
complete -c bifold -n __fish_is_first_token -a top -d 'Watch and steer a guest'
complete -c bifold -n __fish_is_first_token -a balloon -d 'Ask a guest for memory, or give it back'
complete -c bifold -n __fish_is_first_token -a budget -d 'Change what a guest may hold'
complete -c bifold -n __fish_is_first_token -a pause -d 'Stop a guest where it is'
complete -c bifold -n __fish_is_first_token -a resume -d 'Let a paused guest go on'
complete -c bifold -n __fish_is_first_token -a quit -d 'End a guest'
complete -c bifold -n __fish_is_first_token -a bench -d 'Measure what translation costs'

# ---- run

complete -c bifold -n __bifold_run_option -l memory -x -a '64M 96M 256M 1G' -d "The guest's memory"
complete -c bifold -n __bifold_run_option -l budget -x -a '14M 64M 25% 50%' -d "What it may hold of the host's memory"
complete -c bifold -n __bifold_run_option -l cpus -x -a '1 2 4 8' -d "The guest's processors"
complete -c bifold -n __bifold_run_option -l append -x -d "Options for the guest's kernel" \
	-a 'console=ttyS0 console=hvc0 swap=8M policy=fifo policy=lru policy=clock norandmaps'
complete -c bifold -n __bifold_run_option -l swap -x -a 'none (__fish_complete_directories)' -d 'Where the swap file goes'
complete -c bifold -n __bifold_run_option -l swap-size -x -a '256M 1G' -d 'The most the swap file may hold'
complete -c bifold -n __bifold_run_option -l on-full -x -a 'pause stop' -d "When the swap file's disk is full"
complete -c bifold -n __bifold_run_option -l compressor -x -a 'lz4 zstd none' -d 'What compresses pages'
complete -c bifold -n __bifold_run_option -l watch -x -a 'auto scan notice' -d 'How touches of watched pages become known'
complete -c bifold -n __bifold_run_option -l policy -x -a '(__bifold_policies)' -d 'Which pages go first'
complete -c bifold -n __bifold_run_option -l file -r -F -d "Put this file into the guest's root"
complete -c bifold -n __bifold_run_option -l disk -r -F -d 'A file or a block device as a disk'
complete -c bifold -n __bifold_run_option -l no-balloon -d 'No balloon'
complete -c bifold -n __bifold_run_option -l no-reporting -d 'The guest does not tell of free pages'
complete -c bifold -n __bifold_run_option -l auto-balloon -d 'Ask the guest for what it can spare'
complete -c bifold -n __bifold_run_option -l report -r -F -d 'Write what happened as JSON'
complete -c bifold -n __bifold_run_option -l control -x -a '(__bifold_sockets)' -d 'Answer questions on this socket'
complete -c bifold -n __bifold_run_option -l timeout -x -a '10 60 600' -d 'Stop the guest after so many seconds'
complete -c bifold -n __bifold_run_option -l unmanaged -d "Leave the guest's memory to the host kernel"
complete -c bifold -n __bifold_run_option -l nested -d "The guest may use the processor's virtualization"
complete -c bifold -n __bifold_run_option -l kernel -r -F -d 'Boot this kernel'
complete -c bifold -n __bifold_run_option -l initrd -r -F -d "A stock kernel's initrd, or module"
complete -c bifold -n __bifold_run_option -l force -d 'Try a stock kernel where ring 0 is emulated'
complete -c bifold -n __bifold_run_option -s q -l quiet -d 'Say nothing but errors'
complete -c bifold -n __bifold_run_option -s v -l verbose -d 'Say more'
complete -c bifold -n __bifold_run_option -l version -d 'Print the version'
complete -c bifold -n '__bifold_at 0 run' -a '(__fish_complete_command)'
complete -c bifold -n '__bifold_in run; and not __bifold_at 0 run' -F

# ---- doctor

complete -c bifold -n '__bifold_in doctor' -l swap -x -a '(__fish_complete_directories)' -d 'Check this swap directory'
complete -c bifold -n '__bifold_in doctor' -l fix -d 'Print a script that mends what it can'
complete -c bifold -n '__bifold_in doctor' -l json -d 'Print the findings as JSON'

# ---- those that ask and steer a running guest

complete -c bifold -n '__bifold_at 0 translate maps stat top balloon budget pause resume quit' -a '(__bifold_sockets)'
complete -c bifold -n '__bifold_in translate' -l brief -d 'A line each'
complete -c bifold -n '__bifold_in translate maps' -l cr3 -x -d 'The page tables at this address'
complete -c bifold -n '__bifold_in translate maps' -l vcpu -x -a '0 1 2 3 4 5 6 7' -d 'The registers of this vCPU'
complete -c bifold -n '__bifold_in translate maps stat' -l json -d 'Print it as JSON'
complete -c bifold -n '__bifold_in maps' -l plot -r -F -d 'Also draw it into this file, as SVG'
complete -c bifold -n '__bifold_in stat' -l prometheus -d "In Prometheus's text format"
complete -c bifold -n '__bifold_in stat' -l watch -x -a '0.5 1 5' -d 'Again and again, after so many seconds'
complete -c bifold -n '__bifold_in top' -l delay -x -a '0.5 1 5' -d 'Seconds between two looks'
complete -c bifold -n '__bifold_in balloon budget' -l no-wait -d 'Ask, and do not follow'
complete -c bifold -n '__bifold_at 1 balloon' -a '0 64M 256M 25% 50%'
complete -c bifold -n '__bifold_at 1 budget' -a 'none 64M 256M 25% 50%'

# ---- bench

complete -c bifold -n '__bifold_at 0 bench' -a translation -d 'What the translation of addresses costs'
complete -c bifold -n __bifold_translation_option -l guest-pages -x -a '4K 2M 1G 4K,2M' -d "Sizes of the guest's pages"
complete -c bifold -n __bifold_translation_option -l host-pages -x -a '4K 2M 1G 4K,2M' -d "Sizes of the host's pages"
complete -c bifold -n __bifold_translation_option -l reserve -d 'Set missing huge pages aside meanwhile'
complete -c bifold -n __bifold_translation_option -l least -x -a '64K 1M' -d 'The smallest working set'
complete -c bifold -n __bifold_translation_option -l most -x -a '64M 256M 1G' -d 'The largest working set'
complete -c bifold -n __bifold_translation_option -l loops -x -d 'What is measured' \
	-a 'chase chase,packed chase,packed,stride,touch,scan'
complete -c bifold -n __bifold_translation_option -l rounds -x -d 'Measurements of each in a run'
complete -c bifold -n __bifold_translation_option -l passes -x -d 'Runs of each'
complete -c bifold -n __bifold_translation_option -l accesses -x -d 'Accesses of a round'
complete -c bifold -n __bifold_translation_option -l events -x -d 'How often each event is timed'
complete -c bifold -n __bifold_translation_option -l timeout -x -d 'Seconds for each run'
complete -c bifold -n __bifold_translation_option -l json -d 'The figures as JSON'
complete -c bifold -n __bifold_translation_option -l csv -d 'The figures as CSV'
complete -c bifold -n __bifold_translation_option -l plot -x -a '(__fish_complete_directories)' -d 'SVG pictures'
complete -c bifold -n __bifold_translation_option -s q -l quiet -d 'Say nothing but errors'
complete -c bifold -n __bifold_translation_option -s v -l verbose -d 'Say more'
