package table

import "testing"

func TestAddressListed(t *testing.T) {
	for _, v := range []struct {
		list, address string
		want          bool
	}{
		{"ann@example.org, s@example.com", "S@Example.COM", true},
		{"ann@example.org, s@example.com", "s@example.org", false},
		{"ann@example.org,s@example.com", "ann+detail@example.org", true},
		{"ann+detail@example.org", "ann@example.org", false},
		{"ann+detail@example.org", "ann+detail@example.org", true},
		{"@example.org", "anybody@example.org", true},
		{"@example.org", "anybody@sub.example.org", false},
		{"@*.example.org", "anybody@sub.example.org", true},
		{"ann@*.example.org", "bob@sub.example.org", false},
		{"ann", "ann@example.net", true},
		{"ann", "bob@example.net", false},
		{"ann@", "ann@example.net", true},
		{"@", "whoever@example.net", true},
		{"@", "", true},
		{"<>", "", true},
		{"ann", "", false},
		{"@example.org", "", false},
		{"", "", false},
		{" , ,", "a@b", false},
		{"", "a@b", false},
	} {
		if got := AddressListed(v.list, v.address, "+"); got != v.want {
			t.Errorf("%q covers %q: %v", v.list, v.address, got)
		}
	}
	if AddressListed("ann@example.org", "ann+x@example.org", "") {
		t.Error("a detail without a delimiter")
	}
}
