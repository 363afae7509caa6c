# Thin names for what CMake, ctest and the scripts do. `make help` lists them.
.DEFAULT_GOAL := build
BUILD := build

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: build
build: $(BUILD)/web/index.html ## build/rrt, build/librrt.so, the server's page where npm is, the tests where cmocka is
	@cmake --preset release >/dev/null
	@cmake --build $(BUILD)

# The page needs npm, which fetches two packages; without it, and without a network, rrt is built all the same.
$(BUILD)/web/index.html: $(wildcard web/page/*) web/build.mjs web/package-lock.json
	@if ! command -v npm >/dev/null; then echo "npm is not there: rrt serve gets no page (install npm, then make again)"; \
	elif ! (cd web && npm ci --silent --no-fund --no-audit && node build.mjs ../$@); then \
	  echo "npm could not build the page of rrt serve (its message is above); rrt is built without it"; fi

.PHONY: test
test: build ## all tests on the optimised build
	@ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -j 2

.PHONY: asan
asan: ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake --preset asan >/dev/null
	@cmake --build build/asan
	@OMP_NUM_THREADS=2 ctest --test-dir build/asan --output-on-failure -j 2

.PHONY: tsan
tsan: ## engine, training and server under ThreadSanitizer; needs clang and libomp (archer tells it what OpenMP does)
	@cmake --preset tsan >/dev/null
	@cmake --build build/tsan
	@OMP_NUM_THREADS=2 TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1" \
	  OMP_TOOL_LIBRARIES=$$(dirname $$(readlink -f $$(command -v clang)))/../lib/libarcher.so \
	  ctest --test-dir build/tsan --output-on-failure -R 'engine|exits|train|shards|convert|quantized|serve'

.PHONY: faults
faults: build ## 40 kills of each verb that writes, its calls fail one by one, its disk is full (minutes)
	@python3 tests/test_files.py $(BUILD)/rrt $(BUILD)/tests/libfail_nth.so --kills 40 --calls 100

.PHONY: damage
damage: ## COPIES (2000) damaged files through the verbs that read them, under AddressSanitizer (a quarter of an hour)
	@cmake --preset asan >/dev/null
	@cmake --build build/asan --target rrt_cli
	@python3 tests/damage.py build/asan/rrt --copies $${COPIES:-2000} --keep $(BUILD)/damaged

.PHONY: mixes
mixes: ## ten thousand random mixes of requests through the engine, under AddressSanitizer (minutes)
	@cmake --preset asan >/dev/null
	@cmake --build build/asan --target test_engine_mixes
	@RRT_MIXES=10000 build/asan/tests/test_engine_mixes

.PHONY: storm
storm: build ## the server under 64 clients, hostile ones among them, for STORM_SECONDS (600); MODEL: tiny unless named
	@$${PYTHON:-python3} tests/storm_server.py $(BUILD)/rrt $(MODEL)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_SECONDS (20) seconds each, from its seed corpus; needs clang
	@cmake --preset fuzz >/dev/null
	@cmake --build build/fuzz
	@tools/run-fuzzers build/fuzz $${FUZZ_SECONDS:-20}

.PHONY: lint
lint: ## format, include direction, exported symbols; clang-tidy where it is installed
	@tools/lint $(BUILD)

.PHONY: format
format: ## clang-format all sources in place
	@clang-format -i $$(git ls-files --cached --others --exclude-standard '*.c' '*.h')

.PHONY: install-test
install-test: build ## install to a temporary folder and build examples/minimal.c against it
	@tools/test-install $(BUILD)

.PHONY: demo
demo: ## the main job on a real model: fetch, convert, train, compare
	@cmake --preset release >/dev/null
	@cmake --build $(BUILD) --target rrt_cli
	@tools/demo

.PHONY: uptrain
uptrain: build ## SmolLM2 to a recursive model of 60 % of its body: 45 minutes on two quiet cores, resumable
	@tools/uptrain --minutes 45 chosen-loops

.PHONY: uptrain-long
uptrain-long: build ## the same for two hours
	@tools/uptrain --minutes 120 chosen-loops

.PHONY: reproduce
reproduce: build ## the paper's directions on a small model trained here, resumable (an hour or two; needs RRT_DATA)
	@tools/reproduce

.PHONY: oracles
oracles: build ## compare with transformers, tokenizers and llama.cpp (needs their Python packages; see CONTRIBUTING.md)
	@tools/run-oracles

.PHONY: install
install: build ## install to PREFIX (/usr/local)
	@cmake --install $(BUILD) --prefix $${PREFIX:-/usr/local}

.PHONY: deb
deb: ## a Debian package, build/package/rrt_*.deb
	@cmake --preset package >/dev/null
	@cmake --build build/package
	@cd build/package && cpack

.PHONY: clean
clean: ## remove the build folder
	@rm -rf $(BUILD)
