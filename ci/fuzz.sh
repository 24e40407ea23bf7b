#!/bin/sh
# Runs every fuzz target for a while: ci/fuzz.sh [TIME], 10s when not given.
set -eu
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
time=${1:-10s}
for pkg in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "== $pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$pkg"
	done
done
