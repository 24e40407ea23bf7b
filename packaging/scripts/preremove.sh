#!/bin/sh
# Stops the service before its files go. A new version restarts it instead: postinstall.sh.
set -e

case ${1:-} in
upgrade | failed-upgrade | deconfigure) exit 0 ;; # dpkg
[1-9] | [1-9][0-9]) exit 0 ;;                     # rpm: how many versions stay
esac

if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
	systemctl stop smtpd.service || true
	systemctl disable smtpd.service || true
elif [ -d /run/openrc ] && command -v rc-service >/dev/null; then
	rc-service --ifstarted smtpd stop || true
	rc-update -q delete smtpd || true
fi
