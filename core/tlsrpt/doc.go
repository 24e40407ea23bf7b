// Package tlsrpt tells the owners of domains what became of TLS with their mail servers
// (RFC 8460): it counts results of sessions for each domain and day, keeps them in a file
// across restarts, and sends a report for each day to those that a domain names in its record
// at _smtp._tls, by mail or by HTTPS.
//
// What is counted comes from servers that may be hostile, and who asks for reports is anybody
// with a domain: the memory that results take is bounded, and so are the places a report goes
// to, its size and the time for it. Reports about the delivery of reports are not made: who
// counts has to leave those sessions out.
package tlsrpt
