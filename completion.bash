# Completion for bash of train.py, bench.py and krona: source completion.bash (or that line, with the path, in ~/.bashrc).
# It reads conf/ and sweeps/ each time, so that a new file is offered at once, and starts no Python.

_krona_home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

_krona_groups() { # conf/'s groups, and sweeps beside it
  (cd "$_krona_home/conf" && printf '%s\n' */ | sed 's|/$||' | grep -vx -e hydra -e bench; echo sweeps)
}

_krona_values() { # the names that group $1 offers
  local folder=$_krona_home/conf/$1
  [ "$1" = sweeps ] && folder=$_krona_home/sweeps
  [ -d "$folder" ] && (cd "$folder" && printf '%s\n' *.yaml | sed 's|\.yaml$||')
}

_krona_keys() { # keys of config.yaml and of the trainer, as key=
  local names='s/^\([a-z_]*\):.*/\1=/p'
  sed -n "$names" "$_krona_home/conf/config.yaml" | grep -vx -e defaults= -e hydra= -e optimizer=
  sed -n '/^optimizer:/,/^[a-z]/s/^  \([a-z_]*\):.*/optimizer.\1=/p' "$_krona_home/conf/config.yaml"
  sed -n "$names" "$_krona_home/conf/trainer/default.yaml" | sed 's/^/trainer./'
}

_krona_overrides() { # completions of the override $1
  local word=$1 key=${1%%=*} value=${1#*=} before=
  if [[ $word != *=* ]]; then
    compgen -W "$(_krona_groups | sed 's/$/=/') $(_krona_keys)" -- "$word"
    return
  fi
  [[ $value == *,* ]] && before=${value%,*},
  compgen -P "$key=$before" -W "$(_krona_values "$key")" -- "${value##*,}"
}

_krona_options() { # the options of the command of krona $1
  case $1 in
    status) echo --sweep --where --watch ;;
    table) echo --dry-run --format --workers ;;
    report) echo --table --sweep --format --out --where --outputs ;;
    diff) echo --examples --outputs ;;
    params) echo --backbone --json ;;
    shapes) echo --budget --all --json ;;
    tune) echo --trials --space --study --workers --seed ;;
    dashboard) echo --push --project --entity --folder ;;
    pretrain) echo --data-path --steps --minutes --seed ;;
  esac
}

_krona_complete() {
  local line=${COMP_LINE:0:COMP_POINT}
  local word=${line##*[[:space:]]} found reply
  local words=($line)
  case " $line" in
    *" "*train.py\ * | *" "*bench.py\ *)
      if [[ $word == -* ]]; then
        found=$(compgen -W "--multirun --cfg --help --info" -- "$word")
      elif [[ ${words[-1]} == --cfg || ${words[-2]} == --cfg && -n $word ]]; then
        found=$(compgen -W "job hydra all" -- "$word")
      else
        found=$(_krona_overrides "$word")
      fi
      ;;
    *krona\ *)
      if [[ ${#words[@]} -eq 1 || ${#words[@]} -eq 2 && -n $word ]]; then
        found=$(compgen -W "status table report diff params shapes tune dashboard sample pretrain" -- "$word")
      elif [[ $word == -* ]]; then
        found=$(compgen -W "$(_krona_options "${words[1]}")" -- "$word")
      elif [[ ${words[1]} == diff ]]; then
        found=$(cd "$_krona_home/outputs" 2>/dev/null && compgen -d -- "$word")
      else
        found=$(_krona_overrides "$word")
      fi
      ;;
    *) # python with another script: files, as without this completion
      COMPREPLY=($(compgen -f -- "$word"))
      compopt -o filenames
      return
      ;;
  esac
  COMPREPLY=()
  for reply in $found; do
    [[ $COMP_WORDBREAKS == *=* && $word == *=* ]] && reply=${reply#*=} # bash has cut the word at its "="
    COMPREPLY+=("$reply")
  done
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  return 0
}

complete -F _krona_complete krona python python3 train.py bench.py
