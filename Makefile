# The two commands: `make demo`, `make test`. `make help` lists the others.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup build demo pipeline test lint bench doctor clean

# What the user typed reaches the scripts unexpanded, so that `$`, spaces and quotes survive.
PIPELINE_VARIABLES := IMAGES REFERENCE OUT TRUTH LAYER BBOX FROM TO RESOLUTION LEVEL ENDPOINT SIZE CLASS BUDGET MINUTES DEVICE SEED QUESTION PORT LIVE SMALL
$(foreach name,$(PIPELINE_VARIABLES),$(eval export CURATOR_$(name) := $$(value $(name))))

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 16

setup: ## Bring what is missing: system packages, libtorch (CUDA=1 for the CUDA one)
	@scripts/setup.sh

build: setup ## Build all programs
	cargo build --release --workspace --locked

demo: build ## The whole pipeline on a procedural Earth, into out/demo (LIVE=1: you label; SMALL=1: a minute)
	@scripts/demo.sh

pipeline: build ## The same for IMAGES=folder or LAYER=… BBOX=… FROM=… TO=…, with REFERENCE=image.jpg
	@scripts/pipeline.sh

test: ## Set up what is missing and pass all tests
	@scripts/setup.sh --test
	@scripts/test.sh

lint: setup ## Formatting, lints as errors, unused dependencies, layers, shell scripts
	@scripts/lint.sh

bench: build ## Measure; results in docs/benchmarks.md say which command made them
	@scripts/bench/all.sh

doctor: build ## Is the installation sound?
	@for program in gibs-downloader data-preprocessor ssl-learner embed-indexer swipe-labeler active-labeler; do \
	  echo "$$program"; target/release/$$program doctor | sed 's/^/  /'; done

clean: ## Remove builds and outputs, never labels: out/ stays
	rm -rf target
