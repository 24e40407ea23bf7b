package table

import (
	"fmt"
	"sync"

	"github.com/godwit-mta/godwit/core/config"
)

// store holds entries, in memory or in a file that stays open. It does not change once it
// is in use. An entry is known by a number that only its store understands.
type store interface {
	// find gives the entry with a key in lower case.
	find(key []byte) (ref uint32, found bool, err error)
	// at gives the key of an entry as it was written, and its value.
	at(ref uint32) (key, value string, err error)
	// next gives the first entry at or after a place and the place behind it. The first
	// place is 0; found is false at the end.
	next(place uint32) (ref, after uint32, found bool, err error)
	// where gives the place of an entry for messages.
	where(ref uint32) string
}

// contents is one state of a table, so that a reload is the exchange of one pointer.
type contents struct {
	store
	source string // file, or file:line of the declaration
	kind   config.TableKind
	delim  string // of sub-addresses
	lazy   [serviceCount]lazyIndex
}

// lazyIndex is built when a service is asked for, because most tables serve only one.
type lazyIndex struct {
	once sync.Once
	find finder
	err  error
}

// finder gives the entry that covers a key. Key is in lower case but for regular
// expressions.
type finder func(key []byte) (ref uint32, found bool, err error)

// index gives the way keys of a service are found.
func (c *contents) index(service Service) (finder, error) {
	l := &c.lazy[service]
	l.once.Do(func() {
		switch service {
		case Domain:
			l.find, l.err = c.domainIndex()
		case NetAddr:
			l.find, l.err = c.netIndex()
		case MailAddr:
			l.find, l.err = c.mailIndex()
		case Regex:
			l.find, l.err = c.regexIndex()
		default:
			l.find = c.store.find
		}
	})
	return l.find, l.err
}

// lookup gives the entry that covers a key.
func (c *contents) lookup(service Service, key string) (ref uint32, found bool, err error) {
	if service >= Auth {
		return 0, false, fmt.Errorf("%s: service %s is not supported", c.source, service)
	}
	if len(key) > MaxKey {
		return 0, false, nil
	}
	find, err := c.index(service)
	if err != nil {
		return 0, false, err
	}
	if service == Regex {
		return find([]byte(key))
	}
	return find(appendLower(make([]byte, 0, len(key)), key))
}

// each calls f for every entry until it returns an error.
func (c *contents) each(f func(ref uint32, key, value string) error) error {
	for place := uint32(0); ; {
		ref, after, found, err := c.next(place)
		if err != nil || !found {
			return err
		}
		key, value, err := c.at(ref)
		if err == nil {
			err = f(ref, key, value)
		}
		if err != nil {
			return err
		}
		place = after
	}
}

// usable reports what keeps the contents from answering for a service. Where a list is
// needed, the keys of a mapping are the list. An empty table may become either kind.
func (c *contents) usable(service Service) error {
	_, _, some, err := c.next(0)
	if err != nil {
		return err
	}
	switch service {
	case Alias, Credentials, UserInfo, AddrName, MailAddrMap:
		if some && c.kind == config.ListKind {
			return fmt.Errorf("%s: is a list, but %s needs a mapping", c.source, service)
		}
	case Auth:
		return fmt.Errorf("%s: service %s is not supported", c.source, service)
	}
	_, err = c.index(service)
	return err
}

// appendLower appends s with the letters of ASCII in lower case. Others are compared as
// they are, like in OpenSMTPD.
func appendLower(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		b = append(b, lowerByte(s[i]))
	}
	return b
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
