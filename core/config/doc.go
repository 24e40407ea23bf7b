// Package config reads smtpd.conf(5): text becomes a syntax tree, and the tree becomes a
// checked Config. Nothing here opens a socket, a table or a key.
package config
