#!/bin/sh
# Torture, as root on Debian: sh ci/torture/run.sh [-short] [-duration 10m] [-rate N] [-seed N] [test flags]
# See doc.go. -short takes about a minute and a half.
set -eu
cd "$(dirname "$0")/../.."
GODWIT_TORTURE_MUTANTS=1 go test -count=1 ./ci/torture/mutants
[ "${1:-}" != -short ] || { shift; set -- -test.short "$@"; }
exec sh ci/e2e/run.sh --package torture "$@"
