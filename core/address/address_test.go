package address

import (
	"errors"
	"strings"
	"testing"
	"unicode"
)

func TestParsePath(t *testing.T) {
	for _, v := range []struct{ in, want string }{
		{"", ""},
		{"a@Example.COM", "a@example.com"},
		{"A.b+c=d@example.com", "A.b+c=d@example.com"}, // the case of a local part is kept
		{"postmaster", "postmaster"},
		{`"quoted local"@d`, `"quoted local"@d`},
		{`"plain"@d`, "plain@d"},
		{`"q\"u"@d`, `"q\"u"@d`},
		{`"a@b"@d`, `"a@b"@d`},
		{`"\a"@d`, "a@d"},
		{"a@[127.0.0.1]", "a@[127.0.0.1]"},
		{"a@[IPv6:::1]", "a@[ipv6:::1]"},
		{"@r1.example,@r2.example:a@d", "a@d"},
		{"a@exa_mple", "a@exa_mple"},
		{"`id`@d", "`id`@d"},
		{"|id@d", "|id@d"},
		{"a${IFS}b@d", "a${IFS}b@d"},
		{"a%0ab@d", "a%0ab@d"},
		{"a@xn--exmple-cua.com", "a@xn--exmple-cua.com"},
		{"ö@d", "ö@d"}, {`"ö b"@d`, `"ö b"@d`}, {"用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"},
		{"a@exämple.com", "a@xn--exmple-cua.com"}, {"a@EXÄMPLE.com", "a@xn--exmple-cua.com"}, {"a@faß.de", "a@xn--fa-hia.de"},
		{"a@президент.рф", "a@xn--d1abbgf6aiiy.xn--p1ai"}, {"a@ليهمابتكلموشعربي", "a@xn--mgbcah9ar9a4efegftvvn"},
		{"a@他们为什么不说中文", "a@xn--ihqwcrb4cv8a8dqg056pqjye"},
		{strings.Repeat("a", MaxLocal) + "@d", strings.Repeat("a", MaxLocal) + "@d"},
	} {
		a, err := ParsePath(v.in)
		if err != nil || a.String() != v.want {
			t.Errorf("%q: %q, %v", v.in, a, err)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	label := strings.Repeat("d", 63)
	for _, in := range []string{
		"a@", "@", "@d", "a@@d", "a@b@d", "a@d.", "a@.d", "a@d..e", "a..b@d", ".a@d", "a.@d", "a@-d", "a@d-",
		"a b@d", "a\tb@d", "a\rb@d", "a\nb@d", "a\x00b@d", "a\x7fb@d", "$(id)@d", "a;id@d", "a,b@d", "a(c)b@d", "a[b@d",
		`a\b@d`, "<a@d>", "a@d>", "a<b@d", "\"a\rb\"@d", "\"a\nb\"@d", "\"a\\\nb\"@d", `"a`, `"a\`, `"a"b@d`, `""@d`, "#@[]",
		"a@[999.1.1.1]", "a@[foo]", "a@[1.2.3.4", "a@[IPv6:fe80::1%lo0]", "a@[IPv6:1.2.3.4]", "j\xf6@d", "a\u202eb@d", "a\u0085b@d", "a\u2028b@d", "\"\xff\"@d", "a@ex\xe4mple.com", "a@ex☃mple.com", "a@\u0308a", "a@ä..d", "a@-ä", "a@ä-", "a@xn--ä",
		"@r1,@r2", "@r1:", "@:a@d", "@r1,r2:a@d", "@r1;@r2:a@d", ":include:/etc/passwd@d@e", "../../etc/passwd@d",
		"a@" + label + "d", "a@" + strings.Repeat(label+".", 4) + "com",
		strings.Repeat("a", MaxLocal+1) + "@d", strings.Repeat("@d,", 2*MaxPath),
	} {
		a, err := ParsePath(in)
		if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTooLong) {
			t.Errorf("%q: %q, %v", in, a, err)
		}
	}
	if a, err := Parse(""); err == nil {
		t.Errorf("empty mailbox: %q", a)
	}
}

func TestLiteral(t *testing.T) {
	for in, want := range map[string]string{"[192.0.2.1]": "192.0.2.1", "[ipv6:2001:DB8::1]": "2001:db8::1",
		"[::1]": "::1", "192.0.2.1": "", "[]": "", "[IPv6:]": "", "[192.0.2.1 ]": ""} {
		ip, ok := Literal(in)
		if ok != (want != "") || ok && ip.String() != want {
			t.Errorf("%q: %v, %v", in, ip, ok)
		}
	}
}

// What is accepted is printed in a form that is read as the same address, holds nothing
// that could become structure elsewhere, and a second printing changes nothing.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"", "a@b", `"a b"@c`, `"a\"\\"@c`, "@a,@b:c@d", "a@[IPv6:::1]", "a@[127.0.0.1]", "postmaster",
		"a\rb@c", "\"\x00\"@c", "a@b.", "é@c", `"."@c`, `"a..b"`, "a@xn--a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ParsePath(in)
		if err != nil {
			if a != (Address{}) {
				t.Fatalf("%q: error and %+v", in, a)
			}
			return
		}
		for _, r := range a.Local + a.Domain {
			if r < ' ' || r == 0x7f || r >= 0x80 && !unicode.IsPrint(r) && !unicode.In(r, unicode.Cf, unicode.Zs, unicode.Cn, unicode.Co) {
				t.Fatalf("%q gives %+v", in, a)
			}
		}
		if !ASCII(a.Domain) || a.International() && ASCII(in) {
			t.Fatalf("%q gives %+v", in, a)
		}
		again, err := ParsePath(a.String())
		if err != nil || again != a {
			t.Fatalf("%q gives %+v, printed %q, read as %+v, %v", in, a, a, again, err)
		}
		if len(a.Local) > MaxLocal || len(a.Domain) > MaxDomain || a.Domain != strings.ToLower(a.Domain) {
			t.Fatalf("%q gives %+v", in, a)
		}
	})
}
