# For each line of standard input, prints the completions that zsh offers for its last word: one a line,
# then an empty line. Of a path it prints the last part.
# Usage: zsh -f complete.zsh COMPLETION
#
# zsh completes on a terminal only, so a second one runs on a pseudo-terminal. There
# compadd, through which every completion goes, also writes it into a file.
zmodload zsh/zpty || exit 1
work=$(mktemp -d) || exit 1
cp $1 $work/_bifold
cat >$work/setup <<'END'
PS1= LISTMAX=10000
fpath=($work $fpath)
autoload -Uz compinit
compinit -D -u
compadd()
{
	local -a offered options=(${@[1,(i)(-|--)]})

	# With -O, -A or -D it offers nothing, but tells its caller what would match.
	if [[ -z ${(M)options:#-*[OAD]*} ]]; then
		builtin compadd -A offered "$@"
		(( ! $#offered )) || print -rl -- $offered >>$work/offered
	fi
	builtin compadd "$@"
}
list_all()
{
	zle list-choices
	BUFFER=
	print offered-all
}
zle -N list_all
bindkey '^T' list_all
print set-up
END
zpty shell "work=$work zsh -f -i"
zpty -w shell "source $work/setup"
zpty -r shell output '*set-up*'
while IFS= read -r line; do
	: >$work/offered
	zpty -n -w shell "$line"$'\C-t'
	zpty -r shell output '*offered-all*'
	sort -u $work/offered
	print
done
rm -r $work
