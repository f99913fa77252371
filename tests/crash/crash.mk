# The journal on a disk that is cut off, tears, fills up and fails. Included by the Makefile of the root.

.PHONY: crash-states crash crash-programs
CRASH := $(addprefix $(B)/tests/crash/,states faults rot mutants)
CRASH_DISK := $(B)/tests/crash/test_disk

crash-programs: $(CRASH) $(CRASH_DISK)
crash-states: crash-programs ## five million states that a power cut may leave, each file call failing, rot, mutants (2 minutes)
	@tests/run-units $(CRASH_DISK)
	@for program in "states" "faults" "rot" "mutants"; do tests/limited $(B)/tests/crash/$$program || exit 1; done
crash: crash-programs ## a hundred million of them (half an hour)
	@tests/limited $(B)/tests/crash/states --states 100000000 --seed 2

$(B)/tests/crash/%.o: CFLAGS += -O2

# The clock is the test's, so that every run is the same.
$(CRASH): $(B)/tests/crash/%: $(B)/tests/crash/%.o $(patsubst %,$(B)/tests/crash/%.o,disk image history world lab clock) $(LIB_OBJ)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) -Wl,--wrap=clock_gettime -o $@ $^ $(SERVER_LIBS)

$(CRASH_DISK): %: %.o $(patsubst %,$(B)/tests/crash/%.o,disk image) $(LIMIT)
	@echo "  LD   $@"
	$(Q)$(COMPILE) $(LDFLAGS) $(LDFLAGS_limit) -o $@ $^ -lcmocka -lxxhash
