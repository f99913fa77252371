# The middleware over HTTP. Included by the top Makefile.

PACKAGES_http := python3 python3-redis python3-flask python3-flask-login python3-django python3-starlette python3-fastapi python3-multipart \
                 uvicorn gunicorn python3-gevent python3-celery python3-httpx python3-pip python3-setuptools python3-wheel python3-venv python3-mypy
# All cases on two adapters, a sample on the others.
HTTP_FULL   ?= flask $(if $(wildcard tests/http/apps/express/app.json),express,starlette)
HTTP_SAMPLE ?= 25
HTTP_RUN    := IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/http/run.py
HTTP_SEED   := $(if $(SEED),--seed $(SEED))

.PHONY: need-http test-http http-all http-mutants http-python
need-http: need-build
	@tests/need $(PACKAGES_http)
# HTTP_TEST_FLAGS=--strict: an application that cannot run here is a failure, not only a line that says so.
test-http: need-http ## the middleware in every framework: all cases on two adapters, a sample on the others, and the cookbook (under 6 minutes)
	@$(MAKE) --no-print-directory programs
	@$(HTTP_RUN) --quiet $(HTTP_TEST_FLAGS) $(addprefix --full ,$(HTTP_FULL)) --sample $(HTTP_SAMPLE) $(HTTP_SEED)
	+@$(call both,readme-and-cookbook,http-python)
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/http/mutants.py --some 8 $(HTTP_SEED)
	@if tests/http/node/install; then $(MAKE) --no-print-directory test-node; else echo "test-node: SKIPPED: its packages are not to be had" $(if $(findstring strict,$(HTTP_TEST_FLAGS)),; false); fi
http-all: need-http ## every case on every adapter, every mutant (20 minutes)
	@$(MAKE) --no-print-directory programs
	@$(HTTP_RUN) $(HTTP_TEST_FLAGS)
	+@$(call both,readme-and-cookbook,http-python)
	@$(MAKE) --no-print-directory http-mutants test-node node-mutants
http-mutants: need-http programs ## the adapters with one place changed: the suite fails on each
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/http/mutants.py
http-python: programs ## the package in Python: installed, its README run, jobs, in place of Flask-Idempotent
	@IDEM_SERVER=$(B)/idem-server $(PYTHON) tests/http/python/run.py
