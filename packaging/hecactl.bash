# bash completion of hecactl; printed by: hecactl completion bash
_hecactl() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      --socket|--timeout) ((i++)) ;;
      -*) ;;
      *) command="${COMP_WORDS[i]}"; break ;;
    esac
  done
  case "$previous" in
    --socket|--qmp|--map) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --domain) COMPREPLY=($(compgen -W "$(virsh list --name 2>/dev/null)" -- "$current")); return ;;
    --on-loss) COMPREPLY=($(compgen -W "wait poison" -- "$current")); return ;;
    regions|limit|detach)
      [[ $current == -* ]] || {
        COMPREPLY=($(compgen -W "$(hecactl regions --timeout 2 2>/dev/null | awk 'NR > 1 {print $1}')" -- "$current"))
        return
      } ;;
  esac
  case "$command" in
    "") words="attach doctor status nodes regions limit detach events top leases version completion" ;;
    attach) words="--name --sponsor --qmp --map --on-loss --option --domain --pid --local --ratio" ;;
    events) words="--follow --since" ;;
    top) words="--interval --count" ;;
    leases) words="free" ;;
    completion) words="bash" ;;
  esac
  COMPREPLY=($(compgen -W "$words --help --version --json --socket --timeout" -- "$current"))
}
complete -F _hecactl hecactl
