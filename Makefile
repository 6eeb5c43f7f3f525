# Two entry points do all the set-up: `make demo` shows what blackstart does, `make test` proves that it works.
# Both need a Linux machine with Python 3.11 or later and pip, as root or as an ordinary user.

PYTEST_ARGS ?=
TWIN_ROUNDS ?= 20
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile -r sfE

# Building with Go in a test must not depend on a HOME that can be written.
export GOCACHE := $(CURDIR)/.venv/go-build
export GOFLAGS := -buildvcs=false

.PHONY: help demo test test-slow test-machines lint types twins kills hardenings benchmarks clean

help:
	@echo 'make demo        install into .venv, break a real program, print what was found'
	@echo 'make test        system packages where allowed, .venv, lint, types, all tests'
	@echo 'make test-slow   those that take a minute and more each, on what another test tries in another way'
	@echo 'make lint types  only these'
	@echo 'make twins       each pair of bad and good programs $(TWIN_ROUNDS) times'
	@echo 'make kills       SIGKILL to blackstart at 100 random moments leaves nothing behind'
	@echo 'make hardenings  the dosing controller without each of its hardenings, on its whole suite'
	@echo 'make test-machines  power cuts against real file systems in a guest (slow, installs QEMU)'
	@echo 'make benchmarks  all measurements, as docs/benchmarks.md records them'
	@echo 'make clean       remove .venv and caches'

demo:
	@tools/prepare.sh venv examples
	@$(BIN)/python examples/notes/run_demo.py

test: lint types
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: prepared
	$(PYTEST) -m slow --timeout 1200 $(PYTEST_ARGS)

lint: prepared
	$(BIN)/ruff check .

types: prepared
	$(BIN)/mypy

test-machines: prepared
	@tools/prepare.sh machines
	@tools/guest_kernel.sh $(CURDIR)/.venv/guest-kernel
	BLACKSTART_GUEST_KERNEL=$(CURDIR)/.venv/guest-kernel $(BIN)/python -m pytest -s tests/machines $(PYTEST_ARGS)

twins: prepared
	rm -f build/twins.jsonl
	$(PYTEST) --dist load tests/twins --rounds $(TWIN_ROUNDS) --timeout 0 --tally build/twins.jsonl $(PYTEST_ARGS); \
	status=$$?; $(BIN)/python -m tests.twins.tally build/twins.jsonl && exit $$status

kills: prepared
	BLACKSTART_KILLS=100 $(PYTEST) --dist load tests/live/programs/test_bad_input.py -k killed_blackstart $(PYTEST_ARGS)

hardenings: prepared
	DOSING_ALL=1 $(PYTEST) --dist load tests/live/dosing -k without_ $(PYTEST_ARGS)

benchmarks: prepared
	@for file in benchmarks/[!_]*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

.PHONY: prepared
prepared:
	@tools/prepare.sh packages
	@tools/prepare.sh venv test,yaml,examples

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
