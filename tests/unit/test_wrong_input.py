"""Wrong inputs that no host has to be asked about: each is refused with exactly its message. tests/trust has the others."""

import os
import subprocess
import sys

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from wrong_input import walk

from kilonova.config import inventories
from kilonova.run import variables

NETWORK = "10.20"
LOCAL = [case for case in walk.cases() if not case.asks_host]
# One of each kind goes all the way from the command line.
REAL = [LOCAL[at] for at in range(0, len(LOCAL), 20)]


def said(directory, foreign=()):
    """What the checks say of an inventory."""
    loader = DataLoader()
    read = InventoryManager(loader, sources=[str(directory)])
    hostvars = HostVars(read, VariableManager(loader=loader, inventory=read), loader)
    inventory = inventories.Inventory.of_ansible({"hostvars": hostvars, "groups": read.get_groups_dict()})
    return [str(problem) for problem in variables.check_inventory(inventory, foreign)[0]]


@pytest.fixture(autouse=True)
def usual_sandbox(monkeypatch):
    """The sandbox's inventory reads its name and addresses from the environment."""
    monkeypatch.setenv("KILONOVA_NETWORK", NETWORK)
    monkeypatch.delenv("KILONOVA_SANDBOX", raising=False)


def test_the_inventory_without_a_change_is_right(tmp_path):
    case = walk.Case("nothing", "")
    assert said(case.inventory(tmp_path / "inventory", walk.good_secrets(), NETWORK)) == []


@pytest.mark.parametrize("case", LOCAL, ids=lambda case: case.name)
def test_refused(case, tmp_path):
    assert said(case.inventory(tmp_path / "inventory", walk.good_secrets(), NETWORK)) == [case.expected(NETWORK)]


@pytest.mark.parametrize("case", REAL, ids=lambda case: case.name)
def test_refused_by_the_playbook(case, tmp_path):
    """Before a host is contacted: there is none here."""
    inventory = case.inventory(tmp_path / "inventory", walk.good_secrets(), NETWORK)
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(walk.TREE / "playbooks" / "site.yml")],
        cwd=walk.TREE,
        env={**os.environ, "ANSIBLE_CONFIG": str(walk.TREE / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert case.is_said(done.stdout.replace('\\"', '"'), NETWORK), done.stdout
    assert "Check the hosts" not in done.stdout


def test_enough_cases():
    assert len(walk.cases()) >= 45
    assert len({case.name for case in walk.cases()}) == len(walk.cases())


def test_the_document_lists_them():
    """`python tests/wrong_input/walk.py` writes the table."""
    assert walk.DOCUMENT.read_text(encoding="utf-8") == walk.document()


@pytest.mark.parametrize("name", ["nova_backend_ceph", "neutron_mine"])
def test_an_operator_may_have_names_of_his_own(name, tmp_path):
    """Those that another variable reads, and those that are listed."""
    read = walk.Case("", "", variables={name: "cloud.example.org", "openstack_public_host": f"{{{{ {name} }}}}"})
    assert said(read.inventory(tmp_path / "read", walk.good_secrets(), NETWORK)) == []
    listed = walk.Case("", "", variables={name: 1})
    inventory = listed.inventory(tmp_path / "listed", walk.good_secrets(), NETWORK)
    assert len(said(inventory)) == 1
    assert said(inventory, foreign=[name]) == []


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ groups.nobody[0] }}", "'dict object' has no attribute 'nobody'"),
        ("{{ hostvars.compute1.openstack_nothing }}", "'openstack_nothing'"),
        ("{{ ansible_env.HOME }}", "'ansible_env' is undefined"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ 'x' | regex_search('(') }}", "missing ), unterminated subpattern"),
    ],
)
@pytest.mark.parametrize("name", ["openstack_public_host", "openstack_region", "nova_compute_qemu_cpu_model"])
def test_a_template_that_fails_is_named(name, template, why, tmp_path):
    case = walk.Case("", "", variables={name: template})
    (problem,) = said(case.inventory(tmp_path / "inventory", walk.good_secrets(), NETWORK))
    assert f"{name}: cannot be read: " in problem and why in problem
    assert problem.endswith("correct the template in group_vars/all/zz_case.yml")


def test_what_the_hosts_report_has_may_be_waited_for(tmp_path):
    case = walk.Case("", "", variables={"openstack_public_host": "{{ openstack_host.hostname }}"})
    assert said(case.inventory(tmp_path / "inventory", walk.good_secrets(), NETWORK)) == []


@pytest.mark.parametrize(
    "variables",
    [
        # for all hosts, and the same for one of them; of a role that no host has; read on hosts without the role
        {"mysql_max_connections": 500},
        {"neutron_ovn_overrides": {}},
        {"nova_controller_novncproxy_port": 6090},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_a_variable_of_a_role_may_be_set_for_all(variables, tmp_path):
    case = walk.Case("", "", variables=variables, host=variables)
    assert said(case.inventory(tmp_path / "inventory", walk.good_secrets(), NETWORK)) == []
