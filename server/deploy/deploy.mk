# Packages and installation of the server. Included by the top Makefile, whose variables it uses.

DEB_DIRECTORY ?= build/deb
# As for packages that are not Debian's own: one of Debian, -1, would replace it.
DEB_REVISION  ?= 0idem1
PACKAGES_deb   = $(PACKAGES_client) dpkg-dev debhelper dh-apparmor

.PHONY: deb need-deb server-install unit-install files-install built-to-install
deb: need-deb ## Debian packages idem-server, idem-module, idem-tools, libidem0 and libidem-dev, into build/deb
	@server/deploy/make-deb $(DEB_DIRECTORY) $(DEB_REVISION)
	@ls $(DEB_DIRECTORY)/*.deb
need-deb:
	@tests/need $(PACKAGES_deb)

# What debian/rules calls: all that is installed, without a look at what the machine has.
built-to-install: $(B)/idem-server $(B)/idem-once $(B)/idem-bench $(B)/idem.so client-libraries
files-install: server-install client-install module-install

# Configuration that is there is left alone.
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
DOCDIR     := $(DESTDIR)$(PREFIX)/share/doc/idem
CONFIG     := $(DESTDIR)$(SYSCONFDIR)/idem/idem.conf
server-install: $(B)/idem-server $(B)/idem-bench
	install -D -m 755 $(B)/idem-server $(DESTDIR)$(PREFIX)/bin/idem-server
	install -D -m 755 $(B)/idem-bench $(DESTDIR)$(PREFIX)/bin/idem-bench
	install -D -m 644 client/man/idem-bench.1 $(DESTDIR)$(MANDIR)/man1/idem-bench.1
	install -D -m 644 server/README.md $(DOCDIR)/server.md
	install -D -m 644 server/GUIDE.md $(DOCDIR)/guide.md
	install -D -m 644 server/METRICS.md $(DOCDIR)/metrics.md
	install -D -m 644 server/deploy/prometheus/idem.rules.yml $(DOCDIR)/examples/idem.rules.yml
	install -D -m 644 server/deploy/grafana/idem.json $(DOCDIR)/examples/grafana.json
	install -D -m 644 proto/PROTOCOL.md $(DOCDIR)/protocol.md
	install -D -m 644 server/deploy/users.acl $(DOCDIR)/examples/users.acl
	install -D -m 644 server/deploy/idem.conf $(DOCDIR)/examples/idem.conf
	[ -e $(CONFIG) ] || install -D -m 644 server/deploy/idem.conf $(CONFIG)

# Debian's packages have these by debhelper.
INSTALLED_PATHS := -e 's|/usr/bin/idem|$(PREFIX)/bin/idem|' -e 's|/etc/idem|$(SYSCONFDIR)/idem|' \
                   -e 's|/usr/share/doc/idem-server|$(PREFIX)/share/doc/idem|'
unit-install:
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(SYSCONFDIR)/idem/tls
	install -d -m 700 $(DESTDIR)$(SYSCONFDIR)/idem/credentials
	sed $(INSTALLED_PATHS) server/deploy/idem-server.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/idem-server.service
	install -D -m 644 server/deploy/idem-server.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/idem-server.conf
	install -D -m 644 server/deploy/idem-server.logrotate $(DOCDIR)/examples/logrotate
