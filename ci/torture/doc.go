// Package torture proves that the daemon as a whole loses no mail, whatever dies at whatever
// moment. Its tests run as root inside the namespaces that run.sh makes:
//
//	sh ci/torture/run.sh                          # all steps, all errors, 1 minute of random faults
//	sh ci/torture/run.sh -short                   # what CI runs: a sample of each
//	sh ci/torture/run.sh -duration 10m -test.run Random
//
// # Parts
//
// A journal holds what the clients, the receivers and the killer did. Clients
// write down a message before its final dot and the reply after it; a receiver writes down what it got, synced,
// before it answers. The oracle compares: nothing that was acknowledged is missing
// (I1), nothing came that nobody sent, and all of it whole (I2), a recipient got a message again only
// if a process died or a receiver hung up between two deliveries, or a client tried again (I3),
// what was refused for good never came (I4), notices follow the same rule (I5), the spool is
// empty when everything is delivered, and corrupt/ is (I6), and the log tells of no second
// end of an envelope without a death in between (I8). It prints the whole history of whatever it complains of.
// Its own test makes it complain of each of these.
// Each repetition of a delivery is counted by the window in which it happened.
// Afterwards there are the same processes, with as many descriptors and as much memory as before, within a tenth, and no
// restart took more than 2 seconds of processor time until the banner (I7). How soon mail is taken after
// a restart and how fast the queue drains are logged as figures: on a shared machine nothing should fail by time,
// and after a second death within a minute the daemon waits on purpose before it starts again.
//
// Receivers: maildir and mbox of users of the system, a command, an LMTP server, an alias, a
// .forward, a catch-all, a table served by a program, Dovecot (not while single steps are killed), and four servers: one takes everything, one refuses a fifth of the
// recipients for now, one a tenth for good, one hangs up before or after its reply to the
// message. Clients: SMTP, STARTTLS, AUTH and the sendmail command, which uses the local socket.
//
// # What is done to it
//
//   - Control: no faults; exactly one delivery each.
//   - Steps: one message for a mailbox, a server and a recipient who is refused. strace holds
//     up every system call of one process that changes something; the harness counts them in
//     the order in which they come, whatever thread they are of, and at the n-th one, before it is
//     carried out, kills that process or all of them. For every n, every process.
//   - Errors: system calls of the queue and of an agent fail with EIO, ENOSPC or EMFILE as long
//     as the message is offered.
//   - Random: kill -9 of a process or of all, SIGTERM and a new start, SIGSTOP for 5 s, a full
//     disk, the death of the table's program, a server that is down, no DNS. Filters do not exist yet
//     and are left out.
//   - Mutants (package mutants): the same steps have to find a daemon that replies before the
//     commit and one that removes envelopes before their delivery; the power cuts
//     of core/queue have to find a missing sync and wrong orders of renaming and removing.
//
// # What is not proven
//
// A kill leaves the page cache as it is: power cuts are simulated in core/queue. A
// mailbox in the mbox format and the input of a command can end in the middle of a message whose
// delivery was killed; the whole message follows. They are counted, and tolerated for these two
// alone.
package torture
