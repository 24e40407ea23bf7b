package daemon

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/smtp"
)

// Message takes the message as filters leave it. They decide about it as a whole before it
// is kept.
func (s *filteredSession) Message(body *smtp.Body) error {
	err := s.message(body)
	if result(err) != "ok" {
		s.after(filter.TxData, s.tx.String(), result(err))
	}
	return err
}

func (s *filteredSession) message(body *smtp.Body) error {
	s.spam = s.spam || s.junk
	req, err := s.takeFiltered(body)
	if err != nil {
		return err
	}
	if !body.Chunked() {
		s.Report(filter.ProtocolClient, ".")
	}
	if _, err := s.decide(filter.Commit, ""); err != nil {
		return err
	}
	return s.commit(req)
}

// returnedFactor bounds what filters may make of a message: so many times the largest one, and
// returnedMore octets.
const (
	returnedFactor = 2
	returnedMore   = 1 << 20
)

// takeFiltered has the message go through the filters that want its lines. What they give
// back is written down while more of it comes, so that none is ever in memory as a whole.
func (s *filteredSession) takeFiltered(body *smtp.Body) (*commitRequest, error) {
	st, err := s.Stream(returnedFactor*s.l.smtp.MaxMessageSize + returnedMore)
	switch {
	case err != nil:
		return nil, err
	case st == nil:
		return s.take(body)
	}
	defer st.End()
	head := s.d.heads.Get().(*headBuffer)
	defer s.d.heads.Put(head)
	start, h, whole, err := begin(body, head.b[:])
	if err != nil {
		return nil, err
	}
	req := &commitRequest{Message: s.id, Envelopes: s.envelopes, Relayed: s.relayed, TLSOptional: h.TLSOptional && !s.options.RequireTLS}
	stored := make(chan error, 1)
	go func() { stored <- s.store(req, st) }()
	if err := feed(st, s.prefix(start, h), body, whole); err != nil {
		st.Abort(err)
	}
	if err := <-stored; err != nil {
		return nil, st.Failure(err)
	}
	return req, nil
}

// feed writes the message to the filters.
func feed(st *filter.Stream, text []byte, body *smtp.Body, whole bool) error {
	if _, err := st.Write(text); err != nil {
		return err
	}
	if !whole {
		if _, err := body.WriteTo(st); err != nil {
			return err
		}
	}
	return st.Close()
}

// store keeps what comes back, in memory or in a file. An error ends the message for those who
// write it as well.
func (s *filteredSession) store(req *commitRequest, st *filter.Stream) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.c.Trace().Warnf("%s smtp: panic: %v\n%s", s.c.ID(), p, debug.Stack())
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			st.Abort(err)
		}
	}()
	room := s.d.heads.Get().(*headBuffer)
	defer s.d.heads.Put(room)
	n, err := io.ReadFull(st, room.b[:])
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		req.Body, req.Size = append([]byte(nil), room.b[:n]...), int64(n)
		return nil
	case err != nil:
		return err
	}
	req.Size, err = s.stream(room.b[:], st)
	return err
}
