#!/bin/sh
# Makes the users of smtpd(8) before the files are unpacked, because some of them belong to
# these users. It may run any number of times.
set -e

nologin=/usr/sbin/nologin
[ -x "$nologin" ] || nologin=/sbin/nologin

# exists says whether file $1 in /etc (passwd or group) has an entry $2.
exists() {
	if command -v getent >/dev/null; then
		getent "$1" "$2" >/dev/null
	else
		grep -q "^$2:" "/etc/$1"
	fi
}

# account makes the user $1 with a group of the same name and the home directory $2.
account() {
	if command -v useradd >/dev/null; then
		exists group "$1" || groupadd -r "$1"
		exists passwd "$1" || useradd -r -M -g "$1" -d "$2" -s "$nologin" -c "$3" "$1"
	else # Alpine
		exists group "$1" || addgroup -S "$1"
		exists passwd "$1" || adduser -S -D -H -G "$1" -h "$2" -s "$nologin" -g "$3" "$1"
	fi
}

account _smtpd /var/lib/smtpd/empty "SMTP daemon"
account _smtpq /var/spool/smtpd "SMTP queue"
