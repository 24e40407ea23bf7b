package table

import "strings"

// AddressListed reports whether an address is covered by a list as the service
// mailaddrmap gives it: user, @domain, user@domain, user@*.domain and @ for all,
// separated by commas. delim begins the detail of a sub-address, which counts only for an
// entry that has one itself. The null reverse-path, "", is covered by @ and by <>.
func AddressListed(list, address, delim string) bool {
	user, domain := cutAddress(lower(address))
	bare := user
	if delim != "" {
		bare, _, _ = strings.Cut(user, delim)
	}
	for entry := range strings.SplitSeq(lower(list), ",") {
		entry = strings.Trim(entry, " \t")
		wantUser, wantDomain := cutAddress(entry)
		switch {
		case entry == "":
		case entry == "@", entry == "<>" && address == "":
			return true
		case wantUser != "" && wantUser != bare && wantUser != user:
		case wantDomain != "" && !Glob(wantDomain, domain):
		case address != "":
			return true
		}
	}
	return false
}
