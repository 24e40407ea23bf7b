"""Reads a delivery status notification with the email package and prints it as JSON.

Whatever the package finds wrong with the message or one of its parts ends it with an error."""

import email
import email.policy
import json
import sys

msg = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
for part in msg.walk():
    if part.defects:
        sys.exit(f"{part.get_content_type()}: {part.defects}")
    for name, value in part.items():
        if getattr(value, "defects", ()):
            sys.exit(f"{name}: {value}: {value.defects}")
if msg.get_content_type() != "multipart/report" or msg.get_param("report-type") != "delivery-status":
    sys.exit(f"not a report: {msg['Content-Type']}")
if not msg["Date"].datetime or not msg["Message-ID"] or not msg["MIME-Version"]:
    sys.exit("a field is missing")

parts = list(msg.iter_parts())
groups = [{k: str(v) for k, v in block.items()} for block in parts[1].get_payload() if block.items()]
last = parts[2]
returned = last.get_payload(0).as_bytes() if last.get_content_type() == "message/rfc822" else last.get_payload(decode=True)
json.dump(
    {
        "subject": msg["Subject"],
        "from": msg["From"].addresses[0].addr_spec,
        "to": msg["To"].addresses[0].addr_spec,
        "auto": msg["Auto-Submitted"],
        "types": [p.get_content_type() for p in parts],
        "text": parts[0].get_content(),
        "message": groups[0],
        "recipients": groups[1:],
        "returned": returned.decode("utf-8"),
    },
    sys.stdout,
)
