#!/bin/sh
# Clears up. Mail that is still queued stays, with the users whom it belongs to; only
# "dpkg --purge" deletes it. Without queued mail nothing is left.
set -e

spool=/var/spool/smtpd

# forget removes what the scripts and the daemon made, but no mail.
forget() {
	[ ! -d "$spool" ] || find "$spool" -depth -type d -exec rmdir {} + 2>/dev/null || true
	if [ -d "$spool" ]; then
		echo "godwit: mail is left in $spool; the users _smtpd and _smtpq stay"
		return
	fi
	for name in _smtpd _smtpq; do
		if command -v userdel >/dev/null; then
			userdel "$name" 2>/dev/null || true
			groupdel "$name" 2>/dev/null || true # userdel has done it on most systems
		else # Alpine
			deluser "$name" 2>/dev/null || true
			delgroup "$name" 2>/dev/null || true
		fi
	done
	if [ "$(cat /etc/aliases 2>/dev/null)" = "$(printf '# See aliases(5).\npostmaster: root\n')" ]; then
		rm -f /etc/aliases
	fi
}

if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
	systemctl daemon-reload || true
fi

case ${1:-} in
purge) # dpkg
	rm -rf "$spool"
	forget
	;;
remove | upgrade | failed-upgrade | abort-* | disappear) ;; # dpkg, with a purge to come or none
[1-9] | [1-9][0-9]) ;;                                     # rpm: another version stays
*) forget ;;                                               # rpm (0), apk and pacman (a version)
esac
