# libidem: the static and the shared library, and its tests. Included by the top Makefile, whose variables it uses.
#
# IDEM_SHA256=1    IDEM_SHA256 fingerprints, needs libmd (found by itself)
# HIREDIS_PREFIX   a hiredis other than the system's (DIR/include, DIR/lib)

IDEM_SONAME := libidem.so.0
HIREDIS_PREFIX ?=
IDEM_SHA256 ?= $(if $(wildcard /usr/include/sha256.h),1)

comma := ,
CLIENT_CPPFLAGS := $(if $(HIREDIS_PREFIX),-isystem $(HIREDIS_PREFIX)/include) \
                   $(if $(IDEM_SHA256),-DIDEM_HAVE_SHA256)
CLIENT_LDFLAGS  := $(if $(HIREDIS_PREFIX),-L$(HIREDIS_PREFIX)/lib -Wl$(comma)-rpath$(comma)$(HIREDIS_PREFIX)/lib)
CLIENT_LIBS     := -lhiredis -lssl -lcrypto -lxxhash \
                   $(if $(IDEM_SHA256),-lmd) -lpthread

CLIENT_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out client/once%.c,$(wildcard client/*.c)))
CLIENT_TEST_HELPERS := $(patsubst %,tests/client/%.c,certificates harness pair proxy stranger terminator town world)
CLIENT_TEST_SHARED := $(patsubst %.c,$(B)/%.o,$(CLIENT_TEST_HELPERS))
CLIENT_TESTS := $(patsubst tests/client/%.c,$(B)/tests/client/%,\
                  $(filter-out $(CLIENT_TEST_HELPERS),$(wildcard tests/client/*.c)))

.PHONY: client client-libraries client-programs client-test client-overhead client-asan client-tsan client-valgrind
client: need-client ## get what is missing, build the C library
	@$(MAKE) --no-print-directory client-libraries
client-libraries: $(B)/libidem.a $(B)/$(IDEM_SONAME)

$(B)/client/%.o: CFLAGS += -fPIC -fvisibility=hidden
$(B)/client/%.o $(B)/tests/client/%.o: CPPFLAGS += $(CLIENT_CPPFLAGS)
$(B)/tests/client/%.o: CPPFLAGS += -Iclient

# One object whose inner names are local: a program that links the archive sees only what idem.h declares. The instrumented
# modes keep the objects apart.
$(B)/client/all.o: $(CLIENT_OBJ)
	$(Q)$(LD) -r -o $@.whole $^ && objcopy --localize-hidden $@.whole $@ && rm -f $@.whole

$(B)/libidem.a: $(if $(filter release,$(MODE)),$(B)/client/all.o,$(CLIENT_OBJ))
	@echo "  AR   $@"; rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/$(IDEM_SONAME): $(CLIENT_OBJ) client/libidem.map
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(filter-out -pie,$(LDFLAGS)) $(CLIENT_LDFLAGS) -shared -Wl,-soname,$(IDEM_SONAME) \
	  -Wl,--version-script=client/libidem.map -o $@ $(CLIENT_OBJ) $(CLIENT_LIBS)
	$(Q)ln -sf $(IDEM_SONAME) $(B)/libidem.so

# ---- tests ----

client-programs: client-libraries $(CLIENT_TESTS)

$(B)/tests/client/%: $(B)/tests/client/%.o $(LIMIT) $(CLIENT_TEST_SHARED) $(B)/libidem.a
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(LDFLAGS_limit) $(CLIENT_LDFLAGS) -o $@ $^ $(CLIENT_LIBS) -lcmocka -luv

client-test: programs client-programs ## libidem: calls, cuts, crashes, crowds, memory
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/client/run.py $(B) --cc "$(CC)" --cxx "$(CXX)"
client-overhead: programs client-programs ## processor time of libidem beside hiredis by hand, measured
	@IDEM_SERVER=$(B)/idem-server $(B)/tests/client/overhead
client-asan client-tsan: client-%: programs ## libidem under a sanitizer, against the release server
	@$(MAKE) --no-print-directory MODE=$* client-programs
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/client/run.py build/$* --brief
client-valgrind: programs client-programs ## libidem under valgrind
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/client/run.py $(B) --brief --valgrind

# The machine is suspended by the test: the clocks go through it.
$(B)/tests/client/test_suspend: LDFLAGS += -Wl$(comma)--wrap=clock_gettime

# What the library decides is tried without its inner names being shown to the world: the objects, not the archive.
$(B)/tests/client/test_policy $(B)/tests/client/test_cluster $(B)/tests/client/test_table: $(B)/tests/client/%: $(B)/tests/client/%.o $(LIMIT) \
    $(CLIENT_TEST_SHARED) $(CLIENT_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(LDFLAGS_limit) $(CLIENT_LDFLAGS) -o $@ $^ $(CLIENT_LIBS) -lcmocka -luv

# A name with two addresses comes from the test.
$(B)/tests/client/test_agree: LDFLAGS += -Wl$(comma)--wrap=getaddrinfo

# Every allocation of libidem and of hiredis passes through the test.
WRAP := $(foreach f,malloc calloc realloc strdup free,-Wl$(comma)--wrap=$(f))
$(B)/tests/client/oom: $(B)/tests/client/oom.o $(CLIENT_TEST_SHARED) $(CLIENT_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(CLIENT_LDFLAGS) $(WRAP) -o $@ $^ \
	  $(patsubst -lhiredis%,-Wl$(comma)-Bstatic -lhiredis% -Wl$(comma)-Bdynamic,$(CLIENT_LIBS)) -luv
