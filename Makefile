# `make help` lists the targets. Go and make are all that run, build and test need;
# the race detector needs a C compiler too, and so do race and ci.

# Raft and memberlist send their metrics to github.com/hashicorp/go-metrics only with this tag.
TAGS := hashicorpmetrics
export GOFLAGS := $(strip $(GOFLAGS) -tags=$(TAGS))

# The last release and the commits since; before the first release the program names its commit itself.
VERSION ?= $(patsubst v%,%,$(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null))
BUILDFLAGS = -trimpath -buildvcs=$(if $(VERSION),false,auto) -ldflags '-s -w $(if $(VERSION),-X main.release=$(VERSION))'

# Slow or busy machines take their time; a test that hangs is stopped all the same.
TESTFLAGS ?=
FAULTFLAGS ?=
RUNS      ?= 200
RUNFOR    ?= 3m
TIMEOUT   ?= 20m
FUZZTIME  ?= 5s
BENCHTIME ?= 3s
BENCH     ?= .
DEATHS    ?= 20
SIMFLAGS  ?=
HOURS     ?= 1
LEASES    ?= 1000000
COMPARE   ?=

# The black-box tests run last and alone: they take longest, say least about where a
# fault is, and their clusters elect no new leader because other tests are busy.
PACKAGES = $(or $(shell go list ./...),$(error go list found no package))
E2E      = $(filter %/e2e %/e2e/rules %/e2e/sim,$(PACKAGES))
UNIT     = $(filter-out $(E2E),$(PACKAGES))

BIN := $(CURDIR)/.bin

.DEFAULT_GOAL := build
.PHONY: help run build test unit e2e faults faults-all sim sim-soak sim-mutations race lint fmt generate fuzz fuzz-long bench compare hostile million cover vuln formats runbook openssl prometheus upgrade \
         image docker-up docker-down docker-test package package-test reproducible vagrant-up ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9_-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build licet and start three nodes on this machine; Ctrl-C stops them
	@./licet dev

build: ## build ./licet, one static file
	@CGO_ENABLED=0 go build $(BUILDFLAGS) -o licet ./cmd/licet

test: ## vet and test everything; needs nothing but Go
	go vet ./...
	go test -timeout $(TIMEOUT) $(TESTFLAGS) $(UNIT)
	go test -p 1 -timeout $(TIMEOUT) $(TESTFLAGS) $(E2E)

unit: ## test everything but e2e
	go test -timeout $(TIMEOUT) $(TESTFLAGS) $(UNIT)

e2e: ## test the built program, and the rule scripts on clusters
	go test -p 1 -timeout $(TIMEOUT) $(TESTFLAGS) $(E2E)

faults: $(BIN)/faults.test ## test nodes with hosts, links and disks of their own, and some random runs; needs Linux, root, iproute2, nftables, e2fsprogs, strace, util-linux and /dev/fuse
	cd e2e && unshare --net --mount ../.bin/faults.test -test.run '^TestFault' -test.timeout $(TIMEOUT) -runs 100 -run-for $(RUNFOR) $(foreach flag,$(FAULTFLAGS),'$(flag)')

faults-all: $(BIN)/faults.test ## random runs of real faults, RUNS of them (200): an hour; SEED=n RUNS=1 repeats one
	cd e2e && unshare --net --mount ../.bin/faults.test -test.run '^TestFaultRuns$$' -test.v -test.timeout 0 -runs $(RUNS) $(if $(SEED),-run-seed $(SEED)) $(foreach flag,$(FAULTFLAGS),'$(flag)')

.PHONY: $(BIN)/faults.test
$(BIN)/faults.test:
	go test -c -tags '$(TAGS) faults' -o $@ ./e2e

sim: $(BIN)/sim.test ## simulate clusters under faults for two minutes, with fresh seeds and all that ever failed; SEED=n replays one
	cd e2e/sim && ../../.bin/sim.test -test.run '^TestSim$$' -test.v -test.timeout 1h $(if $(SEED),-replay $(SEED),-for 2m) $(SIMFLAGS)

sim-soak: $(BIN)/sim.test ## simulate with fresh seeds for HOURS, on all processors
	cd e2e/sim && ../../.bin/sim.test -test.run '^TestSim$$' -test.v -test.timeout 0 -soak -for $(HOURS)h $(SIMFLAGS)

sim-mutations: $(BIN)/sim.test ## break licet and Raft in each known way, and see that simulations find it; writes docs/mutations.md
	cd e2e/sim && ../../.bin/sim.test -test.run '^TestMutations$$' -test.v -test.timeout 0 -mutations 40 -table ../../docs/mutations.md $(SIMFLAGS)

# Seeds repeat with a few files of the runtime changed. A toolchain that overlay does not know simulates all the same, and seeds don't repeat.
.PHONY: $(BIN)/sim.test
$(BIN)/sim.test:
	if go run ./e2e/sim/overlay $(BIN)/sim; then \
		CGO_ENABLED=0 go test -c -trimpath -tags '$(TAGS) repeat' -overlay $(BIN)/sim/overlay.json -o $@ ./e2e/sim; \
	else \
		go test -c -o $@ ./e2e/sim; \
	fi

# Two tests walk long tables, one request or short process after the other: `test` runs them, the detector would learn nothing in their minutes.
race: ## test with the race detector; needs a C compiler
	CGO_ENABLED=1 go test -race -timeout $(TIMEOUT) -skip '^TestEveryRouteWithEveryRole$$' $(TESTFLAGS) $(UNIT)
	CGO_ENABLED=1 go test -race -p 1 -timeout $(TIMEOUT) -skip '^TestBadCalls$$' $(TESTFLAGS) $(E2E)

lint: $(BIN)/lint.stamp $(BIN)/tools.stamp ## check the code against .golangci.yml, and messages against buf.yaml
	$(BIN)/buf lint
	$(BIN)/golangci-lint run --allow-serial-runners ./...

fmt: $(BIN)/lint.stamp ## format the code as lint wants it
	$(BIN)/golangci-lint fmt ./...

generate: $(BIN)/tools.stamp ## write generated code anew: protobuf, gRPC, API types
	PATH="$(BIN):$$PATH" $(BIN)/buf generate
	PATH="$(BIN):$$PATH" $(BIN)/buf generate --template fsm/fsmpb/buf.gen.yaml --path fsm
	$(BIN)/oapi-codegen -config api/apiv1/oapi-codegen.yaml api/openapi.yaml

fuzz: ## run every fuzz target for FUZZTIME (5s)
	.ci/fuzz $(FUZZTIME)

fuzz-long: ## run every fuzz target for ten minutes
	.ci/fuzz 10m

bench: ## measure: bare Raft beside licet in one process and over HTTP; the state machine; snapshots
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -timeout 60m $(UNIT)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(DEATHS)x -timeout 60m ./e2e

compare: ## measure licet beside etcd and bare Raft: ratios, on a machine that does nothing else
	cd e2e/bench && go run . $(COMPARE)

hostile: ## measure a well-behaved client beside hostile ones; for a machine that does nothing else
	go test -run '^TestHostileClients$$' -count=1 -v ./e2e -timed

million: ## measure three nodes with a million live leases: minutes, and 4 GB of memory
	go test -run '^TestManyLeases$$' -count=1 -v -timeout 60m ./e2e -leases $(LEASES) -quiet 60s

cover: ## test with coverage, across packages, into cover.out
	go test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=cover.out $(UNIT)
	go tool cover -func=cover.out | tail -1

vuln: $(BIN)/vuln.stamp ## look dependencies up in the Go vulnerability database; docs/findings.md has what is accepted; VULNDB=file:///… is a copy
	go test -tags '$(TAGS) vuln' -run '^TestGovulncheck$$' -count=1 -timeout $(TIMEOUT) . $(if $(VULNDB),-db $(VULNDB))

formats: $(BIN)/tools.stamp ## check that no stored or spoken format of the past was changed
	BUF=$(BIN)/buf .ci/formats

runbook: ## follow the commands of docs/operations.md; needs bash, curl and openssl 3
	go test -tags '$(TAGS) runbook' -run '^TestRunbook$$' -count=1 -timeout $(TIMEOUT) -v ./e2e

openssl: ## verify documents by docs/formats.md alone; needs openssl 3 and bash
	go test -tags=$(TAGS),openssl -count=1 -run OpenSSL -v ./fsm/signed

prometheus: ## check alert rules, dashboard and metrics; needs promtool (Debian: package prometheus)
	go test -tags=$(TAGS),promtool -count=1 -run Promtool -v ./metrics

upgrade: ## upgrade nodes of an earlier build to this one and back, under load; needs the git history
	.ci/upgrade

image: build ## build the Docker image licet:dev, which is ./licet alone
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && cp licet deploy/Dockerfile "$$scratch" && \
	DOCKER_BUILDKIT=0 docker build -q --build-arg VERSION="$$(./licet version | cut -d ' ' -f 2)" -t licet:dev "$$scratch"

docker-up: image ## start three nodes in containers; licet-docker/ keeps their data
	@deploy/containers up

docker-down: ## stop and remove those containers, and keep their data
	@deploy/containers down

docker-test: image ## test three nodes in containers; needs Docker
	go test -tags '$(TAGS) docker' -run '^TestDocker' -count=1 -timeout $(TIMEOUT) $(TESTFLAGS) ./e2e

package: build $(BIN)/package.stamp ## make the Debian package of ./licet in dist/
	@NFPM=$(BIN)/nfpm deploy/package dist

package-test: package ## install the package on three machines, as the Vagrantfile does, in containers that boot Debian; needs root, Docker and ruby
	.ci/debian
	go test -tags '$(TAGS) docker' -run '^TestPackage' -count=1 -timeout $(TIMEOUT) $(TESTFLAGS) ./e2e -package '$(CURDIR)/dist' -nfpm $(BIN)/nfpm

reproducible: $(BIN)/package.stamp ## build program and package twice, in two directories and from an empty cache, and compare
	NFPM=$(BIN)/nfpm .ci/reproducible

vagrant-up: package ## start three machines with Vagrant
	@LICET=./licet deploy/make-secrets licet-vagrant/secrets $$(sed -n 's/^  "\(.*\)" => "\(.*\)",/\1=\2/p' Vagrantfile)
	vagrant up

ci: ## what a change must pass
	bash .ci/run

clean: ## remove what was built
	rm -rf .bin licet dist cover.out

# Tools are built from the modules in tools/, which pin them, and again when those change.
# Their builds take neither the project's tags nor its work tree's state.
$(BIN)/tools.stamp: tools/go.mod tools/go.sum
	cd tools && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -o $(BIN)/ tool
	@touch $@

$(BIN)/lint.stamp: tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -o $(BIN)/ tool
	@touch $@

$(BIN)/vuln.stamp: tools/vuln/go.mod tools/vuln/go.sum
	cd tools/vuln && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -o $(BIN)/ tool
	@touch $@

$(BIN)/package.stamp: tools/package/go.mod tools/package/go.sum
	cd tools/package && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -o $(BIN)/ tool
	@touch $@
