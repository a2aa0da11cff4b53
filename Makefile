# The commands of the suite. Needs Python 3.11 or newer and make; everything else is installed into .venv.
.DEFAULT_GOAL := help
.SILENT:
SHELL := /bin/bash

PYTHON ?= python3
REPEAT ?= 20
# What `make prove` asks of the proofs that have a size of their own; `make test` runs them small.
PROOFS := tests/e2e/test_histories.py tests/e2e/test_kills_at_commit.py tests/e2e/test_channel_truth.py tests/e2e/test_channel_faults.py tests/availability/proofs
HISTORY_SECONDS ?= 60
COMMIT_HITS ?= 300
CACHE_SCALE ?= 10
BIN := .venv/bin
PACKAGES := contracts rules runtime services/booking services/availability services/channel-sync services/gateway
READY := .venv/.ready
# Test files are dealt to this many processes, in order: a folder's files share what its fixtures start.
WORKERS ?= 2
TESTS := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
NOTED := $(BIN)/python -m pytest -o junit_family=xunit1 --junitxml=.cache/prove
LOCAL := $(BIN)/python -m deploy.local

.PHONY: help run stop clean token migrate seed check test prove bench contracts schema logs lock

help: ## this list
	echo "make <target>; ports move with GATEWAY_PORT, BOOKING_PORT, AVAILABILITY_PORT, CHANNEL_SYNC_PORT, POSTGRES_PORT, KAFKA_PORT"
	sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done

run: $(READY) ## start everything, walk the guided journey, serve until Ctrl-C (ONCE=1: end after the journey)
	$(LOCAL) run

stop: $(READY) ## stop the run, and what a killed run left behind
	$(LOCAL) stop

clean: $(READY) ## stop the run and delete its data, logs and secrets
	$(LOCAL) clean

token: $(READY) ## print a token for local use: AGENCY=<uuid> [ROLES=a,b]
	test -n "$(AGENCY)" || { echo "make token AGENCY=<uuid> [ROLES=a,b]" >&2; exit 2; }
	$(LOCAL) token --agency "$(AGENCY)" --roles "$(ROLES)"

migrate: $(READY) ## bring the databases up to date without starting the services
	$(LOCAL) migrate

seed: $(READY) ## put example data into the running suite
	$(LOCAL) seed

logs: $(READY) ## follow the processes' logs (NAME=booking: one of them)
	$(LOCAL) logs $(NAME)

check: $(READY) ## format, lint, types, import rules, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m contracts --check
	$(TESTS) -q -m "not stack and not e2e and not containers and not browser"

test: $(READY) ## all tests, on a real PostgreSQL and a real Kafka
	$(LOCAL) download
	$(TESTS)

prove: $(READY) ## the proofs at full size, then the other end-to-end tests REPEAT times each (20); writes docs/proof.md
	$(LOCAL) download
	rm -rf .cache/prove
	PMS_HISTORY_SECONDS=$(HISTORY_SECONDS) PMS_COMMIT_HITS=$(COMMIT_HITS) PMS_CACHE_SCALE=$(CACHE_SCALE) \
		PMS_CHANNEL_SCALE=$(CACHE_SCALE) $(NOTED)/proofs.xml $(PROOFS)
	PMS_REPEAT=$(REPEAT) $(NOTED)/machine.xml tests/booking/test_ledger_machine.py
	PMS_REPEAT=$(REPEAT) $(NOTED)/repeated.xml -m e2e $(addprefix --ignore=,$(PROOFS))
	$(BIN)/python -m tests.e2e.infra.proof_page .cache/prove/*.xml

bench: $(READY) ## the benchmarks
	if compgen -G "tests/bench/test_*.py" >/dev/null; then $(LOCAL) download && KAFKA_JVM_OPTIONS= $(BIN)/python -m pytest tests/bench -s; \
	else echo "there is no benchmark yet (tests/bench/test_*.py)" >&2; exit 1; fi

contracts: $(READY) ## generate the JSON Schemas and AsyncAPI from contracts/
	$(BIN)/python -m contracts

schema: $(READY) ## write each service's schema.sql from its migrations
	$(LOCAL) schema

lock: $(READY) ## resolve all dependencies anew: requirements.lock and the jars of Kafka and Connect
	$(BIN)/uv pip compile -q --universal --generate-hashes --upgrade --python-version 3.11 -o requirements.lock requirements.in
	$(LOCAL) lock

$(READY): requirements.lock $(addsuffix /pyproject.toml,$(PACKAGES))
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Choose one: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  echo "The virtual environment could not be made: Debian and Ubuntu need the package python3-venv." >&2; exit 1; }
	test -x $(BIN)/uv || $(BIN)/python -m pip install -q "$$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' requirements.lock)"
	$(BIN)/uv pip sync -q --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	touch $@
