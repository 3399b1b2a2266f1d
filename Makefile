# thinmover's tasks. `make` alone lists them.

DESTDIR ?=
PREFIX ?= /usr

.PHONY: help install

help: ## list these tasks
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

install: ## build the release and install it below DESTDIR
	cargo build --quiet --release --locked --package thinmover
	install -D -m 755 target/release/thinmover $(DESTDIR)$(PREFIX)/bin/thinmover
