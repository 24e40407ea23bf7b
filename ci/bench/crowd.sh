#!/bin/sh
# Many clients at once: sh ci/bench/crowd.sh [-n idle sessions] directory [idle|slow|flood ...]
#
# As root on Linux; the directory gets the programs, the spool and the log. All runs in a network namespace in which
# 10.99.0.0/16 is local: clients come from there, since loopback addresses are exempt from the limits of
# clients. The limits are the defaults.
#
# It prints the memory (PSS of all processes) of idle sessions after the banner, after EHLO and in TLS, and the time
# until a new session has its banner; what 1,000 slow clients mean for others; and what becomes of a flood of
# 100,000 connections a minute from one address, with the lines that the log has of it.
set -e
n=10000
while getopts n: o; do
	case $o in
	n) n=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ -n "$1" ] || { echo "usage: crowd.sh [-n sessions] directory [idle|slow|flood ...]" >&2; exit 2; }
mkdir -p "$1" && chmod 755 "$1"
dir=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/../.."
export CGO_ENABLED=0
if [ -z "$IN_NAMESPACE" ]; then
	go build -o "$dir/" ./ci/bench/crowd ./ci/bench/probe ./cmd/smtpd ./cmd/smtpctl
	exec env IN_NAMESPACE=1 unshare -n sh ci/bench/crowd.sh -n "$n" "$dir" "$@"
fi
ip link set lo up
ip route add local 10.99.0.0/16 dev lo
backend=
ulimit -n "$(ulimit -Hn)"
if [ ! -e "$dir/cert.pem" ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=mx.bench.test \
		-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
	chmod 600 "$dir/key.pem"
fi
cat >"$dir/conf" <<C
pki "mx" cert "$dir/cert.pem" key "$dir/key.pem"
listen on 10.99.0.1 port 2525 tls pki "mx" hostname mx.bench.test
action "a" relay
match from any for any action "a"
C

start() {
	rm -rf "$dir/spool"
	mkdir -p "$dir/spool" && chmod 711 "$dir/spool"
	"$dir/smtpd" -d $backend -P mta -f "$dir/conf" -S "$dir/spool" -s "$dir/sock" >"$dir/log" 2>&1 &
	pid=$!
	"$dir/probe" banner 10.99.0.1:2525 >/dev/null
	sleep 1
}

stop() {
	kill "$pid"
	wait "$pid" || true
}

each() {
	start
	"$dir/crowd" "$@" -pid "$pid" || { tail "$dir/log"; stop; exit 1; }
	stop
}

for what in ${*:-idle slow flood}; do
	case $what in
	idle) for as in banner ehlo tls; do each idle -n "$n" -as $as -hold 10s; done ;;
	slow)
		backend="-B queue=null" # otherwise the spool is written out now and then
		each slow -n 1000
		backend=
		;;
	flood)
		each flood -log "$dir/log" -for 65s
		each flood -log "$dir/log" -for 20s -keep
		;;
	*) each "$what" ;;
	esac
done
rm -rf "$dir/spool"
