#!/bin/sh
# What a backlog costs: sh ci/bench/backlog.sh [-n envelopes] [-i files|journal] [-k] directory
#
# The directory gets the programs, the spool and the log, and has to have room: 12 KiB and three inodes an
# envelope. With -k the spool is kept for the next run, which fills nothing. As root the daemon gives
# up its rights to _smtpd and _smtpq as usual.
#
# It prints: reading the same files with a plain program (what the machine gives), the time until the banner with an
# empty spool and with the backlog, the first line and all of show queue while the spool is being loaded and after
# that, the time until all is scheduled, at first without and then with the cache of the queue, memory above idle for each envelope (PSS of all processes), and
# the rate at which mail is accepted with and without, and what of the processor a message takes. On a machine that does other things the processor time
# says more than the time.
set -e
n=100000 in=files keep=
while getopts n:i:k o; do
	case $o in
	n) n=$OPTARG ;;
	i) in=$OPTARG ;;
	k) keep=1 ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
dir=$1
[ -n "$dir" ] || { echo "usage: backlog.sh [-n envelopes] [-i files|journal] [-k] directory" >&2; exit 2; }
addr=127.0.0.1:${PORT:-2625}
mkdir -p "$dir" && chmod 755 "$dir"
dir=$(cd "$dir" && pwd)
cd "$(dirname "$0")/../.."
export CGO_ENABLED=0
go build -o "$dir/" ./ci/bench/fill ./ci/bench/probe ./cmd/smtpd ./cmd/smtpctl
cat >"$dir/conf" <<C
listen on 127.0.0.1 port ${PORT:-2625}
action "a" relay
match from any for any action "a"
C
asqueue=
if [ "$(id -u)" = 0 ]; then asqueue="setpriv --reuid=_smtpq --regid=_smtpq --clear-groups"; fi

newspool() {
	mkdir -p "$1" && chmod 711 "$1"
	[ -e "$1/queue" ] && return
	"$dir/smtpd" -n -f "$dir/conf" >/dev/null 2>&1
	start "$1"; stop # makes what belongs into it
}

# start a daemon that relays nothing; $banner gets the seconds until it answers
start() {
	"$dir/smtpd" -F -P mta -f "$dir/conf" -S "$1" -s "$dir/sock" >>"$dir/log" 2>&1 &
	pid=$!
	banner=$("$dir/probe" banner "$addr")
}

stop() {
	kill "$pid"
	wait "$pid" || true
}

ctl() { "$dir/smtpctl" -s "$dir/sock" "$@"; }

scheduled() { ctl show stats | awk -F= '/^scheduler.envelope=/{print $2}'; }

# memory of the daemon and its processes, in KiB
pss() { cat $(for p in $pid $(pgrep -P "$pid"); do echo "/proc/$p/smaps_rollup"; done) | awk '/^Pss:/{s+=$2}END{print s}'; }

# seconds of processor time of the daemon and its processes, in hundredths
cpu() { cat $(for p in $pid $(pgrep -P "$pid"); do echo "/proc/$p/stat"; done) | awk '{s+=$14+$15}END{print s}'; }

# the rate at which mail is accepted, and in microseconds the processor time of a message
rate() {
	"$dir/probe" accept "$addr" 20000 10 >/dev/null # warm
	used=$(cpu)
	r1=$("$dir/probe" accept "$addr" 20000 10); r2=$("$dir/probe" accept "$addr" 20000 10); r3=$("$dir/probe" accept "$addr" 20000 10)
	echo "$(printf '%s\n%s\n%s\n' "$r1" "$r2" "$r3" | sort -n | sed -n 2p) $((($(cpu) - used) * 10000 / 60000))"
}

rm -rf "$dir/empty"
newspool "$dir/empty"
start "$dir/empty"
echo "empty: banner $banner s"
sleep 3
idle=$(pss)
echo "empty: $idle KiB"
[ -n "$NORATE" ] || without=$(rate)
stop
rm -rf "$dir/empty"

if [ ! -e "$dir/spool/queue/00" ] && [ -z "$(ls "$dir/spool/journal" 2>/dev/null)" ]; then
	newspool "$dir/spool"
	$asqueue "$dir/fill" -spool "$dir/spool" -n "$n" -in "$in"
	sync
fi
[ "$in" = files ] && { echo "a plain program reads the files:"; time "$dir/probe" read "$dir/spool"; }

begin=$(date +%s%N)
start "$dir/spool"
echo "backlog: banner $banner s"
echo "show queue while loading: $("$dir/probe" command "$dir/smtpctl" -s "$dir/sock" show queue)"
until [ "$(scheduled)" -ge "$n" ]; do sleep 0.02; done
echo "all scheduled after $(($(date +%s%N) / 1000000 - begin / 1000000)) ms, from the start of the process; cpu 0.01s * $(cpu)"
stop
[ "$in" = journal ] && exit # it was written out: it is files now

start "$dir/spool"
begin=$(date +%s%N)
until [ "$(scheduled)" -ge "$n" ]; do sleep 0.02; done
echo "again, with the cache and nobody asking: $(($(date +%s%N) / 1000000 - begin / 1000000)) ms after the banner; cpu 0.01s * $(cpu)"
sleep 3
full=$(pss)
echo "memory: $full KiB, $((full - idle)) more, $(((full - idle) * 1024 / n)) octets an envelope"
for i in 1 2 3; do
	before=$(cpu)
	echo "show queue: $("$dir/probe" command "$dir/smtpctl" -s "$dir/sock" show queue); cpu of the daemon 0.01s * $(($(cpu) - before))"
done
sleep 3
full=$(pss)
echo "memory after that: $((full - idle)) KiB more, $(((full - idle) * 1024 / n)) octets an envelope"
if [ -z "$NORATE" ]; then
	with=$(rate)
	echo "accept: ${without% *}/s without, ${with% *}/s with the backlog, $((${with% *} * 100 / ${without% *})) %;" \
		"cpu of the daemon ${without#* } and ${with#* } us a message"
fi
stop
[ -n "$keep" ] || rm -rf "$dir/spool"
