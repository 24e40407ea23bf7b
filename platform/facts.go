package platform

// ownUsers are the accounts that our packages make; they have the names that OpenSMTPD
// uses where it comes from.
func ownUsers() Users { return Users{Daemon: "_smtpd", Queue: "_smtpq", QueueGroup: "_smtpq"} }

// linux is what the distributions have in common; their packages override the rest.
func linux() Facts {
	return Facts{
		ConfigFile:    "/etc/smtpd/smtpd.conf",
		Users:         ownUsers(),
		Aliases:       "/etc/aliases",
		Spool:         "/var/spool/smtpd",
		ControlSocket: "/run/smtpd.sock",
		PidFile:       "/run/smtpd.pid",
		Empty:         "/var/lib/smtpd/empty",
		Libexec:       "/usr/libexec/smtpd",
		Helpers: []string{
			"/usr/libexec/opensmtpd",   // Debian, Fedora, Void
			"/usr/lib/opensmtpd",       // Alpine
			"/usr/lib/smtpd/opensmtpd", // Arch
			"/usr/local/libexec/smtpd", "/usr/local/libexec/opensmtpd",
		},
		MailboxDir:    "/var/mail",
		MailboxMode:   0o600,
		MailboxLocks:  []Lock{Fcntl, Dotlock}, // Debian Policy 11.6
		SendmailPath:  "/usr/sbin/sendmail",
		SyslogSockets: []string{"/dev/log"},
		CAFiles: []string{
			"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch, Void
			"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
			"/etc/pki/tls/cert.pem",              // RHEL
			"/etc/ssl/ca-bundle.pem",             // openSUSE
			"/etc/ssl/cert.pem",
		},
		MailnameFile: "/etc/mailname",
		Service:      "smtpd",
		CryptMethod:  "6",
		Passwords:    shadowPasswords(),
	}
}

// openbsd: the base system has a daemon with our file names, so the service has its own.
// OpenBSD's mail.local takes the dotlock and then opens with O_EXLOCK.
func openbsd() Facts {
	return Facts{
		ConfigFile:    "/etc/mail/smtpd.conf",
		Users:         ownUsers(),
		Aliases:       "/etc/mail/aliases",
		Spool:         "/var/spool/smtpd",
		ControlSocket: "/var/run/smtpd.sock",
		PidFile:       "/var/run/smtpd.pid",
		Empty:         "/var/empty",
		Libexec:       "/usr/local/libexec/smtpd",
		Helpers:       []string{"/usr/local/libexec/opensmtpd"},
		MailboxDir:    "/var/mail",
		MailboxMode:   0o600,
		MailboxLocks:  []Lock{Dotlock, Flock},
		SendmailPath:  "/usr/sbin/sendmail",
		SyslogSockets: []string{"/dev/log"},
		CAFiles:       []string{"/etc/ssl/cert.pem"},
		MailnameFile:  "/etc/mail/mailname",
		Service:       "godwit",
		CryptMethod:   "2b",
		Passwords:     scriptPasswords(),
	}
}

// freebsd: dma and the mail.local of sendmail take flock only.
func freebsd() Facts {
	return Facts{
		ConfigFile:    "/usr/local/etc/mail/smtpd.conf",
		Users:         ownUsers(),
		Aliases:       "/etc/mail/aliases",
		Spool:         "/var/spool/smtpd",
		ControlSocket: "/var/run/smtpd.sock",
		PidFile:       "/var/run/smtpd.pid",
		Empty:         "/var/empty",
		Libexec:       "/usr/local/libexec/smtpd",
		Helpers:       []string{"/usr/local/libexec/opensmtpd"},
		MailboxDir:    "/var/mail",
		MailboxMode:   0o600,
		MailboxLocks:  []Lock{Flock},
		SendmailPath:  "/usr/sbin/sendmail",
		SyslogSockets: []string{"/var/run/log"},
		CAFiles: []string{
			"/etc/ssl/cert.pem",
			"/usr/local/share/certs/ca-root-nss.crt",
			"/usr/local/etc/ssl/cert.pem",
		},
		MailnameFile: "/usr/local/etc/mail/mailname",
		Service:      "smtpd",
		CryptMethod:  "6",
		Passwords:    masterPasswords(),
	}
}

func dragonfly() Facts { return freebsd() }

// netbsd: places of pkgsrc.
func netbsd() Facts {
	return Facts{
		ConfigFile:    "/usr/pkg/etc/smtpd/smtpd.conf",
		Users:         ownUsers(),
		Aliases:       "/usr/pkg/etc/smtpd/aliases",
		Spool:         "/var/spool/smtpd",
		ControlSocket: "/var/run/smtpd.sock",
		PidFile:       "/var/run/smtpd.pid",
		Empty:         "/var/empty",
		Libexec:       "/usr/pkg/libexec/smtpd",
		Helpers:       []string{"/usr/pkg/libexec/opensmtpd"},
		MailboxDir:    "/var/mail",
		MailboxMode:   0o600,
		MailboxLocks:  []Lock{Flock, Dotlock},
		SendmailPath:  "/usr/sbin/sendmail",
		SyslogSockets: []string{"/var/run/log"},
		CAFiles: []string{
			"/etc/openssl/certs/ca-certificates.crt",
			"/usr/pkg/etc/openssl/certs/ca-certificates.crt",
			"/usr/pkg/share/mozilla-rootcerts/cacert.pem",
			"/etc/ssl/cert.pem",
		},
		MailnameFile: "/usr/pkg/etc/smtpd/mailname",
		Service:      "smtpd",
		CryptMethod:  "2a",
		Passwords:    masterPasswords(),
	}
}

// darwin: /usr/sbin/sendmail belongs to the system and cannot be replaced; packages
// override the prefix (/opt/homebrew, /opt/local). Hashes are in Open Directory, which only
// PAM asks.
func darwin() Facts {
	return Facts{
		ConfigFile:    "/usr/local/etc/smtpd/smtpd.conf",
		Users:         ownUsers(),
		Aliases:       "/usr/local/etc/smtpd/aliases",
		Spool:         "/usr/local/var/spool/smtpd",
		ControlSocket: "/var/run/smtpd.sock",
		PidFile:       "/var/run/smtpd.pid",
		Empty:         "/var/empty",
		Libexec:       "/usr/local/libexec/smtpd",
		Helpers:       []string{"/usr/local/libexec/opensmtpd"},
		MailboxDir:    "/var/mail",
		MailboxMode:   0o600,
		MailboxLocks:  []Lock{Flock},
		SendmailPath:  "/usr/local/sbin/sendmail",
		SyslogSockets: []string{"/var/run/syslog"},
		CAFiles:       []string{"/etc/ssl/cert.pem"},
		MailnameFile:  "/usr/local/etc/smtpd/mailname",
		Service:       "org.godwit.smtpd",
		CryptMethod:   "6",
	}
}
