# idem-once, the examples in C, and the installation of the client. Included by the top Makefile after client/client.mk,
# whose variables it uses. The examples are compiled as a user of the installed library would: #include <idem.h>.

WEB_EXAMPLES  := http form_double_submit form_wait_408 guard_409 json_idempotency
C_EXAMPLES    := $(addprefix $(B)/examples/,$(WEB_EXAMPLES) worker async_libevent)
ONCE_OBJ      := $(patsubst %.c,$(B)/%.o,$(wildcard client/once/*.c))
EXAMPLE_OBJ   := $(B)/client/examples

.PHONY: client-examples c-examples-test client-install
client-examples: $(B)/idem-once $(C_EXAMPLES) ## idem-once and the examples in C
c-examples-test: programs client-libraries client-examples ## idem-once, the examples in C and the installed tree, for real
	@IDEM_SERVER=$(B)/idem-server IDEM_BUILD=$(B) $(PYTHON) tests/system/c_examples/run.py

$(EXAMPLE_OBJ)/%.o: CPPFLAGS += -Iclient

$(B)/idem-once: $(ONCE_OBJ) $(B)/libidem.a
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(CLIENT_LDFLAGS) -o $@ $^ $(CLIENT_LIBS)

$(addprefix $(B)/examples/,$(WEB_EXAMPLES)): EXAMPLE_LIBS := -lmicrohttpd
$(addprefix $(B)/examples/,$(WEB_EXAMPLES)): $(EXAMPLE_OBJ)/web.o $(EXAMPLE_OBJ)/replay.o
$(addprefix $(B)/examples/,$(filter-out http,$(WEB_EXAMPLES))): $(EXAMPLE_OBJ)/guard.o
$(B)/examples/form_double_submit $(B)/examples/form_wait_408: $(EXAMPLE_OBJ)/form.o
$(B)/examples/async_libevent: EXAMPLE_LIBS := -levent_core
$(B)/examples/%: $(EXAMPLE_OBJ)/%.o $(EXAMPLE_OBJ)/demo.o $(B)/libidem.a
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(CLIENT_LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libidem.a $(EXAMPLE_LIBS) $(CLIENT_LIBS)

# ---- installation ----

LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
IDEM_CLIENT_VERSION := $(shell sed -n 's/^\#define IDEM_CLIENT_VERSION "\(.*\)"/\1/p' client/idem.h)
IDEM_SHARED := libidem.so.$(IDEM_CLIENT_VERSION)
IDEM_HEADERS := $(wildcard client/idem.h client/idem_uv.h client/idem_event.h)

client-install: client-libraries $(B)/idem-once ## idem-once, libidem, its headers, libidem.pc and the man pages
	install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(LIBDIR)/pkgconfig $(INCLUDEDIR) $(MANDIR)/man1 $(MANDIR)/man3 $(MANDIR)/man8)
	install -m 755 $(B)/idem-once $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(IDEM_HEADERS) $(DESTDIR)$(INCLUDEDIR)
	install -m 644 $(B)/libidem.a $(DESTDIR)$(LIBDIR)
	install -m 644 $(B)/$(IDEM_SONAME) $(DESTDIR)$(LIBDIR)/$(IDEM_SHARED)
	ln -sf $(IDEM_SHARED) $(DESTDIR)$(LIBDIR)/$(IDEM_SONAME)
	ln -sf $(IDEM_SONAME) $(DESTDIR)$(LIBDIR)/libidem.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(IDEM_CLIENT_VERSION)|' -e 's|@LIBS_PRIVATE@|$(strip $(CLIENT_LDFLAGS) $(CLIENT_LIBS))|' \
	    client/libidem.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/libidem.pc
	install -m 644 client/man/idem-once.1 $(DESTDIR)$(MANDIR)/man1
	install -m 644 client/man/libidem.3 $(DESTDIR)$(MANDIR)/man3
	install -m 644 client/man/idem-server.8 $(DESTDIR)$(MANDIR)/man8
	@[ -n "$(DESTDIR)" ] || ldconfig 2>/dev/null || true
