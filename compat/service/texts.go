package service

import "strings"

// fill puts the service's name and the daemon's path in the place of @NAME@ and
// @PROGRAM@. Neither needs quoting (special).
func fill(text, name, program string) string {
	return strings.NewReplacer("@NAME@", name, "@PROGRAM@", program).Replace(text)
}

// systemdUnit is the unit of packaging/systemd, which says why for each line.
const systemdUnit = `[Unit]
Description=Godwit SMTP server
Documentation=man:smtpd(8) man:smtpd.conf(5)
After=network-online.target nss-lookup.target remote-fs.target
Wants=network-online.target
StartLimitIntervalSec=120
StartLimitBurst=5

[Service]
Type=simple
ExecStartPre=@PROGRAM@ -n
ExecStart=@PROGRAM@ -F
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
Restart=on-failure
RestartSec=5
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
RestrictRealtime=yes
LockPersonality=yes
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_SYS_CHROOT CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL

[Install]
WantedBy=multi-user.target
`

// Debian's OpenRC has no services net and localmount, so none is needed, only used.
const openRCScript = `#!/sbin/openrc-run

description="Godwit SMTP server"
command="@PROGRAM@"
command_args="-F"
command_background="yes"
pidfile="/run/@NAME@-openrc.pid"
extra_commands="checkconfig"
extra_started_commands="reload"

depend() {
	use net dns logger
	after localmount bootmisc firewall
	provide mta
}

checkconfig() {
	"$command" -n
}

start_pre() {
	checkconfig
}

reload() {
	checkconfig || return 1
	ebegin "Reloading $RC_SVCNAME"
	start-stop-daemon --signal HUP --pidfile "$pidfile"
	eend $?
}
`

const launchdPlist = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>@NAME@</string>
	<key>ProgramArguments</key>
	<array>
		<string>@PROGRAM@</string>
		<string>-F</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<true/>
	<key>ExitTimeOut</key>
	<integer>60</integer>
</dict>
</plist>
`

// The parent's command line is the only one that is exactly "program -F", which is what
// rc.subr(8) looks for.
const openbsdScript = `#!/bin/ksh

daemon="@PROGRAM@"
daemon_flags="-F"

. /etc/rc.d/rc.subr

rc_bg=YES

rc_configtest() {
	${daemon} -n
}

rc_pre() {
	${daemon} -n
}

rc_cmd $1
`

const freebsdScript = `#!/bin/sh

# PROVIDE: @NAME@ mail
# REQUIRE: LOGIN FILESYSTEMS
# KEYWORD: shutdown

. /etc/rc.subr

name="@NAME@"
rcvar="@NAME@_enable"

load_rc_config $name
: ${@NAME@_enable:="NO"}

pidfile="/var/run/@NAME@-rc.pid"
procname="@PROGRAM@"
command="/usr/sbin/daemon"
command_args="-f -p ${pidfile} ${procname} -F"
extra_commands="reload configtest"
start_precmd="${procname} -n"
restart_precmd="${procname} -n"
configtest_cmd="${procname} -n"

run_rc_command "$1"
`

// NetBSD has no daemon(8); rc.subr(8) evaluates the arguments, so the shell puts it into
// the background.
const netbsdScript = `#!/bin/sh

# PROVIDE: @NAME@ mail
# REQUIRE: LOGIN
# KEYWORD: shutdown

. /etc/rc.subr

name="@NAME@"
rcvar="@NAME@"
command="@PROGRAM@"
command_args="-F </dev/null >/dev/null 2>&1 &"
extra_commands="reload configtest"
start_precmd="${command} -n"
configtest_cmd="${command} -n"

load_rc_config $name
run_rc_command "$1"
`
