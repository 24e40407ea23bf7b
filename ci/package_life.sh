#!/bin/sh
# The life of the packages in DIRECTORY, in a bare Debian unpacked from root.tar there:
# installed, tried, removed, nothing left behind. ci/package.sh starts it in namespaces of
# its own: without a network but lo, and with its processes ending when it ends.
#
# usage: ci/package_life.sh DIRECTORY
set -eu
tmp=$1
root=$tmp/root

fail() {
	echo "FAILED: $*" >&2
	[ ! -e "$tmp/smtpd.log" ] || sed 's/^/    /' "$tmp/smtpd.log" >&2
	exit 1
}

# within runs a command in the root.
within() { chroot "$root" "$@"; }

# waitfor tries a command for 30 seconds.
waitfor() {
	tries=150
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.2
	done
}

# listing prints every file that a package could leave behind, and the users.
listing() {
	cd "$root"
	find . -xdev \( -path ./proc -o -path ./dev -o -path ./var/lib/dpkg -o -path ./var/lib/rpm \
		-o -path ./var/lib/pacman -o -path ./var/cache -o -path ./var/log \
		-o -path ./home/alice/Maildir -o -path './etc/*-' \) -prune \
		-o -printf '%p %y %m %u:%g %l\n' | sort
	sort etc/passwd etc/group etc/shadow etc/gshadow
	cd /
}

# same fails when the listing is not that of before.
same() {
	listing >"$tmp/after"
	diff "$tmp/before" "$tmp/after" || fail "$1 leaves something behind"
}

# metadata fails when file $2 has not the mode and owner $1.
metadata() {
	got=$(within stat -c '%a %U:%G' "$2")
	[ "$got" = "$1" ] || fail "$2 is $got, want $1"
}

# installed checks what an installation has made.
installed() {
	metadata "711 root:root" /var/spool/smtpd
	for dir in journal queue incoming corrupt; do
		metadata "700 _smtpq:_smtpq" /var/spool/smtpd/$dir
	done
	metadata "770 root:_smtpq" /var/spool/smtpd/offline
	metadata "755 root:root" /var/lib/smtpd/empty
	metadata "644 root:root" /etc/smtpd/smtpd.conf
	for name in _smtpd _smtpq; do
		within getent passwd $name | grep -q '^_smtp[dq]:x:[1-9][0-9]*:[1-9][0-9]*:.*/nologin$' ||
			fail "user $name"
	done
	within smtpd -n || fail "smtpd -n"
}

# runs fails unless a process with title $2 runs as user $1.
runs() {
	uid=$(within id -u "$1")
	for pid in $(pgrep -u "$uid"); do
		tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "^$2 *\$" && return
	done
	fail "no process $2 of $1"
}

debian() {
	cp "$tmp"/*.deb "$root/godwit.deb"
	listing >"$tmp/before"
	within dpkg -i /godwit.deb || fail "dpkg -i"
	installed

	chroot "$root" smtpd -d >"$tmp/smtpd.log" 2>&1 & # no function: its process would be a shell
	daemon=$!
	waitfor within smtpctl show status || fail "smtpd does not start"
	runs _smtpd "smtpd: dispatcher"
	runs _smtpq "smtpd: queue"
	printf 'Subject: package\n\nIt arrives.\n' | within sendmail alice || fail "sendmail"
	waitfor grep -rq 'It arrives' "$root/home/alice/Maildir/new" || fail "no mail in the Maildir"
	[ "$(within stat -c %U /home/alice/Maildir/new)" = alice ] || fail "owner of the Maildir"

	# A package that is installed over another leaves queue and configuration alone, and
	# mail that is queued stays when the package is removed.
	within smtpctl pause mda
	printf 'Subject: waits\n\n' | within sendmail alice || fail "sendmail"
	within mailq | grep -q '|alice@' || fail "mailq"
	echo "# changed" >>"$root/etc/smtpd/smtpd.conf"
	within dpkg -i /godwit.deb >"$tmp/dpkg.log" 2>&1 || fail "dpkg -i, again: $(cat "$tmp/dpkg.log")"
	grep -q '# changed' "$root/etc/smtpd/smtpd.conf" || fail "the configuration was replaced"
	kill "$daemon"
	wait "$daemon" || fail "smtpd ended with $?"
	within dpkg -r godwit || fail "dpkg -r"
	find "$root/var/spool/smtpd/queue" -name message | grep -q . || fail "dpkg -r removed mail"
	within dpkg -P godwit || fail "dpkg -P"
	same "dpkg -P"
	echo "deb: ok"
}

rpms() {
	rpm --root "$root" --initdb
	listing >"$tmp/before"
	# The users of the package are in the root only; nothing of this Debian is in its database.
	rpm --root "$root" -i --nodeps "$tmp"/*.rpm || fail "rpm -i"
	installed
	rpm --root "$root" -V --nodeps godwit || fail "rpm -V"
	rpm --root "$root" -e godwit || fail "rpm -e"
	same "rpm -e"
	echo "rpm: ok"
}

arch() {
	ln -sf bash "$root/bin/sh" # the script that nfpm makes is for bash
	cp -a "$root/usr/sbin/." "$root/usr/bin/"
	rm -rf "$root/usr/sbin"
	ln -s bin "$root/usr/sbin"
	mkdir -p "$root/var/lib/pacman" "$root/var/cache/pacman/pkg"
	cat >"$tmp/pacman.conf" <<CONF
[options]
SigLevel = Never
LocalFileSigLevel = Never
Architecture = auto
CONF
	set -- --root "$root" --dbpath "$root/var/lib/pacman" --config "$tmp/pacman.conf" \
		--logfile "$tmp/pacman.log" --noconfirm
	listing >"$tmp/before"
	pacman "$@" -U "$tmp"/*.pkg.tar.zst >"$tmp/pacman.out" 2>&1 || fail "pacman -U: $(cat "$tmp/pacman.out")"
	# With --root pacman takes owners from the machine that it runs on, so only the users
	# and the program are looked at.
	within getent passwd _smtpd _smtpq >"$tmp/pacman.out" || fail "users"
	within smtpd -n || fail "smtpd -n"
	pacman "$@" -R godwit >"$tmp/pacman.out" 2>&1 || fail "pacman -R: $(cat "$tmp/pacman.out")"
	same "pacman -R"
	echo "archlinux: ok"
}

mkdir "$root"
tar -C "$root" -xpf "$tmp/root.tar"
mount -t proc proc "$root/proc"
ip link set lo up
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
echo mail.example.org >"$root/etc/mailname"
within useradd -m alice
debian
rpms
arch
