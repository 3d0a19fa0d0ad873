# SPDX-License-Identifier: MIT
# Everything is set up by the targets themselves, in .venv and build/. PYTHON=python3.12 chooses another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVER ?= fastgear
SOURCES := $(shell find fastgear -name '*.py' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.pyi')
# Tests start hundreds of interpreters: where this is set, each would compile all that it imports once more.
unexport PYTHONDONTWRITEBYTECODE
# Which sources there are, so that one that goes or comes is a change too.
DEBUG := build/debug/.built
ASAN := build/asan/.built
TSAN := build/tsan/.built
COVER := build/cover/.built
FUZZ := build/fuzz/.built
RELEASE := build/.release-built

# The builds share what Cython makes, and each of them uses all CPUs.
.NOTPARALLEL:

.PHONY: help run test quick lint bench tables compare targets asan tsan valgrind fuzz cover clean

help:  ## these lines
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/	/'

run: $(RELEASE)  ## set up everything and run the demo: count words on all CPUs (FOLDER=... for another one)
	@folder=$(if $(FOLDER),"$$(realpath $(FOLDER))"); cd / && "$(CURDIR)/$(BIN)/fastgear" demo $$folder

test: $(DEBUG)  ## set up everything and run all tests, on a build with its checks switched on
	PYTHONPATH="$(CURDIR)/build/debug" $(BIN)/python tests/side_by_side.py --server=$(SERVER) tests

quick: $(DEBUG)  ## the tests that take milliseconds
	PYTHONPATH="$(CURDIR)/build/debug" $(BIN)/pytest tests/unit tests/wire tests/core

lint: $(VENV)/.ready  ## formatting, linters and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint fastgear tests benchmarks
	$(BIN)/codespell
	$(BIN)/mypy

bench: $(RELEASE)  ## hot paths, servers and pools beside references: fails when one has become slower than the stored baseline; then jobs while the GIL is held
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/gil.py

tables: $(RELEASE)  ## fastgear beside gearmand and the roofline (Debian's gearman-job-server must be installed), other pools, asyncio beside blocking, durable jobs
	$(BIN)/python benchmarks/compare.py --only loads
	$(BIN)/python benchmarks/pool.py
	$(BIN)/python benchmarks/aio.py
	$(BIN)/python benchmarks/python_side.py
	$(BIN)/python benchmarks/durable.py
	$(BIN)/python benchmarks/durable_restart.py

compare: $(RELEASE) build/peers/.unpacked  ## fastgear beside other job servers, in 40 minutes: tables into README.md and docs/, pictures; QUICK=1 shows a few in minutes
	$(BIN)/python benchmarks/compare.py --save build/compare.json \
	$(if $(QUICK),--quick --pictures build/pictures,--page docs/speed.md README.md --pictures docs/pictures)

targets: $(RELEASE)  ## the numbers to reach and whether they are met, in some 20 minutes: a table into docs/; QUICK=1 tries it in a minute
	$(BIN)/python benchmarks/targets.py --save build/targets.json $(if $(QUICK),--quick,--page docs/speed.md)

# Not what measures times, nor what starts one process after the other or is about other libraries: the C code in those is the same.
NOT_ASAN := pool/test_benchmarks pool/test_yardstick pool/test_stats pool/test_ecosystem pool/test_progress pool/test_hostile \
	functional/test_aio functional/test_aio_hard_times functional/test_durable_benchmarks functional/test_serve_options \
	functional/test_serve_as_service functional/test_supervisor functional/test_cli functional/test_plugin functional/test_compare \
	functional/test_targets functional/test_limit_benchmarks adversity/test_overload adversity/test_paused adversity/test_forks \
	adversity/test_storms adversity/test_every_byte adversity/test_soak

asan: $(ASAN)  ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	PYTHONPATH="$(CURDIR)/build/asan" PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:handle_segv=0 FASTGEAR_ASAN=1 FASTGEAR_EXAMPLES=50 \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	$(BIN)/python tests/side_by_side.py tests/unit tests/wire tests/core tests/fuzz tests/functional tests/adversity tests/pool \
	$(NOT_ASAN:%=--ignore=tests/%.py)

# What crosses threads. Not the fork, after which ThreadSanitizer allows no new threads, nor what measures how much CPU time is used.
tsan: $(TSAN)  ## the tests of threads under ThreadSanitizer, in five minutes
	PYTHONPATH="$(CURDIR)/build/tsan" PYTHONMALLOC=malloc TSAN_OPTIONS="history_size=5 suppressions=$(CURDIR)/tests/tsan.supp" \
	LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" $(BIN)/pytest -q -s -p no:cacheprovider \
	tests/functional/test_local.py tests/functional/test_embedding.py tests/functional/test_durable.py \
	tests/functional/test_client_and_worker.py tests/storage/test_stores.py \
	--deselect tests/functional/test_embedding.py::test_a_forked_child_holds_nothing_of_the_server \
	--deselect tests/functional/test_embedding.py::test_losing_the_last_descriptor_to_another_thread_does_not_spin

# Valgrind sees what the sanitizers do not: values that nobody has set. It runs thirty times slower, so it has the protocol's tests only.
valgrind: $(DEBUG)  ## the tests of the wire under valgrind's memcheck, in two minutes
	PYTHONPATH="$(CURDIR)/build/debug" PYTHONMALLOC=malloc valgrind --quiet --error-exitcode=9 \
	--suppressions=tests/valgrind.supp $(BIN)/python $(BIN)/pytest -q -p no:cacheprovider tests/wire

fuzz: $(FUZZ) $(DEBUG)  ## fuzz the core, the parsers and what Python reads with clang's libFuzzer, for SECONDS=600 in all; TARGETS="play client" for some
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --group fuzz || true
	$(BIN)/python tests/fuzz/run.py --seconds $(or $(SECONDS),600) $(TARGETS)

# 200 forks, whose counters take longer to be written than the test has time; and what measures times that optimized code has.
NOT_COVER := pool/test_hostile.py::test_forks_go_on_while_threads_wait_for_results \
	functional/test_pains.py::test_p33_ten_thousand_abilities_do_not_slow_the_grabs \
	pool/test_pool.py::test_tasks_behind_a_slow_one_are_done_by_others \
	pool/test_stats.py::test_tiny_tasks_are_timed_some_together_and_a_slow_one_among_them_shows

cover covered: export COVERAGE_FILE := $(CURDIR)/build/cover/.coverage
cover: $(COVER)  ## lines and branches of Cython and Python code that the tests cover: docs/coverage.md
	mkdir -p build/drivers-coverage && rm -f build/cover/.coverage*
	counters=$$(find build/cover-objects build/drivers-coverage -name '*.gcno' | sed 's/no$$/da/') && : | tee $$counters >/dev/null \
	&& chmod a+w $$counters build/cover  # servers that become somebody else write there too
	PYTHONPATH="$(CURDIR)/build/cover:$(CURDIR)/tests/cover" FASTGEAR_COVERAGE=1 \
	$(BIN)/coverage run --rcfile=tests/cover/coverage.ini tests/side_by_side.py \
	tests/unit tests/wire tests/core tests/functional tests/adversity tests/storage tests/pool $(NOT_COVER:%=--deselect=tests/%); \
	tests=$$?; $(MAKE) --no-print-directory covered && exit $$tests

.PHONY: covered
covered:
	$(BIN)/coverage combine --append --quiet --rcfile=tests/cover/coverage.ini build/cover
	$(BIN)/coverage json --quiet --rcfile=tests/cover/coverage.ini -o build/cover/coverage.json
	$(BIN)/python tests/cover/report.py build/cover/coverage.json build/cover-objects build/drivers-coverage

clean:  ## remove all that was made
	rm -rf build dist .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find fastgear tests benchmarks \( -name '*.so' -o -name __pycache__ \) -exec rm -rf {} +

# -- setting up -------------------------------------------------------------------------------------------------------

.PHONY: needs
needs:
	@PYTHON="$(PYTHON)" sh tests/needs.sh

$(VENV)/.ready: pyproject.toml | needs
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip 'setuptools>=77' wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev psutil cloudpickle
	touch $@

# Perl's Gearman::Server is unpacked and not installed, since its command has the name of gearmand's. It may be missing.
PERL_PACKAGES := gearman-server libdanga-socket-perl libsys-syscall-perl
build/peers/.unpacked:
	@mkdir -p build/peers && cd build/peers && { apt-get download --quiet $(PERL_PACKAGES) >/dev/null 2>&1 \
	&& for package in *.deb; do dpkg -x "$$package" .; done || echo "Debian's gearman-server cannot be had here"; }
	@touch $@

$(RELEASE): $(VENV)/.ready setup.py $(SOURCES)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	mkdir -p build && touch $@

$(DEBUG): $(VENV)/.ready setup.py $(SOURCES)
	FASTGEAR_DEBUG=1 $(BIN)/python setup.py --quiet build --build-lib build/debug
	touch $@

$(ASAN): $(VENV)/.ready setup.py $(SOURCES)
	FASTGEAR_ASAN=1 $(BIN)/python setup.py --quiet build --build-lib build/asan
	touch $@

$(FUZZ): $(VENV)/.ready setup.py $(SOURCES) $(wildcard tests/ext/*.p* tests/fuzz/main.c tests/fuzz/build.py)
	@command -v clang >/dev/null || { echo "make fuzz needs clang, with libFuzzer: on Debian apt install clang libclang-rt-dev"; exit 1; }
	CC=clang LDSHARED="clang -shared" FASTGEAR_FUZZ=1 $(BIN)/python setup.py --quiet build --build-lib build/fuzz
	$(BIN)/python tests/fuzz/build.py
	touch $@

$(TSAN): $(VENV)/.ready setup.py $(SOURCES)
	FASTGEAR_TSAN=1 $(BIN)/python setup.py --quiet build --build-lib build/tsan
	touch $@

$(COVER): $(VENV)/.ready setup.py $(SOURCES) tests/cover/counters.h
	FASTGEAR_COVERAGE=1 $(BIN)/python setup.py --quiet build --build-lib build/cover --build-temp build/cover-objects
	touch $@
