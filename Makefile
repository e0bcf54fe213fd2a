# The two commands: `make demo` and `make test`. Everything they need is set up on the way, in .venv.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One worker more than there are cores, because tests wait a fifth of their time; WORKERS=0 runs them in one process.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# Where it is set, every process of the tests would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help chaos prove-guards demo test audit-year audit-real test-gpu check format types bench-engine bench-ingest risk-evaluate lock clean bench-optimizer bench-risk
.DEFAULT_GOAL := help

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# A Python named by the caller (make PYTHON=python3.13 ...) replaces the environment of another one.
SET_UP = $(PYTHON) tools/set_up.py $(if $(filter-out file,$(origin PYTHON)),--this-python)

.PHONY: ready bench-ready
ready:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here; say which Python with: make PYTHON=python3.13 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; say which with: make PYTHON=python3.13 ..."; exit 1; }
	@$(SET_UP)

# What the benchmarks' peers need, in the same environment; `make demo` and `make test` never ask for it.
bench-ready: ready
	@$(SET_UP) --bench

demo: ready ## Run a synthetic fleet of 20 accounts through three sessions on an embedded PostgreSQL
	@$(BIN)/prometheus demo

# Once and untraced: otherwise each worker of pytest compiles for itself, under coverage, which takes a minute of CPU more.
COMPILE_LOOPS = $(BIN)/python -c "import prometheus.optimizer.solve"

test: ready ## Run every test but the long ones, with branch coverage
	@$(COMPILE_LOOPS)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not long" --cov --cov-report=term

.PHONY: test-long
test-long: ready ## The tests that `make test` leaves out: more draws, real years, long proofs (two to four minutes)
	@$(COMPILE_LOOPS)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m long

# The rehearsals have databases of their own; interrupted, they go on where they stood.
SESSIONS ?= 252
AUDIT_WORKERS ?= 2
AUDIT_HOME ?=
audit-year: ready ## 20 synthetic accounts through 252 sessions, then every run replayed and every chain verified
	@PROMETHEUS_HOME=$(or $(AUDIT_HOME),$$($(BIN)/python -c "from prometheus.bootstrap.settings import default_home; print(default_home().with_name('prometheus-audit-year'))")) \
	  PROMETHEUS_LOG_LEVEL=WARNING $(BIN)/prometheus audit year --sessions $(SESSIONS) --workers $(AUDIT_WORKERS)

audit-real: ready ## 20 real accounts through the 21 sessions from 2018-06-01, replayed; needs ../shared/data
	@export PROMETHEUS_LOG_LEVEL=WARNING PROMETHEUS_HOME=$(or $(AUDIT_HOME),$$($(BIN)/python -c "from prometheus.bootstrap.settings import default_home; print(default_home().with_name('prometheus-audit-real'))")) && \
	  $(BIN)/prometheus audit real ../shared/data/market ../shared/data/fleet --first 2018-06-01 --sessions 21 \
	    --workers $(AUDIT_WORKERS) && \
	  $(BIN)/prometheus compare-solvers --from 2018-06-01 --to 2018-06-29 --a CLARABEL --b CVXPY --workers $(AUDIT_WORKERS)

test-gpu: ready ## Solve on an NVIDIA GPU (needs the [gpu] extra)
	$(BIN)/python -m pytest -m gpu tests/optimizer

# The soak first; then a day with a worker or a parent killed at its statements, and 200 runs under server stops.
chaos: export CHAOS_SECONDS ?= 600
chaos: export CHAOS_MOMENTS ?= 1000
chaos: ready ## Ten minutes of random kills, pauses, server stops, clock jumps and switches, then the long fault proofs (CHAOS_SECONDS, CHAOS_MOMENTS, CHAOS_SEED)
	$(BIN)/python -m pytest -n $(WORKERS) -rP -p no:randomly tests/chaos/test_soak.py tests/chaos/test_crash_points.py \
	  tests/chaos/test_server_faults.py

prove-guards: ready ## Remove one guard of the engine at a time and see that its test notices (GUARDS=5: some, drawn)
	$(BIN)/python -m tests.chaos.guards $(if $(GUARDS),--draw $(GUARDS))

.PHONY: prove-set-up
prove-set-up: ## Set up offline beside newer releases, with every Python and pip that is there (TRIALS=2: the first ones)
	$(PYTHON) tools/prove_set_up.py --demo $(if $(TRIALS),--first $(TRIALS))

check: ready ## Linters, strict types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: ready ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-engine: bench-ready ## The engine beside procrastinate and DBOS, its recovery, and the real fleet's day
	$(BIN)/python -m bench.idle_tick
	$(BIN)/python -m bench.engine_transitions
	$(BIN)/python -m bench.engine_recovery
	$(BIN)/python -m bench.engine_fleet_day --data $(or $(DATA),../shared/data) --copies 1 50

.PHONY: prove-optimizer
prove-optimizer: bench-ready ## The optimizer against SCIP, enumeration, a reference and itself; 2,000 random problems
	$(BIN)/python bench/optimizer_proof.py
	$(BIN)/python -m pytest -n $(WORKERS) tests/property --hypothesis-profile=long -k optimizer --timeout=7200

.PHONY: prove-problem-files
PROBLEMS ?= 10000
ATTACKS ?= 3000
FIRST ?= 0
prove-problem-files: ready ## 10,000 random problem files and 3,000 attacks on single fields against an independent checker (PROBLEMS, ATTACKS, FIRST)
	@$(COMPILE_LOOPS)
	$(BIN)/python -m tests.problem_files.prove --problems $(PROBLEMS) --attacks $(ATTACKS) --first $(FIRST) \
	  --workers $$(getconf _NPROCESSORS_ONLN)

.PHONY: prove-ledger
# One property at a time, or some: make prove-ledger PROPERTIES="ledger and canada". The histories come in slices of 500:
# make prove-ledger N=20000 FIRST=7 goes on with slice 7.
PROPERTIES ?= ledger
prove-ledger: ready ## Each property of the ledger over 5,000 random journals; N=20000: that many histories told in every way
	$(if $(N),$(BIN)/python -m tests.property.prove_ledger --histories $(N) --first $(FIRST),\
	$(BIN)/python -m pytest -n $(WORKERS) tests/property --hypothesis-profile=ledger -k "$(PROPERTIES)" --timeout=7200)

.PHONY: prove-mutants
MUTANTS ?= 300
SEED ?= 1
prove-mutants: ready ## Change the ledger's rules at 300 places, one at a time, and see that a test notices (MUTANTS, SEED)
	$(BIN)/python tools/ledger_mutants.py --mutants $(MUTANTS) --seed $(SEED)

.PHONY: bench-ledger
bench-ledger: ready ## Fold the events of an account of ten years, of a day, and of a late correction
	$(BIN)/python -m bench.ledger_fold

.PHONY: bench-policy
bench-policy: ready ## The trading policy on the demo and on four real accounts over 63 sessions, resumable (DATA=, POLICY_HOME=; an hour)
	@home=$(or $(POLICY_HOME),$$($(BIN)/python -c "from prometheus.bootstrap.settings import default_home; print(default_home().with_name('prometheus-policy-study'))")) && \
	  $(BIN)/python -m bench.policy_study demo --home $$home-demo && \
	  $(BIN)/python -m bench.policy_study real --home $$home-real --data $(or $(DATA),../shared/data)

bench-ingest: ready ## Ingestion beside PostgreSQL's own COPY of the same rows, and the memory of a load that is offered gigabytes
	$(BIN)/python bench/ingest_vs_copy.py
	$(BIN)/python -m bench.ingest_limits

bench-risk: bench-ready ## Risk estimates of 500 and 3,000 names, and the real market's panel from the database
	$(BIN)/python -m bench.risk_refresh --data $(or $(DATA),../shared/data)

bench-optimizer: bench-ready ## Both stages of the optimizer beside CVXPY, SCIP and skfolio, in one run
	$(BIN)/python bench/optimizer.py

# The resolver is itself locked, and has an environment of its own: the development environment may not yet have what
# pyproject.toml has come to ask for.
LOCK_VENV := .venv-lock
LOCK_READY := $(LOCK_VENV)/.ready
$(LOCK_READY): requirements-uv.lock
	@$(PYTHON) -m venv --clear $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-uv.lock
	@touch $@

COMPILE = $(LOCK_VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
  --python $(LOCK_VENV)/bin/python --python-version 3.11 --no-python-downloads --custom-compile-command "make $@"

lock: $(LOCK_READY) ## Resolve the dependencies anew into requirements*.lock (versions and hashes, no index)
	$(COMPILE) --upgrade --group dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --group dev --group bench -c requirements-dev.lock pyproject.toml -o requirements-bench.lock
	$(COMPILE) -c requirements-dev.lock pyproject.toml -o requirements.lock

.PHONY: lock-uv
lock-uv: $(LOCK_READY) ## Move the resolver that `make lock` works with to its newest release
	$(COMPILE) --upgrade --group lock -o requirements-uv.lock

# The real market data lie beside the checkout, never in it.
MARKET ?= ../shared/data/market
risk-evaluate: ready ## Judge the risk estimators on the real months 2014 to 2020 (MARKET=its directory; minutes)
	$(BIN)/prometheus risk evaluate --from 2014-01-01 --to 2020-12-31 --directory $(MARKET) \
	  --csv risk-evaluate.csv --plot risk-evaluate.png

clean: ## Remove the environment and the caches
	rm -rf $(VENV) $(LOCK_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
