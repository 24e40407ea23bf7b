package daemon

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mda"
)

// every message of messages.go and what goes over the control socket.
func messages() []any {
	return []any{
		&hello{}, &peer{}, &drain{}, &verbosity{}, &logLine{}, &signRequest{}, &signature{}, &recipientRequest{},
		&recipientReply{}, &newEnvelopes{}, &addrRequest{}, &ptrReply{}, &nameRequest{}, &mxReply{}, &tlsaRequest{}, &tlsaReply{}, &stsReply{}, &tlsResults{}, &reportMail{}, &authRequest{}, &verifyRequest{}, &verifyReply{}, &senderRequest{}, &matchRequest{}, &addrNameRequest{}, &foundReply{}, &hostReply{},
		&routeRequest{}, &routeReply{},
		&reserveRequest{}, &reserveReply{}, &messageRef{}, &commitRequest{}, &commitReply{}, &relayTask{}, &bodyRequest{},
		&bodyReply{}, &reached{}, &partPause{}, &pausedParts{}, &resumed{}, &results{}, &agentRequest{}, &agentReply{}, &deliverRequest{}, &mda.Outcome{}, &forwardRequest{},
		&forwardReply{}, &userinfoRequest{}, &userinfoReply{}, &statsReply{}, &controlConfig{}, &cryptoConfig{},
		&fileRequest{}, &tableRequest{}, &backendRequest{}, &filterRequest{}, &programReply{}, &programStop{}, &lookupConfig{}, &dispatcherConfig{}, &addresses{},
		&queueConfig{}, &adminRequest{}, &control.Request{}, &control.Count{},
		&control.Text{}, &control.Stats{}, &control.Status{}, &control.QueuePage{},
	}
}

// fill sets every field to something else than its zero value.
func fill(t *testing.T, v reflect.Value, r *rand.Rand) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<32), 0).UTC()))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.Uint32())})))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.IPv6Loopback(), 25)))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(r.Int64N(120) + 1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64N(250) + 1)
	case reflect.String:
		v.SetString(string(rune('a'+r.IntN(26))) + "\x00é")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), r)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), r)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), r)
		}
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

// TestMessagesArrive sends every message, with every field set, there and back.
func TestMessagesArrive(t *testing.T) {
	a, b, err := reexec.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	echo, err := ipc.FromFile(a)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ipc.FromFile(b)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		_ = echo.Serve(func(r *ipc.Request) {
			var raw ipc.Raw
			if err := r.Decode(&raw); err != nil {
				r.Fail(err)
				return
			}
			r.Reply(&raw)
		})
	})
	done.Go(func() { _ = conn.Serve(func(*ipc.Request) {}) })
	defer func() { conn.Close(); echo.Close(); done.Wait() }()

	r := rand.New(rand.NewPCG(1, 2))
	for _, m := range messages() {
		fill(t, reflect.ValueOf(m).Elem(), r)
		got := reflect.New(reflect.TypeOf(m).Elem())
		if err := conn.Call(t.Context(), kindStats, m, got.Interface()); err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		if !reflect.DeepEqual(got.Interface(), m) {
			t.Errorf("%T changed on its way:\nsent %+v\ngot  %+v", m, m, got.Interface())
		}
	}
}

// A role takes from each peer only what that peer may say; everything else is an error to
// the sender and nothing more.
func TestRolesRefuseStrangeMessages(t *testing.T) {
	workers := map[Role]func(*member) worker{
		Control:    func(m *member) worker { return newControl(m, false) },
		Crypto:     func(m *member) worker { return newCrypto(m) },
		Lookup:     func(m *member) worker { return newLookup(m) },
		Dispatcher: func(m *member) worker { return newDispatcher(m) },
		Queue:      func(m *member) worker { return newQueue(m, t.TempDir()) },
		Agent:      func(m *member) worker { return newAgent(m, &hello{UID: 1}) },
	}
	allowed := map[Role]map[Role][]ipc.Kind{
		Crypto:     {Dispatcher: {kindSign}},
		Lookup:     {Dispatcher: {kindRecipient, kindPTR, kindMX, kindHost, kindTLSA, kindSTS, kindTLSPolicy, kindTLSResults, kindAuth, kindUser, kindScram, kindSender, kindAddrName}, Queue: {kindNoticeRecipient}, Parent: {kindUserinfo}, Control: {kindAdmin}},
		Dispatcher: {Queue: {kindRelay, kindPaused}, Lookup: {kindReportMail}, Control: {kindAdmin}},
		Queue: {Lookup: {kindEnvelopes}, Dispatcher: {kindReserve, kindBodyFile, kindCommit, kindAbort, kindResults, kindReached, kindBody},
			Control: {kindAdmin}, Parent: {kindQuiet}},
		Agent: {Queue: {kindDeliver}},
	}
	for role, make := range workers {
		w := make(&member{role: role, peers: map[Role]*ipc.Conn{}})
		for _, from := range append(members(), Parent, Agent) {
			for kind := kindHello; kind <= kindStats; kind++ {
				if kind == kindStats || contains(allowed[role][from], kind) {
					continue
				}
				if err := tell(t, w, from, kind); err == nil {
					t.Errorf("%s took message %d of %s", role, kind, from)
				}
			}
		}
	}
}

func contains(kinds []ipc.Kind, kind ipc.Kind) bool {
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// tell gives a message to a worker and returns the error that it answers.
func tell(t *testing.T, w worker, from Role, kind ipc.Kind) error {
	client, end := asking(t, func(r *ipc.Request) { w.handle(from, r) })
	defer end()
	return client.Call(t.Context(), kind, nil, nil)
}

// asking gives a connection whose requests handle answers, until end.
func asking(t *testing.T, handle func(*ipc.Request)) (client *ipc.Conn, end func()) {
	t.Helper()
	a, b, err := reexec.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	server, err := ipc.FromFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = ipc.FromFile(b); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(handle) })
	done.Go(func() { _ = client.Serve(func(*ipc.Request) {}) })
	return client, func() { client.Close(); server.Close(); done.Wait() }
}
