# `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench sim fuzz lab lab-up lab-down soak soak-sim needs

CARGO ?= cargo

help: ## Lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Builds, and shows a deployment from trigger to verdict on this machine
	$(CARGO) build --workspace --bin garrison
	target/debug/garrison demo

test: needs ## Installs what the tests need where it is missing, and runs everything
	deploy/older-garrison
	$(CARGO) build --workspace --all-targets
	deploy/with-docker-engine $(CARGO) nextest run --workspace

lint: ## Format, clippy, licences and sources, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) deny --log-level error check bans licenses sources
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

bench: ## Benchmarks, one JSON line a figure (NAME=dispatch|throughput|idle|compile|pickup|queue|restart|ssh)
	@$(CARGO) build --quiet --release --workspace --bin garrison
	@$(CARGO) bench --quiet --workspace --bench garrison -- $(NAME)

sim: ## Random faults against every guarantee (SEEDS=n START=s)
	PROPTEST_CASES=$(or $(SEEDS),2000) $(CARGO) test --quiet --package coordinator-core --package agent-core --lib
	$(CARGO) run --quiet --package sim -- --seeds $(or $(SEEDS),2000) --start $(or $(START),0)

soak-sim: ## The same for a time (FOR=2h)
	$(CARGO) run --quiet --package sim -- --time $(or $(FOR),4h) --start $(or $(START),0)

fuzz: ## Any bytes as a pipeline (FOR=seconds); `cargo install cargo-fuzz` first
	mkdir -p pipelines/fuzz/corpus/compile
	for case in pipelines/tests/cases/*/*.yaml; do cp $$case pipelines/fuzz/corpus/compile/$$(echo $$case | tr / _); done
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir pipelines/fuzz --sanitizer none compile -- -max_total_time=$(or $(FOR),600) -timeout=5

lab: needs ## Brings up two simulated partitions from nothing, shows them, and takes them down
	$(CARGO) build --workspace --bins
	target/debug/lab run

lab-up: needs ## The same machines as they come out of their boxes, to explore by hand
	$(CARGO) build --workspace --bins
	target/debug/lab up

lab-down: ## Takes down what lab-up brought up
	target/debug/lab down

soak: soak-sim ## Chaos for an hour, the same for NATS, a link that is cut for ten minutes, all switches updated (CHAOS_S=seconds)
	$(CARGO) build --workspace --all-targets
	GARRISON_SWITCHES=all GARRISON_CUT_S=600 GARRISON_CHAOS_S=$(or $(CHAOS_S),3600) deploy/with-docker-engine $(CARGO) nextest run --profile soak --package integration -E 'binary(network) | binary(chaos) | binary(partition) | (binary(events) & test(storm))'

needs:
	./deploy/install-test-needs
