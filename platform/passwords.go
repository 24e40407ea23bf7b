package platform

// PasswordFormat is the format of a file of hashes.
type PasswordFormat string

// The formats.
const (
	Shadow       PasswordFormat = "shadow"        // shadow(5)
	MasterPasswd PasswordFormat = "master.passwd" // passwd(5) of the BSDs
)

// Passwords say where the system keeps the passwords of its users. What a system does not
// have is empty.
type Passwords struct {
	Format   PasswordFormat
	Hashes   string // the file of hashes
	Accounts string // the file of accounts, where that of the hashes has none
	Scripts  string // directory of the login scripts of bsd_auth(3)
	Classes  string // login.conf(5), which names the script
}

func shadowPasswords() Passwords {
	return Passwords{Format: Shadow, Hashes: "/etc/shadow", Accounts: "/etc/passwd"}
}

func masterPasswords() Passwords {
	return Passwords{Format: MasterPasswd, Hashes: "/etc/master.passwd"}
}

func scriptPasswords() Passwords {
	p := masterPasswords()
	p.Scripts, p.Classes = "/usr/libexec/auth", "/etc/login.conf"
	return p
}
