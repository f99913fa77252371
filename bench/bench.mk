# The load generator, the floors and their runs. Included by the Makefile of the root.

.PHONY: bench bench-programs bench-horizon bench-recovery bench-compaction instructions
bench: need-test ## server CPU, latency, memory, expiry, wake-ups and durability beside redis-server and bare floors
	@$(MAKE) --no-print-directory programs bench-programs
	@$(PYTHON) bench/run.py $(BENCH_FLAGS)

instructions: need-valgrind ## instructions per command under callgrind, against bench/instructions.txt (2 % gate)
	@$(MAKE) --no-print-directory programs
	@$(PYTHON) bench/instructions.py

bench-horizon: need-build ## how often a request would be called forgotten that was not
	@$(MAKE) --no-print-directory $(B)/bench-horizon
	@$(B)/bench-horizon

bench-recovery: need-build ## how long a start takes that reads 10 million responses from its journal (3 GB of disk in build/)
	@$(MAKE) --no-print-directory programs bench-programs
	@$(PYTHON) bench/recovery.py $(BENCH_FLAGS)

bench-compaction: need-build ## a minute of responses that end after seconds: no byte of their journal may be written again
	@$(MAKE) --no-print-directory programs bench-programs
	@$(PYTHON) bench/compaction.py $(BENCH_FLAGS)

BENCH_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard bench/*.c))

# It counts line ends in what it receives: for that gcc 12 uses vectors only at -O3.
$(B)/bench/flood.o: CFLAGS += -O3

bench-programs: $(addprefix $(B)/,idem-bench bench-uv bench-epoll bench-sync bench-engine bench-horizon)
$(B)/idem-bench: $(BENCH_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^ -lssl -lcrypto
$(B)/bench-engine $(B)/bench-horizon: $(B)/bench-%: $(B)/bench/engine/%.o $(LIB_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^ $(SERVER_LIBS)
$(B)/bench-sync: $(B)/bench/floors/sync.o
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^
$(B)/bench-uv $(B)/bench-epoll: $(B)/bench-%: $(B)/bench/floors/%.o $(B)/bench/floors/floor.o
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^ -luv

# The load generator's parts that units test; not its main.
$(B)/tests/test_bench_%: $(B)/tests/unit/test_bench_%.o $(filter-out $(B)/bench/load.o,$(BENCH_OBJ))
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -o $@ $^ -lcmocka -lssl -lcrypto
