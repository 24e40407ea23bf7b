"""Hands in a message as a user: submit.py host port starttls|smtps ca mechanism user password sender rcpt < message.

The mechanism "any" leaves the choice to smtplib. The message has CRLF line ends."""

import smtplib
import ssl
import sys

host, port, mode, ca, mechanism, user, password, sender, rcpt = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if mode == "smtps":
    server = smtplib.SMTP_SSL(host, int(port), timeout=60, context=context)
else:
    server = smtplib.SMTP(host, int(port), timeout=60)
    server.starttls(context=context)
server.ehlo()
if mechanism == "any":
    server.login(user, password)
else:
    server.user, server.password = user, password
    server.auth(mechanism, {"PLAIN": server.auth_plain, "LOGIN": server.auth_login}[mechanism])
server.sendmail(sender, [rcpt], sys.stdin.buffer.read(), mail_options=["BODY=8BITMIME"])
server.quit()
