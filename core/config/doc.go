// Package config reads smtpd.conf(5): text becomes a syntax tree, and the tree becomes a
// checked Config. Nothing here opens a socket, a table or a key.
//
// The lexer makes tokens, replacing macros and going through included files. The parser
// makes one directive of each line and goes on after an error. The checker resolves names,
// fills in defaults and records what is not carried out yet. All three put what is wrong
// into one report, so that a file's errors are told at once.
//
// Older languages have a parser of their own, in the files old_parse*.go, which shares the
// lexer. What it finds is translated to the directives of today, so that one checker sees
// all files and the translation can be printed.
package config
