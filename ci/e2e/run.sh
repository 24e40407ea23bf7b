#!/bin/sh
# End-to-end tests with real programs, as root on Debian: sh ci/e2e/run.sh [--package NAME] [test flags]
#
# Installs the programs, compiles everything, and then runs the tests in namespaces of their
# own: no network but an empty loopback, a private /etc with the accounts of the tests, and
# private directories in place of those that the programs write to. Nothing of the host is
# changed but the packages, and no process is left.
set -eu

inside() {
	top=$1
	source=$2
	shift 2
	mount --make-rprivate /
	ip link set lo up
	# An address that Postfix may call its own; the server under test and its peers use others.
	ip addr add 127.0.0.4/8 dev lo
	hostname mx.godwit.test

	cp -a /etc "$top/etc"
	mount --bind "$top/etc" /etc
	# In a container these are mounts of their own; what is bound here lies above them.
	rm -f /etc/resolv.conf /etc/mailname
	printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:2\n' > /etc/resolv.conf
	printf '127.0.0.1 localhost\n127.0.0.1 mx.godwit.test mx\n' > /etc/hosts
	mkdir -p "$top/home" "$top/run" "$top/tmp"
	chmod 755 "$top/home" "$top/run"
	chmod 1777 "$top/tmp"
	account _smtpd 7001 /var/lib/smtpd/empty
	account _smtpq 7002 /var/lib/smtpd/empty
	account vmail 7003 "$top/home/vmail"
	account Debian-exim 7004 /nonexistent
	account opensmtpd 7005 /var/lib/opensmtpd/empty
	account opensmtpq 7006 /nonexistent
	for user in alice:7011 bob:7012 carol:7013; do
		account "${user%:*}" "${user#*:}" "$top/home/${user%:*}"
		install -d -m 700 -o "${user#*:}" -g "${user#*:}" "$top/home/${user%:*}"
	done
	echo 'project:x:7100:alice,bob' >> /etc/group

	mkdir -p /var/lib/smtpd /var/lib/postfix /var/spool/postfix /var/mail
	for dir in /var/lib/smtpd /var/lib/postfix /var/spool/postfix /var/mail; do
		mkdir -p "$top/private$dir"
		chmod --reference="$dir" "$top/private$dir"
		chown --reference="$dir" "$top/private$dir"
		mount --bind "$top/private$dir" "$dir"
	done

	# A /dev of our own: the test of the system's log makes /dev/log.
	mkdir "$top/dev"
	mount -t tmpfs -o mode=755 tmpfs "$top/dev"
	for node in null zero full random urandom tty loop-control loop0 loop1 loop2 loop3 loop4 loop5 loop6 loop7; do
		[ -e "/dev/$node" ] || continue
		: > "$top/dev/$node"
		mount --bind "/dev/$node" "$top/dev/$node"
	done
	ln -s /proc/self/fd "$top/dev/fd"
	mkdir -m 1777 "$top/dev/shm"
	mount --rbind "$top/dev" /dev

	cd "$top/run"
	export GODWIT_E2E=1 GODWIT_E2E_SOURCE="$source" GODWIT_E2E_BIN="$top/bin" GODWIT_E2E_TOP="$top" TMPDIR="$top/tmp"
	# Not exec: this shell is process 1 here and has to wait for whoever is orphaned.
	status=0
	"$top/bin/tests" -test.v -test.count=1 -test.timeout=30m "$@" || status=$?
	return $status
}

account() {
	# A mail server of the host may have given it one.
	sed -i "/^$1:/d" /etc/passwd /etc/group /etc/shadow
	echo "$1:x:$2:$2::$3:/bin/sh" >> /etc/passwd
	echo "$1:x:$2:" >> /etc/group
	echo "$1:!:19000:0:99999:7:::" >> /etc/shadow
}

# Builds programs of tables of the OpenSMTPD project from the sources that Debian 13 has: its
# binaries want a newer libc, and what Debian 12 has speaks the protocol of before 7.6.
tables() {
	mkdir -p "$1/tables/lists/partial" "$1/tables/cache/archives/partial"
	cd "$1/tables"
	echo 'deb-src http://deb.debian.org/debian trixie main' > sources.list
	set -- "$1" -qq -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$PWD/sources.list" \
		-o Dir::Etc::sourceparts=- -o "Dir::State::lists=$PWD/lists" -o "Dir::Cache=$PWD/cache"
	into=$1
	shift
	apt-get "$@" update
	for p in passwd sqlite; do
		apt-get "$@" source --tar-only "opensmtpd-table-$p"
		mkdir "$p"
		tar -xf "opensmtpd-table-${p}_"*.orig.tar.* -C "$p" --strip-components=1
		(cd "$p" && autoreconf -fi && ./configure && make "table-$p") > "$p.log" 2>&1
		install -m 755 "$p/table-$p" "$into/libexec/"
	done
}

# Unpacks another mail server, which cannot be installed beside Postfix. Its libraries are among
# the packages.
unpack() {
	mkdir "$1/$2"
	cd "$1/$2"
	package=$3
	set -- -qq -o APT::Sandbox::User=root
	apt-get "$@" download "$package" 2>/dev/null || { apt-get "$@" update; apt-get "$@" download "$package"; }
	dpkg -x "$package"_*.deb .
	chmod 755 .
}

# Makes a root for OpenSMTPD of Debian 13 with the libraries that it needs: that of Debian 12 cannot
# finish a handshake with the OpenSSL there.
opensmtpd() {
	root=$1/opensmtpd
	mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/etc" "$root/dev" "$root/tmp" "$root/usr/lib" "$root/usr/lib64"
	cd "$root"
	echo 'deb http://deb.debian.org/debian trixie main' > sources.list
	set -- -qq -o APT::Sandbox::User=root -o "Dir::Etc::sourcelist=$root/sources.list" -o Dir::Etc::sourceparts=- \
		-o "Dir::State::lists=$root/lists" -o "Dir::Cache=$root/cache" -o Dir::State::status=/dev/null
	apt-get "$@" update
	apt-get "$@" download opensmtpd libc6 libcrypt1 libdb5.3t64 libevent-2.1-7t64 libpam0g libssl3t64 zlib1g libzstd1 libaudit1 libcap-ng0
	ln -s usr/lib lib
	ln -s usr/lib64 lib64
	for p in *.deb; do
		dpkg --fsys-tarfile "$p" | tar -x --keep-directory-symlink
	done
	chmod 755 .
}

packages() {
	want="postfix unbound ldnsutils sasl2-bin libsasl2-modules swaks libnet-ssleay-perl msmtp curl python3 openssl iproute2 util-linux procps
		mutt s-nail git-email libmailtools-perl libauthen-sasl-perl libio-socket-ssl-perl node-nodemailer
		strace dovecot-lmtpd haproxy sqlite3 libsqlite3-dev gcc libc6-dev libpam0g-dev make autoconf automake pkg-config
		libdb5.3 python3-dkim libgnutls-dane0 libidn12 libnsl2 libpcre2-8-0"
	missing=
	for p in $want; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
	done
	[ -n "$missing" ] || return 0
	# No service is to start because its package comes.
	policy=/usr/sbin/policy-rc.d
	ours=
	if [ ! -e $policy ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' > $policy
		chmod 755 $policy
		ours=1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
	[ -z "$ours" ] || rm -f $policy
}

if [ "${1:-}" = --inside ]; then
	shift
	inside "$@"
	exit
fi

if [ "${1:-}" = --tables ]; then
	tables "$2"
	exit
fi

if [ "${1:-}" = --opensmtpd ]; then
	opensmtpd "$2"
	exit
fi

if [ "${1:-}" = --unpack ]; then
	unpack "$2" "$3" "$4"
	exit
fi

if [ "$(id -u)" != 0 ]; then
	echo "ci/e2e/run.sh has to run as root" >&2
	exit 1
fi
package=e2e
if [ "${1:-}" = --package ]; then # ci/torture lives in the same surroundings
	package=$2
	shift 2
fi
cd "$(dirname "$0")/../.."
self=$(pwd)/ci/e2e/run.sh
packages
top=$(mktemp -d /tmp/godwit-e2e.XXXXXX)
chmod 755 "$top"
trap 'rm -rf "$top"' EXIT
trap 'exit 130' INT TERM
export CGO_ENABLED=0
mkdir "$top/bin" "$top/libexec"
go build -trimpath -ldflags "-X main.version=e2e -X github.com/godwit-mta/godwit/platform.libexec=$top/libexec" -o "$top/bin/" ./cmd/...
ln -s smtpctl "$top/bin/sendmail"
go test -c -o "$top/bin/tests" "./ci/$package"
ln "$top/bin/tests" "$top/libexec/table-test"
ln "$top/bin/tests" "$top/libexec/filter-test"
if [ $package = e2e ]; then
	go build -trimpath -o "$top/libexec/" ./ci/e2e/filters/...
	# Not among the other helpers: where it is, PAM decides.
	CGO_ENABLED=1 go build -trimpath -tags pam -o "$top/pam/auth-pam" ./compat/auth/pam ||
		echo "no helper for PAM: the test of it is skipped, or fails where CI is set" >&2
	for other in exim:exim4-daemon-light chasquid:chasquid libopensmtpd:libopensmtpd0 \
		rspamd:opensmtpd-filter-rspamd dkimsign:opensmtpd-filter-dkimsign senderscore:opensmtpd-filter-senderscore; do
		sh "$self" --unpack "$top" "${other%:*}" "${other#*:}" ||
			echo "no ${other%:*}: the tests with it are skipped, or fail where CI is set" >&2
	done
	sh "$self" --opensmtpd "$top" || echo "no OpenSMTPD: the tests with it are skipped, or fail where CI is set" >&2
	sh "$self" --tables "$top" || echo "no table programs of others: their tests are skipped, or fail where CI is set" >&2
fi
status=0
unshare --mount --net --uts --ipc --pid --fork --kill-child --mount-proc --propagation private \
	sh "$self" --inside "$top" "$PWD" "$@" || status=$?
exit $status
