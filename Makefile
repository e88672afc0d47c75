# Two commands do everything on a fresh machine: `make site` and `make test`. A third, `make profile`, measures it.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
JAVA := $(shell command -v java)

.PHONY: site serve test lint types bench bench-site edits nightly nu profile schema sbom clean

site: $(VENV)/site.stamp  ## set up (no torch) and build the website into build/site
	@$(BIN)/fitcard build

serve: $(VENV)/site.stamp  ## build the website, serve it, rebuild on changes
	@$(BIN)/fitcard serve

test: $(VENV)/test.stamp browser lint types  ## set up and run every check and test
	@$(BIN)/pytest -q --benchmark-disable --numprocesses auto --dist worksteal

lint: $(VENV)/test.stamp
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .

types: $(VENV)/test.stamp
	@$(BIN)/mypy && $(BIN)/pyright

bench: $(VENV)/test.stamp  ## the benchmarks alone, with their ratios
	@$(BIN)/pytest -q tests/benchmarks --benchmark-only --benchmark-group-by=group

bench-site: $(VENV)/test.stamp  ## building 1,000 models, 300 cards and 20,000 runs, beside other generators where installed
	@FITCARD_BENCH=full $(BIN)/pytest -q -s tests/benchmarks/test_build.py --benchmark-only --benchmark-group-by=group

edits: $(VENV)/test.stamp  ## 200 sequences of random edits, each built in parts and from nothing
	@FITCARD_EDIT_SEQUENCES=200 $(BIN)/pytest -q tests/site/test_incremental.py -k sequence

nightly: $(VENV)/test.stamp browser edits nu  ## what takes an hour: long random edits and kills, and the tests of pages on all the data
	@FITCARD_NIGHTLY=1 FITCARD_EDIT_SEQUENCES=0 $(BIN)/pytest -q --benchmark-disable --numprocesses auto --dist worksteal \
		tests/site tests/browser tests/catalog tests/advisor tests/profiler/test_configurations.py

nu: $(VENV)/test.stamp browser  ## build the website and have the Nu checker read every page, style sheet and picture of it
	@$(BIN)/fitcard build && $(BIN)/python -m tests.browser.nu build/site

# MODEL and options: make profile ARGS="siglip-base-patch16-384 --quant BF16"
profile: $(VENV)/profile.stamp  ## really run SigLIP SO400M on this machine
	@$(BIN)/fitcard profile $(or $(ARGS),google/siglip-so400m-patch14-384)

schema: $(VENV)/site.stamp  ## write the JSON Schemas that editors and users of the API read
	@FITCARD_FIELD_DOCS=1 $(BIN)/python -m fitcard.catalog.json_schema
	@FITCARD_FIELD_DOCS=1 $(BIN)/python -m fitcard.site.generator.data.json_schema

sbom: build/sbom/stamp  ## what a release is made with, package by package with digests: build/sbom.cdx.json (CycloneDX)
	@build/sbom/bin/python -W ignore::UserWarning -m cyclonedx_py requirements site.lock --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.cdx.json

# The browser tests drive a real Chromium, and the Nu checker runs in Java.
BROWSER := $(if $(CHROMIUM),,chromium fonts-dejavu) $(if $(JAVA),,default-jre-headless)
.PHONY: browser
browser:
ifneq ($(strip $(BROWSER)),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $(BROWSER) >/dev/null; \
	else echo "the browser tests need Chromium and Java: install $(strip $(BROWSER))" >&2; exit 1; fi
endif

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "fitcard needs Python 3.11 or newer; none was found" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/site.stamp: pyproject.toml site.lock | $(BIN)/python
	@$(PIP) --require-hashes --requirement site.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

build/sbom/stamp: sbom.lock
	@$(PYTHON) -m venv build/sbom
	@build/sbom/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement sbom.lock
	@touch $@

$(VENV)/profile.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP) --editable '.[profile]'
	@touch $@ $(VENV)/site.stamp

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/profile.stamp $(VENV)/site.stamp

clean:
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache
