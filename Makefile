# `make demo` and `make test` set everything up by themselves in .venv; a second run does nothing twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LINT := build/lint
NATIVE := $(shell find cuda -name '*.cpp' -o -name '*.h' -o -name '*.cu')
CUDA := $(wildcard cuda/gpu/*.cu)
DEVICE_HEADERS := $(filter cuda/gpu/%.h cuda/emu/%.h cuda/include/%.h,$(NATIVE))
ARCHS := 80 90 120
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test test-nerfstudio trials batch-trials kills fuzz lint format ablation sanitize aarch64 gpu gpu-compile emulated wheel clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

venv: $(READY) ## set up .venv: dependencies, gs-reg itself (editable), its native library

$(READY): setup.py pyproject.toml constraints.txt $(filter cuda/cpu/% cuda/include/%,$(NATIVE))
	@$(PYTHON) -c 'import sys; sys.exit("gs-reg needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@command -v c++ >/dev/null || { echo "gs-reg builds its kernels with a C++17 compiler: install g++ or clang++" >&2; exit 1; }
	@test -x $(BIN)/pip || echo "Setting up $(VENV); the first time downloads about 3 GB, most of it PyTorch"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-input -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## reconstruct a real photo pair, without any download or option
	$(BIN)/gs-reg demo

test: $(READY) ## the fast tests; PYTEST_ARGS="-k name" narrows them
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# nerfstudio 1.1.5 pins what ours does not go with: it has a venv of its own
NS_VENV := .venv-nerfstudio
NS_BIN := $(NS_VENV)/bin

$(NS_VENV)/.ready: pyproject.toml constraints-nerfstudio.txt $(READY)
	@test -x $(NS_BIN)/pip || echo "Setting up $(NS_VENV); the first time takes about 5 minutes and 7 GB"
	@test -x $(NS_BIN)/pip || $(PYTHON) -m venv $(NS_VENV)
	$(NS_BIN)/pip install --quiet --disable-pip-version-check --no-input -c constraints-nerfstudio.txt \
	  -e '.[nerfstudio]' pytest pytest-timeout beartype
	@touch $@

test-nerfstudio: $(NS_VENV)/.ready ## the plugin under nerfstudio's own commands, in a second venv (7 GB)
	$(NS_BIN)/python -m pytest -m nerfstudio --timeout=1000 tests/nerfstudio $(PYTEST_ARGS)

trials: $(READY) ## the slow tests: real data, minutes each
	$(BIN)/python -m pytest -m slow --timeout=3600 $(PYTEST_ARGS)

batch-trials: $(READY) ## 12 edits on 3 scenes, killed in mid-run here, on Ray and through submitit; 500 jobs
	$(BIN)/python -m pytest -s -m slow --timeout=3600 tests/apps/batch $(PYTEST_ARGS)

kills: $(READY) ## kill small runs, sweeps, batches, avatars, edits at random moments (KILLS=200 of runs); all must come to the same bits
	KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -s -m slow --timeout=0 tests/apps/runs/kills.py tests/apps/edit/kills.py \
	  $(PYTEST_ARGS)

fuzz: $(READY) ## damage every kind of file that is read, FUZZ times each (1000); SEED=1: other damage
	FUZZ=$(or $(FUZZ),1000) SEED=$(or $(SEED),0) $(BIN)/python -m pytest -s --timeout=0 tests/fuzz $(PYTEST_ARGS)

# apps/ and data_tools/ are installed as gs_reg.apps and gs_reg.data_tools; import-linter and pyright find them so in this
# view of the tree (pyright by `extraPaths` in pyproject.toml)
lint: $(READY) ## ruff, clang-format, import-linter, pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)
	@rm -rf $(LINT) && mkdir -p $(LINT)/gs_reg
	@ln -s $(CURDIR)/gs_reg/*.py $(patsubst %,$(CURDIR)/%,$(wildcard gs_reg/*/) apps data_tools) $(LINT)/gs_reg/
	@ln -s $(CURDIR)/pyproject.toml $(LINT)/
	cd $(LINT) && $(CURDIR)/$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY) ## what lint would ask for, where a tool can do it
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

# auditwheel reads from the libraries which glibc they need, names the wheel after it, and refuses what is not portable
wheel: $(READY) ## dist/*.whl, for every Python from 3.11 and every torch from 2.6; installing it needs no compiler
	@rm -rf build/wheel
	@find build -path 'build/lib*' -type f ! -name '*.so' -delete 2>/dev/null || true  # what the tree no longer has
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-input --no-deps $(WHEEL_ARGS) --wheel-dir build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m auditwheel repair --wheel-dir dist build/wheel/gs_reg-*.whl

# a copy of the package as links, with libraries of its own, that the sanitizers' runtimes are loaded before
SANITIZED := build/sanitize
SANITIZED_ISAS ?= base avx2
SANITIZED_FLAGS_avx2 := -mavx2 -mfma -mbmi -mbmi2
SANITIZED_FLAGS_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mbmi -mbmi2
SANITIZED_FLAGS := -std=c++17 -O1 -g -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math -ffp-contract=off \
  -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-psabi -Icuda/include
SANITIZED_LIBRARIES := $(SANITIZED_ISAS:%=$(SANITIZED)/gs_reg/libgsr_cpu_%.so)

sanitize: $(READY) $(SANITIZED_LIBRARIES) ## the kernels' tests under the address and undefined-behaviour sanitizers
	@ln -sfn $(CURDIR)/gs_reg/*.py $(patsubst %/,$(CURDIR)/%,$(filter-out %__pycache__/,$(wildcard gs_reg/*/))) \
	  $(CURDIR)/apps $(CURDIR)/data_tools $(SANITIZED)/gs_reg/
	@ln -sfn $(CURDIR)/tests $(CURDIR)/pyproject.toml $(SANITIZED)/
	cd $(SANITIZED) && for isa in $(SANITIZED_ISAS); do \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" PYTHONPATH=. \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 GS_REG_ISA=$$isa \
	  $(CURDIR)/$(BIN)/python -m pytest -p no:cacheprovider tests/render tests/ops $(PYTEST_ARGS) || exit 1; done

define sanitized_library
$(SANITIZED)/gs_reg/libgsr_cpu_$(1).so: $(patsubst cuda/cpu/%.cpp,$(SANITIZED)/$(1)/%.o,$(wildcard cuda/cpu/*.cpp))
	@mkdir -p $$(@D)
	$(CXX) -shared -pthread -fsanitize=address,undefined $$^ -o $$@

$(SANITIZED)/$(1)/%.o: cuda/cpu/%.cpp $(filter cuda/cpu/%.h cuda/include/%.h,$(NATIVE)) Makefile
	@mkdir -p $$(@D)
	$(CXX) -c $$< -o $$@ $(SANITIZED_FLAGS) $(SANITIZED_FLAGS_$(1))
endef
$(foreach isa,$(SANITIZED_ISAS),$(eval $(call sanitized_library,$(isa))))

# zig is a cross compiler in a pip wheel; the host's own CPU does not matter
ZIG ?= $(BIN)/python -m ziglang

aarch64: ## compile the CPU kernels for AArch64 (needs `pip install ziglang`; nothing is run)
	@$(ZIG) version >/dev/null 2>&1 || { echo "make aarch64: no cross compiler: $(BIN)/pip install ziglang, or ZIG=path/to/zig" >&2; exit 1; }
	@mkdir -p build/aarch64
	for file in $(wildcard cuda/cpu/*.cpp); do $(ZIG) c++ -target aarch64-linux-gnu -c $$file \
	  -o build/aarch64/$$(basename $$file .cpp).o -std=c++17 -O3 -fPIC -fvisibility=hidden -fno-math-errno \
	  -fno-trapping-math -ffp-contract=off -Wall -Wextra -Icuda/include || exit 1; done

ABLATION := full no-decoder no-alignment no-tv no-flow no-multisampling
ABLATION_ARGS ?= ../shared/data/llff_fern --views 3 --downscale 16
without-no-decoder := --coherent.decoders.no-decode-depth --coherent.decoders.no-decode-opacity
without-no-alignment := --coherent.no-align
without-no-tv := --terms.layered.weight 0
without-no-flow := --terms.flow.weight 0
without-no-multisampling := --train.multisample 1

ablation: $(ABLATION:%=runs/ablation/%/result.json) ## CoherentGS in 200 steps, whole and without each of its parts
	@for name in $(ABLATION); do \
	  $(BIN)/python -c 'import json, sys; m = json.load(open(sys.argv[1]))["mean"]; print(sys.argv[2], "PSNR %.2f, seen %.2f" % (m["psnr"], m["psnr_seen"]))' \
	    runs/ablation/$$name/result.json $$name; done

runs/ablation/%/result.json: | $(READY)
	$(BIN)/gs-reg reconstruct $(ABLATION_ARGS) --preset paper-short $(without-$*) --out runs/ablation/$*

gpu: $(READY) ## on a machine with a GPU: build, test and time our CUDA kernels; elsewhere it says that it did not
	PYTHON=$(BIN)/python scripts/gpu_check.sh

# nvcc.flags: no fused multiply-add but where it is spelled out, as forward and backward must round alike, and like the
# CPU; never fast math, which changes roots, divisions and denormals
gpu-compile: $(CUDA:cuda/gpu/%.cu=build/gpu/%.o) ## compile every CUDA kernel (needs nvcc, no GPU)

build/gpu/%.o: cuda/gpu/%.cu $(DEVICE_HEADERS) Makefile
	@mkdir -p $(@D)
	nvcc -c $< -o $@ $(shell cat cuda/gpu/nvcc.flags) -Xptxas -v \
	  $(foreach arch,$(ARCHS),-gencode arch=compute_$(arch),code=sm_$(arch)) 2> $(@:.o=.txt) || { cat $(@:.o=.txt); exit 1; }

# the same kernels on the host: threads are fibers, see cuda/emu
EMULATED := $(CUDA:cuda/gpu/%.cu=build/emu/%.o) build/emu/emulator.o
EMULATED_FLAGS := -std=c++17 -O2 -g0 -fPIC -fvisibility=hidden -ffp-contract=off -Wall -Wextra -Wno-unused-function \
  -Icuda/include -Icuda/emu

emulated: build/emu/libgsr_emulated.so ## the CUDA kernels as a library for the CPU, for tests

build/emu/libgsr_emulated.so: $(EMULATED)
	$(CXX) -shared $^ -o $@

build/emu/%.o: cuda/gpu/%.cu $(DEVICE_HEADERS) Makefile
	@mkdir -p $(@D)
	$(CXX) -c -x c++ $< -o $@ $(EMULATED_FLAGS)

build/emu/%.o: cuda/emu/%.cpp $(DEVICE_HEADERS) Makefile
	@mkdir -p $(@D)
	$(CXX) -c $< -o $@ $(EMULATED_FLAGS)

clean: ## remove what was built; .venv and runs/ stay
	rm -rf build dist *.egg-info gs_reg/*.so .pytest_cache .ruff_cache .hypothesis .import_linter_cache $(READY)
