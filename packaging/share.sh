#!/bin/sh
# Makes what packages hold besides programs and is not in the tree as it is: compressed
# manual pages and changes, and the licences of everything that the programs link.
#
# usage: packaging/share.sh DIRECTORY
set -eu
cd "$(dirname "$0")/.."
out=$1
rm -rf "$out"
mkdir -p "$out/man"
for page in packaging/man/*.[1-8]; do
	gzip -9n <"$page" >"$out/man/${page##*/}.gz"
done
gzip -9n <CHANGELOG.md >"$out/changelog.gz"

# licence prints the licence of module $1, whose folder is $2.
licence() {
	printf '\n%s\n\n' "---- $1 ----"
	cat "$2/LICENSE"
}

{
	echo "Godwit, https://github.com/godwit-mta/godwit"
	echo
	cat LICENSE
	echo
	echo "The programs contain parts of the following, under their own licences."
	licence "The Go standard library and runtime" "$(go env GOROOT)"
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/... | sort -u |
		while read -r module dir; do
			licence "$module" "$dir"
		done
} >"$out/copyright"
