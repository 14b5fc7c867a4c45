# What a developer types. CI runs .ci/run, which calls the same scripts.

GO      ?= go
PREFIX  ?= /usr/local
DIST    ?= dist
FUZZ    ?= 10s
SOAK    ?= 1h
TRANSFER ?= 5000
NATS    ?= home,symmetric

tools = $(shell .ci/tools/build)

# A name that matches nothing would pass silently.
define bench
@$(GO) test -list '^$(1)$$' $(2) | grep -qx '$(1)' || { echo "$(2) has no $(1)"; exit 1; }
TANDEM_BENCH=$${TANDEM_BENCH:-1} $(GO) test -count=1 -v -timeout $(or $(3),30m) -run '^$(1)$$' $(2)
endef

.DEFAULT_GOAL := build
.PHONY: build test race short vet lint format check lab lab-hands fuzz cross man install clean ci help \
        bench bench-connect bench-keystroke bench-relay bench-signaling bench-transfer bench-tui soak-flood soak-slow soak-terminal soak-transfer acme

build: ## the binary, ./tandem
	CGO_ENABLED=0 $(GO) build -trimpath -o tandem ./cmd/tandem

test: ## all tests; those that need root or a bench skip and say so
	$(GO) test ./...

short: ## the quick tests
	$(GO) test -short ./...

race: ## the quick tests under the race detector
	$(GO) test -race -short ./...

vet: ## go vet
	$(GO) vet ./...

lint: ## golangci-lint with the import arrows, and a proof that those bite
	.ci/arrows
	$(tools)/golangci-lint run ./...
	.ci/shape

format: ## rewrite with gofumpt
	.ci/format -w

check: vet lint test ## before a commit

lab: ## real NATs in network namespaces; needs root
	.ci/lab

lab-hands: ## two tmuxes behind NATs, for a person: NATS=home,symmetric; needs root
	TANDEM_LAB=required TANDEM_HANDS=$(NATS) $(GO) test -count=1 -v -timeout 0 -run '^TestByHand$$' ./cmd/tandem

fuzz: ## every fuzz target for FUZZ=10s
	.ci/fuzz -t $(FUZZ:s=) -b 100000

cross: ## binaries for every platform, into dist
	mkdir -p $(DIST)
	.ci/cross $(abspath $(DIST))

man: build ## the man page, into dist
	mkdir -p $(DIST)
	./tandem man >$(DIST)/tandem.1

bench: bench-connect bench-keystroke bench-relay bench-signaling bench-transfer bench-tui ## all benchmarks

bench-connect: ## join and shell to first prompt, direct and relayed, beside ssh; needs root
	$(call bench,TestBenchConnect,./cmd/tandem)

bench-keystroke: ## echo p50 and p99 beside ssh and mosh; needs root
	$(call bench,TestBenchKeystroke,./cmd/tandem)

bench-relay: ## throughput and CPU per Gbit beside coturn
	$(call bench,TestBenchRelay,./relay)

bench-signaling: ## memory per idle client, introductions per second
	$(call bench,TestBenchSignaling,./signaling/server)

soak-flood: ## flood a server and a share for SOAK=1h, and watch what they hold
	TANDEM_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run '^TestSoakFlood$$' ./cmd/tandem

soak-slow: ## 10,000 clients of a signaling server that don't read; needs 10,100 open files
	TANDEM_SLOW=10000 $(GO) test -count=1 -v -run '^TestSlowClients$$' ./signaling/server

acme: ## the certificate of tandem server --domain, from a test authority
	TANDEM_PEBBLE=$$(.ci/pebble/build) $(GO) test -count=1 -v -run '^TestAutomaticCertificate$$' ./cmd/tandem

soak-terminal: ## one viewer stopped during SOAK=10m of output; the others' echo and the host's memory
	TANDEM_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run '^TestSoakFrozenViewer$$' ./cmd/tandem

soak-transfer: ## a file of TRANSFER=5000 MiB each way, with ten links cut, addresses changed and processes killed; needs root
	TANDEM_LAB=required TANDEM_TRANSFER=$(TRANSFER) $(GO) test -count=1 -v -timeout 0 -run '^TestSoakTransfer$$' ./cmd/tandem

bench-transfer: export CROC = $(shell .ci/croc/build)
bench-transfer: ## copies beside scp, rsync, croc and pion, an hour; TANDEM_BENCH=all for every link, hours; needs root
	$(call bench,TestBenchTransfer,./cmd/tandem,0)

bench-tui: ## key to frame with 10,000 peers and 10,000 events a second; start, idle CPU, memory
	$(call bench,TestBenchKeyToFrame,./tui)
	$(call bench,TestBenchTUI,./cmd/tandem)

install: build ## into PREFIX=/usr/local bin, below DESTDIR
	install -D -m 755 tandem $(DESTDIR)$(PREFIX)/bin/tandem

clean:
	rm -rf tandem $(DIST)

ci: ## what CI runs
	.ci/run

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
