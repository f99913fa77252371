# The journal seen from outside: the program killed, its files and sockets recorded, disks that fail. Included by the
# Makefile of the root. Short forms of all of them are in `make system`.

.PHONY: kill9 disks
KILL9_ROUNDS ?= 200
kill9: programs ## 200 times kill -9 under load, with one loop and with four: nothing that was answered is lost (10 minutes)
	@IDEM_SERVER=$(B)/idem-server IDEM_KILL9_ROUNDS=$(KILL9_ROUNDS) IDEM_TEST_LIMIT_S=7200 \
	  $(PYTHON) tests/system/run.py test_kill9
disks: programs ## what is sent before it is durable; disks that fail, are full, or slow; starts; backups (2 minutes)
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/system/run.py test_recorder test_disk test_starts
