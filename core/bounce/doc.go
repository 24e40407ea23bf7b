// Package bounce writes delivery status notifications: the notice that tells a sender what
// became of a message. The form is multipart/report with three parts, a text for people, a
// message/delivery-status for programs, and what is returned of the message.
//
//	https://www.rfc-editor.org/rfc/rfc3461 (what the sender may ask for)
//	https://www.rfc-editor.org/rfc/rfc3464 (the machine-readable part)
//	https://www.rfc-editor.org/rfc/rfc6522 (multipart/report)
//	https://www.rfc-editor.org/rfc/rfc3834 (automatic responses)
//
// The message that is returned comes from a stranger. It is never parsed beyond the end of
// its header, what is kept of it is bounded, and nothing of it can end its part.
package bounce
