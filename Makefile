# Two commands matter: `make demo` shows the main job, `make test` proves the tree.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-all lint bench setup clean

setup: $(STAMP)

# torch first and pinned: left to itself the resolver may take a build with gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/bitjoule search examples/digits.yaml --study runs/digits.study
	$(BIN)/bitjoule front runs/digits.study
	@echo "report: runs/digits.study/report.html"

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy

test: $(STAMP) lint
	$(BIN)/pytest -n 2 --dist loadfile

test-all: $(STAMP) lint
	$(BIN)/pytest -m ''

bench: $(STAMP)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) runs
