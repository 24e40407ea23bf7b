package expand

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/srs"
	"github.com/godwit-mta/godwit/core/table"
)

// The files in testdata/opensmtpd hold what OpenSMTPD 7.8.0p1 decided, each about one
// configuration: its files, then sessions with the envelopes or the reply that came of
// them. differences.txt beside them is the one list of what is decided otherwise here.
const recordings = "testdata/opensmtpd"

// recording is one of these files.
type recording struct {
	name    string
	files   map[string]string // by path; smtpd.conf is one
	options map[string]string // "mode=0666" of a file
	asked   []string          // sessions
	answers map[string]string
}

func readRecording(t *testing.T, path string) *recording {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{name: strings.TrimSuffix(filepath.Base(path), ".txt"),
		files: map[string]string{}, options: map[string]string{}, answers: map[string]string{}}
	current := ""
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(line, " --\n") {
			path, option, _ := strings.Cut(strings.TrimSuffix(name, " --\n"), " ")
			current, r.options[path] = path, option
			r.files[current] = ""
			continue
		}
		r.files[current] += line
	}
	for block := range strings.SplitSeq(r.files["sessions"], "\n\n") {
		for strings.HasPrefix(block, "#") {
			_, block, _ = strings.Cut(block, "\n")
		}
		question, answer, _ := strings.Cut(strings.TrimSpace(block), "\n")
		question, ok := strings.CutPrefix(question, "? ")
		if !ok {
			continue
		}
		if _, twice := r.answers[question]; twice {
			t.Fatalf("%s: %q is asked twice", path, question)
		}
		r.asked = append(r.asked, question)
		r.answers[question] = answer
	}
	return r
}

// recordedUsers are the system's users there; the files of /home/NAME belong to them.
var recordedUsers = []string{"alice", "bob", "carol", "dave", "erin", "frank", "vmail", "lists", "gwen", "hank", "ivan", "judy"}

func (r *recording) Lookup(_ context.Context, name string) (table.User, bool, error) {
	u := table.User{Name: name, Home: "/home/" + name}
	if i := slices.Index(recordedUsers, name); i >= 0 {
		u.UID, u.GID = uint32(2001+i), uint32(2001+i)
		return u, true, nil
	}
	return u, name == "root", nil
}

func (r *recording) read(path string) ([]byte, error) {
	if text, ok := r.files[path]; ok {
		return []byte(text), nil
	}
	return nil, fs.ErrNotExist
}

// forward stands for the checks that core/daemon makes, which have their own tests.
func (r *recording) forward(_ context.Context, u table.User) ([]byte, bool, error) {
	path := u.Home + "/.forward"
	content, err := r.read(path)
	switch option := r.options[path]; {
	case err != nil:
		return nil, false, nil
	case strings.HasPrefix(option, "home=01"):
		return nil, false, errors.New("sticky home")
	case option != "":
		return nil, false, fmt.Errorf("%w: %s", ErrInsecure, option)
	}
	return []byte(strings.TrimRight(string(content), "\n") + "\n"), true, nil
}

func (r *recording) expander(t *testing.T) *Expander {
	t.Helper()
	cfg, _, err := config.Parse("smtpd.conf", []byte(r.files["smtpd.conf"]), nil, nil, config.Environment{Hostname: "mx.here.example"})
	if err != nil {
		t.Fatal(err)
	}
	var own []netip.Addr
	for _, a := range []string{"127.0.0.1", "10.0.0.1", "::1", "fd00::1"} {
		own = append(own, netip.MustParseAddr(a))
	}
	set, err := table.NewSet(cfg.Tables, table.Sources{Users: r, OpenFile: opener(t, r.read),
		Facts: table.Facts{Hostname: "mx.here.example", SubAddrDelim: cfg.SubAddrDelim, Addresses: own}})
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := rules.New(cfg.Rules, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := Sources{Tables: set, Rules: matcher, Forward: r.forward, ReadFile: r.read, DaemonUser: "_smtpd"}
	if cfg.SRS.Key != "" {
		src.SRS = srs.New(cfg.SRS.Key, cfg.SRS.BackupKey, cfg.SRS.TTL)
	}
	e, err := New(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// decide gives our answer, in the form of the recordings: the envelopes in alphabetical
// order, or the reply without its enhanced code.
func decide(t *testing.T, e *Expander, question string) string {
	t.Helper()
	s := parseFacts(t, question)
	if s.Rcpt.Domain == "" {
		s.Rcpt.Domain = "mx.here.example"
	}
	base := &envelope.Envelope{Sender: s.Sender, Rcpt: s.Rcpt}
	if s.Local || s.Authenticated {
		base.Flags = envelope.Authenticated
	}
	envs, err := e.Expand(t.Context(), s, base)
	if err != nil {
		return withoutEnhanced(e.Explain(t.Context(), s))
	}
	lines := make([]string, len(envs))
	for i, env := range envs {
		lines[i] = describe(env)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func withoutEnhanced(reply string) string {
	code, rest, _ := strings.Cut(reply, " ")
	enhanced, text, _ := strings.Cut(rest, " ")
	if _, ok := parseEnhanced(enhanced); ok {
		return code + " " + text
	}
	return reply
}

// difference is a decision that is deliberately another one.
type difference struct{ theirs, ours, reason string }

// readDifferences reads blocks such as
//
//	02-aliases ? rcpt=quoted@example.org
//	theirs  424 Mailing list expansion problem: <quoted@example.org>
//	ours    mda local dest=<quoted@example.org> user=alice
//	reason  aliases(5) says that an item may be quoted.
func readDifferences(t *testing.T) map[string]difference {
	t.Helper()
	text, err := os.ReadFile(recordings + "/differences.txt")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	list := map[string]difference{}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		for strings.HasPrefix(block, "#") {
			_, block, _ = strings.Cut(block, "\n")
		}
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if lines[0] == "" {
			continue
		}
		var d difference
		for _, line := range lines[1:] {
			if len(line) < 8 {
				t.Fatalf("differences.txt: %q", line)
			}
			switch value := line[8:]; strings.TrimSpace(line[:8]) {
			case "theirs":
				d.theirs += value + "\n"
			case "ours":
				d.ours += value + "\n"
			case "reason":
				d.reason += value
			default:
				t.Fatalf("differences.txt: %q", line)
			}
		}
		d.theirs, d.ours = strings.TrimSuffix(d.theirs, "\n"), strings.TrimSuffix(d.ours, "\n")
		if _, twice := list[lines[0]]; twice {
			t.Errorf("differences.txt: %s stands there twice", lines[0])
		}
		list[lines[0]] = d
	}
	return list
}

// TestLikeOpenSMTPD makes the decisions of the recordings. What is decided otherwise has to
// stand in the list of differences, and what stands there has to differ.
func TestLikeOpenSMTPD(t *testing.T) {
	paths, err := filepath.Glob(recordings + "/[0-9]*.txt")
	if err != nil {
		t.Fatal(err)
	}
	known, used, decisions := readDifferences(t), 0, 0
	for _, path := range paths {
		r := readRecording(t, path)
		e := r.expander(t)
		for _, question := range r.asked {
			decisions++
			name, theirs, ours := r.name+" ? "+question, r.answers[question], decide(t, e, question)
			d, listed := known[name]
			switch {
			case listed && (d.theirs != theirs || d.ours != ours || d.reason == ""):
				t.Errorf("%s: listed as\n%+v\nbut is\n%s\nhere and there\n%s", name, d, ours, theirs)
			case listed && ours == theirs:
				t.Errorf("%s: listed as a difference, but is none", name)
			case listed:
				used++
			case ours != theirs:
				t.Errorf("%s\ntheirs  %s\nours    %s\nreason  ", name, strings.ReplaceAll(theirs, "\n", "\ntheirs  "), strings.ReplaceAll(ours, "\n", "\nours    "))
			}
		}
	}
	if used != len(known) {
		t.Errorf("%d differences are listed, %d were met", len(known), used)
	}
	if decisions < 300 {
		t.Errorf("%d decisions, want at least 300", decisions)
	}
}
