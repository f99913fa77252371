# The package for Node: its tests, and what it costs a request. Included by the top Makefile.

.PHONY: test-node node-mutants node-overhead node-packages http-compare
node-packages: programs
	@tests/need nodejs $(if $(shell command -v npm),,npm)
	@tests/http/node/install

test-node: node-packages ## the package for Node: its core, what frameworks make hard, its README and types (a minute)
	@IDEM_SERVER=$(abspath $(B)/idem-server) node --test --test-reporter=$(abspath tests/node/reporter.mjs) tests/node/*.test.js

node-mutants: node-packages ## the package for Node with one place changed: its tests fail on each (2 minutes)
	@IDEM_SERVER=$(abspath $(B)/idem-server) node tests/node/mutants.js

node-overhead: node-packages ## what the middleware for Node costs a request, beside the bare framework (a minute)
	@IDEM_SERVER=$(abspath $(B)/idem-server) node tests/node/overhead.js

# idem's adapters beside the other libraries.
COMPARED ?= flask fastapi express fastify koa hono express-idempotency node-idempotency
http-compare: node-packages ## what other libraries do in the cases of the suite, into tests/http/COMPARISON.md (3 minutes)
	@tests/http/node/install peers
	@IDEM_SERVER=$(abspath $(B)/idem-server) $(PYTHON) tests/http/compare.py --write $(addprefix --app ,$(COMPARED))
