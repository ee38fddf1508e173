"""Every wrong input from the command line: its exact message, a status that is not 0, and not one byte changed."""

import pytest
from wrong_input import walk


@pytest.mark.parametrize("case", walk.cases(), ids=lambda case: case.name)
def test_refused(case, cloud, tmp_path):
    """Where a host must be asked, the fault is really there."""
    certificates = cloud.certificates if case.asks_host else None
    inventory = case.inventory(tmp_path / "inventory", cloud.secrets, cloud.network, certificates)
    if certificates:
        cloud.run("certificates.yml", inventory=inventory)  # with the names that this case changes
    for host, script in case.steps("prepare", cloud.network).items():
        cloud.shell(host, script)
    try:
        before = cloud.fingerprint()
        done = cloud.run("site.yml", *case.arguments, inventory=inventory)
        assert cloud.fingerprint() == before
    finally:
        for host, script in case.steps("undo", cloud.network).items():
            cloud.shell(host, script)
    assert done.returncode != 0
    assert case.is_said(done.stdout.replace('\\"', '"'), cloud.network), done.stdout[-3000:]
    assert ("Check the hosts" in done.stdout) == case.asks_host


def test_nothing_is_left_of_it(cloud):
    """After all of them a right run has nothing to do."""
    done = cloud.run("site.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " changed=0 " in done.stdout
    assert not [line for line in done.stdout.splitlines() if "changed=" in line and "changed=0" not in line]
