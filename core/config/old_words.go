package config

// oldReserved are the words of all languages before OpenSMTPD 6.4. Where a string has to
// stand each of them is a string: no age had all of them. Sorted; never written.
var oldReserved = []string{
	"accept", "alias", "all", "any", "as", "auth", "auth-optional", "authenticated",
	"backup", "bounce-warn", "ca", "certificate", "ciphers", "compression", "config",
	"curve", "db", "deliver", "dhe", "dhparams", "disable", "dns", "domain", "dsn-notify",
	"dsn-ret", "enable", "encryption", "enqueuer", "expire", "external", "file", "filter",
	"for", "forward-only", "from", "hash", "headers", "helo", "hostname", "hostnames",
	"include", "inet4", "inet6", "interval", "key", "ldap", "limit", "list", "listen",
	"lmtp", "local", "maildir", "map", "mask-source", "masquerade", "max-message-size",
	"max-mta-deferred", "mbox", "mda", "mta", "network", "no-dsn", "on", "pki", "plain",
	"port", "queue", "rcpt-to", "received-auth", "recipient", "reject", "relay",
	"scheduler", "secure", "sender", "senders", "session", "single", "size", "smtps",
	"socket", "source", "ssl", "ssmtp", "subaddressing-delimiter", "table", "tag",
	"tagged", "tls", "tls-require", "to", "type", "use", "user", "userbase", "users",
	"verify", "via", "virtual",
}

// oldDirectives are the words a line of theirs can begin with.
var oldDirectives = []string{
	"accept", "bounce-warn", "ca", "ciphers", "curve", "enqueuer", "expire", "filter",
	"hostname", "include", "limit", "listen", "map", "max-message-size",
	"max-mta-deferred", "pki", "queue", "reject", "size", "ssmtp",
	"subaddressing-delimiter", "table",
}

var oldListenOptions = []syntax{
	{"auth", shapeMaybeTable, ""}, {"auth-optional", shapeMaybeTable, ""}, {"ca", shapeText, ""},
	{"certificate", shapeText, ""}, {"dsn-notify disable", shapeNone, ""}, {"dsn-ret headers", shapeNone, ""},
	{"enable auth", shapeNone, ""}, {"filter", shapeText, ""}, {"hostname", shapeText, ""},
	{"hostnames", shapeTable, ""}, {"inet4", shapeNone, ""}, {"inet6", shapeNone, ""},
	{"mask-source", shapeNone, ""}, {"no-dsn", shapeNone, ""}, {"pki", shapeText, ""},
	{"port", shapePort, ""}, {"received-auth", shapeNone, ""}, {"secure", shapeNone, ""},
	{"senders", shapeTable, "masquerade"}, {"smtps", shapeNone, "verify"}, {"ssl", shapeNone, ""},
	{"tag", shapeText, ""}, {"tls", shapeNone, ""}, {"tls-require", shapeNone, "verify"},
	{"use certificate", shapeText, ""},
}

var oldSocketOptions = []syntax{
	{"filter", shapeText, ""}, {"mask-source", shapeNone, ""}, {"no-dsn", shapeNone, ""}, {"tag", shapeText, ""},
}

var oldPKIOptions = []syntax{
	{"ca", shapeText, ""}, {"certificate", shapeText, ""}, {"dhe", shapeText, ""},
	{"dhparams", shapeText, ""}, {"key", shapeText, ""},
}

// oldRelayOptions follow relay. What a rule has for itself can stand among them.
var oldRelayOptions = []syntax{
	{"as", shapeText, ""}, {"auth", shapeRef, ""}, {"backup", shapeMaybeText, ""}, {"ca", shapeText, ""},
	{"certificate", shapeText, ""}, {"enable auth", shapeNone, ""}, {"helo", shapeTable, ""},
	{"hostname", shapeText, ""}, {"hostnames", shapeTable, ""}, {"pki", shapeText, ""},
	{"port", shapePort, ""}, {"smtps", shapeNone, ""}, {"source", shapeTable, ""},
	{"ssl", shapeNone, ""}, {"tls", shapeNone, "verify"}, {"verify", shapeNone, ""},
}
