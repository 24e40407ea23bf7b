// Package proxy reads the header of the PROXY protocol, versions 1 and 2, in which a proxy
// says whose connection it passes on:
// https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
//
// Not an octet behind the header is read. What a header says is as true as whoever sent it:
// the caller has to know that only proxies can.
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Header is what a proxy says about a connection.
type Header struct {
	Version int
	// Local: the proxy speaks for itself, to see whether the server is alive.
	Local bool
	// Source is the address of the client. It is not valid with Local, nor when the proxy
	// does not know it or it is none of IP.
	Source netip.AddrPort
}

// signature begins a header of version 2 (section 2.2).
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// prefix1 begins a header of version 1 (section 2.1), which is a line.
const prefix1 = "PROXY "

// maxLine is the longest header of version 1 with its line end, in octets.
const maxLine = 107

// maxHeader is the longest header of version 2, in octets: 16 and what its length can say.
const maxHeader = 16 + 1<<16 - 1

// errNone is for a client that is no proxy.
var errNone = errors.New("no header of the PROXY protocol")

// Read takes a header from r, which it reads no further. The error says what is wrong with
// the header, or is that of r. A header has at most 65,551 octets; none are kept.
func Read(r io.Reader) (Header, error) {
	var b [maxLine]byte
	start := b[:len(signature)] // the shortest header of version 1 has 15 octets
	if n, err := io.ReadFull(r, start); err != nil {
		if n > 0 && !bytes.HasPrefix([]byte(signature), start[:n]) && !isLine(start[:n]) {
			return Header{}, errNone
		}
		return Header{}, err
	}
	switch {
	case string(start) == signature:
		return readBinary(r, b[:])
	case isLine(start):
		return readLine(r, b[:])
	}
	return Header{}, errNone
}

// isLine reports whether a header of version 1 can begin so.
func isLine(start []byte) bool {
	n := min(len(start), len(prefix1))
	return string(start[:n]) == prefix1[:n]
}

// readLine reads the rest of a header of version 1. Nothing says where it ends but its last
// octet, so each step reads no more than what has to come.
func readLine(r io.Reader, b []byte) (Header, error) {
	n := len(signature)
	for !bytes.HasSuffix(b[:n], []byte("\r\n")) {
		more := lacking(b[:n])
		if n+more > len(b) || bytes.IndexByte(b[:n], '\n') >= 0 {
			return Header{}, errors.New("PROXY line without its end")
		}
		got, err := io.ReadAtLeast(r, b[n:n+more], 1)
		if err != nil {
			return Header{}, unexpected(err)
		}
		n += got
	}
	return parseLine(string(b[len(prefix1) : n-2]))
}

// lacking gives how many octets at least the line goes on that begins with b: its end, and
// with addresses a blank and something behind it for each word that is missing.
func lacking(b []byte) int {
	switch {
	case b[len(b)-1] == '\r':
		return 1
	case bytes.HasPrefix(b[len(prefix1):], []byte("TCP")):
		return 2 + 2*max(0, 5-bytes.Count(b, []byte(" ")))
	}
	return 2
}

// parseLine reads what stands after "PROXY ". Whatever follows UNKNOWN is not for us.
func parseLine(text string) (Header, error) {
	h := Header{Version: 1}
	if rest, ok := strings.CutPrefix(text, "UNKNOWN"); ok && (rest == "" || rest[0] == ' ') {
		return h, nil
	}
	w := strings.Split(text, " ")
	if len(w) != 5 || w[0] != "TCP4" && w[0] != "TCP6" {
		return Header{}, errors.New("PROXY line is not of the form PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(w[1+i])
		port, ok := parsePort(w[3+i])
		if err != nil || !ok || addr.Zone() != "" || addr.Is4() != (w[0] == "TCP4") {
			return Header{}, fmt.Errorf("PROXY line has no %s address and port in %q %q", w[0], w[1+i], w[3+i])
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), port)
	}
	h.Source = ends[0]
	return h, nil
}

// parsePort takes decimal digits and nothing before them.
func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && strconv.FormatUint(n, 10) == s
}

// Families and transports of version 2, which share an octet.
const (
	unspecified = 0x00
	tcp4        = 0x11
	tcp6        = 0x21
	unixStream  = 0x31
)

// readBinary reads the rest of a header of version 2. What follows the addresses is not
// for us.
func readBinary(r io.Reader, b []byte) (Header, error) {
	head := b[:4]
	if _, err := io.ReadFull(r, head); err != nil {
		return Header{}, unexpected(err)
	}
	h := Header{Version: 2}
	length := int(binary.BigEndian.Uint16(head[2:]))
	if head[0]>>4 != 2 {
		return Header{}, fmt.Errorf("PROXY header of version %d", head[0]>>4)
	}
	size := 0 // of the addresses
	switch command := head[0] & 0xf; {
	case command == 0:
		h.Local = true
	case command != 1:
		return Header{}, fmt.Errorf("PROXY header with unknown command %d", command)
	case head[1] == unspecified:
	case head[1] == tcp4:
		size = 2*4 + 2*2
	case head[1] == tcp6:
		size = 2*16 + 2*2
	case head[1] == unixStream:
		size = 2 * 108
	default:
		return Header{}, fmt.Errorf("PROXY header of a family and transport that SMTP has not: %#02x", head[1])
	}
	if length < size {
		return Header{}, fmt.Errorf("PROXY header has %d octets for addresses of %d", length, size)
	}
	if head[1] == tcp4 || head[1] == tcp6 {
		addrs := b[:size] // none with Local
		if _, err := io.ReadFull(r, addrs); err != nil {
			return Header{}, unexpected(err)
		}
		h.Source = source(addrs)
		length -= size
	}
	_, err := io.CopyN(io.Discard, r, int64(length))
	return h, unexpected(err)
}

// source gives the first of two addresses of a family, which their ports follow.
func source(b []byte) netip.AddrPort {
	if len(b) == 0 {
		return netip.AddrPort{}
	}
	n := (len(b) - 4) / 2
	addr, _ := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[2*n:]))
}

// unexpected is for an end within a header.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
