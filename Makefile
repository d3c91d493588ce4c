# Short names for go.py, which does the work and needs only Python.
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo test check parity bench exhaustive fuzz hosts docs clean

help: ## List the targets
	@$(PYTHON) go.py help
	@echo
	@echo "make demo, test, check, parity, bench, exhaustive, fuzz, hosts, docs, clean run the command of the same name."
	@echo "Another Python: make test PYTHON=python3.12"

demo test check parity bench exhaustive fuzz hosts docs clean:
	@$(PYTHON) go.py $@
