package platform

// Set by the linker, and only by it, for example
//
//	go build -ldflags "-X github.com/godwit-mta/godwit/platform.configFile=/etc/mail/smtpd.conf"
//
// An empty string leaves the fact of the system. Nothing writes to them at run time.
var (
	configFile    string
	daemonUser    string
	queueUser     string
	queueGroup    string
	aliases       string
	spool         string
	controlSocket string
	pidFile       string
	empty         string
	libexec       string
	mailboxDir    string
	sendmailPath  string
	caFile        string
	mailnameFile  string
	service       string
)

func override(f Facts) Facts {
	set := func(fact *string, value string) {
		if value != "" {
			*fact = value
		}
	}
	set(&f.ConfigFile, configFile)
	set(&f.Users.Daemon, daemonUser)
	set(&f.Users.Queue, queueUser)
	set(&f.Users.QueueGroup, queueGroup)
	set(&f.Aliases, aliases)
	set(&f.Spool, spool)
	set(&f.ControlSocket, controlSocket)
	set(&f.PidFile, pidFile)
	set(&f.Empty, empty)
	set(&f.Libexec, libexec)
	set(&f.MailboxDir, mailboxDir)
	set(&f.SendmailPath, sendmailPath)
	set(&f.MailnameFile, mailnameFile)
	set(&f.Service, service)
	if caFile != "" {
		f.CAFiles = []string{caFile}
	}
	return f
}
