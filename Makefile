# The verbs of the project. CI runs the same ones: .ci/run.

CARGO ?= cargo
DENY_VERSION := 0.20.2
DEMO := out/quickstart
CRD := charts/workload-variant-autoscaler/crds/llmd.ai_variantautoscalings.yaml

.DEFAULT_GOAL := help
.PHONY: help test check format lint doc deny install-deny bench crds figures demo

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## Run every test of every crate
	$(CARGO) test --workspace --locked

check: format lint doc deny ## Everything but the tests that a change must pass

format: ## Check the formatting (`cargo fmt` repairs it)
	$(CARGO) fmt --all --check

lint: ## Run clippy; a warning is an error
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc: ## Build the documentation; a broken link is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

deny: ## Check the licenses, bans and sources of all dependencies
	@$(CARGO) deny --version >/dev/null 2>&1 \
	  || { echo "cargo-deny is not installed; run: make install-deny" >&2; exit 1; }
	$(CARGO) deny --locked check licenses bans sources

install-deny: ## Install the cargo-deny that CI uses
	$(CARGO) install --locked cargo-deny@$(DENY_VERSION)

bench: ## Run the benchmarks
	$(CARGO) bench -p plimsoll-benches --locked

crds: ## Write the chart's CRD anew from the operator's types
	$(CARGO) run -p plimsoll-operator --locked -- crd > $(CRD).new
	mv $(CRD).new $(CRD)

figures: ## Draw the README's figure anew
	$(CARGO) run --release --locked -- simulate scenarios/quickstart.yaml --out $(DEMO) --quiet
	mkdir -p scenarios/figures
	cp $(DEMO)/timeline.svg scenarios/figures/quickstart-timeline.svg

demo: ## Simulate the quickstart scenario and open its report
	$(CARGO) run --release --locked -- simulate scenarios/quickstart.yaml --out $(DEMO)
	@echo "Report: $(CURDIR)/$(DEMO)/report.html"
	@if command -v xdg-open >/dev/null; then xdg-open $(DEMO)/report.html; \
	  elif command -v open >/dev/null; then open $(DEMO)/report.html; fi
