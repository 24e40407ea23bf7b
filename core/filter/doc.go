// Package filter is what may look at a session and change it: builtin filters, filter
// processes, and chains of both. It knows nothing of sockets, processes and the syntax of the
// configuration.
//
//   - filter.go: the moments at which filters decide (Phase), what they decide (Decision), and what
//     is known of a session (Session). A builtin filter is a Filter; it is in builtin.go.
//   - event.go: what is reported of a session (Event).
//   - chain.go: the filters of a listener or of a relay in their order (Chain).
//   - link.go: the part of a Chain in one session (Link): it reports, it asks one filter after
//     the other, and what one changed the next one sees.
//   - process.go, life.go, answer.go: a filter process and the lines that it speaks, those of smtpd-filters(7).
//   - stream.go: the lines of a message on their way through a process and back.
//
// Whoever has a session opens a Link with Chain.Open, tells it what happens with Report, asks it
// with Ask, and closes it. For a session of a client the order is
//
//	l := chain.Open(session)
//	l.Report(filter.LinkConnect, ...)
//	out := l.Ask(ctx, filter.Connect, ...)
//	...
//	l.Close() // reports that it has ended
//
// In sessions of ours with other servers (SMTPOut) builtin filters decide nothing, and processes about the
// message alone. A nil Link does nothing, which is all that a session without filters costs.
package filter
