package config

import "sort"

// reserved are the words that are never a bare string: to use one as a name or a value it
// has to be quoted. Sorted; never written.
var reserved = []string{
	"action", "admd", "alias", "any", "auth", "auth-optional", "backup", "bounce",
	"bypass", "ca", "cert", "chain", "chroot", "ciphers", "commit", "compression",
	"connect", "data", "data-line", "dhe", "disconnect", "domain", "ehlo", "encryption",
	"expand-only", "fcrdns", "filter", "for", "forward-only", "from", "group", "helo",
	"helo-src", "host", "hostname", "hostnames", "include", "inet4", "inet6", "junk",
	"key", "limit", "listen", "lmtp", "local", "mail-from", "maildir", "mask-src",
	"masquerade", "match", "max-deferred", "max-message-size", "mbox", "mda", "mta", "mx",
	"no-dsn", "no-verify", "noop", "on", "phase", "pki", "port", "proc", "proc-exec",
	"protocols", "proxy-v2", "queue", "quit", "rcpt-to", "rdns", "received-auth",
	"recipient", "regex", "reject", "relay", "report", "rewrite", "rset", "scheduler",
	"senders", "smtp", "smtp-in", "smtp-out", "smtps", "socket", "src", "srs",
	"sub-addr-delim", "table", "tag", "tagged", "tls", "tls-require", "ttl", "user",
	"userbase", "verify", "virtual", "warn-interval", "wrapper",
}

// reservedUnused are the reserved words that no line uses.
var reservedUnused = []string{
	"data-line", "noop", "quit", "recipient", "rset", "smtp-in", "smtp-out", "tagged",
}

// directives are the words a line can begin with, the definition of a macro aside.
var directives = []string{
	"action", "admd", "bounce", "ca", "filter", "hostname", "include", "limit", "listen", "match", "mda",
	"mta", "pki", "proc", "queue", "scheduler", "smtp", "srs", "table",
}

// The words below have a meaning in one place only and are plain strings elsewhere.
// normalize is ours: were it reserved, a file with "tag normalize" would stop to load.
const normalize = "normalize"

// scram is ours too.
const scram = "scram"

// schedule and max-body-memory are ours as well.
const (
	schedule      = "schedule"
	maxBodyMemory = "max-body-memory"
)

// dane, sts, tls-policy and tls-report are ours as well.
const (
	tlsReport = "tls-report"
	dane      = "dane"
	sts       = "sts"
	tlsPolicy = "tls-policy"
	prefer    = "prefer"
)

// failOpen is ours as well.
const failOpen = "fail-open"

// orTrusted is ours as well: it says what held before OpenSMTPD 5.3.
const orTrusted = "or-trusted"

var (
	mdaLimits = []string{
		"max-session", "max-session-per-user", "task-hiwat", "task-lowat", "task-release",
	}
	schedulerLimits = []string{
		"max-evp-batch-size", "max-inflight", "max-msg-batch-size", "max-schedule",
	}
	mtaLimits = []string{
		"conn-delay-connector", "conn-delay-domain", "conn-delay-host", "conn-delay-relay",
		"conn-delay-route", "conn-delay-source", "max-conn-per-connector",
		"max-conn-per-domain", "max-conn-per-host", "max-conn-per-relay",
		"max-conn-per-route", "max-conn-per-source", "max-failures-per-session",
		"max-mail-per-minute-per-domain", "max-mail-per-minute-per-host",
		"reconn-delay-route", "session-keepalive", "session-mail-max",
		"session-transaction-delay", "start-conn", "task-hiwat", "task-lowat", "task-release",
	}
	bounceWords  = []string{"max-return-size", "return-full"}
	bounceLimits = []string{"max-per-domain", "max-per-sender", "max-total"}
	returnFull   = []string{ReturnAny, ReturnAuthenticated, ReturnNone}

	tlsReportWords = []string{"contact", "sender", "spread"}

	dheModes          = []string{"auto", "legacy", "none"}
	queueCompressions = []string{"gzip", "zstd"}
	tableTypes        = []string{"db", "file", "getpwnam", "static"}
)

// contextual are all words with a meaning in one place only.
func contextual() []string {
	words := []string{earlyTalkers, justLog, normalize, scram, schedule, maxBodyMemory, dane, sts, tlsPolicy, tlsReport, prefer, orTrusted, failOpen, "stdin", ReturnAuthenticated}
	for _, list := range [][]string{
		smtpLimits, mdaLimits, schedulerLimits, mtaLimits, bounceWords, bounceLimits, tlsReportWords, dheModes, tableTypes, queueCompressions,
	} {
		words = append(words, list...)
	}
	return words
}

func isReserved(s string) bool { return contains(reserved, s) }

// contains looks s up in a sorted list.
func contains(sorted []string, s string) bool {
	i := sort.SearchStrings(sorted, s)
	return i < len(sorted) && sorted[i] == s
}
