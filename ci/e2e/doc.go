// Package e2e tests the programs as they are: the daemon as root with all its processes,
// Postfix, swaks, msmtp, curl and smtplib around it. Its tests run inside the namespaces
// that run.sh makes, and nowhere else.
package e2e
