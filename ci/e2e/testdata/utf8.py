"""Sends one message with addresses and a header in UTF-8: utf8.py host sender rcpt subject. With
a fifth argument it comes in chunks of so many octets."""

import smtplib
import sys

host, sender, rcpt, subject = sys.argv[1:5]
text = f"Subject: {subject}\r\nFrom: <{sender}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n.\r\n..größe\r\n".encode()
server = smtplib.SMTP(host, 25, local_hostname="client.test", timeout=60)
server.ehlo()
if len(sys.argv) == 5:
    server.sendmail(sender, [rcpt], text, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    sys.exit(0)
assert server.has_extn("chunking")
server.command_encoding = "utf-8"
for command in (f"MAIL FROM:<{sender}> SMTPUTF8 BODY=8BITMIME", f"RCPT TO:<{rcpt}>"):
    reply = server.docmd(command)
    assert reply[0] == 250, reply
size = int(sys.argv[5])
while text:
    part, text = text[:size], text[size:]
    server.send(b"BDAT %d%s\r\n" % (len(part), b"" if text else b" LAST") + part)
    reply = server.getreply()
    assert reply[0] == 250, reply
server.quit()
