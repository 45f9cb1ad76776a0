PYTHON ?= python

.PHONY: setup check test thorough compare bench gpu readme docs

setup: ## install for development
	$(PYTHON) -m pip install -c constraints.txt -e ".[dev]"

check: ## style gate: lint, format, types, house rules
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q tests/house

test: ## the whole suite
	$(PYTHON) -m pytest

thorough: ## the same tests on many more drawn problems (tens of minutes)
	REFCONV_TESTS=thorough $(PYTHON) -m pytest tests/contract

compare: ## the main job, recorded
	$(PYTHON) -m refconv compare

bench: ## time every layer of the set cpu, one group a layer (BENCH="-k rn_64" for a part)
	$(PYTHON) -m pytest bench -n 0 --benchmark-only --benchmark-columns=median,iqr,rounds \
		--benchmark-sort=fullname $(BENCH)

gpu: ## on a machine with a GPU: judge every kernel, time it beside torch (GPU="--resume")
	$(PYTHON) -m refconv gpu $(GPU)

readme: ## regenerate what stands between markers in the READMEs and docs/reference, and the pictures
	$(PYTHON) docs/readme.py

docs: ## the site, in build/docs/index.html; a warning is an error
	$(PYTHON) -m sphinx -q -W --keep-going -b html docs build/docs
