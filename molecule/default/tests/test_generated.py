"""The configuration generator, from the inventory alone, makes the files that the deployment wrote, byte by byte."""

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from conftest import PROJECT

from kilonova import generate


@pytest.fixture(scope="module")
def generated():
    """Host -> path -> file."""
    loader = DataLoader()
    read = InventoryManager(loader, sources=[str(PROJECT / "inventories/sandbox")])
    hostvars = HostVars(read, VariableManager(loader=loader, inventory=read), loader)
    inventory = generate.Inventory.of_ansible({"hostvars": hostvars, "groups": read.get_groups_dict()})
    files = {host: {} for host in inventory.hosts()}
    for file in generate.files(inventory):
        files[file.host][file.path] = file
    return files


@pytest.mark.parametrize("host", ["controller", "compute1"])
def test_files_are_those_of_the_deployment(host, request, generated):
    """Content, owner and mode."""
    machine = request.getfixturevalue(host)
    assert len(generated[host]) > 5
    different = []
    for path, file in generated[host].items():
        real = machine.file(path)
        rights = (real.user, real.group, real.mode) if real.exists else None
        declared = (str(file.entry.get("owner", "root")), str(file.entry.get("group", "root")), file.mode)
        # Compared here, not by assert: a difference may be a secret, and the log of a test is public.
        if rights != declared or real.content != file.text.encode():
            different.append(path)
    assert different == []


@pytest.mark.parametrize("host", ["controller", "compute1"])
def test_no_file_of_ours_is_missing(host, request, generated):
    """What bears our mark below /etc is generated, all of it."""
    machine = request.getfixturevalue(host)
    command = "grep --recursive --files-with-matches --max-count=1 'Written by Kilonova' /etc /root /usr/local 2>/dev/null"
    found = {path for path in machine.run(command).stdout.split() if not path.endswith(".orig")}
    assert found <= set(generated[host])
