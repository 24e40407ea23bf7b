// Package packaging is what distributions get besides the programs. It has no code; its
// tests compare these files with the code and with each other.
package packaging
