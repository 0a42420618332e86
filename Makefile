# Drover. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO_FLAGS := -ldflags "-s -w -X main.version=$(VERSION)"
# The same for building, vetting and testing: otherwise all of Kubernetes and AWS is compiled once for each.
export GOFLAGS := $(GOFLAGS) -trimpath
ARGS ?=
TESTS ?= ./...

.PHONY: help demo build controlplane test check bench sim tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## rotate a group of six nodes under live traffic, in the sandbox (ARGS=--naive: what a script would do)
	bin/drover sandbox demo rotate $(ARGS)

build: ## bin/drover
	@echo "Building bin/drover (the first time takes minutes: Kubernetes' and AWS's clients are large)" >&2
	@go build $(GO_FLAGS) -o bin/drover ./cmd/drover

controlplane: build ## the sandbox's control plane, into the user's cache
	bin/drover sandbox build

test: tools controlplane ## all tests, with end-to-end tests on the real control plane
	go vet ./...
	cd controlplane && go test -vet=off ./... # vet would analyse all of Kubernetes first
	go test -p 1 -timeout 60m $(TESTS)

check: ## the quick part: format, vet, and the tests that need no control plane
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these" >&2; exit 1; }
	go vet ./...
	go test . ./api/... ./fleet ./depart ./evac ./engine ./probe ./notice ./imds ./pipeline ./metrics ./aws ./sandbox/cloud ./sandbox/cluster ./sandbox/fast ./sandbox/jobs ./sandbox/wire ./cmd/...
	go test -short -run 'Stories/told|Sentence|Safety' ./scenario # each story once

bench: ## the planner and the engine at size: 1,000 nodes, 30,000 pods; virtual rotations of 100 nodes; 500 nodes noticed at once
	go test -run '^$$' -bench . -benchmem ./evac ./engine ./scenario

sim: ## stories and random fleets in N random orders from seed SEED; a failure prints its seed and a story to save
	go test ./scenario -run '^TestSim$$' -count=1 -v -timeout 0 -sim $(or $(N),1000) -seed $(or $(SEED),1)

tools: ## install what the tests need (Debian packages, when root)
	@./.ci/tools

clean: ## remove bin; the control plane's cache stays
	rm -rf bin
