#!/bin/sh
# Starts the server for an ordinary user: 127.0.0.1:2525, everything below ./run.
set -eu
cd "$(dirname "$0")/../.."
top=$(pwd)
run=$top/run

if [ "$(id -u)" = 0 ]; then
	# Mail is never delivered as root, so the demonstration runs as nobody.
	mkdir -p "$run"
	chown 65534:65534 "$run"
	if [ -z "${GODWIT_DEMO:-}" ] && command -v setpriv >/dev/null; then
		GODWIT_DEMO=1 exec setpriv --reuid 65534 --regid 65534 --clear-groups sh "$0"
	fi
	echo "make run is for an ordinary user; start it as one" >&2
	exit 1
fi

umask 022
mkdir -p "$run/spool" "$run/maildirs"
chmod 711 "$run/spool"
me=$(id -un 2>/dev/null || echo user)
cat > "$run/smtpd.conf" <<CONF
# Made by "make run". See smtpd.conf(5).
table people { "$me" = "$(id -u):$(id -g):$run" }

listen on 127.0.0.1 port 2525

action "local" maildir "$run/maildirs/%{user.username}" userbase <people>
match from any for domain "localhost" action "local"
match from any for local action "local"
CONF

cat <<TEXT
Godwit listens on 127.0.0.1:2525. Its queue is in $run/spool.
In another terminal, send yourself a message:

    printf 'Subject: hello\n\nIt works.\n' | SMTPD_SOCKET=$run/smtpd.sock $top/bin/sendmail $me@localhost

and read it:

    cat $run/maildirs/$me/new/*

The queue: SMTPD_SOCKET=$run/smtpd.sock $top/bin/smtpctl show queue
Control-C stops the server.
TEXT
exec "$top/bin/smtpd" -d -f "$run/smtpd.conf" -S "$run/spool" -s "$run/smtpd.sock"
