# gosipua: what to run while working on it. `make help` lists it.

SHELL     := /bin/bash
GO        ?= go
BIN       := $(CURDIR)/.bin
FUZZTIME  ?= 60s
BENCHTIME ?= 1s
HOSTS     ?= 800
BENCH     ?= .

# The tests with peers mostly wait for them.
PARALLEL ?= 8

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(BIN)/golangci-lint-$(GOLANGCI_VERSION)

# The race detector needs a C compiler; nothing else does.
RACE := $(if $(shell command -v gcc clang 2>/dev/null),-race)

# The systems it builds for, besides this one: one of each kind, one of them with 32 bits.
TARGETS := linux/arm darwin/arm64 freebsd/amd64 windows/amd64

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./gosipua
	CGO_ENABLED=0 $(GO) build -trimpath -o gosipua ./cmd/gosipua

.PHONY: test
test: ## all tests that need neither root, nor a C compiler, nor other SIP programs
	CGO_ENABLED=0 GOSIPUA_PEERS=skip $(GO) test -shuffle=on ./...

.PHONY: race
race: ## the same tests with the race detector (needs gcc)
	GOSIPUA_PEERS=skip $(GO) test -race -shuffle=on ./...

.PHONY: peers
peers: ## the tests with kamailio, baresip and sipp; a missing program or namespace is a failure
	GOSIPUA_REQUIRE_NETNS=1 GOSIPUA_REQUIRE_PEERS=1 $(GO) test $(RACE) -count=1 -parallel=$(PARALLEL) ./integration/...

.PHONY: check
check: fmt lint test peers ## what must be good before a push: fmt, lint, test, peers

.PHONY: fmt
fmt: $(GOLANGCI) ## format the code
	$(GOLANGCI) fmt ./...

.PHONY: lint
lint: $(GOLANGCI) ## static checks; the rules are in .golangci.yml
	$(GOLANGCI) run ./...
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (60s) each
	GO=$(GO) tools/fuzz $(FUZZTIME)

# The long tests of ifwatch: how much of them, in percent.
LONG ?= 100

.PHONY: long
long: ## 1,000 bursts that overflow netlink and 10,000 random operations, or LONG percent of them
	GOSIPUA_REQUIRE_NETNS=1 $(GO) test -count=1 -timeout=60m -v -run='^TestKernel(Overflow|RandomOperations)$$' ./ifwatch \
		-bursts $$((10*$(LONG))) -burst 5000 -operations $$((100*$(LONG)))

.PHONY: sessions
sessions: ## record ifwatch's netlink sessions anew (root: one has a tun device), and what is made of them
	GOSIPUA_REQUIRE_NETNS=1 $(GO) test -count=1 -run='^TestRecordSessions$$' ./ifwatch -record
	$(GO) test -count=1 -run='^TestReplay$$' ./ifwatch -golden
	git diff --stat -- ifwatch/testdata/sessions

.PHONY: differential
differential: ## source selection compared with the kernel on HOSTS (800) random hosts for each family
	@set -o pipefail; GOSIPUA_REQUIRE_NETNS=1 $(GO) test -run='^TestDifferential' -count=1 -timeout=30m -v ./ifwatch -configurations=$(HOSTS) \
		| grep -Ev '^ +--- |^=== '

.PHONY: bench
bench: ## benchmarks: BENCH selects, BENCHTIME is how long each
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -benchtime=$(BENCHTIME) ./...

.PHONY: bench-ifwatch
bench-ifwatch: ## the figures in the documentation of package ifwatch (2 minutes)
	$(GO) test -run='^$$' -bench='Latency' -benchtime=1000x ./ifwatch
	$(GO) test -run='^$$' -bench='Resync10000|Event$$|Judge|Flood|Idle' -benchmem ./ifwatch -idle 60s

.PHONY: cover
cover: ## test coverage by package and function, in coverage.html too
	GOSIPUA_PEERS=skip $(GO) test -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out | tail -n 1
	$(GO) tool cover -html=coverage.out -o coverage.html

.PHONY: cross
cross: ## build and vet for the other systems
	@set -e; for t in $(TARGETS); do \
		echo "$$t"; \
		CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build ./...; \
		CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./...; \
	done

.PHONY: clean
clean: ## remove what make made
	rm -rf $(BIN) gosipua coverage.out coverage.html

# Built from source, at one fixed version: a newer one finds other things.
$(GOLANGCI):
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@
