# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Each target sets up all that it needs, under .build/: git, make and a Python from 3.11 on are enough to begin with.
# tools/gates.py has the parts; `make PART` runs one of them alone (`make list` names them).

SHELL := /bin/bash
# The first Python from 3.11 on; tools/pythons.py then looks for all the others.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 /usr/bin/python3,$(shell \
	$(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
GATES := $(PYTHON) -B tools/gates.py

export TARGETS TRIALS
.DEFAULT_GOAL := help
.PHONY: bench bench-wait bed-up bed-down help demo test test-all-cores lint list clean

help:
	@echo 'make demo            see it work, on this machine'
	@echo 'make test            all tests, with the cores 2.16, 2.18, 2.19, 2.21 and 2.22'
	@echo 'make test-all-cores  the same with all seven cores, and ansible-test sanity of each'
	@echo 'make lint            only what looks at the files'
	@echo 'make bench           figures, measured beside those of core, each with its bound (some minutes)'
	@echo 'make bench-wait      many jobs on many hosts waited for, beside core, and the connections that are open meanwhile (some minutes)'
	@echo 'make keyword-matrix  unmodified playbooks on the engines of core and ours, with the cores 2.16, 2.18, 2.21 and 2.22'
	@echo 'make integration-matrix  the integration targets over all ways to a host, of which each goes a quarter in make test'
	@echo 'make bed-up          hosts to try things on (HOSTS=4); needs root; prints the folder with their inventory.ini'
	@echo 'make bed-down        remove all that bed-up has made'
	@echo 'make crash-walk      kill each process of a job between each two of its steps: all points (some minutes)'
	@echo 'make kill-matrix     survivors and seconds of every way to get away, beside core (a quarter of an hour; TRIALS="2 1" a cell, and core: less)'
	@echo 'make list            the parts of these; make PART runs one (make integration TARGETS="become loops": only those)'
	@echo 'make clean           remove what was set up'

demo test test-all-cores lint list kill-matrix: | python
	@$(GATES) $@

unit-%: | python
	@$(GATES) $@

sanity-%: | python
	@$(GATES) $@

.PHONY: kill-matrix kill-slice scenarios faults crash-walk keyword keyword-matrix integration integration-matrix install molecule sanity ansible-lint mypy ruff changelog docs
kill-slice scenarios faults crash-walk keyword keyword-matrix integration integration-matrix install molecule sanity ansible-lint mypy ruff changelog docs: | python
	@$(GATES) $@

.PHONY: python
python:
	@test -n '$(PYTHON)' || { echo 'No Python from 3.11 on was found: name one with PYTHON=...' >&2; exit 1; }

bench: | python
	@$(PYTHON) -B tools/bench.py

bench-wait: | python
	@$(PYTHON) -B tools/bench_wait.py

# Hosts of Linux namespaces, see tools/test_bed; .build/beds has the folders of those that are up.
HOSTS ?= 4
BED := $(PYTHON) -B tools/test_bed

bed-up: | python
	@mkdir -p .build
	@$(BED) up $(HOSTS) >.build/bed && tee -a .build/beds <.build/bed

bed-down: | python
	@test ! -e .build/beds || while read -r bed; do $(BED) down --bed "$$bed" || exit; done <.build/beds
	@rm -f .build/bed .build/beds

clean:
	rm -rf .build
