#!/bin/sh
# Builds and vets the tree for every system that it is meant for, without cgo, and prints
# one line a target. Ends with 1 if one of them failed.
#
# usage: ci/cross.sh [goos/goarch[/goarm] ...]
#
# What differs between systems is in compat and platform, and a test keeps it there, so
# only these and the programs are vetted for each target; core is vetted once, by go vet
# on the machine that runs the tests.
set -u
cd "$(dirname "$0")/.." || exit 1

targets="
linux/amd64 linux/arm64 linux/arm/5 linux/arm/6 linux/arm/7 linux/386 linux/riscv64
linux/mips64le linux/ppc64le linux/s390x
openbsd/amd64 openbsd/arm64 openbsd/arm/7 openbsd/386 openbsd/riscv64
freebsd/amd64 freebsd/arm64 freebsd/arm/7 freebsd/386 freebsd/riscv64
netbsd/amd64 netbsd/arm64 netbsd/arm/7 netbsd/386
dragonfly/amd64
darwin/amd64 darwin/arm64
"
[ $# -gt 0 ] && targets="$*"

CGO_ENABLED=0
export CGO_ENABLED
known=$(go tool dist list) || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 1' HUP INT TERM

# has says whether this version of Go knows system $1.
has() {
	for k in $known; do
		[ "$k" = "$1" ] && return 0
	done
	return 1
}

failed=0
for target in $targets; do
	os=${target%%/*}
	rest=${target#*/}
	arch=${rest%%/*}
	arm=
	[ "$arch" != "$rest" ] && arm=${rest#*/}
	if ! has "$os/$arch"; then
		echo "$target: skipped: $(go env GOVERSION) does not have it"
		continue
	fi
	begin=$(date +%s)
	if GOOS=$os GOARCH=$arch GOARM=$arm go build ./... >"$log" 2>&1 &&
		GOOS=$os GOARCH=$arch GOARM=$arm go vet ./compat/... ./platform/... ./cmd/... >>"$log" 2>&1; then
		echo "$target: ok ($(($(date +%s) - begin)) s)"
	else
		echo "$target: FAILED"
		sed 's/^/    /' "$log"
		failed=1
	fi
done
exit $failed
