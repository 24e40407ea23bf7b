// Package smtp is an SMTP server session (RFC 5321): lines in, replies out, extensions,
// the upgrade to TLS. It knows nothing of queues and rules; what stands behind it is a
// Session of emersion/go-smtp, given by a Backend. Powers that this contract lacks are
// further interfaces that a session may have (see backend.go).
//
// Offered: PIPELINING (RFC 2920), 8BITMIME (RFC 6152), ENHANCEDSTATUSCODES (RFC 2034),
// SIZE (RFC 1870), CHUNKING (RFC 3030, without BINARYMIME), SMTPUTF8 (RFC 6531), LIMITS (RFC 9422), over TLS REQUIRETLS
// (RFC 8689), and where the listener wants it DSN (RFC 3461) and STARTTLS (RFC 3207).
//
// Lines end with CRLF and nothing else. A bare CR, a bare LF or a NUL in a message gets the
// message refused after its true end was read, so that no two servers can disagree about
// where it ended. A listener that normalizes takes bare CR and LF for line ends, but even
// there only CRLF.CRLF ends a message.
//
// A message that comes by BDAT is text like any other: its octets are counted, its line ends
// have to be CRLF. The commands between two chunks are carried out from within Body, so that a
// backend sees no difference; one that ends the message does so with an error for the backend.
//
// A session costs one goroutine while it waits for a command, and a 4 KiB buffer from when it comes; a bulk
// buffer of 64 KiB is borrowed only while a message flows faster than the small one holds.
// That makes some 10 KiB for one in clear and 25 KiB over TLS, what the collector leaves included (ci/bench/crowd.sh). In a
// transaction come the recipients, at most MaxRcpt, none longer than a command line.
//
// An exchange of AUTH over TLS may have lines of 12288 octets; one that is longer than a command borrows a
// bulk buffer until it is answered. What belongs to it is in no log, no trace, and reaches no LineSession.
//
// What many sessions of one client do together is counted by Sources, which has a limit for
// each: a session belongs to a Source, and asks it when a command was refused, a password was
// wrong, or a recipient is named.
package smtp
