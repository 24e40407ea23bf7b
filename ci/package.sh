#!/bin/sh
# Makes the packages that goreleaser.yaml describes, for the architecture of this machine,
# and tries them: what they contain, here, and installing, using and removing them in a bare
# Debian, in ci/package_life.sh. Run as root on Debian 12 with Go; installs what it needs.
# Everything is made in a temporary directory, but for bin/share.
#
# usage: ci/package.sh
#
# It runs goreleaser itself although that takes three minutes to build: with another program
# and a second description of the packages, that description would be what is tested. One
# target is enough, ci/cross.sh builds the others. The bare Debian is kept in dist/.
set -eu
cd "$(dirname "$0")/.."
version=v2.16.0 # of goreleaser; later ones need modules or a Go that we do not have

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

tmp=$(mktemp -d)
chmod 755 "$tmp"
trap 'wait; rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# installs gives the machine what it lacks.
installs() {
	missing=
	for pair in mmdebstrap:mmdebstrap rpm:rpm pacman:pacman-package-manager ip:iproute2 zstd:zstd \
		pgrep:procps mandoc:mandoc unshare:util-linux git:git; do
		command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
	done
	[ -n "$missing" ] || return 0
	apt-get update -q
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}

# bootstrap makes the bare Debian, from where this machine has its packages.
bootstrap() {
	if ! [ -e dist/bookworm.tar ]; then
		[ -n "$(sources)" ] || apt-get update -q
		sources | timeout 600 mmdebstrap --quiet --mode=root --variant=minbase bookworm "$tmp/new.tar" -
		mkdir -p dist
		mv "$tmp/new.tar" dist/bookworm.tar
	fi
	cp dist/bookworm.tar "$tmp/root.tar"
}

# sources prints the line of Debian's main archive, as sources.list(5) has it.
sources() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' |
		awk '$2 == "bookworm" && $3 == "main" { print "deb", $1, $2, $3; exit }'
}

# build makes the packages of one target in $tmp/dist.
build() {
	goreleaser=$(go env GOPATH)/bin/goreleaser
	"$goreleaser" --version 2>/dev/null | grep -q "${version#v}" ||
		CGO_ENABLED=0 go install -ldflags=-s "github.com/goreleaser/goreleaser/v2@$version"
	"$goreleaser" check goreleaser.yaml
	sed -E -e "s,^dist: dist\$,dist: $tmp/dist," \
		-e "/^      - [a-z0-9]+_[a-z0-9_]+\$/{/ linux_$(go env GOHOSTARCH)\$/!d}" goreleaser.yaml >"$tmp/one.yaml"
	# Whoever owns the checkout, git may look at it.
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' \
		"$goreleaser" release --snapshot --clean --skip=publish -f "$tmp/one.yaml"
	cp "$tmp"/dist/*.deb "$tmp"/dist/*.rpm "$tmp"/dist/*.apk "$tmp"/dist/*.pkg.tar.zst "$tmp"/dist/*.tar.gz "$tmp/"
}

# contents prints "mode owner/group /path [target]" for each file of a package.
contents() {
	case $1 in
	*.deb) dpkg-deb --fsys-tarfile "$1" | tar -tv ;;
	*.apk) tar --ignore-zeros --warning=no-unknown-keyword -tzvf "$1" ;;
	*.zst) zstd -dcq "$1" | tar -tv ;;
	*.rpm)
		rpm -qp --qf '[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} 0 0 0 %{FILENAMES} -> %{FILELINKTOS}\n]' "$1"
		;;
	esac | sed -e 's, 0/0 , root/root ,' |
		awk '{ sub(/^l[-rwx]*/, "l", $1); sub(/^[.]?[/]?/, "/", $6); sub(/.[/]$/, substr($6, length($6) - 1, 1), $6)
			print $1, $2, $6, $8 }' | sed 's/ *$//'
}

# expect fails unless package $1 has each line of standard input.
expect() {
	contents "$1" >"$tmp/contents"
	while read -r line; do
		grep -qxF -e "$line" "$tmp/contents" || {
			cat "$tmp/contents"
			fail "$1: no \"$line\""
		}
	done
	grep -E '/(var/)?(run|tmp)/' "$tmp/contents" && fail "$1: files that no package may bring"
	echo "${1##*/}: contents ok"
}

# everywhere prints what each package has, with programs in directory $1 and what leads from
# /usr/bin there.
everywhere() {
	cat <<TEXT
-rwxr-xr-x root/root $1/smtpd
-rwxr-xr-x root/root $1/smtpctl
-rwxr-xr-x root/root $1/smtpd-service
l root/root $1/sendmail smtpctl
l root/root $1/makemap smtpctl
l root/root /usr/bin/mailq $2smtpctl
l root/root /usr/bin/newaliases $2smtpctl
-rw-r--r-- root/root /etc/smtpd/smtpd.conf
-rw-r--r-- root/root /usr/share/man/man8/smtpd.8.gz
-rw-r--r-- root/root /usr/share/man/man8/smtpctl.8.gz
-rw-r--r-- root/root /usr/share/man/man8/sendmail.8.gz
-rw-r--r-- root/root /usr/share/man/man8/smtpd-service.8.gz
-rw-r--r-- root/root /usr/share/man/man5/smtpd.conf.5.gz
-rw-r--r-- root/root /usr/share/man/man8/makemap.8.gz
-rw-r--r-- root/root /usr/share/man/man8/newaliases.8.gz
-rw-r--r-- root/root /usr/share/man/man5/aliases.5.gz
-rw-r--r-- root/root /usr/share/man/man5/table.5.gz
-rw-r--r-- root/root /usr/share/man/man5/forward.5.gz
-rw-r--r-- root/root /usr/share/man/man5/smtpd.queue.5.gz
-rw-r--r-- root/root /usr/share/man/man7/smtpd-tables.7.gz
-rw-r--r-- root/root /usr/share/man/man7/smtpd-backends.7.gz
-rw-r--r-- root/root /usr/share/man/man7/smtpd-filters.7.gz
-rw-r--r-- root/root /usr/share/doc/godwit/copyright
drwxr-xr-x root/root /var/lib/smtpd/empty
drwx--x--x root/root /var/spool/smtpd
drwx------ _smtpq/_smtpq /var/spool/smtpd/journal
drwx------ _smtpq/_smtpq /var/spool/smtpd/queue
drwx------ _smtpq/_smtpq /var/spool/smtpd/incoming
drwx------ _smtpq/_smtpq /var/spool/smtpd/corrupt
drwx------ _smtpq/_smtpq /var/spool/smtpd/state
drwxrwx--- root/_smtpq /var/spool/smtpd/offline
TEXT
}

# check looks into the packages.
check() {
	unit="-rw-r--r-- root/root /usr/lib/systemd/system/smtpd.service"
	{
		everywhere /usr/sbin ../sbin/
		echo "$unit"
		echo "-rw-r--r-- root/root /usr/share/doc/godwit/changelog.Debian.gz"
	} | expect "$tmp"/*.deb
	{
		everywhere /usr/sbin ../sbin/
		echo "$unit"
	} | expect "$tmp"/*.rpm
	{
		everywhere /usr/sbin ../sbin/
		echo "-rwxr-xr-x root/root /etc/init.d/smtpd"
	} | expect "$tmp"/*.apk
	{
		everywhere /usr/bin ""
		echo "$unit"
	} | expect "$tmp"/*.zst
	! grep -q /usr/sbin "$tmp/contents" || fail "archlinux: /usr/sbin"
	[ "$(dpkg-deb -f "$tmp"/*.deb Conflicts Provides Replaces | sort -u | wc -l)" = 3 ] || fail "fields of the .deb"
	[ "$(dpkg-deb -I "$tmp"/*.deb conffiles)" = /etc/smtpd/smtpd.conf ] || fail "conffiles of the .deb"
	[ "$(rpm -qp --configfiles "$tmp"/*.rpm)" = /etc/smtpd/smtpd.conf ] || fail "configuration files of the .rpm"
	for file in smtpd smtpctl smtpd-service COPYRIGHT README.md LICENSE smtpd.conf man/smtpd.8; do
		tar -tzf "$tmp"/*.tar.gz | grep -q "/$file\$" || fail "$file is not in the archive"
	done
}

# manuals fails when mandoc has something to say, but for style and pages that are not
# installed here.
manuals() {
	mandoc -Tlint -Wwarning packaging/man/* || fail "manual pages"
	echo "manual pages: ok"
}

[ "$(id -u)" = 0 ] || fail "this is for root"
installs
manuals
bootstrap >"$tmp/bootstrap.log" 2>&1 &
bootstrap=$!
build
wait $bootstrap || fail "bare Debian: $(cat "$tmp/bootstrap.log")"
check
timeout 300 unshare --net --mount --pid --fork --kill-child --mount-proc sh ci/package_life.sh "$tmp"
echo "packages: ok"
