# The same targets for people and CI. `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
PYTHONS ?= python3.11 python3.12 python3.13
BIN := .venv/bin
# Spinning OpenMP threads on busy cores slow torch down tenfold.
export OMP_WAIT_POLICY ?= PASSIVE
export PYTHONWARNINGS ?= ignore::DeprecationWarning

.PHONY: demo test test-fast test-wheel torture fuzz bench coverage check docs ui clean

demo: $(BIN)/.ready          ## the whole pipeline on the built-in world; prints the comparison table
	@$(BIN)/icd-assets demo

test: $(BIN)/.ready          ## all tests, two files at a time
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(BIN)/.ready     ## those that take seconds: no real commands, no training, no browser
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not browser and not torture'

test-wheel: $(BIN)/.ready    ## the installed wheel in an empty folder, once per Python; four minutes each
	@icd_assets_tests/packaging/try_wheel.sh $(PYTHONS)

torture: $(BIN)/.ready       ## strikes every asset at every point and runs it again
	@$(BIN)/python -m pytest -m torture

fuzz: $(BIN)/.ready         ## each reader of foreign files under random bytes, five minutes each
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@$(BIN)/python -m icd_assets_tests.fuzz --seconds $(or $(SECONDS),300) $(TARGETS)

bench: $(BIN)/.ready         ## what docs/performance.md shows, measured now; ten minutes on two quiet cores
	@$(BIN)/python benchmarks $(BENCH)

coverage: $(BIN)/.ready      ## all tests, and the share of lines they run: at least 90 %
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-fail-under=90

check: $(BIN)/.ready         ## style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

docs: $(BIN)/.ready          ## the documentation, into site/index.html; a broken link or anchor fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict   # --quiet would hide warnings from --strict too

ui: $(BIN)/.ready            ## Dagster's UI on http://127.0.0.1:3000
	@$(BIN)/icd-assets ui

clean:                       ## everything that was made here: results, run history, environment
	rm -rf .venv site results datasets history schedules storage logs .logs_queue .telemetry

$(BIN)/.ready: pyproject.toml constraints.txt
	@echo "setting up .venv (about two minutes, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
