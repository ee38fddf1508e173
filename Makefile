# Short names for what the README explains; the playbooks are the real interface.
INVENTORY ?= inventories/sandbox
VENV := .venv
ANSIBLE := $(VENV)/bin/ansible-playbook
LOCK ?= requirements/lock.txt

# The sandbox's release and its number of compute nodes: make cloud RELEASE=zed COMPUTES=2, and the same for the targets after it.
export KILONOVA_RELEASE := $(or $(RELEASE),$(KILONOVA_RELEASE))
export KILONOVA_COMPUTES := $(or $(COMPUTES),$(KILONOVA_COMPUTES))

# Faster on many tasks, never required: make site MITOGEN=1.
ifdef MITOGEN
$(VENV)/mitogen: $(VENV)/ready requirements/mitogen.txt
	$(VENV)/bin/pip install --quiet --requirement requirements/mitogen.txt && touch $@
cloud site plan: $(VENV)/mitogen
export ANSIBLE_STRATEGY := mitogen_linear
export ANSIBLE_STRATEGY_PLUGINS = $(shell $(VENV)/bin/python -c 'import ansible_mitogen, os; print(os.path.dirname(ansible_mitogen.__file__))')/plugins/strategy
endif

.PHONY: plan remove-compute rotate-secrets test-trust test-releases verify trace tempest report help cloud test secrets site destroy bench lint unit recreate molecule
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

cloud: $(VENV)/ready secrets ## a running cloud in two containers, with an instance in it (RELEASE=zed, COMPUTES=2)
	$(ANSIBLE) -i $(INVENTORY) playbooks/cloud.yml

site: $(VENV)/ready ## install onto the hosts of INVENTORY (LIMIT=localhost,controllers,compute2)
	$(ANSIBLE) -i $(INVENTORY) playbooks/site.yml $(if $(LIMIT),--limit '$(LIMIT)')

plan: $(VENV)/ready ## list what `make site` would change, and change nothing
	$(ANSIBLE) -i $(INVENTORY) playbooks/site.yml --check --diff $(if $(LIMIT),--limit '$(LIMIT)')

remove-compute: $(VENV)/ready ## take the compute node COMPUTE out of the cloud; refused while instances are there
	$(ANSIBLE) -i $(INVENTORY) playbooks/remove_compute.yml -e remove_compute_name='$(COMPUTE)'

secrets: $(VENV)/ready ## generate the secrets that INVENTORY lacks
	$(VENV)/bin/python -m kilonova.secrets $(INVENTORY)

rotate-secrets: $(VENV)/ready ## give secrets new values, on every host (ONLY=nova_pass,fernet_keys; VALUES=file.yml has your own)
	$(VENV)/bin/python -m kilonova.secrets $(INVENTORY) --rotate '$(or $(ONLY),all)' $(if $(VALUES),--values '$(VALUES)')
	$(ANSIBLE) -i $(INVENTORY) playbooks/rotate_secrets.yml -e rotate_secrets_only='$(or $(ONLY),all)'

destroy: $(VENV)/ready ## remove the sandbox (IMAGE=1: its base image too)
	$(ANSIBLE) -i $(INVENTORY) playbooks/destroy.yml -e sandbox_remove_image=$(if $(IMAGE),true,false)

test: lint unit recreate molecule ## lint, unit tests and the molecule scenario (a real deployment)

test-trust: $(VENV)/ready ## plans, crashes, rollbacks, removed hosts, secrets and wrong input, on real deployments (about an hour)
	$(VENV)/bin/python -m pytest tests/trust

lint: $(VENV)/ready ## ansible-lint, yamllint and ruff
	$(VENV)/bin/ruff check . && $(VENV)/bin/yamllint --strict . && $(VENV)/bin/ansible-lint --strict --offline

unit: $(VENV)/ready ## tests of the Python parts and of the roles' data
	$(VENV)/bin/python -m pytest

recreate: $(VENV)/ready ## re-create the option catalogue of two releases from their packages, and compare
	$(VENV)/bin/python -m pytest -m recreate

molecule: $(VENV)/ready ## deploy, deploy again, verify and destroy a sandbox of its own
	$(VENV)/bin/python tests/trust/hostile.py inventories/sandbox build/molecule/inventory
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH $(VENV)/bin/molecule test

test-releases: $(VENV)/ready ## the same for every release that Debian carries
	$(VENV)/bin/python -m kilonova.secrets inventories/sandbox
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH; for scenario in zed epoxy latest; do molecule test --scenario-name $$scenario || exit; done

verify: $(VENV)/ready ## live a tenant's day on the cloud of INVENTORY (VERIFY=boot,console picks rows)
	$(ANSIBLE) -i $(INVENTORY) playbooks/verify.yml $(if $(VERIFY),-e verify_rows=$(VERIFY))

trace: $(VENV)/ready ## follow one launch through every service
	$(ANSIBLE) -i $(INVENTORY) playbooks/trace.yml

tempest: $(VENV)/ready ## run Tempest on the cloud (TEMPEST=regex, smoke tests without it)
	$(ANSIBLE) -i $(INVENTORY) playbooks/tempest.yml $(if $(TEMPEST),-e tempest_regex='$(TEMPEST)')

report: $(VENV)/ready ## make build/report/index.html of what was verified, traced and tested
	$(ANSIBLE) playbooks/report.yml

bench: $(VENV)/ready secrets ## measure a fresh and an unchanged run against their floor
	$(VENV)/bin/python -m tools.bench

$(VENV)/ready: $(LOCK) pyproject.toml
	tools/make_venv $(VENV) $(LOCK)

.PHONY: config validate translate guide bench-config

config: $(VENV)/ready ## every host's files below OUT (build/config), no host contacted (RELEASE=..., SECRETS=hide)
	$(ANSIBLE) -i $(INVENTORY) playbooks/config.yml -e config_out='$(abspath $(or $(OUT),build/config))' $(if $(RELEASE),-e config_release='$(RELEASE)') -e config_secrets=$(or $(SECRETS),show)

validate: $(VENV)/ready ## check every host's nova.conf against the options of its release (or RELEASE=...)
	$(ANSIBLE) -i $(INVENTORY) playbooks/config.yml $(if $(RELEASE),-e config_release='$(RELEASE)')

# By the environment, not as words of the command: a file's name may have blanks, quotes and whatever else in it.
translate: export KILONOVA_TRANSLATE_CONF = $(value CONF)
translate: export KILONOVA_TRANSLATE_FROM = $(value FROM)
translate: export KILONOVA_TRANSLATE_TO = $(value TO)
translate: export KILONOVA_TRANSLATE_OUT = $(value OUT)
translate: $(VENV)/ready ## carry a nova.conf to a later release: CONF=old.conf FROM=ocata TO=zed OUT=new.conf
	$(ANSIBLE) -i localhost, playbooks/translate.yml

bench-config: $(VENV)/ready ## measure `make config` for 1,000 and 5,000 hosts
	$(VENV)/bin/python -m tools.bench_config

guide: $(VENV)/ready ## the install guide line by line: the task, what it becomes (RELEASE=...), and why; writes docs/guide.md
	$(VENV)/bin/python -m kilonova.guide --release '$(RELEASE)'
