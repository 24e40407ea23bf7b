// Package ci checks the project: that its parts know only what DESIGN.md lets them know,
// and that each program links only the modules that dependencies.txt lists. The scripts
// beside it do the rest and are run by hand, by .ci/run and elsewhere in the same way.
package ci
