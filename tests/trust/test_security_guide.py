"""The Security Guide's checks hold after the packages were installed again, which brings their own owners and modes back."""

import os
import subprocess
import sys

from canary import TREE

REINSTALL = r"""
export DEBIAN_FRONTEND=noninteractive
packages=$(dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' | awk '$2 == "installed" {print $1}' \
  | grep -E '^(keystone|glance|placement|nova|neutron)-?' | tr '\n' ' ')
apt-get install --quiet --yes --reinstall -o Dpkg::Options::=--force-confold $packages
"""


def test_after_a_reinstallation(cloud):
    """The next run puts right what the packages did."""
    for host in ("controller", "compute1"):
        cloud.shell(host, REINSTALL)
    owner = cloud.shell("controller", "stat --format %U:%G /etc/nova").strip()
    done = cloud.run("site.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert owner != "root:nova"  # else this would prove nothing
    checks = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "molecule/default/tests/test_security_guide.py"],
        cwd=TREE,
        env={**os.environ, **cloud.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checks.returncode == 0, checks.stdout[-3000:]
