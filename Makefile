# make            what there is
# make test       everything that the tests need, then the tests
# make demo       everything that the demo needs, then the demo
#
# PYTHON=...      another interpreter (3.11 or newer)
# VENV=...        another place for the virtual environment
# TEST_ARGS=...   arguments of pytest, such as TEST_ARGS="-k node -x"
# TEST_WORKERS=0  how many tests run at once, each with a RabbitMQ of its own; 0 is one after the other, which shows more
# RERUNS=0        how often a test that fails is run again before it counts as failed; 0 shows which ones depend on luck
# ROAD=...        what carries the releases in the demo: rabbitmq, file, http, or auto (a directory where no RabbitMQ can be had)
# DEMO_ARGS=...   arguments of modelcast demo
# SEEDS=...       how many lives of a channel make torture plays
# MINUTES=...     how long make soak runs; SOAK_ARGS="--seed 7 --json" are its other arguments
# BENCH_ARGS=...  what is measured, and how: BENCH_ARGS="fanout --quick", BENCH_ARGS="--help"

VENV ?= .venv
TEST_ARGS ?=
TEST_WORKERS ?= 3
RERUNS ?= 1
ROAD ?= auto
DEMO_ARGS ?=
BENCH_ARGS ?= all
SEEDS ?= 20000
MINUTES ?= 30
SOAK_ARGS ?=
BENCH_PEERS := nginx redis-server nats-server
RABBITMQ_4 := .rabbitmq-4

# python3 where it is new enough, otherwise the newest that is. Each is tried: a name on PATH may be an empty promise.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$python; break; }; done)

.PHONY: help setup demo test lint check bench bench-setup bench-docs test-rabbitmq-4 torture soak mutants clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.ready  ## a virtual environment with modelcast and all that its tests need

# The stamp makes a second call instant, and a change of the dependencies install them.
$(VENV)/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Error: no Python 3.11 or newer on PATH. Hint: install one, or make PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Error: $(PYTHON) does not run, or is older than Python 3.11." >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		echo "Setting up $(VENV) with uv and $(PYTHON)"; \
		uv venv --quiet --allow-existing --python "$(PYTHON)" "$(VENV)" && \
		uv pip install --quiet --python "$(VENV)/bin/python" --group dev --editable '.[demo,server]'; \
	else \
		"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
			echo "Error: $(PYTHON) has no venv or no pip. Hint: on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
		echo "Setting up $(VENV) with $(PYTHON); the first time takes a minute"; \
		"$(PYTHON)" -m venv "$(VENV)" && \
		"$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' && \
		"$(VENV)/bin/python" -m pip install --quiet --group dev --editable '.[demo,server]'; \
	fi
	@touch $@

demo: setup  ## the whole story: a real broker (ROAD=file: a shared directory, ROAD=http: a server), a real model, a real application
	$(VENV)/bin/modelcast demo --road $(ROAD) $(DEMO_ARGS)

test: setup  ## all tests, against a real RabbitMQ of their own, and how much of the code they ran
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --reruns $(RERUNS) -rfEXR $(TEST_ARGS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

lint: setup  ## ruff, mypy, pyright and the import contracts
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy tests/typing/api.py
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/lint-imports

check: lint test  ## lint, then test

bench: setup  ## modelcast beside its peers: what is not installed is left out (make bench-setup installs it)
	$(VENV)/bin/python -m tests.benchmarks $(BENCH_ARGS)

bench-setup: setup  ## the peers: servers from Debian (root), Python clients from PyPI
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing $(BENCH_PEERS) with apt-get; a policy-rc.d keeps Debian from starting them as services meanwhile"; \
		policy=/usr/sbin/policy-rc.d; \
		[ -e $$policy ] || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; }; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(BENCH_PEERS); \
	else \
		echo "Without root nothing is installed. Hint: sudo apt-get install $(BENCH_PEERS), or what your system calls them." >&2; \
	fi
	@echo "Installing the Python clients into $(VENV)"
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python "$(VENV)/bin/python" --group bench; \
	else "$(VENV)/bin/python" -m pip install --quiet --group bench; fi

bench-docs:  ## tables and plots of the documentation, from the results that are kept
	$(VENV)/bin/python -m tests.benchmarks docs

test-rabbitmq-4: setup $(RABBITMQ_4)/.ready  ## all tests against RabbitMQ 4.0 of Debian 13 (Linux, root, 400 MB)
	MODELCAST_RABBITMQ_SERVER=$(CURDIR)/$(RABBITMQ_4)/bin/rabbitmq-server $(VENV)/bin/python -m pytest $(TEST_ARGS)

torture: setup  ## the long runs: thousands of lives more, and every mutant (half an hour)
	MODELCAST_SEEDS=$(SEEDS) $(VENV)/bin/python -m pytest -n $(TEST_WORKERS) tests/simulation
	MODELCAST_TORTURE=1 $(VENV)/bin/python -m pytest -n $(TEST_WORKERS) --dist loadfile -m torture
	$(VENV)/bin/python -m tests.mutants

soak: setup  ## random releases and random troubles on a real broker, judged every minute (MINUTES=30)
	$(VENV)/bin/python -m tests.soak --minutes $(MINUTES) $(SOAK_ARGS)

mutants: setup  ## break the code at a known place, again and again: some test must notice each time
	$(VENV)/bin/python -m tests.mutants

# A whole Debian 13 below one folder. Its programs run under chroot in a mount namespace of their own, in which the state folder
# of the node (the parent of its HOME) is visible: when the last process ends nothing is left mounted.
define RABBITMQ_4_PROGRAM
#!/bin/sh
root=$$(dirname "$$(dirname "$$(readlink -f "$$0")")")/root
case "$${0##*/}" in epmd) program=/usr/bin/epmd ;; *) program=/usr/lib/rabbitmq/bin/$${0##*/} ;; esac
exec unshare --mount --propagation private /bin/sh -e -c '
root=$$1; program=$$2; shift 2
state=$$(dirname "$$HOME")
mkdir -p "$$root$$state"
mount --bind "$$state" "$$root$$state"
mount -t proc proc "$$root/proc"
exec chroot "$$root" "$$program" "$$@"' sh "$$root" "$$program" "$$@"
endef
export RABBITMQ_4_PROGRAM

$(RABBITMQ_4)/.ready:
	@test "$$(id -u)" = 0 && test "$$(uname)" = Linux || { echo "Error: this needs root on Linux, for debootstrap and chroot." >&2; exit 1; }
	@command -v debootstrap >/dev/null || { echo "Error: debootstrap is missing. Hint: apt-get install debootstrap" >&2; exit 1; }
	mkdir -p $(RABBITMQ_4)/bin
	echo '*' > $(RABBITMQ_4)/.gitignore
	debootstrap --variant=minbase --include=rabbitmq-server trixie $(RABBITMQ_4)/root $(DEBIAN_MIRROR) > $(RABBITMQ_4)/debootstrap.out
	printf '%s\n' "$$RABBITMQ_4_PROGRAM" > $(RABBITMQ_4)/bin/rabbitmq-server
	chmod +x $(RABBITMQ_4)/bin/rabbitmq-server
	ln -sf rabbitmq-server $(RABBITMQ_4)/bin/rabbitmqctl
	ln -sf rabbitmq-server $(RABBITMQ_4)/bin/epmd
	touch $@

clean:  ## remove what these targets made
	rm -rf $(VENV) $(RABBITMQ_4) dist build .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find shared consumer publisher tests -name __pycache__ -type d -prune -exec rm -rf {} +
