# fledgling: `make help` lists what there is. The work is done by scripts/, which also run by themselves.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup model wasm package page demo serve check test fuzz soak bench bench-gpu bench-peers parity experiment fmt clean ci

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PORT (5173) and HOST (127.0.0.1) of make demo; MODEL=<file, folder or address> in place of the default model"

setup: ## tools, the wasm32 target and npm packages: looks first, installs what is missing
	@scripts/setup.sh

model: ## the model file, into .cache/models/ (MODEL=<file, folder or address> for another)
	@scripts/fetch-model.sh

wasm: ## the engine as WebAssembly, into www/pkg, with its gzip size
	@scripts/setup.sh wasm && scripts/setup.sh tools && scripts/wasm.sh

package: wasm ## the npm package, into www/dist/lib, and as a .tgz
	@scripts/setup.sh npm && scripts/page.sh package

page: wasm ## the page, into www/dist/page
	@scripts/setup.sh npm && scripts/page.sh page

demo: ## everything from nothing, then the page on http://127.0.0.1:5173
	@scripts/demo.sh

serve: ## the page as it was last built
	@scripts/demo.sh --no-build

check: ## formatting, lints (native and wasm32), documentation, licences, TypeScript
	@scripts/test.sh check

test: ## every suite: native, browser, package, page
	@scripts/test.sh all

soak: page ## twenty minutes at the page (MINUTES): ask, rank, learn, lose the device, kill the tab; memory, handles, storage
	@cd www && node tests/page/soak.mjs --minutes $${MINUTES:-20}

fuzz: ## ten minutes of mutated files for every parser, from a seed of its own (FUZZ_TARGETS=gguf,jsonl for some)
	@FUZZ_EACH=$${FUZZ_EACH:-600} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} cargo test --quiet --test fuzz

bench: ## speed and sizes, natively and in headless Chromium: a table, then one line of JSON
	@scripts/bench.sh

parity: ## the real model against its oracle with kernel variants forced one by one (half an hour and more)
	@scripts/parity.sh

bench-gpu: ## on a machine with a real GPU: peaks, matmul, SmolLM2, a 3B model, LoRA against PyTorch; one line of JSON
	@scripts/bench-gpu.sh

bench-peers: ## the same work on other people's engines, in headless Chromium: a table with ratios, one line of JSON
	@scripts/bench-peers.sh

experiment: ## does feedback change SmolLM2 for the better? Five methods, four rules; hours, goes on where it was broken off
	@scripts/experiment.sh

fmt: ## format the sources: Rust, TypeScript, styles
	@cargo fmt --all
	@scripts/setup.sh npm >/dev/null && cd www && npm run --silent fmt

clean: ## what builds leave behind (not the model, not shared tools)
	rm -rf target www/dist www/pkg www/*.tgz

ci:
	@.ci/run
