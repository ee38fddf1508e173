"""A database and a message queue that somebody else runs: a third machine of the sandbox, set up by hand as such are."""

from __future__ import annotations

import json
import os
import re

import pytest
from deployment import INVENTORY, SITE, Deployment

from kilonova.run import secrets

ADMIN_PASS = "adm/n'@:%$\" of the database"
VHOST = "cloud"
SET_UP = r"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends mariadb-server rabbitmq-server > /dev/null
cat > /etc/mysql/mariadb.conf.d/99-here.cnf <<END
[mysqld]
bind-address = 0.0.0.0
port = 3307
max_connections = 1000
innodb_snapshot_isolation = off
END
echo 'listeners.tcp.default = 0.0.0.0:5673' > /etc/rabbitmq/rabbitmq.conf
systemctl restart mariadb rabbitmq-server
mariadb -e "CREATE OR REPLACE USER admin@'%' IDENTIFIED BY '{sql}'; GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION;"
mariadb -e "CREATE DATABASE billing; CREATE USER nova@'billing.example.org' IDENTIFIED BY 'x'"
rabbitmqctl -q add_vhost {vhost}
"""


class External(Deployment):
    """The third machine is a compute node's container, which is in the group for the sandbox only."""

    def __init__(self, name: str, network: str):
        super().__init__(name, network, ("controller", "compute1", "compute2"))
        self.variables = {
            "openstack_database_host": f"{network}.0.22",
            "openstack_database_port": 3307,
            "openstack_rabbit_host": f"{network}.0.22",
            "openstack_rabbit_port": 5673,
            "openstack_rabbit_vhost": VHOST,
            "openstack_rabbit_user": "cloudqueue",
        }
        self.admin = {"openstack_database_admin_user": "admin", "openstack_database_admin_pass": ADMIN_PASS}

    def site(self, *arguments, check=True, **variables):
        """site.yml with these servers; its output."""
        given = json.dumps({**self.variables, **variables})
        return self.playbook(SITE, "-e", given, *arguments, check=check).stdout


@pytest.fixture(scope="module")
def cloud():
    """Hosts that are fresh, and the servers of somebody else."""
    found = External(os.environ.get("KILONOVA_SANDBOX") or "external", os.environ.get("KILONOVA_NETWORK") or "10.26")
    try:
        found.environment["KILONOVA_COMPUTES"] = "2"
        found.create()
        found.environment["KILONOVA_COMPUTES"] = "1"
        quoted = ADMIN_PASS.replace("'", "''").replace('"', '\\"').replace("$", "\\$")
        found.sh("compute2", SET_UP.format(sql=quoted, vhost=VHOST))
        yield found
    finally:
        found.environment["KILONOVA_COMPUTES"] = "2"
        found.destroy()


def add_queue_account(cloud):
    """As its operator does it."""
    password = secrets.values(INVENTORY)["openstack_rabbit_pass"]
    cloud.sh("compute2", f"rabbitmqctl -q add_user cloudqueue '{password}'")
    cloud.sh("compute2", f"rabbitmqctl -q set_permissions -p {VHOST} cloudqueue '.*' '.*' '.*'")


def test_what_is_missing_is_said_with_the_statements_that_make_it(cloud):
    said = " ".join(cloud.site(check=False).replace('\\"', '"').split())
    assert "openstack_database_admin_user is not set, so what is missing there is not made here" in said
    address = f"{cloud.network}.0.11"
    for part in (
        f"MariaDB at {cloud.network}.0.22:3307 refuses the password of account nova (1045)",
        "CREATE DATABASE IF NOT EXISTS `nova_cell0`;",
        f"CREATE USER IF NOT EXISTS 'nova'@'{address}';",
        f"ALTER USER 'nova'@'{address}' IDENTIFIED BY '<openstack_nova_dbpass>';",
        rf"GRANT ALL PRIVILEGES ON `nova\_api`.* TO 'nova'@'{address}'",
    ):
        assert part in said.replace("\\\\", "\\"), (part, said[-3000:])
    ours = cloud.sh("controller", "ls /var/lib/mysql /etc/mysql/mariadb.conf.d/99-openstack.cnf", check=False)
    assert ours.count("No such file") == 2


def test_without_its_account_the_queue_is_named_and_then_the_cloud_is_made(cloud):
    said = cloud.site("--tags", "rabbitmq", check=False)
    assert "refuses the password of account cloudqueue (403)" in said
    add_queue_account(cloud)
    cloud.site(**cloud.admin)
    ours = cloud.sh("controller", "systemctl list-unit-files mariadb.service rabbitmq-server.service", check=False)
    assert "mariadb" not in ours
    assert "rabbitmq" not in ours
    there = cloud.sh("compute2", "mariadb -BNe 'SHOW DATABASES'").split()
    assert {"keystone", "glance", "placement", "nova_api", "nova", "nova_cell0", "neutron", "billing"} <= set(there)
    others = cloud.sh("compute2", "mariadb -BNe \"SELECT host FROM mysql.user WHERE user = 'nova'\"")
    assert "billing.example.org" in others
    assert cloud.sh("compute2", f"rabbitmqctl -q list_queues -p {VHOST} name").count("\n") > 5


def test_a_second_run_changes_nothing_with_and_without_the_administrator(cloud):
    for variables in (cloud.admin, {}):
        assert "Nothing had to be changed on any host." in cloud.site(**variables)


def test_what_was_changed_there_is_planned_and_put_right_or_named(cloud):
    cloud.sh("compute2", f"mariadb -e \"REVOKE ALL PRIVILEGES ON \\`glance\\`.* FROM glance@'{cloud.network}.0.11'\"")
    said = " ".join(cloud.site(check=False).replace("\\\\", "\\").split())
    named = r"Nothing was changed\. .*does not let account glance use database glance \(1044\); run there: "
    assert re.search(named, said), said[-2000:]
    assert "grant all privileges on glance" in cloud.site("--check", "--diff", **cloud.admin)
    cloud.site(**cloud.admin)
    assert "Nothing had to be changed on any host." in cloud.site()


def test_an_instance_boots_and_answers(cloud):
    """cloud.yml is the sandbox, which is there, the guest image, another run, and the instance."""
    done = cloud.playbook("playbooks/cloud.yml", "-e", json.dumps(cloud.variables))
    assert "it answers: hello from first" in done.stdout
