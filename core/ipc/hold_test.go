package ipc

import (
	"context"
	"testing"
	"time"
)

// Answers to what came together leave together: a handler that waits for its own answer to
// be sent must not wait for itself.
func TestHandlerThatFlushes(t *testing.T) {
	var server *Conn
	ready, heard := make(chan struct{}), make(chan struct{})
	server, client := couple2(t, func(r *Request) {
		<-ready
		r.Reply(&inner{Name: "one"})
		server.Flush(time.Minute)
		if err := server.Send(7, &inner{Name: "two"}); err != nil {
			t.Error(err)
		}
	}, func(*Request) { heard <- struct{}{} })
	close(ready)
	for range 3 {
		var got inner
		if err := client.Call(context.Background(), 5, nil, &got); err != nil || got.Name != "one" {
			t.Fatalf("answer %+v, %v", got, err)
		}
		<-heard
	}
}

// What is no answer is not kept back: the handler may wait for what comes of it.
func TestHandlerThatAsks(t *testing.T) {
	var server *Conn
	ready, heard := make(chan struct{}), make(chan struct{})
	server, client := couple2(t, func(r *Request) {
		<-ready
		r.Reply(nil)
		if err := server.Send(7, nil); err != nil {
			t.Error(err)
		}
		<-heard
	}, func(*Request) { close(heard) })
	close(ready)
	if err := client.Call(context.Background(), 5, nil, nil); err != nil {
		t.Fatal(err)
	}
	<-heard
}

// Closing from a handler sends the answer.
func TestHandlerThatCloses(t *testing.T) {
	var server *Conn
	ready := make(chan struct{})
	server, client := couple(t, func(r *Request) {
		<-ready
		r.Reply(&inner{Name: "last"})
		server.Close()
	})
	close(ready)
	var got inner
	if err := client.Call(context.Background(), 5, nil, &got); err != nil || got.Name != "last" {
		t.Fatalf("answer %+v, %v", got, err)
	}
}
