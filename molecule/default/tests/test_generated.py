"""The configuration generator, from the inventory alone, makes the files that the deployment wrote, byte by byte."""

import hashlib

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from kilonova.config import generate, inventories


@pytest.fixture(scope="module")
def generated(controller, inventory_directory):
    """Host -> path -> file. What the run asked the hosts for, the generator is told: which datapath Open vSwitch has."""
    init_plugin_loader([])  # as ansible-playbook does: the inventory has a file for a plugin
    loader = DataLoader()
    read = InventoryManager(loader, sources=[str(inventory_directory)])
    for host in read.get_hosts():
        host.set_variable("openstack_datapath", controller.check_output("ovs-vsctl get bridge br-int datapath_type").strip('"'))
    hostvars = HostVars(read, VariableManager(loader=loader, inventory=read), loader)
    inventory = inventories.Inventory.of_ansible({"hostvars": hostvars, "groups": read.get_groups_dict()})
    files = {host: {} for host in inventory.hosts()}
    for file in generate.files(inventory):
        files[file.host][file.path] = file
    return files


@pytest.mark.parametrize("host", ["controller", "compute1"])
def test_files_are_those_of_the_deployment(host, request, generated):
    """Content, owner and mode."""
    machine = request.getfixturevalue(host)
    assert len(generated[host]) > 5
    paths = " ".join(generated[host])
    # One question for all files. Digests, because a difference may be a secret, and the log of a test is public.
    rights = machine.run(f"stat --format '%n %U %G %a' {paths}").stdout.splitlines()
    digests = [line.split() for line in machine.run(f"sha256sum {paths}").stdout.splitlines()]
    real = {path: (*words, digest) for (path, *words), (digest, _path) in zip(map(str.split, rights), digests, strict=True)}
    different = []
    for path, file in generated[host].items():
        owner, group = (str(file.entry.get(key, "root")) for key in ("owner", "group"))
        if real.get(path) != (owner, group, f"{file.mode:o}", hashlib.sha256(file.text.encode()).hexdigest()):
            different.append(path)
    assert different == []


@pytest.mark.parametrize("host", ["controller", "compute1"])
def test_no_file_of_ours_is_missing(host, request, generated):
    """What bears our mark below /etc is generated, all of it."""
    machine = request.getfixturevalue(host)
    command = "grep --recursive --files-with-matches --max-count=1 'Written by Kilonova' /etc /root /usr/local 2>/dev/null"
    found = {path for path in machine.run(command).stdout.split() if not path.endswith(".orig")}
    assert found <= set(generated[host])
