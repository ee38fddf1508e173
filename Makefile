# Short names for what the README explains; the playbooks are the real interface.
INVENTORY ?= inventories/sandbox
VENV := .venv
ANSIBLE := $(VENV)/bin/ansible-playbook
# Words of yours reach the shell as they are, with blanks, apostrophes and all.
quote = '$(subst ','\'',$(1))'
comma := ,
# Several inventories: INVENTORY=one,two.
SOURCES = $(subst $(comma),' ',$(call quote,$(INVENTORY)))
INVENTORIES = -i $(subst $(comma),' -i ',$(call quote,$(INVENTORY)))
# A path from here; make's own abspath takes a path with a blank for two.
here = $(if $(filter /%,$(firstword $(1))),$(1),$(if $(1),$(CURDIR)/$(1)))
# A variable of Ansible's with a text as it is: key=value would split it at blanks.
extra = -e $(call quote,{"$(1)": "$(subst ",\",$(subst \,\\,$(2)))"})

# Ansible refuses to start with a locale that this machine does not have, and this one every Debian has.
export LC_ALL := C.UTF-8
LOCK ?= requirements/lock.txt

# The sandbox's release, its number of controllers and compute nodes, whether it is IPv6 only, whether it has TLS, a dashboard, and
# Ceph: make cloud RELEASE=zed CONTROLLERS=3 COMPUTES=2 IPV6=1 TLS=0 DASHBOARD=1 STORAGE=ceph, and the same for the targets after it.
export KILONOVA_RELEASE := $(or $(RELEASE),$(KILONOVA_RELEASE))
export KILONOVA_CONTROLLERS := $(or $(CONTROLLERS),$(KILONOVA_CONTROLLERS))
export KILONOVA_COMPUTES := $(or $(COMPUTES),$(KILONOVA_COMPUTES))
export KILONOVA_IPV6 := $(or $(IPV6),$(KILONOVA_IPV6))
export KILONOVA_TLS := $(or $(TLS),$(KILONOVA_TLS))
export KILONOVA_DASHBOARD := $(or $(DASHBOARD),$(KILONOVA_DASHBOARD))
export KILONOVA_STORAGE := $(or $(STORAGE),$(KILONOVA_STORAGE))

# Faster on many tasks, never required: make site MITOGEN=1.
ifdef MITOGEN
$(VENV)/mitogen: $(VENV)/ready requirements/mitogen.txt
	$(VENV)/bin/pip install --quiet --requirement requirements/mitogen.txt && touch $@
cloud site plan: $(VENV)/mitogen
export ANSIBLE_STRATEGY := mitogen_linear
export ANSIBLE_STRATEGY_PLUGINS = $(shell $(VENV)/bin/python -c 'import ansible_mitogen, os; print(os.path.dirname(ansible_mitogen.__file__))')/plugins/strategy
endif

.PHONY: plan history certificates rotate-certificates remove-compute rotate-secrets test-trust test-dashboard test-storage test-ha test-releases verify health trace tempest report help cloud test secrets site destroy bench lint unit recreate molecule
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

# CACHE=off: packages are installed on every host, instead of once into images that are kept.
cloud: export KILONOVA_IMAGES = $(or $(CACHE),on)
cloud: $(VENV)/ready secrets ## a running cloud in two containers, with an instance in it (RELEASE=zed, CONTROLLERS=3, COMPUTES=2, IPV6=1, TLS=0, DASHBOARD=1, STORAGE=ceph)
	$(ANSIBLE) $(INVENTORIES) playbooks/cloud.yml

site: $(VENV)/ready ## install onto the hosts of INVENTORY (LIMIT=localhost,controllers,compute2)
	$(ANSIBLE) $(INVENTORIES) playbooks/site.yml $(if $(LIMIT),--limit $(call quote,$(LIMIT)))

plan: $(VENV)/ready ## list what `make site` would change, and change nothing
	$(ANSIBLE) $(INVENTORIES) playbooks/site.yml --check --diff $(if $(LIMIT),--limit $(call quote,$(LIMIT)))

remove-compute: $(VENV)/ready ## take the compute node COMPUTE out of the cloud; refused while instances are there
	$(ANSIBLE) $(INVENTORIES) playbooks/remove_compute.yml $(call extra,remove_compute_name,$(COMPUTE))

# Some shells have a HOST in the environment, which is this machine.
history: $(VENV)/ready ## what was changed on the hosts, when and why (HOST=compute1, SINCE=2026-11-24 or 7d)
	$(ANSIBLE) $(INVENTORIES) playbooks/history.yml $(if $(filter command,$(origin HOST)),--limit $(call quote,$(HOST))) $(if $(SINCE),$(call extra,history_since,$(SINCE)))

secrets: $(VENV)/ready ## make the secrets and the certificates that INVENTORY lacks
	$(VENV)/bin/python -m kilonova.run.secrets $(SOURCES)

certificates: $(VENV)/ready ## make the certificates alone
	$(ANSIBLE) $(INVENTORIES) playbooks/certificates.yml

# Each step on all hosts before the next one begins. If it dies, run it again: it continues.
rotate-certificates: $(VENV)/ready ## renew certificates that end soon, or all (ONLY=hosts, ONLY=authority), while the cloud answers
	$(ANSIBLE) $(INVENTORIES) playbooks/certificates.yml $(call extra,certificates_renew,$(or $(ONLY),soon))
	while step=$$($(VENV)/bin/python -m kilonova.run.authorities $(SOURCES)) || exit; [ -n "$$step" ]; do echo "$$step"; \
	  $(ANSIBLE) $(INVENTORIES) playbooks/site.yml && \
	  $(ANSIBLE) $(INVENTORIES) playbooks/certificates.yml $(call extra,certificates_next,true) || exit; done

rotate-secrets: $(VENV)/ready ## give secrets new values, on every host (ONLY=nova_pass,fernet_keys; VALUES=file.yml has your own)
	$(VENV)/bin/python -m kilonova.run.secrets $(SOURCES) --rotate $(call quote,$(or $(ONLY),all)) $(if $(VALUES),--values $(call quote,$(VALUES)))
	$(ANSIBLE) $(INVENTORIES) playbooks/rotate_secrets.yml $(call extra,rotate_secrets_only,$(or $(ONLY),all))

destroy: $(VENV)/ready ## remove the sandbox (IMAGE=1: its images too)
	$(ANSIBLE) $(INVENTORIES) playbooks/destroy.yml -e sandbox_remove_image=$(if $(IMAGE),true,false)

test: lint unit recreate molecule ## lint, unit tests and the molecule scenario (a real deployment)

test-trust: $(VENV)/ready ## plans, crashes, rollbacks, removed hosts, secrets and wrong input, on real deployments (some hours)
	$(VENV)/bin/python -m pytest tests/trust

lint: $(VENV)/ready ## ansible-lint, yamllint and ruff
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/yamllint --strict . && $(VENV)/bin/ansible-lint --strict --offline

unit: $(VENV)/ready ## tests of the Python parts and of the roles' data, on all processors
	$(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal

recreate: $(VENV)/ready ## re-create the option catalogue of two releases from their packages, and compare
	$(VENV)/bin/python -m pytest -m recreate

molecule: $(VENV)/ready ## deploy, deploy again, verify and destroy a separate sandbox
	rm -f build/molecule/secrets.yml molecule/inventory/group_vars/*/certificates.json
	PATH='$(subst ','\'',$(CURDIR))/$(VENV)/bin':$$PATH $(VENV)/bin/molecule test

test-dashboard: $(VENV)/ready ## the same with a dashboard and all kinds of consoles, used by a browser
	rm -f build/molecule/secrets.yml molecule/inventory/group_vars/*/certificates.json
	PATH='$(subst ','\'',$(CURDIR))/$(VENV)/bin':$$PATH $(VENV)/bin/molecule test --scenario-name dashboard

test-storage: $(VENV)/ready ## the same with Ceph and volumes
	PATH='$(subst ','\'',$(CURDIR))/$(VENV)/bin':$$PATH $(VENV)/bin/molecule test --scenario-name storage

test-ha: $(VENV)/ready ## the same with three controllers, which die one after the other while users work
	rm -f build/molecule/secrets.yml molecule/inventory/group_vars/*/certificates.json
	PATH='$(subst ','\'',$(CURDIR))/$(VENV)/bin':$$PATH $(VENV)/bin/molecule test --scenario-name controllers

test-releases: $(VENV)/ready ## the same for every release that Debian carries
	PATH='$(subst ','\'',$(CURDIR))/$(VENV)/bin':$$PATH; for scenario in zed epoxy latest; do molecule test --scenario-name $$scenario || exit; done

verify: $(VENV)/ready ## live a tenant's day on the cloud of INVENTORY (VERIFY=boot,console picks rows)
	$(ANSIBLE) $(INVENTORIES) playbooks/verify.yml $(if $(VERIFY),$(call extra,verify_rows,$(VERIFY)))

health: $(VENV)/ready ## whether the cloud of INVENTORY works now; build/health.json has it for monitoring
	$(ANSIBLE) $(INVENTORIES) playbooks/health.yml

trace: $(VENV)/ready ## follow one launch through every service (FROM=dashboard: made by a browser)
	$(ANSIBLE) $(INVENTORIES) playbooks/trace.yml $(if $(FROM),$(call extra,trace_from,$(FROM)))

tempest: $(VENV)/ready ## run Tempest on the cloud (TEMPEST=regex, smoke tests without it)
	$(ANSIBLE) $(INVENTORIES) playbooks/tempest.yml $(if $(TEMPEST),$(call extra,tempest_regex,$(TEMPEST)))

report: $(VENV)/ready ## make build/report/index.html of what was verified, traced and tested
	$(ANSIBLE) playbooks/report.yml

bench: export KILONOVA_BENCH_BASE = $(value BASE)
bench: $(VENV)/ready secrets ## measure a fresh and an unchanged run against their floor (BASE=commit: and those of that commit)
	$(VENV)/bin/python -m tools.bench

$(VENV)/ready: $(LOCK) pyproject.toml
	tools/make_venv $(VENV) $(LOCK)

.PHONY: config validate translate guide bench-config bench-hosts

config: $(VENV)/ready ## every host's files below OUT (build/config), no host contacted (RELEASE=..., SECRETS=hide)
	$(ANSIBLE) $(INVENTORIES) playbooks/config.yml $(call extra,config_out,$(call here,$(or $(OUT),build/config))) $(if $(RELEASE),$(call extra,config_release,$(RELEASE))) $(call extra,config_secrets,$(or $(SECRETS),show))

validate: $(VENV)/ready ## check every host's files against the options of its release (or RELEASE=...)
	$(ANSIBLE) $(INVENTORIES) playbooks/config.yml $(if $(RELEASE),$(call extra,config_release,$(RELEASE)))

# By the environment, not as words of the command: a file's name may have blanks, quotes and whatever else in it.
translate: export KILONOVA_TRANSLATE_CONF = $(value CONF)
translate: export KILONOVA_TRANSLATE_FROM = $(value FROM)
translate: export KILONOVA_TRANSLATE_TO = $(value TO)
translate: export KILONOVA_TRANSLATE_OUT = $(value OUT)
translate: $(VENV)/ready ## carry a nova.conf to a later release: CONF=old.conf FROM=ocata TO=zed OUT=new.conf
	$(ANSIBLE) -i localhost, playbooks/translate.yml

bench-config: $(VENV)/ready ## measure `make config` for 1,000 and 5,000 hosts
	$(VENV)/bin/python -m tools.bench_config

bench-hosts: $(VENV)/ready ## measure site.yml for 3 and 53 hosts that are not there
	$(VENV)/bin/python -m tools.bench_hosts

guide: $(VENV)/ready ## the install guide line by line: the task, what it becomes (RELEASE=...), and why; writes docs/guide.md
	$(VENV)/bin/python -m kilonova.config.guide --release $(call quote,$(RELEASE))
