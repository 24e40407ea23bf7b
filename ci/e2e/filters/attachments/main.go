// Attachments is a filter that refuses messages with files of certain kinds, and notes in the header
// of the others what it found:
//
//	filter files proc-exec "/usr/local/libexec/smtpd/attachments exe scr js"
//
// It looks at outgoing mail, too, where a relay action names it and the server lets filters decide there.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/godwit-mta/godwit/core/filterkit"
)

func main() {
	log.SetFlags(0)
	refused := os.Args[1:]
	if len(refused) == 0 {
		log.Fatal("usage: attachments ending ...")
	}
	look := func(s *filterkit.Session, m *filterkit.Message) filterkit.Answer {
		names, err := files(m.Bytes)
		if err != nil {
			return filterkit.Reject(554, "5.6.0 the parts of the message cannot be read: "+err.Error())
		}
		for _, n := range names {
			if slices.Contains(refused, strings.TrimPrefix(strings.ToLower(path.Ext(n)), ".")) {
				return filterkit.Reject(550, "5.7.1 a file like "+n+" is not wanted here")
			}
		}
		m.AddHeader("X-Attachments", fmt.Sprintf("%d\nseen by %s", len(names), s.Config().ADMD))
		return filterkit.Proceed()
	}
	var f filterkit.Filter
	f.In.Message(look)
	f.Configured = func(c filterkit.Config) error {
		if c.DecideOut {
			f.Out.Message(look)
		}
		return nil
	}
	if err := f.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// files gives the names of the files in a message.
func files(text []byte) ([]string, error) {
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return within(m.Header.Get("Content-Type"), m.Header.Get("Content-Disposition"), m.Body, 0)
}

// maxDepth bounds parts within parts.
const maxDepth = 16

func within(kind, disposition string, body io.Reader, depth int) ([]string, error) {
	var names []string
	if _, p, err := mime.ParseMediaType(disposition); err == nil && p["filename"] != "" {
		names = append(names, p["filename"])
	}
	media, p, err := mime.ParseMediaType(kind)
	if err != nil {
		return names, nil // plain text, or what readers take for it
	}
	if p["name"] != "" && len(names) == 0 {
		names = append(names, p["name"])
	}
	if !strings.HasPrefix(media, "multipart/") {
		return names, nil
	}
	if depth == maxDepth {
		return nil, errors.New("too many parts within parts")
	}
	for parts := multipart.NewReader(body, p["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		inner, err := within(part.Header.Get("Content-Type"), part.Header.Get("Content-Disposition"), part, depth+1)
		if err != nil {
			return nil, err
		}
		names = append(names, inner...)
	}
}
