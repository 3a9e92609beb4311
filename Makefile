# Everything that is done to this repository has a target here. Needs: Go, git, make, a C compiler for
# the race detector, and the Go module proxy. `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL: # the order of targets is meant; go itself uses all cores

# Things that are built once and kept outside the tree.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/podplane

# The same tags everywhere, or tests would test something else than what is built:
#   hashicorpmetrics  the connection manager reports through hashicorp/go-metrics, where we read it
#   grpcnotrace       grpc-go without golang.org/x/net/trace, which drags in html/template
GOTAGS := hashicorpmetrics,grpcnotrace
TAGS   := -tags $(GOTAGS)
# The binaries of the product besides: HTTP/2 of net/http is not linked in. Nothing here serves it, gRPC has its
# own, and it is half a megabyte in every pod.
BUILD_TAGS := -tags $(GOTAGS),nethttpomithttp2

VERSION  ?= $(shell git describe --tags --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS   = -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)

GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := $(CACHE)/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint

# The product is every package outside integration/.
PRODUCT = $(shell go list $(TAGS) ./... | grep -v '^podplane/integration')
COVERAGE_MIN ?= 80
COVERAGE_PROFILE := coverage.out

FUZZTIME ?= 10s
# The merger reads what anybody's application exposes, and its input has more forms than seconds can reach.
FUZZTIME_MERGER ?= 10m

##@ Build

.PHONY: build
build: ## Build static, stripped binaries into bin/
	CGO_ENABLED=0 go build $(BUILD_TAGS) -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./cmd/...

.PHONY: test-servers
test-servers: ## Build what tests run against into the cache folder (about 20 minutes the first time)
	@go run ./integration/servers/build

.PHONY: promtool
promtool: ## Build promtool, the judge of expositions, and the Envoy stand-in into the cache folder (two minutes the first time)
	@go run ./integration/servers/build promtool

.PHONY: clean
clean: ## Remove what was built in the tree; the cache folder stays
	rm -rf bin $(COVERAGE_PROFILE)

##@ Image

include versions.env # the pinned images: ENVOY_IMAGE, BASE_IMAGE and so on

PLATFORMS ?= linux/$(shell go env GOARCH)
TAG       ?= dev

.PHONY: image
image: image-binaries ## Build the images for PLATFORMS (this machine's) with what is at hand: registry or local
	@go run $(TAGS) ./integration/images/build -platforms "$(PLATFORMS)" -tag $(TAG) \
		-version $(VERSION) -revision $(REVISION) -created "$(shell git show -s --format=%cI 2>/dev/null)"

# Static binaries for each platform, in bin/linux/ARCH, where the Dockerfile takes them from.
.PHONY: image-binaries
image-binaries:
	@for platform in $$(echo "$(PLATFORMS)" | tr , ' '); do \
		echo "binaries for $$platform"; \
		export CGO_ENABLED=0 GOOS=$${platform%%/*} GOARCH=$${platform##*/}; \
		go build $(BUILD_TAGS) -trimpath -ldflags "$(LDFLAGS)" -o bin/$$platform/ ./cmd/... && \
		go build $(TAGS) -trimpath -ldflags "-s -w" -o bin/$$platform/podplane-example ./integration/compose/app || exit 1; \
	done

.PHONY: compose
compose: image ## Bring deploy/compose up, check what it is to show, take it down
	@go run $(TAGS) ./integration/compose

.PHONY: envoy
envoy: ## Take the pinned Envoy out of its image into bin/envoy, for tests (needs a registry)
	@mkdir -p bin && id=$$(docker create $(ENVOY_IMAGE)) && { docker cp $$id:/usr/local/bin/envoy bin/envoy; code=$$?; \
		docker rm $$id >/dev/null; exit $$code; } && bin/envoy --version

##@ Run

.PHONY: demo
demo: build ## Show the main job: two services, their dataplanes, real Consul
	@go run ./integration/servers/build consul
	@go run $(TAGS) ./integration/demo

##@ Test

.PHONY: test
test: race norace coverage integration ## Run every test

.PHONY: unit
unit: promtool ## Run the product's tests without the race detector
	go test $(TAGS) $(PRODUCT)

.PHONY: race
race: promtool ## Run the product's tests with the race detector, and measure coverage
	@run="go test $(TAGS) -race -coverprofile $(COVERAGE_PROFILE)"; echo "$$run (the product)"; \
	$$run $(PRODUCT) || { echo "FAILED ONCE: look above; what failed runs again"; $$run $(PRODUCT); }

.PHONY: norace
norace: ## Run the tests that `race` skips, because the race detector multiplies what they measure
	go test $(TAGS) -count 1 -run '^TestMemory' ./metrics

.PHONY: coverage
coverage: ## Check the coverage that `race` measured
	@.ci/coverage $(COVERAGE_PROFILE) $(COVERAGE_MIN)

.PHONY: integration
integration: build test-servers ## Run the tests against real servers
	@# First everything is compiled, then one package runs at a time: limits in seconds are measured, and neither
	@# compilers nor other tests are to share the cores with that.
	@go test $(TAGS) -race -run '^$$' ./integration/... >/dev/null
	@# A package that fails has a second chance, for all of this measures time on a machine that is not its own. Go runs
	@# no other package again: what has passed is in its cache. Both results stand in the output.
	@pkgs=$$(go list $(TAGS) ./integration/...) || exit 1; \
	run="go test $(TAGS) -race -timeout 20m -p 1"; \
	echo "$$run ./integration/..."; \
	$$run $$pkgs || { echo "FAILED ONCE: look above; what failed runs again"; $$run $$pkgs; }

.PHONY: kube
kube: build test-servers ## Run only the tests of the companion against a real Kubernetes control plane (about 4 minutes)
	go test $(TAGS) -race -timeout 20m -p 1 ./integration/catalog ./integration/kube

SOAK_CYCLES ?= 500

.PHONY: soak
soak: build test-servers ## Lose and let expire tokens, start and stop a dataplane SOAK_CYCLES (500) times (about 15 minutes)
	PODPLANE_SOAK=1 go test $(TAGS) -race -timeout 30m -run '^TestSoak' ./integration/
	go run $(TAGS) ./integration/soak -starts $(SOAK_CYCLES) -crashes $(SOAK_CYCLES)

# A second dataplane to measure beside ours, any that takes the flags of consul-dataplane.
VS ?=
BENCH_FLAGS ?=

.PHONY: bench
bench: build ## Measure bin/podplane, with VS=PATH beside another dataplane; the machine should have nothing else to do
	go run $(TAGS) ./integration/bench -bin bin/podplane $(if $(VS),-vs $(VS)) $(BENCH_FLAGS)

.PHONY: kube-scale
kube-scale: build test-servers ## Measure the companion: 500 admissions a second, 5,000 pods; nothing else should run
	PODPLANE_KUBE_SCALE=1 go test $(TAGS) -count 1 -v -timeout 40m -run '^(TestScale|TestIdle|TestLeader)' ./integration/kube

.PHONY: dns-bench
dns-bench: test-servers ## Measure the DNS proxy (3 minutes, after make dns-tools); the machine should have nothing else to do
	PODPLANE_DNS_BENCH=1 go test $(TAGS) -count 1 -v -run '^TestDNSBench$$' ./integration

.PHONY: dns-tools
dns-tools: ## Install dig, with which the DNS tests ask too, and dnsperf (Debian, as root)
	apt-get install -y --no-install-recommends bind9-dnsutils dnsperf

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (10s), those of the merger for FUZZTIME_MERGER (10m)
	@pkgs=$$(go list $(TAGS) ./...) || exit 1; \
	for pkg in $$pkgs; do \
		list=$$(go test $(TAGS) -list '^Fuzz' $$pkg) || { echo "$$list"; exit 1; }; \
		time=$(FUZZTIME); \
		case $$pkg in */metrics/exposition) time=$(FUZZTIME_MERGER);; esac; \
		for name in $$(echo "$$list" | grep '^Fuzz'); do \
			echo "$$pkg $$name $$time"; \
			go test $(TAGS) -run '^$$' -fuzz "^$$name\$$" -fuzztime $$time $$pkg || exit 1; \
		done; \
	done

.PHONY: golden
golden: ## Rewrite golden files and generated documentation
	@for dir in $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -r -n1 dirname | sort -u); do \
		go test $(TAGS) $$dir -update || exit 1; \
	done

##@ Check

.PHONY: check
check: fmt-check tidy-check vet lint size-check release-check ## Run every check that is not a test

.PHONY: fmt
fmt: ## Format the code
	gofmt -w .

.PHONY: fmt-check
fmt-check:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted, run \`make fmt\`: $$files"; exit 1; }

.PHONY: tidy-check
tidy-check:
	go mod tidy -diff

.PHONY: vet
vet:
	go vet $(TAGS) ./...

# A sidecar is in every pod, so each megabyte counts as often as there are pods.
SIZE_MAX ?= 15000000

.PHONY: size-check
size-check: build ## Check that the sidecar's binary has at most SIZE_MAX (15000000) bytes
	@size=$$(wc -c < bin/podplane); test "$$size" -le $(SIZE_MAX) || \
		{ echo "bin/podplane has $$size bytes, more than $(SIZE_MAX)"; exit 1; }

.PHONY: release-check
release-check: ## Check that goreleaser takes .goreleaser.yaml, with its own reader
	@cd integration/release && go vet . && go test .

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint (built once, about 2 minutes)
	$(GOLANGCI_LINT) run ./...

$(GOLANGCI_LINT):
	@echo "building golangci-lint $(GOLANGCI_LINT_VERSION) into $(@D), about 2 minutes"
	@cd / && GOBIN=$(@D) GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" \
		github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

##@ Help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
