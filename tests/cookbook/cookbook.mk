# What a new user tries: the front of README.md, and the recipes of client/COOKBOOK.md. Included by the top Makefile.

COOKBOOK_RUN := IDEM_SERVER=$(B)/idem-server IDEM_BUILD=$(B) $(PYTHON) tests/cookbook

.PHONY: readme readme-and-cookbook test-cookbook cookbook-postgres cookbook-mutants cookbook-ready
cookbook-ready: need-http need-client
	@tests/need curl nodejs $(if $(shell command -v npm),,npm)
	@$(MAKE) --no-print-directory programs $(B)/idem-once
	@tests/http/node/install cookbook || echo "SKIPPED: what npm does not hand out; the recipes in Node need it"
# HTTP_TEST_FLAGS=--strict: as for test-http.
readme: cookbook-ready ## README.md followed by a new user: its lines of pip and npm, the one line in each framework, its sessions and programs
	@tests/need redis-tools
	@$(MAKE) --no-print-directory client-libraries
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/readme.py $(HTTP_TEST_FLAGS)
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/docs.py README.md
readme-and-cookbook: readme
	@$(MAKE) --no-print-directory test-cookbook
test-cookbook: cookbook-ready ## the recipes of client/COOKBOOK.md as they stand: sent twice, killed in the middle (half a minute)
	@$(COOKBOOK_RUN)/run.py $(HTTP_TEST_FLAGS)
cookbook-postgres: cookbook-ready ## the recipe of Postgres in a Postgres (which is installed) instead of SQLite
	@tests/need postgresql python3-psycopg2
	@$(COOKBOOK_RUN)/run.py --strict --postgres
cookbook-mutants: cookbook-ready ## recipes with one place changed: their tests fail (a minute)
	@$(COOKBOOK_RUN)/mutants.py
