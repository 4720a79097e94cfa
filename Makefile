# Everything a newcomer needs: `make demo` and `make test`. All install what they need first.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Waiting threads sleep: without this, several processes on few cores slow each other down.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: app benchmark demo demo-folds demo-video demo-instances demo-pairs test test-slow lint format install clean

app: install
	$(RUN) app.py

benchmark: install
	$(RUN) -m tools.benchmark

demo: install
	$(RUN) -m tools.demo images

demo-folds: install
	$(RUN) -m tools.demo images --output runs/demo-folds --folds 0 1 2 3

demo-video: install
	$(RUN) -m tools.demo video

demo-instances: install
	$(RUN) -m tools.demo instances

demo-pairs: install
	$(RUN) -m tools.demo pairs

# one thread for each of the two: several on a core wait for each other
test: install
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2

test-slow: install
	$(RUN) -m pytest -q -m slow

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: install
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

install: $(VENV)/.installed

# uv takes builds of torch and torchvision that belong together, also without CUDA. Packages are
# compiled once: where Python may not keep what it compiled, programs would begin seconds later.
$(VENV)/.installed: $(wildcard requirements*.txt)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip install --python $(RUN) --compile-bytecode -r requirements.txt -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) runs Datasets/generated
