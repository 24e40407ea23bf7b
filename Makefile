# What each target does is said in README.md. Everything works with BSD make too.

GO = go
VERSION = 0.1.0
PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
SYSCONFDIR = /etc/smtpd
LDFLAGS = -s -w -X main.version=$(VERSION)
GOENV = CGO_ENABLED=0

.PHONY: all build run test race cross lint fuzz bench install clean

all: build

build:
	$(GOENV) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...
	ln -sf smtpctl bin/sendmail
	ln -sf smtpctl bin/mailq
	ln -sf smtpctl bin/newaliases
	ln -sf smtpctl bin/makemap

run: build
	sh packaging/demo/run.sh

test:
	$(GOENV) $(GO) vet ./...
	$(GOENV) $(GO) test ./...

race:
	CGO_ENABLED=1 $(GO) test -race ./...

cross:
	sh ci/cross.sh

lint:
	sh ci/lint.sh

fuzz:
	sh ci/fuzz.sh

bench:
	$(GOENV) $(GO) test -run '^$$' -bench . ./...

install: build
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(SYSCONFDIR) $(DESTDIR)$(MANDIR)/man5 \
		$(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man8
	install -m 0755 bin/smtpd bin/smtpctl bin/smtpd-service $(DESTDIR)$(SBINDIR)/
	ln -sf smtpctl $(DESTDIR)$(SBINDIR)/sendmail
	ln -sf smtpctl $(DESTDIR)$(SBINDIR)/mailq
	ln -sf smtpctl $(DESTDIR)$(SBINDIR)/newaliases
	ln -sf smtpctl $(DESTDIR)$(SBINDIR)/makemap
	test -e $(DESTDIR)$(SYSCONFDIR)/smtpd.conf || install -m 0644 packaging/smtpd.conf $(DESTDIR)$(SYSCONFDIR)/smtpd.conf
	install -m 0644 packaging/man/*.5 $(DESTDIR)$(MANDIR)/man5/
	install -m 0644 packaging/man/*.7 $(DESTDIR)$(MANDIR)/man7/
	install -m 0644 packaging/man/*.8 $(DESTDIR)$(MANDIR)/man8/

clean:
	rm -rf bin dist
