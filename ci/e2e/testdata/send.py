"""Sends the files of a directory with smtplib: send.py host port sender rcpt directory sessions.

Each file is a message with CRLF line ends. They are divided among that many sessions,
which run at the same time."""

import os
import smtplib
import sys
import threading

host, port, sender, rcpt, directory, sessions = sys.argv[1:]
names = sorted(os.listdir(directory))
failed = []


def send(part):
    try:
        server = None
        for i, name in enumerate(part):
            if i % 50 == 0:
                if server:
                    server.quit()
                server = smtplib.SMTP(host, int(port), timeout=120)
            with open(os.path.join(directory, name), "rb") as f:
                server.sendmail(sender, [rcpt], f.read(), mail_options=["BODY=8BITMIME"])
        if server:
            server.quit()
    except Exception as e:
        failed.append(f"{name}: {e!r}")


count = int(sessions)
threads = [threading.Thread(target=send, args=(names[i::count],)) for i in range(count)]
for t in threads:
    t.start()
for t in threads:
    t.join()
if failed:
    sys.exit("\n".join(failed))
