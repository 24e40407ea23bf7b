// Package scheduler decides which envelope is due when. It keeps one compact entry for
// each envelope, in memory, and knows nothing of where envelopes are stored: the queue
// tells it what there is and what became of it.
//
// An entry waits for its time in a heap. When it is due it joins the line of its group,
// which is a local user or a relay destination. Groups take turns, and no group may have
// more envelopes in flight than there are free places left, so that a destination that
// hangs cannot take them all. Part of the places is kept for each kind, so that relaying
// cannot take those of local mail; and destinations that could not be reached the last
// time have half of those of relaying for all of them together.
//
// What waits because its destination could not be reached is due as soon as something else
// got there: see Reached.
//
// An entry can be held for a Reason: it is not tried, but expires as others do.
//
// Time is counted from the start of the scheduler and never runs backwards: a step of the
// system's clock cannot put off an attempt by more than MaxWait, and cannot end the life
// of mail. Where the clock runs ahead of the time counted, as after a sleep of the machine,
// attempts come earlier.
package scheduler
