"""What the Linux bridge agent keeps in ebtables."""

import subprocess

import pytest

from kilonova.config.config_files import ROLES

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


CHAIN = """Bridge table: nat

Bridge chain: neutronMAC-tap1, entries: 3, policy: RETURN
1 -i tap1 --among-src fa:16:3e:ac:33:54 -j RETURN
2 -i tap1 --among-src fa:16:3e:ac:33:55 -j RETURN
3 -j DROP
"""


@pytest.mark.parametrize(
    ("arguments", "asked", "status"),
    [
        ("-t nat --concurrent -L", ["-t nat --concurrent -L"], 0),
        ("-t nat --concurrent -D neutronARP-tap1 -p ARP -j DROP", ["-t nat --concurrent -D neutronARP-tap1 -p ARP -j DROP"], 0),
        (
            "-t nat --concurrent -D neutronMAC-tap1 -i tap1 --among-src fa:16:3e:ac:33:55 -j RETURN",
            ["-t nat --concurrent -L neutronMAC-tap1 --Ln", "-t nat --concurrent -D neutronMAC-tap1 2"],
            0,
        ),
        (
            "-t nat --concurrent -D neutronMAC-tap1 -i tap2 --among-src fa:16:3e:ac:33:55 -j RETURN",
            ["-t nat --concurrent -L neutronMAC-tap1 --Ln"],
            1,
        ),
    ],
)
def test_a_rule_with_a_list_of_addresses_is_deleted_by_its_number(tmp_path, arguments, asked, status):
    real, calls, program = tmp_path / "real", tmp_path / "calls", tmp_path / "ebtables"
    real.write_text(f"#!/bin/sh\necho \"$@\" >> {calls}\ncat <<'EOF'\n{CHAIN}EOF\n")
    program.write_text(
        (ROLES / "neutron_linuxbridge/templates/openstack-ebtables.sh.j2").read_text().replace("/usr/sbin/ebtables", str(real))
    )
    for path in (real, program):
        path.chmod(0o755)
    done = subprocess.run([program, *arguments.split()], capture_output=True, text=True, check=False)
    assert (done.returncode, calls.read_text().splitlines()) == (status, asked), done.stderr
    assert status == 0 or "there is no such rule in chain neutronMAC-tap1" in done.stderr
