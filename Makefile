# idem: `make run` starts the server, `make test` proves it; `make help` lists the rest.
# Objects and programs lie under build/<mode>/; a mode is a set of compiler flags (release, debug, asan, ubsan, tsan, fuzz).

MODE    ?= release
B       := build/$(MODE)
PYTHON  ?= /usr/bin/python3
CLANG   ?= clang-14
PREFIX  ?= /usr/local
DESTDIR ?=
V       ?= 0
Q       := $(if $(filter 0,$(V)),@,)
, := ,
# Built by several jobs, as many as there are cores, unless told otherwise.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif

WARN     := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Werror
CPPFLAGS := -I. -D_GNU_SOURCE
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fPIE
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
CFLAGS_debug := -O1 -g
LDFLAGS_debug :=
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDFLAGS_asan := -fsanitize=address,undefined
CFLAGS_ubsan := -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
LDFLAGS_ubsan := -fsanitize=undefined
CFLAGS_tsan := -O1 -g -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined
CFLAGS  := -std=c11 $(WARN) $(CFLAGS_$(MODE)) $(EXTRA_CFLAGS)
LDFLAGS := $(LDFLAGS_$(MODE))
CC_fuzz := $(CLANG)
CC_tsan := $(CLANG)
COMPILE := $(or $(CC_$(MODE)),$(CC))
# The server is optimised as a whole where gcc makes it, and at -O3, which beside -O2 took 3 % off each CLAIM and replay, 64
# at a time. Its objects hold machine code too, which is all that the tests link: sixty programs that are each optimised
# as a whole would take minutes.
WHOLE := $(if $(filter release,$(MODE)),$(if $(findstring clang,$(shell $(COMPILE) --version 2>/dev/null)),,yes))
CFLAGS_whole := $(if $(WHOLE),-O3 -flto=auto -ffat-lto-objects)
LDFLAGS_whole := $(LDFLAGS) $(if $(WHOLE),$(CFLAGS) $(CFLAGS_whole))
LDFLAGS += $(if $(WHOLE),-fno-lto)
# Sanitizers bring an allocator of their own. What the objects themselves call is only known once they are optimised as a
# whole, so a linker that leaves out libraries that nobody asks for would leave this one out.
JEMALLOC := $(if $(filter release,$(MODE)),-Wl$(,)--push-state$(,)--no-as-needed -ljemalloc -Wl$(,)--pop-state)

PROTO   := $(wildcard proto/*.c)
CORE    := $(wildcard server/base/*.c server/rules/*.c server/engine/*.c server/journal/*.c server/ops/*.c server/commands/*.c server/net/*.c)
LIB_OBJ := $(patsubst %.c,$(B)/%.o,$(PROTO) $(CORE))
UNITS   := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
MODEL   := $(B)/tests/test_model
EXPLORE := $(B)/tests/explore/explore
PRINT_MODEL := $(B)/tests/explore/print_model
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
# Each test in a process of its own, for a limited time.
LIMIT   := $(B)/tests/limit.o
LDFLAGS_limit := -Wl,--wrap=_cmocka_run_group_tests
PROGRAMS := $(B)/idem-server
SERVER_LIBS := -luv -lmicrohttpd -lxxhash -lssl -lcrypto $(JEMALLOC) -lpthread -lm

.PHONY: help run all test test-clients test-ops screenshot pictures check threads asan asan-units asan-wire ubsan tsan valgrind fuzz format install clean \
        need-build need-client need-test need-valgrind runners unit model wire docs pages pictures-checked system examples fuzz-corpus programs units model-mutants \
        shortage shortage-long explore explore-long tenants-mutants tenants-mutants-some built-ahead system-and-threads rest-of-system threads-and-journal \
        wire-memory wire-journal wire-and-docs operated docs-and-operated clients-and-examples c-examples-and-examples asan-wire-and-tsan

help: ## this list
	@echo "make ..."; sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile */*.mk */*/*.mk | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

PORT ?= 4336
# A directory of its own for each port: two servers do not share one.
DATA ?= build/data$(if $(filter-out 4336,$(PORT)),-$(PORT))
run: need-build ## get what is missing, build, start the server on 127.0.0.1:4336, or another PORT=; its journal is in build/data
	@$(MAKE) --no-print-directory programs
	@exec server/run build/release/idem-server $(PORT) $(DATA)

all: need-client ## get what is missing, build the server, libidem and idem-once
	@$(MAKE) --no-print-directory built-to-install

programs: $(PROGRAMS)

test: need-test ## get what is missing, build, pass every test (under 20 minutes on 2 cores)
	@$(MAKE) --no-print-directory programs units $(SHORTAGE) check
	@(nice $(MAKE) --no-print-directory built-ahead; for part in crash-states asan-units fuzz-corpus; do \
	    $(IDLE) $(MAKE) --no-print-directory $$part || exit 1; done) >$(call log,beside) 2>&1 & beside=$$!; \
	trap "kill $$beside 2>/dev/null" EXIT; \
	for part in runners unit explore shortage model model-mutants tenants-mutants-some wire-and-docs system-and-threads clients-and-examples; do \
	  $(MAKE) --no-print-directory $$part || exit 1; done; \
	wait $$beside || { cat $(call log,beside); exit 1; }; grep -av "^  CC \|^  LD " $(call log,beside); \
	$(MAKE) --no-print-directory asan-wire-and-tsan
	@echo "all tests passed"

# A line that calls make runs under `make -n` too: there it takes no log from a run beside it, and does not wait for idle
# processors, which such a run leaves none of.
DRY := $(findstring n,$(firstword -$(MAKEFLAGS)))
log = $(if $(DRY),/dev/null,build/$(1).log)
# Two parts side by side that both mostly wait: what the first says is shown afterwards, and if either fails, both have
# failed. For a line that begins with +.
both = $(MAKE) --no-print-directory $(1) >$(call log,$(firstword $(1))) 2>&1 & first=$$!; trap "kill $$first 2>/dev/null" EXIT; \
	$(MAKE) --no-print-directory $(2); status=$$?; \
	wait $$first || status=1; cat $(call log,$(firstword $(1))); exit $$status
# Only with what nobody else wants of the processors: tests beside it look at times.
IDLE := $(if $(DRY),,$(shell chrt --idle 0 true 2>/dev/null && echo chrt --idle 0 || echo nice -n 19))

# What the last parts of `test` need, compiled while the others mostly wait. If it fails, those parts say why. What needs no
# clock follows: the states of the journal after a power cut, units under a sanitizer, fuzzers.
built-ahead:
	@$(MAKE) --no-print-directory MODE=asan $(ASAN_BUILT)
	@$(MAKE) --no-print-directory MODE=tsan $(TSAN_BUILT)
	@$(MAKE) --no-print-directory MODE=fuzz $(FUZZERS)

# It looks at sources and objects. Its own test shows that it finds what it should.
CHECKED := $(wildcard $(foreach folder,proto server server/* client client/* bench bench/*,$(folder)/*.c))
check: $(patsubst %.c,$(B)/%.o,$(CHECKED)) ## the house, without running it: floors, circles, names, headers, state, sizes
	@$(PYTHON) tests/check/test_check.py
	@$(PYTHON) tests/check/run.py --built $(B)

# With one loop and with four; a test that hangs ends.
SHORTAGE := $(B)/tests/shortage/shortage
shortage-of-1-loop shortage-of-4-loops: shortage-of-%: $(SHORTAGE)
	@timeout 900 $(SHORTAGE) --loops $(firstword $(subst -, ,$*)) --step $(STEP)

runners: programs client $(B)/tests/runners/hanging ## the test runners end and name what hangs
	@IDEM_SERVER=$(B)/idem-server IDEM_BUILD=$(B) $(PYTHON) tests/runners/test_runners.py
units: $(UNITS) $(MODEL)
unit: units ## units of every module
	@tests/run-units $(UNITS)
	@$(PYTHON) tests/bench/test_bench.py --quiet
shortage: $(SHORTAGE) ## a server to which memory and descriptors are refused (half a minute)
	+@$(call both,shortage-of-4-loops STEP=23,shortage-of-1-loop STEP=23)
shortage-long: $(SHORTAGE) ## the same, each of 5,000 allocations by itself (6 minutes)
	+@$(call both,shortage-of-4-loops STEP=1,shortage-of-1-loop STEP=1)
explore: $(EXPLORE) $(PRINT_MODEL) ## every history of 20 events on one key, mutants of the rules, the model in proto/model (half a minute)
	@tests/limited $(EXPLORE) --seconds 40
	@tests/limited tests/explore/check_model $(PRINT_MODEL)
explore-long: $(EXPLORE) $(PRINT_MODEL) ## the same with 28 events, and spin on each mutant (2 minutes)
	@tests/limited $(EXPLORE) --depth 28 --seconds 600
	@tests/limited tests/explore/check_model $(PRINT_MODEL) --all
model: units ## five million random operations against a naive model
	@tests/limited $(MODEL)
# Without the optimisation of the whole, which takes longer than the mutants live.
MODEL_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/model/*.c)) $(LIB_OBJ)
model-mutants: units ## the model sees it when any image of a change is left out
	@$(PYTHON) tests/model/mutants.py --compile "$(COMPILE) $(CPPFLAGS) $(CFLAGS)" --link "$(COMPILE) $(LDFLAGS)" \
	  --libraries "-lcmocka $(SERVER_LIBS)" --build $(B)/mutants $(MUTANT_FLAGS) $(MODEL_OBJ)
# The server's objects, but for the one that is mutated.
tenants-mutants: programs ## a tenant's view: each question about what it may see is left out, and the test sees it (2 minutes)
	@$(PYTHON) tests/tenants/mutants.py --compile "$(COMPILE) $(CPPFLAGS) $(CFLAGS)" --link "$(COMPILE) $(LDFLAGS)" \
	  --libraries "$(SERVER_LIBS)" --build $(B)/tenants $(MUTANT_FLAGS) $(B)/server/main.o $(LIB_OBJ)
tenants-mutants-some: MUTANT_FLAGS := --some 3
tenants-mutants-some: tenants-mutants
wire: ## transcripts of every command through redis-cli, in memory and with a journal
	@$(MAKE) --no-print-directory wire-memory
	@$(MAKE) --no-print-directory wire-journal
wire-memory: programs
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/wire/run.py
wire-journal: programs
	@IDEM_LOOPS=4 IDEM_SERVER=tests/durable-server $(PYTHON) tests/wire/run.py $(filter-out %/drain.transcript,$(wildcard tests/wire/*.transcript))
tls-wire: programs ## the same transcripts over TLS
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/wire/run.py --tls
# Its own load, and what a client may send that knows no key.
tls-soak: programs ## SECONDS (600) of commands over TLS, and other certificates each second: no command may fail
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/tls_soak.py --seconds $(or $(SECONDS),600)
tls-fuzz: ## COUNT (100,000) malformed hellos and records from a SEED, against the sanitized server
	@$(MAKE) --no-print-directory MODE=asan programs
	@IDEM_SERVER=build/asan/idem-server tests/sanitized "build/asan/idem-server --version" $(PYTHON) tests/system/tls_fuzz.py \
	  --count $(or $(COUNT),100000) --seed $(or $(SEED),1)
system: programs ## interleavings on real sockets
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/run.py
# Without those that say themselves how many loops they want, and those of options.
THREADS_SYSTEM := test_strangers test_fairness test_chaos test_connections test_differential test_waiting test_load.Memory test_load.Waiters \
                  test_attacks test_evidence test_born test_drain test_draining
threads: programs ## transcripts and system tests once more, with four loops
	@IDEM_SERVER=tests/threads-server $(PYTHON) tests/wire/run.py
	@IDEM_SERVER=tests/threads-server $(PYTHON) tests/system/run.py $(THREADS_SYSTEM)
# Side by side, about as long.
JOURNAL_SYSTEM := test_recorder test_disk test_starts test_kill9
# What an operator uses: it mostly waits, and no test of it needs a machine of its own.
OPERATED_SYSTEM := test_users test_quotas test_tenants test_log test_supervisor test_recovery test_ping test_proxy
REST_SYSTEM := $(filter-out $(JOURNAL_SYSTEM) $(OPERATED_SYSTEM),$(basename $(notdir $(wildcard tests/system/test_*.py))))
threads-and-journal: threads
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/run.py $(JOURNAL_SYSTEM)
rest-of-system: programs
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/run.py $(REST_SYSTEM)
operated: programs
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/run.py $(OPERATED_SYSTEM)
system-and-threads: programs
	+@$(call both,threads-and-journal,rest-of-system)
docs-and-operated: docs
	@$(MAKE) --no-print-directory operated
wire-and-docs: programs client-libraries
	+@$(call both,docs-and-operated,wire)
docs: programs client-libraries ## what the documents show, run; and that the pictures show it
	+@$(call both,pictures-checked,pages)
pages:
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/docs.py
pictures-checked:
	@$(PYTHON) proto/pictures/life.py --check
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) proto/pictures/session.py --check
examples: programs ## the four systems of client/examples
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/examples/test_examples.py
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/examples/test_flask.py
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/examples/test_promises.py

c-examples-and-examples: c-examples-test
	@$(MAKE) --no-print-directory examples
clients-and-examples: programs client-programs client-examples
	+@$(call both,c-examples-and-examples,client-test)

# --strict: a client that cannot be had is a failure, not only a line that says so.
CLIENT_TEST_FLAGS ?= --strict
test-clients: need-test ## the Redis clients that people use, from Debian and npm (10 minutes)
	@$(MAKE) --no-print-directory programs
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/clients/run.py $(CLIENT_TEST_FLAGS)

# Packages, the unit, a browser, prometheus: what `make test` does not install. --strict as above.
OPS_TEST_FLAGS ?= --strict
test-ops: need-test ## deployment and insight, with what Debian and npm have for it (under 5 minutes)
	@$(MAKE) --no-print-directory built-to-install
	@IDEM_SERVER=$(B)/idem-server IDEM_BUILD=$(B) $(PYTHON) tests/ops/run.py $(OPS_TEST_FLAGS)
pictures: programs ## the life of a request, and a session of two terminals, in proto/pictures, anew
	@$(PYTHON) proto/pictures/life.py
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) proto/pictures/session.py

screenshot: need-build ## the picture of the status page in server/README.md, anew
	@$(MAKE) --no-print-directory programs
	@IDEM_SERVER=$(B)/idem-server IDEM_BUILD=$(B) $(PYTHON) tests/ops/screenshot.py server/deploy/status-page.png

ASAN_BUILT := programs units build/asan/tests/shortage/shortage
asan-units asan-wire: SANITIZED = tests/sanitized "build/asan/idem-server --version"
asan: ## units, shortage, model and transcripts under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory asan-units
	@$(MAKE) --no-print-directory asan-wire
asan-units:
	@$(MAKE) --no-print-directory MODE=asan $(ASAN_BUILT)
	@$(SANITIZED) tests/run-units $(patsubst $(B)/%,build/asan/%,$(UNITS))
	@for loops in 1 4; do $(SANITIZED) build/asan/tests/shortage/shortage --loops $$loops --step 101 || exit 1; done
	@tests/limited $(SANITIZED) build/asan/tests/test_model --steps 200000
asan-wire:
	@$(MAKE) --no-print-directory MODE=asan programs
	@IDEM_SERVER=build/asan/idem-server $(SANITIZED) $(PYTHON) tests/wire/run.py
asan-wire-and-tsan:
	@$(MAKE) --no-print-directory MODE=asan programs
	@$(MAKE) --no-print-directory MODE=tsan $(TSAN_BUILT)
	+@$(call both,asan-wire,tsan)
ubsan: ## units and model under UBSan alone
	@$(MAKE) --no-print-directory MODE=ubsan programs units
	@tests/run-units $(patsubst $(B)/%,build/ubsan/%,$(UNITS))
TSAN_UNITS := $(addprefix build/tsan/tests/test_,$(filter $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/*.c)), \
              keyspace inbox pubsub monitor transaction regions hugepages served_clock thread journal_threads))
TSAN_SYSTEM := $(basename $(notdir $(wildcard tests/system/test_chaos.py tests/system/test_threads.py \
               tests/system/test_fairness.py))) test_strangers.WrongPasswords \
               test_tls.Certificates.test_several_loops_verify_by_new_certificates_at_once
TSAN_BUILT = programs $(TSAN_UNITS) build/tsan/tests/shortage/shortage
tsan: SANITIZED = tests/sanitized "build/tsan/idem-server --version"
tsan: ## what threads share, under ThreadSanitizer: units, shortage, transcripts and interleavings with four loops
	@$(MAKE) --no-print-directory MODE=tsan $(TSAN_BUILT)
	@rm -f build/tsan/race.*
	@TSAN_OPTIONS=exitcode=66 $(SANITIZED) tests/run-units $(TSAN_UNITS)
	@TSAN_OPTIONS="exitcode=66 detect_deadlocks=0" $(SANITIZED) build/tsan/tests/shortage/shortage --loops 4 --step 401
	@IDEM_SERVER=tests/tsan-server $(SANITIZED) $(PYTHON) tests/wire/run.py
	@IDEM_SERVER=tests/tsan-server $(SANITIZED) $(PYTHON) tests/system/run.py $(TSAN_SYSTEM)
	@if cat build/tsan/race.* 2>/dev/null; then exit 1; fi

valgrind: need-valgrind ## units and transcripts under valgrind (half an hour)
	@$(MAKE) --no-print-directory MODE=debug programs units
	@tests/run-units --under "valgrind -q --error-exitcode=99 --leak-check=full" $(patsubst $(B)/%,build/debug/%,$(UNITS))
	@IDEM_SERVER=tests/valgrind-server $(PYTHON) tests/wire/run.py

FUZZ_SECONDS ?= 60
fuzz: need-test ## each fuzz target for FUZZ_SECONDS (60); the one of 52 bytes for 3
	@$(MAKE) --no-print-directory MODE=fuzz $(FUZZERS)
	@for f in $(FUZZERS); do case $$f in *_proxy) s=3 ;; *) s=$(FUZZ_SECONDS) ;; esac; tests/fuzz/run $$f $$s || exit 1; done
fuzz-corpus: FUZZ_SECONDS := 13
fuzz-corpus: fuzz

# ---- the C client: libidem, idem-once, examples ----
-include client/client.mk
-include client/node/node.mk
-include client/examples/examples.mk

# ---- the load generator, floors, runs ----
-include bench/bench.mk

# ---- Debian packages, the unit, installation ----
-include server/deploy/deploy.mk

# ---- the module for Redis and Valkey ----
-include server/module/module.mk

# ---- the journal and power cuts ----
-include tests/crash/crash.mk
-include tests/journal/journal.mk

# ---- the middleware ----
-include tests/http/http.mk
-include tests/cookbook/cookbook.mk

format: ## clang-format over all sources
	clang-format -i $$(git ls-files '*.c' '*.h')

install: all ## into DESTDIR/PREFIX (/usr/local), with a systemd unit, configuration and manual
	@$(MAKE) --no-print-directory client-install server-install module-install unit-install

clean: ## remove build/, but for the journal of `make run` in build/data
	@for each in build/*; do case $$each in build/data*) ;; *) rm -rf "$$each" ;; esac; done

# ---- rules ----

# Objects of other flags are stale. A server of which a third was compiled before -flto came executed 3 to 5 % more
# instructions than the same sources on a clean clone.
FLAGS := $(COMPILE) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_whole)
$(B)/flags: ALWAYS
	@mkdir -p $(@D); echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@
.PHONY: ALWAYS

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D); echo "  CC   $<"
	$(Q)$(COMPILE) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/proto/%.o $(B)/server/%.o: CFLAGS += $(CFLAGS_whole)

$(B)/idem-server: $(B)/server/main.o $(LIB_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS_whole) -o $@ $^ $(SERVER_LIBS)

$(B)/tests/test_model: $(MODEL_OBJ)
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^ -lcmocka $(SERVER_LIBS)

$(EXPLORE) $(PRINT_MODEL): %: %.o $(patsubst %,$(B)/%.o,tests/explore/world tests/explore/mutants server/rules/rules)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^

$(B)/tests/test_%: $(B)/tests/unit/test_%.o $(LIMIT) $(LIB_OBJ)
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(LDFLAGS_limit) -o $@ $^ -lcmocka $(SERVER_LIBS)

# Allocations fail when the test says so.
$(B)/tests/test_horizon: LDFLAGS_limit += -Wl,--wrap=malloc
$(B)/tests/test_outbox: LDFLAGS_limit += -Wl,--wrap=realloc
$(B)/tests/test_waiting: LDFLAGS_limit += -Wl,--wrap=malloc -Wl,--wrap=calloc
# What the open claims ask memory for passes through the test.
$(B)/tests/test_open_claims: LDFLAGS += -Wl,--wrap=memory_take

$(B)/tests/runners/hanging: $(B)/tests/runners/hanging.o $(LIMIT)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(LDFLAGS_limit) -o $@ $^ -lcmocka

# What the server, libuv and libmicrohttpd ask of allocator and kernel passes through the test.
SHORTAGE_WRAP := $(foreach f,malloc calloc realloc aligned_alloc strdup strndup open_memstream free mmap accept4 epoll_ctl \
                           uv_loop_init uv_poll_start,-Wl$(,)--wrap=$(f))
$(B)/tests/shortage/shortage: $(patsubst %.c,$(B)/%.o,$(wildcard tests/shortage/*.c)) $(LIB_OBJ)
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(SHORTAGE_WRAP) -o $@ $^ $(patsubst -luv,-l:libuv_a.a,$(SERVER_LIBS:-lmicrohttpd=-l:libmicrohttpd.a)) -lgnutls -ldl

build/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(filter-out %/test_model.o,$(patsubst %.c,$(B)/%.o,$(wildcard tests/model/*.c))) $(LIB_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^ -lcmocka $(SERVER_LIBS)

.SECONDARY:
-include $(shell find build/$(MODE) -name '*.d' 2>/dev/null)

# ---- what the machine has to have ----

PACKAGES_build := libssl-dev libuv1-dev libmicrohttpd-dev libjemalloc-dev libxxhash-dev
PACKAGES_client := $(PACKAGES_build) libhiredis-dev
PACKAGES_valgrind := valgrind
PACKAGES_test  := $(PACKAGES_build) libcmocka-dev libhiredis-dev openssl curl libevent-dev \
                  pkg-config groff man-db g++ redis-tools redis-server python3 python3-redis python3-flask python3-blinker lua5.1 luajit \
                  $(CLANG) libclang-rt-14-dev procps iproute2 spin
need-build:
	@tests/need $(PACKAGES_build)
need-client:
	@tests/need $(PACKAGES_client)
need-test:
	@tests/need $(PACKAGES_test)
need-valgrind: need-test
	@tests/need $(PACKAGES_valgrind)
