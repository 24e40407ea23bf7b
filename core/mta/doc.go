// Package mta relays messages to other servers. It takes messages with their recipients
// and the options of an action, and gives a result for each recipient.
//
// A relay is what recipients share that can travel in one transaction: a host that the
// configuration names, or a domain whose mail exchangers are looked up. A route is a
// source address and a destination address: it is disabled for a while when connections
// over it fail. A session is one connection; a relay has as many as its waiting messages
// are worth and the limits allow, and a connection is used again for as long as there is work.
//
// Domains with the same mail hosts share their connections: one without work goes to the next
// relay with the same options that has the server, if the policy of that relay is kept with it, and
// ends at once when a relay that cannot use it waits for its place (see share.go). How many
// connections there may be within the limits follows what servers say (window.go); those that
// hang do not take all places of a source address (slow.go); source addresses that a server does
// not like (sources.go) and hosts of a list that are dead (health.go) are passed over.
//
// Pauses are made after failures only. OpenSMTPD waits between two connections to a server
// that accepts everything, which holds a relay to some fifteen messages a second.
//
// # Which client
//
// LMTP is spoken by the Client of go-smtp over a connection that adds what it lacks:
// deadlines while the body is written, a bound on replies, no bare CR in the body.
//
// SMTP is spoken by a client of this package, for these reasons, each found by trying:
//   - go-smtp sends one command at a time. Here MAIL, RCPT and DATA leave in one write, and
//     those of the next message with the body before it (RFC 2920). A guard around the
//     connection could do that only by making up replies for the library.
//   - Its STARTTLS says EHLO localhost and cannot be left out when a server does not offer
//     it. A step of our own would need a second Client that is told a made-up greeting.
//   - It sends EHLO again after each RSET, and matches EHLO keywords by case.
//   - It drops the text of replies that the log and notices need.
//
// # What a message needs
//
// A message goes to a server only as it is. Octets beyond ASCII need 8BITMIME, addresses and
// headers in UTF-8 SMTPUTF8, REQUIRETLS needs verified TLS and REQUIRETLS; where the server lacks
// it the recipients fail for good. DSN parameters are left out where they are not known, and the
// result says so.
//
// # Filters
//
// The filters of an action (filters.go) hear what happens in its sessions, and those that decide are asked about
// a transaction before its commands are written: sender, recipients, data. What is refused is not sent, and fails by the
// code of the filter's reply. The body goes through the filters while it is sent; they are asked about the whole before the final dot. Where that is
// refused, or a filter fails, the connection is closed without the dot, by which the server knows that it does not have the
// message. Nothing is pipelined from one transaction into the next where something is decided.
//
// # TLS policies
//
// What is demanded of TLS with a server comes from the action and from a table of policies for
// domains; where they leave that open, from validated TLSA records of the server (DANE); where
// there are none, from the MTA-STS policy of the domain. They are looked up before each connection, and their errors let the next server be
// tried without a penalty for the route, which is good for those who demand less.
//
// What is hostile here is the server: reply lines and their number, the time for each reply
// and for a whole transaction, and the pace at which it takes the body are bounded. What it sent
// before the TLS handshake is never read after it, and what it says before it is asked for is no
// reply. One that offers PIPELINING and loses commands gets them one at a time for an hour.
package mta
