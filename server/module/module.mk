# idem.so, the same contract inside Redis and Valkey. Included by the top Makefile, whose variables it uses.

# The parts of the server that the module is made of; position-independent objects of their own.
MODULE_SHARED := proto/span.c server/base/wheel.c server/ops/options_scale.c $(wildcard server/rules/*.c)
MODULE_OBJ    := $(patsubst %.c,$(B)/module/%.o,$(MODULE_SHARED) $(wildcard server/module/*.c))
CFLAGS_module  = $(filter-out -fPIE,$(CFLAGS)) -fPIC -fvisibility=hidden $(CFLAGS_whole)
# All that the module needs it has, or is handed by its host, so nothing may be undefined; a sanitizer's runtime is in the
# host's process.
LDFLAGS_module = -shared $(filter-out -pie,$(LDFLAGS_$(MODE))) $(if $(filter asan ubsan tsan,$(MODE)),,-Wl$(,)-z$(,)defs)

.PHONY: module module-install
module: $(B)/idem.so ## idem.so, the module for Redis and Valkey, into build/release

$(B)/module/%.o: %.c $(B)/flags
	@mkdir -p $(@D); echo "  CC   $< (module)"
	$(Q)$(COMPILE) $(CPPFLAGS) $(CFLAGS_module) -MMD -MP -c -o $@ $<

$(B)/idem.so: $(MODULE_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(CFLAGS_module) $(LDFLAGS_module) -o $@ $^

module-install: $(B)/idem.so
	install -D -m 755 $(B)/idem.so $(DESTDIR)$(PREFIX)/lib/redis/modules/idem.so
	install -D -m 644 server/module/idem.lua $(DESTDIR)$(PREFIX)/share/idem/idem.lua
	install -D -m 644 server/module/README.md $(DOCDIR)/module.md

# What of the module knows no host, for its units.
$(B)/tests/test_module: $(patsubst %,$(B)/server/module/%.o,layout settings slots tokens)

.PHONY: module-wire module-acceptance module-functions test-module test-cluster cluster module-asan
MODULE_HOST := IDEM_SUITE_HOST=module IDEM_MODULE=
module-wire: module ## the transcripts that are the module's too, inside redis-server
	@$(MODULE_HOST)$(B)/idem.so $(PYTHON) tests/wire/run.py
module-acceptance: module ## the same for the system tests that ask what the contract promises
	@$(MODULE_HOST)$(B)/idem.so $(PYTHON) tests/system/run.py
module-functions: ## the transcripts that idem.lua can answer, in a redis-server without the module
	@IDEM_SUITE_HOST=functions $(PYTHON) tests/wire/run.py
test-module: need-test ## all of the module: transcripts, acceptance, functions, cluster, AddressSanitizer (6 minutes)
	@for part in module-wire module-acceptance module-functions test-cluster module-asan; do $(MAKE) --no-print-directory $$part || exit 1; done
test-cluster: module client-programs $(B)/idem-once ## the module in a cluster, over restarts, beside plain keys: each scenario once (under 3 minutes)
	@IDEM_MODULE=$(B)/idem.so $(PYTHON) tests/cluster/run.py
cluster: module client-programs $(B)/idem-once ## the same 20 times, or TIMES=
	@IDEM_MODULE=$(B)/idem.so $(PYTHON) tests/cluster/run.py --times $(or $(TIMES),20)
# The host has no sanitizer, so its runtime is preloaded; the host's own allocations that it leaves at its end are its own.
module-asan: ## the transcripts with the module under AddressSanitizer and UBSan, and a thousand waiters without a leak
	@$(MAKE) --no-print-directory MODE=asan module
	@IDEM_SANITIZER=$$($(COMPILE) -print-file-name=libasan.so) $(MODULE_HOST)build/asan/idem.so $(PYTHON) tests/wire/run.py
	@IDEM_SANITIZER=$$($(COMPILE) -print-file-name=libasan.so) IDEM_MODULE=build/asan/idem.so $(PYTHON) tests/cluster/run.py test_module
