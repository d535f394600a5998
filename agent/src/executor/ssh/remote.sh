# What the agent asks of a device. The functions need a POSIX shell, and /proc with awk and grep, or
# ps; one call follows them. Answers begin with "garrison:", since a login shell may print more.
#
# A record is a file of one line, "GROUP START MARK", named after its attempt.

dir=${TMPDIR:-/tmp}/.garrison-$(id -u)
boot=
{ read -r boot < /proc/sys/kernel/random/boot_id; } 2> /dev/null

say() { echo "garrison: $*"; }

fail() {
  echo "$*" >&2
  exit 1
}

# When process $1 was started, as one word that ends with the boot's id; nothing if there is none.
started() {
  stat=
  if { read -r stat < "/proc/$1/stat"; } 2> /dev/null; then
    # Behind the name, which may hold anything; the start is the 22nd field.
    set -- ${stat##*) }
    echo "${20}-$boot"
  elif [ ! -r /proc/self/stat ]; then
    ps -o lstart= -p "$1" 2> /dev/null | tr -cs A-Za-z0-9 -
  fi
}

# The processes of group or session $1, without zombies.
members() {
  if [ -r /proc/self/stat ]; then
    # Some of them end meanwhile.
    cat /proc/[0-9]*/stat 2> /dev/null | awk -v g="$1" '
      { pid = $1; sub(/^.*\) /, "") }
      $1 !~ /[ZXx]/ && ($3 == g || $4 == g) { print pid }'
  else
    ps -A -o pid= -o pgid= -o state= | awk -v g="$1" '$3 !~ /Z/ && $2 == g { print $1 }'
  fi
}

# Those of group $1 whose leader was started at $2; nothing if the number was taken anew.
living() {
  case $2 in *-"$boot") ;; *) return 0 ;; esac
  now=$(started "$1")
  [ -z "$now" ] || [ "$now" = "$2" ] || return 0
  members "$1"
}

# Sets pids to those of group $1, started at $2.
look() {
  pids=$(living "$1" "$2") || fail "cannot list processes; are awk and ps there?"
}

# Whether group $1, started at $2, provably belongs to the attempt with mark $3.
runs() {
  look "$1" "$2"
  [ -n "$pids" ] || return 1
  [ "$(started "$1")" != "$2" ] || return 0
  for pid in $pids; do
    ! grep -q -s -F "GARRISON_MARK=$3" "/proc/$pid/environ" || return 0
  done
  return 1
}

open_dir() {
  (umask 077 && mkdir "$dir") 2> /dev/null
  [ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ] && [ -w "$dir" ] ||
    fail "$dir must be a directory that belongs to this user and can be written"
}

# Says which boot this is.
boot() {
  [ -n "$boot" ] || fail "/proc/sys/kernel/random/boot_id cannot be read; a reboot would not be seen"
  say "$boot"
}

# Says number, group and start of each attempt of job $1 that runs; removes what is outdated.
previous() {
  open_dir
  for file in "$dir"/*; do
    { read -r group start mark < "$file"; } 2> /dev/null || continue
    if runs "$group" "$start" "$mark"; then
      name=${file##*/}
      case $name in "$1".*) say "${name##*.}" "$group" "$start" ;; esac
    else
      rm -f "$file"
    fi
  done
  say end
}

# Records that attempt $1 runs as group $2 with mark $3; says its start.
record() {
  open_dir
  start=$(started "$2")
  [ -n "$start" ] || fail "process $2 has ended already"
  echo "$2 $start $3" > "$dir/.$1" && mv "$dir/.$1" "$dir/$1" || fail "cannot write in $dir"
  say "$start"
}

# Sends signal $4 to attempt $1, group $2, started at $3; says how many processes there were. If
# there are none, removes its record. Signal 0 is none.
end() {
  look "$2" "$3"
  # A process that was just started may have been missed.
  [ -n "$pids" ] || look "$2" "$3"
  if [ -z "$pids" ]; then
    rm -f "$dir/$1"
  elif [ "$4" != 0 ]; then
    kill -s "$4" $pids 2> /dev/null
  fi
  set -- $pids
  say $#
}

