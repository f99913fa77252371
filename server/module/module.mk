# idem.so, the same contract inside Redis and Valkey. Included by the top Makefile, whose variables it uses.

# The parts of the server that the module is made of; position-independent objects of their own.
MODULE_SHARED := proto/span.c server/base/wheel.c server/ops/options_scale.c $(wildcard server/rules/*.c)
MODULE_OBJ    := $(patsubst %.c,$(B)/module/%.o,$(MODULE_SHARED) $(wildcard server/module/*.c))
CFLAGS_module  = $(filter-out -fPIE,$(CFLAGS)) -fPIC -fvisibility=hidden $(CFLAGS_whole)
# All that the module needs it has, or is handed by its host, so nothing may be undefined; a sanitizer's runtime is in the
# host's process.
LDFLAGS_module = -shared $(filter-out -pie,$(LDFLAGS_$(MODE))) $(if $(filter asan ubsan tsan,$(MODE)),,-Wl$(,)-z$(,)defs)

.PHONY: module
module: $(B)/idem.so ## idem.so, the module for Redis and Valkey, into build/release

$(B)/module/%.o: %.c $(B)/flags
	@mkdir -p $(@D); echo "  CC   $< (module)"
	$(Q)$(COMPILE) $(CPPFLAGS) $(CFLAGS_module) -MMD -MP -c -o $@ $<

$(B)/idem.so: $(MODULE_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(CFLAGS_module) $(LDFLAGS_module) -o $@ $^
