# thinmover's tasks. `make` alone lists them; each installs what it needs (apt-get or dnf).

DESTDIR ?=
PREFIX ?= /usr
LIB = $(DESTDIR)$(PREFIX)/lib
comma := ,
TARGET = $(or $(CARGO_TARGET_DIR),target)

# Where rustup and `cargo install` put programs, for a shell that has not been told.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Servers that tests and the benchmark start are reached directly, whatever proxy this shell names.
export NO_PROXY := 127.0.0.1$(if $(no_proxy)$(NO_PROXY),$(comma)$(or $(no_proxy),$(NO_PROXY)))
export no_proxy := $(NO_PROXY)

.PHONY: help demo test test-long bench lint install

help: ## list these tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## back up, wreck and restore a volume on a real thin pool, here or in the test guest
	@scripts/install-deps build guest
	cargo build --release --locked --package thinmover
	cargo build --locked --package thinmover-tests
	@scripts/run-demo

test: ## run every test, unit to guest
	@scripts/install-deps build guest s3
	cargo test --locked --workspace --no-fail-fast

test-long: ## run the tests that repeat kills, power cuts, random pools and schedules with twenty times the rounds
	@scripts/install-deps build guest s3
	THINMOVER_TEST_ROUNDS=20 cargo test --locked --package thinmover-tests --package thinmover-lvm --package thinmover-repository --no-fail-fast

bench: ## compare with restic, borg and other peers on the same volume; BENCH="--help" for options
	@scripts/install-deps build bench $(if $(findstring --s3,$(BENCH)),s3)
	cargo build --release --locked --package thinmover
	cargo build --release --locked --package thinmover-tests --bin bench
	@$(TARGET)/release/bench $(BENCH)

lint: ## check formatting, clippy's lints and the policy on dependencies
	@scripts/install-deps build lint
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo deny check bans licenses sources

install: ## build the release and install it below DESTDIR; nothing is enabled or started
	cargo build --quiet --release --locked --package thinmover
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(TARGET)/release/thinmover
	install -D -m 644 -t $(LIB)/systemd/system systemd/thinmover.socket systemd/*.timer systemd/*.service
	sed -i 's|/usr/bin/thinmover|$(PREFIX)/bin/thinmover|' $(LIB)/systemd/system/thinmover*.service
	$(if $(wildcard systemd/*.catalog),install -D -m 644 -t $(LIB)/systemd/catalog systemd/*.catalog)
	install -D -m 644 -t $(LIB)/sysusers.d systemd/sysusers.d/thinmover.conf
	install -D -m 644 -t $(LIB)/tmpfiles.d systemd/tmpfiles.d/thinmover.conf
	install -D -m 644 -t $(LIB)/modules-load.d systemd/modules-load.d/thinmover.conf
	install -D -m 644 -t $(LIB)/udev/rules.d systemd/udev/12-thinmover.rules
