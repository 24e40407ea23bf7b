#!/bin/sh
# Hands the service to the system's manager when one runs. Whether it is to be started is
# the distribution's policy: systemd's presets, and on Alpine the administrator. Nothing
# here makes an installation fail but what smtpd could not start without.
set -e

# The package managers tell a first installation differently.
first=yes
case ${1:-} in
[2-9] | [1-9][0-9]) first= ;; # rpm: how many versions are installed
abort-*) exit 0 ;;            # dpkg
esac
[ -z "${2:-}" ] || first= # dpkg, apk and pacman: the version before

# The configuration names this file, which most systems have. postremove.sh takes it away
# if nobody has changed it.
if ! [ -e /etc/aliases ]; then
	printf '# See aliases(5).\npostmaster: root\n' >/etc/aliases
	chmod 644 /etc/aliases
fi

if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
	invoke=systemctl
	command -v deb-systemd-invoke >/dev/null && invoke=deb-systemd-invoke # asks policy-rc.d
	systemctl daemon-reload || true
	if [ -z "$first" ]; then
		! systemctl is-active -q smtpd.service || $invoke restart smtpd.service || true
	else
		systemctl preset smtpd.service || true
		! systemctl is-enabled -q smtpd.service || $invoke start smtpd.service || true
	fi
elif [ -z "$first" ] && [ -d /run/openrc ] && command -v rc-service >/dev/null; then
	rc-service --ifstarted smtpd restart || true
fi
