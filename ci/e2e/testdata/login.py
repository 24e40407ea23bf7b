"""Sends one message with smtplib after AUTH: login.py host port ca mechanism user password sender rcpt."""

import smtplib
import ssl
import sys

host, port, ca, mechanism, user, password, sender, rcpt = sys.argv[1:]
server = smtplib.SMTP(host, int(port), timeout=60)
server.starttls(context=ssl.create_default_context(cafile=ca))
server.ehlo()
server.user, server.password = user, password
how = {"PLAIN": server.auth_plain, "LOGIN": server.auth_login}[mechanism]
server.auth(mechanism, how)
server.sendmail(sender, [rcpt], "Subject: login\r\n\r\nHello.\r\n")
server.quit()
