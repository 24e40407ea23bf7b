// Package queue keeps messages and their envelopes safe until each envelope has met its
// fate. It knows nothing of SMTP and nothing of when an envelope is due.
//
// # Durability
//
// What Store promises for the backend of OpenFS; the tests cut the power at every operation, fail every
// operation and kill the process at every operation to see that it is kept.
//
// What an answer means:
//
//   - Commit returned nil: the message and all its envelopes are on stable storage. They are there after
//     a power cut, and each of them is given by Load of every later start until its removal was acknowledged.
//   - Apply returned nil: its changes are on stable storage. An envelope whose removal was acknowledged
//     never comes back.
//   - Either was interrupted by a crash, or returned an error for which Temporary is true: what was asked is
//     there after the next start or it is not, but never in part. Of a Commit that is the message with all its envelopes, of an
//     Apply the changes of one message that follow each other. Until that start the store goes on as if it had
//     not been asked. What was queued before is untouched. The caller says 4xx, or asks again.
//   - Either returned another error: of this message nothing was changed; changes of other messages in the
//     same Apply were made. After ErrNotFound of Apply all was done but what concerned envelopes that are gone.
//   - Load gave an envelope: it is on stable storage, even when nobody was told so before the crash.
//   - Discover returned nil: what it gave is on stable storage.
//   - Close returned nil: all mail lies in files and the journal is empty.
//   - Reserve, Create and what is written into the file of Create promise nothing: a restart forgets them.
//
// No message is ever given in part, and nothing is deleted because it cannot be read: it goes to corrupt/
// with the reason beside it and a line in the log. What the disk does not give at a start keeps nothing else from
// being served: a file is read again later (FS.LoadAgain), and of a segment with bad sectors the other
// records are used and the segment is kept in corrupt/ instead of being removed. Only a segment of which
// nothing or too little can be read stops the start, for that disk may be there the next time.
//
// Delivery is at least once. A duplicate can appear
//
//   - when a remote server or a mailbox has accepted a message and the power goes, the process dies or the
//     disk refuses before Apply has made our record of it durable. Who delivers begins nothing new while that
//     cannot be done, and nothing at a start before FS.Ready, so that the number of these is that of the deliveries under way;
//   - when a client did not hear our 250, as with every SMTP server. A Commit that failed with
//     a temporary error and is found after the next start belongs here: the client was told 4xx and sent it again;
//   - when the spool was put back from a copy, or the disk lost the record of a removal that it had
//     acknowledged (a damaged segment).
//
// # What is synced when
//
//	open       journal/ queue/ incoming/ corrupt/ as names; every segment that is found, and the names in journal/
//	Commit     a text that has a file: the file, then incoming/ ; then, as Apply, the record
//	record     written behind the last one of the segment, one sync for all that wait; then they are answered. When
//	           there is no room, zeros are written behind it, so that the next syncs need not make the file longer.
//	           The first record of a segment: the name of the segment before
//	write-out  the files of a batch of messages, then the directories of these messages, their buckets and queue/ ;
//	           only when all batches of a segment are safe is it removed, and journal/ synced before the next
//	           segment is looked at. A text in incoming/ is moved after its new directory was made durable
//	corrupt/   the copy or the second name, and the reason, before an envelope leaves the queue
//	Discover   the files that it gives, their directory, its bucket and queue/
//
// What is in cache/ is not synced and not trusted.
//
// A sync of a file that fails is never tried again and believed: the kernel may have dropped the data and
// forgotten the error. In the journal the segment is given up, cut back to what was safe, and all that waited
// are told. Of a text that came in, the Commit fails. When mail is written out, the segment stays and the
// files are written anew, at first after 10 seconds, then ever more rarely. At a start the segments were read
// before they are synced; when that fails it is logged, and what nobody was promised may still vanish. The sync of a
// directory is tried again: what it covers is in the journal of the file system, which stops as a whole when it
// cannot be written.
//
// # How large the journal gets
//
// A start reads all that was not written out, so mail that comes faster than it can be written out has to
// wait: when the journal weighs 256 MiB, an operation counting as 640 octets besides its own, a Commit goes on only as
// far as something was written out. One that has waited for half a minute is refused with ErrBehind, an ErrNoSpace, and those
// that come after it at once, until something is written out. Apply never waits for that: results of deliveries are recorded
// in any case. So the journal has at most its bound, one segment that is being written out, what was being committed and
// what happened to queued mail meanwhile.
// Room counts what the texts in the journal will take in files as used.
//
// # What the file system has to promise
//
// After a sync of a file its contents and length are durable, after one of a directory its names. A rename
// within the file system takes place whole or not at all, also between directories. That is all: without a sync, contents may come back in any
// mixture of old, new, zero and foreign octets, of any length, and names one by one; records carry a checksum, and files
// mean nothing while the journal speaks of their message. A disk that acknowledges before its data is safe breaks the promise,
// and nothing here can tell. File systems that cannot sync a directory (compat/fsync) keep it as far as they order names by themselves.
//
// One process at a time has the spool open: it holds the lock of the file lock (compat/filelock) until it closes the store or dies.
//
// # Layout
//
// Below the spool directory, every directory 0700, every file 0600:
//
//	journal/NNNNNNNNNN-RRRRRRRRRRRRRRRR   segments; see record.go
//	queue/XX/MSGID/message                the message, LF line ends; message.enc when it is encoded
//	queue/XX/MSGID/EVPID                  one file an envelope, "field: value"
//	incoming/MSGID                        large bodies: being streamed, or still in the journal's care
//	corrupt/                              what could not be read
//	cache/XX                              copies of the envelopes in queue/XX; see cache.go
//	lock                                  its lock is held while the store is open
//	state/paused                          what smtpctl(8) has paused
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
// About 100 octets for a message with one envelope, 16 for each envelope more, as long as the journal
// speaks of it. What lies in files alone costs nothing: the files say all. When the journal begins to speak
// of such a message its directory is listed, at the latest when its segment is written out, and not
// during recovery, so that the start does not wait for the files. The text of envelopes is not kept.
// A start opens the file of an envelope only when the cache has no true copy of it: looking at an envelope and its directory
// costs about 3 microseconds each, reading it 20 and more.
package queue
