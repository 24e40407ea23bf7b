// Package filterkit is for programs that filter mail: filter processes as smtpd.conf(5)
// starts them with "filter NAME proc-exec COMMAND". A filter says which events it wants to
// hear of and which commands it decides about; the protocol (version 0.7, of OpenSMTPD too),
// the sessions and the look-ups in the DNS are done here:
//
//	func main() {
//		var f filterkit.Filter
//		f.In.Decide(filterkit.MailFrom, func(s *filterkit.Session, sender string) filterkit.Answer {
//			if s.User == "" && strings.HasSuffix(sender, "@example.org") {
//				return filterkit.Reject(550, "5.7.1 log in to send as example.org")
//			}
//			return filterkit.Proceed()
//		})
//		if err := f.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// Standard output belongs to the protocol. What is written to standard error, where the package
// log writes, comes into smtpd's log.
//
// # Sides
//
// In are the sessions of clients with the server, Out those of the server with others, for
// relay actions that name the filter. OpenSMTPD only reports about outgoing sessions. Godwit asks for
// decisions too: a filter that has some for Out does not start where they are not asked for.
//
// # Order and concurrency
//
// What happens in one session is told in its order, one thing at a time, so that handlers need no
// lock for what belongs to their session. Different sessions are told side by side: a handler that
// waits, for the DNS for example, holds up its own session and no other. MaxActive
// sessions can be in a handler at once; the others wait for their turn.
//
// What a session has to be told and was not yet is kept in memory. When all of that
// exceeds MaxPending nothing more is read until some of it is done.
//
// A handler that panics costs its command a temporary refusal, and the stack is logged.
//
// # Messages
//
// Lines sees each line of a message while it comes and may write others in its place. Message
// has it in memory as a whole, up to MaxMessage octets, and may change it and refuse it. Either
// way the header that smtpd has added is part of it. Lines are without their end and without the
// dot that SMTP puts before a dot.
//
// # Look-ups
//
// DNS has look-ups with a time limit. Begin starts one, or anything else that takes
// time, without waiting; Wait has its outcome when it is needed:
//
//	f.In.Report(filterkit.LinkConnect, func(s *filterkit.Session, _ []string) {
//		addr := s.Addr // what Begin starts must not touch the session
//		s.State = filterkit.Begin(s, func(ctx context.Context) (filterkit.Listing, error) {
//			return resolver.ListedAddr(ctx, "dnsbl.example.org", addr)
//		})
//	})
//	f.In.Decide(filterkit.MailFrom, func(s *filterkit.Session, _ string) filterkit.Answer {
//		listing, err := s.State.(*filterkit.Later[filterkit.Listing]).Wait()
//		if err == nil && listing.Listed() {
//			return filterkit.Reject(550, "5.7.1 "+listing.Reason)
//		}
//		return filterkit.Proceed()
//	})
//
// # More
//
// ci/e2e/filters has complete programs.
package filterkit
