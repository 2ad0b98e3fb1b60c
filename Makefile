# The two commands a newcomer needs are `make demo` and `make test`; `make` lists all of them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-browser approval-test backfill-test bench-embed bench-explorer bench-gpu \
	bench-downstream bench-duplicates bench-increments bench-neighbours bench-quality bench-recommend bench-search \
	bench-sizing disk-test kill-test scheduled-kill-test season-test stop-test ways-test test-cluster airflow clean

READY := .venv/.ready
UV := $(or $(shell command -v uv),build/uv/bin/uv)
# the first of these that is new enough and not too new
PYTHON = $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$python" && break; done)

# from Airflow's log, what the program itself said
PROGRAMS_WORDS = /Spark-Submit cmd:/d; s/^[^ ]+ \[info *\] (.*[^ ]) +\[airflow\.task\.hooks\.shelfmates\.submit\.SubmitHook\].*/\1/p

DEMO := build/demo
DEMO_NIGHTS := 2026-11-20 2026-11-21
DEMO_QUERIES := "SELECT title, price, survivor_id, round(match_probability, 2) AS probability FROM duplicates_now ORDER BY group_id LIMIT 6" \
	"SELECT title, price, median, cause FROM prices_now WHERE outlier AND cause IS DISTINCT FROM 'pack size' ORDER BY abs(gap) DESC LIMIT 6" \
	"SELECT item_id, substitute_title, price, reason FROM substitutes_now WHERE rank = 1 ORDER BY item_id LIMIT 6"
SETTINGS ?= shelfmates.toml

OPTIONS = $(foreach name,DATA ITEMS KILLS NIGHTS ROWS SYSTEMS REPEATS PLOT,$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z)='$($(name))'))

MIGRATED = $(AIRFLOW_HOME)/migrated

# Airflow of this checkout, unless the environment says otherwise: everything it writes is under build/airflow
export AIRFLOW_HOME ?= $(CURDIR)/build/airflow
export AIRFLOW__CORE__DAGS_FOLDER ?= $(CURDIR)/dags
export AIRFLOW__CORE__PLUGINS_FOLDER ?= $(CURDIR)/plugins
export AIRFLOW__CORE__LOAD_EXAMPLES ?= False
export AIRFLOW_CONN_SPARK_DEFAULT ?= {"conn_type": "spark", "host": "local[*]"}

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 28

setup: $(READY) ## install everything into .venv; instant, and without network, once it is done

$(READY): uv.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "no Python 3.11, 3.12 or 3.13; install one (Debian, Ubuntu: apt-get install python3)" >&2; exit 1; }
	@[ -x $(UV) ] || $(MAKE) --no-print-directory $(UV)
	@echo "setup: installing the packages of uv.lock"
	@$(UV) sync --frozen --compile-bytecode --python $(PYTHON) 2>&1 | sed '/^ [-+~] /d'
	@.venv/bin/shelfmates setup $(if $(STORE),--store $(STORE))
	@touch $@

build/uv/bin/uv:
	@echo "setup: fetching uv"
	@mkdir -p build
	@environment() { $(PYTHON) -m venv --clear build/uv; }; \
	apt() { $$([ $$UID = 0 ] || echo sudo -n) apt-get -qq "$$@"; }; \
	packages() { apt update && apt install -y $(PYTHON)-venv; }; \
	{ environment || { packages && environment; }; } >build/uv.log 2>&1 \
		|| { echo "$(PYTHON) can't make a virtual environment (build/uv.log): install $(PYTHON)-venv or uv, then run this again" >&2; exit 1; }
	@build/uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.8'

$(MIGRATED): $(READY)
	@mkdir -p $(@D)
	@.venv/bin/airflow db migrate >$(@D)/migrate.log 2>&1 || { tail -n 30 $(@D)/migrate.log >&2; exit 1; }
	@touch $@

demo: setup $(MIGRATED) ## two nights of a made-up catalogue through Airflow and Spark, what they are for, then a report
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@.venv/bin/shelfmates generate --items 2000 --users 300 --events 6000 --nights $(words $(DEMO_NIGHTS)) --start $(firstword $(DEMO_NIGHTS)) \
		--out $(DEMO)
	@for night in $(DEMO_NIGHTS); do \
		log=$(DEMO)/airflow-$$night.log; SECONDS=0; \
		printf '\nairflow dags test catalogue %s   (all it says: %s)\n' $$night $$log; \
		SHELFMATES_SETTINGS=$(abspath $(DEMO))/shelfmates.toml .venv/bin/airflow dags test catalogue $$night 2>&1 \
			| tee $$log | sed -nuE '$(PROGRAMS_WORDS)' \
			| while IFS= read -r line; do printf '%5d s  %s\n' $$SECONDS "$$line"; done \
			|| { printf '\nthe night failed; the end of %s:\n' $$log; tail -n 30 $$log; exit 1; } >&2; \
		printf '%5d s  night %s done\n' $$SECONDS $$night; \
	done
	@printf '\nwhat the neighbours are for: shelfmates collect --date %s; shelfmates downstream --date %s\n' $(DEMO_NIGHTS)
	@export SHELFMATES_USER_KEY='of people who are made up' SHELFMATES_SETTINGS=$(abspath $(DEMO))/shelfmates.toml; \
		.venv/bin/shelfmates collect --date $(firstword $(DEMO_NIGHTS)) \
		&& .venv/bin/shelfmates downstream --date $(lastword $(DEMO_NIGHTS)) \
		&& for query in $(DEMO_QUERIES); do \
			printf '\nshelfmates sql "%s"\n' "$$query"; .venv/bin/shelfmates sql "$$query"; \
		done
	@.venv/bin/shelfmates report --settings $(DEMO)/shelfmates.toml

test test-cluster: STORE := s3 # what commits depend on there is tried too

test: setup ## style, types and tests
	@.venv/bin/shelfmates setup --store $(STORE) >/dev/null
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder # a Spark job leaves one core idle half the time

test-browser: setup ## Airflow's pages in a headless Chromium: a night by the form, a backfill; screenshots in build/browser
	@command -v chromium chromium-browser google-chrome >/dev/null \
		|| { echo "no Chromium; install one (Debian: apt-get install --no-install-recommends chromium)" >&2; exit 1; }
	@$(UV) sync --quiet --frozen --inexact --group browser
	@.venv/bin/python -m pytest -m browser tests/browser

test-cluster: setup ## a real small cluster on this machine, as root: S3, PostgreSQL, Airflow, Spark's hosts (SECTIONS, KEEP, STAY=1)
	@$(UV) sync --quiet --frozen --inexact --group cluster --extra s3
	@.venv/bin/shelfmates setup --store $(STORE)
	@PYTHONPATH=plugins .venv/bin/python -m tests.cluster $(SECTIONS) $(if $(KEEP),--keep='$(KEEP)') $(if $(STAY),--stay)

approval-test: setup ## held nights under a real Airflow: one is released, one rejected, and a webhook is told
	@PYTHONPATH=plugins .venv/bin/python -m tests.soak.approval

backfill-test: setup ## a backfill through Airflow, three nights at once, against the nights one after the other: the same tables
	@PYTHONPATH=plugins .venv/bin/python -m tests.soak.backfill $(OPTIONS)

bench-embed: setup ## the encoder beside sentence-transformers, onnxruntime and openvino (DATA, ITEMS, SYSTEMS, REPEATS)
	@$(UV) sync --quiet --frozen --inexact --group bench-embed
	@.venv/bin/python -m tests.benchmarks.embed $(OPTIONS)

bench-explorer: setup ## the explorer under twenty readers: the time of every route, and memory (ROWS, NIGHTS)
	@PYTHONPATH=plugins .venv/bin/python -m tests.benchmarks.explorer $(OPTIONS)

bench-gpu: setup ## what a GPU makes of searching and encoding, beside what it can do at most (ROWS, ITEMS, REPEATS)
	@.venv/bin/python -m tests.benchmarks.gpu $(OPTIONS)

bench-downstream: setup ## what is made of a published night of a large shop: seconds, memory, and whether it is right (ROWS)
	@.venv/bin/python -m tests.benchmarks.downstream $(OPTIONS)

bench-duplicates: setup ## whether rows that are called one product are one, and what match probabilities are worth (DATA; PLOT=file.png)
	@.venv/bin/python -m tests.benchmarks.duplicates $(OPTIONS)

bench-increments: setup ## what a night costs of which little has changed, beside a full build (ROWS)
	@.venv/bin/python -m tests.benchmarks.increments $(OPTIONS)

bench-quality: setup ## whether the neighbours are right: known pairs found, by meaning, by spelling, and fused (DATA, ROWS)
	@.venv/bin/python -m tests.benchmarks.quality $(OPTIONS)

bench-recommend: setup ## whether the recommendations are right: held out purchases of generated shoppers (ITEMS)
	@.venv/bin/python -m tests.benchmarks.recommend $(OPTIONS)

bench-neighbours: setup ## the search beside pynndescent, faiss and hnswlib (DATA, ROWS, SYSTEMS, REPEATS; PLOT=file.png)
	@$(UV) sync --quiet --frozen --inexact --group bench
	@.venv/bin/python -m tests.benchmarks.neighbours $(OPTIONS)

bench-search: setup ## `similar` on a large night: its index, and the time of a query (DATA, ROWS)
	@.venv/bin/python -m tests.benchmarks.search $(OPTIONS)

bench-sizing: setup ## what a night of a million products takes, and one of a billion: a model fitted to measured nights
	@.venv/bin/python -m tests.benchmarks.sizing

disk-test: setup ## a lake on disks that fill, that can only be read, and that damage files: what is said, and that nothing is lost
	@.venv/bin/python -m tests.soak.disks

kill-test: setup ## nights that are killed at random moments and tried again, under a reader's eyes (KILLS)
	@PYTHONPATH=plugins .venv/bin/python -m tests.soak.kills $(OPTIONS)

scheduled-kill-test: setup ## a night under a real Airflow whose processes are killed: whether it tries again by itself (APART=1)
	@PYTHONPATH=plugins .venv/bin/python -m tests.soak.scheduled_kills $(if $(APART),--apart)

season-test: setup ## a season of nights in one process: whether time, files and logs stay as they are (ITEMS, NIGHTS)
	@.venv/bin/python -m tests.soak.season $(OPTIONS)

stop-test: setup ## tasks under a real Airflow that are stopped and cleared in mid-work: that no process is left, and the tables
	@PYTHONPATH=plugins .venv/bin/python -m tests.soak.stops

ways-test: setup ## a night by every way there is to start one, Chromium included: the same tables
	@$(UV) sync --quiet --frozen --inexact --group browser
	@PYTHONPATH=plugins .venv/bin/python -m tests.soak.ways

airflow: setup ## Airflow with its web pages on http://127.0.0.1:8080 (SETTINGS=build/demo/shelfmates.toml for the demo's)
	@PYTHONPATH=$(CURDIR)/plugins SHELFMATES_SETTINGS=$(abspath $(SETTINGS)) exec .venv/bin/python -m shelfmates.local

clean: ## remove the environment, Airflow's files, the demo and all caches; the lake of shelfmates.toml stays
	@rm -rf .venv build/uv build/uv.log build/airflow build/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
