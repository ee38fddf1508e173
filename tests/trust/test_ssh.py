"""The same cloud reached as real hosts are: by SSH, as an account that becomes root, with Ansible as it is and with mitogen."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from deployment import INVENTORY, PROJECT, SITE

ADDRESSES = {"controller": "0.11", "compute1": "0.21"}
LET_IN = """
set -e
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server > /dev/null
useradd --create-home --shell /bin/bash deployer
install -d -m 0700 -o deployer -g deployer /home/deployer/.ssh
echo '{key}' > /home/deployer/.ssh/authorized_keys
echo 'deployer ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deployer
systemctl start ssh
"""
SHUT_OUT = """
pkill -u deployer; rm -f /etc/sudoers.d/deployer; userdel --force --remove deployer
DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq --auto-remove openssh-server > /dev/null
"""


@pytest.fixture(scope="module")
def inventory(sandbox, tmp_path_factory):
    """An inventory like inventories/multinode, with the sandbox's variables."""
    directory = tmp_path_factory.mktemp("ssh")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"], check=True)
    key = (directory / "key.pub").read_text().strip()
    known, hosts = [], {}
    try:
        for host, address in ADDRESSES.items():
            sandbox.sh(host, LET_IN.format(key=key))
            full = f"{sandbox.network}.{address}"
            known.append(f"{full} {sandbox.sh(host, 'cat /etc/ssh/ssh_host_ed25519_key.pub')}\n")
            hosts[host] = {
                "ansible_host": full,
                "openstack_management_address": full,
                "openstack_tunnel_address": full.replace(".0.", ".1.", 1),
            }
        (directory / "known_hosts").write_text("".join(known))
        sandbox_group = f"sandbox_{sandbox.name}"
        tree = {
            "all": {
                "children": {
                    "controllers": {"hosts": {"controller": hosts["controller"]}},
                    "computes": {"hosts": {"compute1": hosts["compute1"]}},
                    sandbox_group: {"children": {"controllers": {}, "computes": {}}},  # its certificates
                },
                "vars": {
                    **yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["vars"],
                    "ansible_connection": "ssh",
                    "ansible_user": "deployer",
                    "ansible_become": True,
                    "ansible_ssh_private_key_file": str(directory / "key"),
                    "ansible_python_interpreter": "/usr/bin/python3",
                    "ansible_ssh_common_args": f"-o UserKnownHostsFile={directory}/known_hosts -o StrictHostKeyChecking=yes",
                },
            }
        }
        made = directory / "inventory"
        made.mkdir()
        (made / "hosts.yml").write_text(yaml.safe_dump(tree))
        (made / "group_vars").symlink_to(INVENTORY / "group_vars")
        yield made
    finally:
        for host in ADDRESSES:
            sandbox.sh(host, SHUT_OUT, check=False)


def test_by_ssh_nothing_has_to_be_changed(sandbox, inventory):
    assert "Nothing had to be changed on any host." in sandbox.playbook("-i", str(inventory), SITE).stdout


def test_with_mitogen_nothing_has_to_be_changed(inventory, sandbox):
    done = subprocess.run(
        ["make", "site", "MITOGEN=1", f"INVENTORY={inventory}"],
        cwd=PROJECT,
        env=sandbox.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Nothing had to be changed on any host." in done.stdout
