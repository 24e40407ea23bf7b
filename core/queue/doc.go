// Package queue keeps messages and their envelopes safe until each envelope has met its
// fate. It knows nothing of SMTP and nothing of when an envelope is due.
//
// # Durability
//
// What Store promises for the backend of OpenFS:
//
//   - When Commit returns nil, the message and all its envelopes are on stable storage.
//     They are there after a power cut, and each of them is given by Load of the next start
//     unless its removal was acknowledged.
//   - When Apply returns nil, its changes are on stable storage, all of those of one call
//     that concern one message together or, after a crash before it returned, none of them.
//   - When Commit or Apply returns an error that Temporary reports as such, nothing was
//     lost: what was queued before still is. Whether the change itself survives a crash is
//     open. The caller says 4xx, and does a delivery's record again.
//   - No message is ever seen in part.
//   - Delivery is at least once. The only window for a duplicate lies between the moment a
//     remote server or a mailbox has accepted a message and the moment our record of it is
//     durable; and, as with every SMTP server, when a client did not hear our reply.
//   - Nothing is deleted because it cannot be read: it goes to corrupt/ with the reason
//     beside it and a line in the log.
//
// It rests on what file systems promise: a file's octets are durable after it was synced, a
// name after its directory was, and a rename takes place whole or not at all. A sync that
// fails is never tried again and then believed (the kernel may have dropped the data and
// forgotten the error): the segment it concerned is given up, all that waited for it are told.
//
// # Layout
//
// Below the spool directory, every directory 0700, every file 0600:
//
//	journal/NNNNNNNNNN-RRRRRRRRRRRRRRRR   segments; see record.go
//	queue/XX/MSGID/message                the message, LF line ends
//	queue/XX/MSGID/EVPID                  one file an envelope, "field: value"
//	incoming/MSGID                        large bodies: being streamed, or still in the journal's care
//	corrupt/                              what could not be read
//
// The journal is a redo log over the files. A commit is one record with the envelopes and a
// small body in it; one writer joins all that wait into one write and one sync. When a segment
// is full or old it is closed, what is still queued in it is written out to queue/ by
// one goroutine, and then it is removed; segments go strictly in their order. Until then the files of
// a message that the segment mentions mean nothing by themselves: they may be old, half
// written or already dead, and the journal says what is true.
//
// # Memory
//
// About 100 octets for a message with one envelope, 16 for each envelope more. The text of
// envelopes is not kept.
package queue
