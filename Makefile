# make demo shows the library at work; make test checks everything. Each makes .venv first, once.

python = .venv/bin/python

.PHONY: help demo test check bench crash soak clean

help:
	@echo "make demo   train the digits for real, with the callbacks, and show what they did"
	@echo "make test   every check and test, on every backend (PARTS='checks torch' runs those alone)"
	@echo "make check  style, types, architecture: seconds"
	@echo "make mutants  change core/ in one place at a time, and list the test that catches it"
	@echo "make bench  measure, and write docs/cost.md (ARGS=save_cost measures that alone): an hour or more"
	@echo "make crash  kill trainings for real, thirty of each kind, and compare; signals; power cuts: an hour"
	@echo "make soak   train 10,000 epochs again and again, with a kill every few seconds: ten minutes"
	@echo "make clean  remove caches and outputs (not .venv)"

demo:
	@sh scripts/setup.sh demo
	@$(python) -m outlast demo $(ARGS)

test:
	@sh scripts/setup.sh test
	@$(python) scripts/run_tests.py $(PARTS)

check:
	@sh scripts/setup.sh test
	@$(python) scripts/run_tests.py checks

mutants:
	@sh scripts/setup.sh test
	@$(python) scripts/mutants.py $(ARGS)

bench:
	@sh scripts/setup.sh bench
	@.venv-bench/bin/python bench/run_all.py $(ARGS)

crash:
	@sh scripts/setup.sh test
	@$(python) scripts/crash_campaign.py $(ARGS)
	@$(python) -m pytest -m crash

soak:
	@sh scripts/setup.sh test
	@$(python) scripts/soak.py $(ARGS)

clean:
	rm -rf build dist outlast-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests scripts bench -name __pycache__ -prune -exec rm -rf {} +
