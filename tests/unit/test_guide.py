"""Every line of the seed guide has a task, becomes something that the release has, and says why where it differs."""

import json
from collections import Counter

import pytest
import yaml

from kilonova.config import conf, guide
from kilonova.config.catalogue import catalogue
from kilonova.config.config_files import ROLES
from kilonova.config.releases import RELEASES, find

# The guide's commands, as it prints them; its nova.conf files are in tests/data/guide.
COMMANDS = r"""
mysql -uroot -p<Pass_DB>
CREATE DATABASE nova_api;
CREATE DATABASE nova;
GRANT ALL PRIVILEGES ON nova_api.* TO 'nova'@'localhost' IDENTIFIED BY 'Welcome123';
GRANT ALL PRIVILEGES ON nova_api.* TO 'nova'@'%' IDENTIFIED BY 'Welcome123';
GRANT ALL PRIVILEGES ON nova.* TO 'nova'@'localhost' IDENTIFIED BY 'Welcome123';
GRANT ALL PRIVILEGES ON nova.* TO 'nova'@'%' IDENTIFIED BY 'Welcome123';
FLUSH PRIVILEGES;
exit;
source admin-openrc
openstack user create nova --domain default --password Welcome123
openstack role add --project service --user nova admin
openstack role list --user nova --project service
openstack service create --name nova --description "OpenStack Compute" compute
openstack endpoint create --region RegionOne compute public http://controller:8774/v2.1/%\(tenant_id\)s
openstack endpoint create --region RegionOne compute internal http://controller:8774/v2.1/%\(tenant_id\)s
openstack endpoint create --region RegionOne compute admin http://controller:8774/v2.1/%\(tenant_id\)s
apt-get -y install nova-api nova-cert nova-conductor nova-consoleauth nova-novncproxy nova-scheduler
cp /etc/nova/nova.conf /etc/nova/nova.conf.orig
su -s /bin/sh -c "nova-manage api_db sync" nova
su -s /bin/sh -c "nova-manage db sync" nova
service nova-api restart
service nova-cert restart
service nova-consoleauth restart
service nova-scheduler restart
service nova-conductor restart
service nova-novncproxy restart
rm -f /var/lib/nova/nova.sqlite
service nova-compute restart
rm -f /var/lib/nova/nova.sqlite
export OS_PROJECT_DOMAIN_NAME=default
export OS_USER_DOMAIN_NAME=default
export OS_PROJECT_NAME=admin
export OS_USERNAME=admin
export OS_PASSWORD=Welcome123
export OS_AUTH_URL=http://controller:35357/v3
export OS_IDENTITY_API_VERSION=3
export OS_IMAGE_API_VERSION=2
source admin-openrc
openstack compute service list
""".strip().splitlines()
# What the guide says in words.
WORDS = ["Note: comment", "remove log_dir", "comment out any"]

DEFAULT = guide.default_release()
each_release = pytest.mark.parametrize("release", [release.name for release in RELEASES])


@pytest.fixture(scope="module")
def rows():
    """The rows of the release that is installed by default."""
    return guide.Guide(DEFAULT).rows()


def options():
    """(node, section, option) of each row about an option."""
    return [
        (step["node"], row["section"], name)
        for step in guide.data()["steps"]
        for row in step["rows"]
        if "options" in row
        for name in row["options"]
    ]


def test_every_command_of_the_guide_has_a_row(rows):
    """In the guide's order, and nothing that the guide does not have but what is marked so."""
    told = [row.guide for row in rows if row.guide[0] not in "[(" and not row.guide.startswith(tuple(WORDS))]
    assert told == COMMANDS


@pytest.mark.parametrize("node", ["controller", "compute"])
def test_every_option_of_the_guides_files_has_a_row(node):
    file = conf.read(guide.FILES[node].read_bytes())
    expected = Counter((item.section, item.name) for item in file.items)
    assert Counter((section, name) for where, section, name in options() if where == node) == expected


def test_what_the_guide_says_in_words_has_a_row(rows):
    words = [row.guide for row in rows if row.guide.startswith(tuple(WORDS))]
    assert len(words) == 6
    assert all(row.becomes for row in rows)


def test_every_row_has_a_task_that_exists(rows):
    def names(tasks):
        for task in tasks:
            yield task["name"]
            yield from names(task.get("block", []))

    known = {}
    for row in rows:
        path, _, name = row.task.partition(": ")
        if path not in known:
            known[path] = list(names(yaml.safe_load((ROLES / path).read_text(encoding="utf-8"))))
        assert name in known[path], row


@each_release
def test_every_row_says_what_it_becomes_and_why_it_differs(release):
    made = guide.Guide(release)
    rows = made.rows()
    assert made.unknown() == []
    for row in rows:
        assert row.becomes and "Undefined" not in row.becomes, row
        if row.guide[0] == "[" and row.becomes.replace("= true", "= True") != row.guide.replace("= true", "= True"):
            assert row.why, row
    known = catalogue(release)
    for row in rows:
        if row.guide[0] == "[" and row.becomes != "not set":
            for part in row.becomes.split("; "):
                section, name = part.split(" = ")[0].split("] ")
                assert known.get(section[1:], name), row


def test_the_guides_own_release_is_nearly_the_guide():
    """What differs in Ocata is named: the fewer, the more the data is the guide."""
    rows = guide.Guide("ocata").rows()
    differ = {
        row.guide.split(" = ")[0]
        for row in rows
        if row.guide[0] == "[" and row.becomes.replace("= true", "= True") != row.guide.replace("= true", "= True")
    }
    assert differ == {
        "[DEFAULT] auth_strategy",
        "[DEFAULT] enabled_apis",
        "[DEFAULT] transport_url",
        "[api_database] connection",
        "[database] connection",
        "[keystone_authtoken] auth_uri",
        "[keystone_authtoken] auth_url",
        "[keystone_authtoken] memcached_servers",
        "[keystone_authtoken] project_domain_name",
        "[keystone_authtoken] user_domain_name",
        "[neutron] auth_url",
        "[neutron] project_domain_name",
        "[neutron] user_domain_name",
        "[neutron] metadata_proxy_shared_secret",
        "[oslo_messaging_rabbit] rabbit_host",
        "[oslo_messaging_rabbit] rabbit_password",
        "[oslo_messaging_rabbit] rabbit_userid",
        "[vnc] vncserver_listen",
    }
    restarts = {row.guide: row.becomes for row in rows if row.guide.startswith("service ")}
    assert "not there" not in restarts.values()


def test_services_that_are_gone_are_not_there(rows):
    gone = {row.guide for row in rows if row.becomes == "not there"}
    assert gone == {"service nova-cert restart", "service nova-consoleauth restart"}
    assert all(row.why for row in rows if row.becomes == "not there")


def test_the_page_is_what_the_data_makes(rows):
    assert guide.PAGE.read_text(encoding="utf-8") == guide.page(rows, find(DEFAULT)), "run `make guide`"


def test_the_command_line_writes_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(guide, "REPORT", tmp_path / "report" / "guide.json")
    monkeypatch.setattr(guide, "PAGE", tmp_path / "guide.md")
    assert guide.main(["--release", "2026.2"]) == 0
    assert not guide.PAGE.exists()
    written = json.loads(guide.REPORT.read_text(encoding="utf-8"))
    assert {"step", "guide", "task", "becomes", "why"} == set(written[0])
    assert f"{len(written)} rows" in capsys.readouterr().out
    assert guide.main([]) == 0
    assert guide.PAGE.exists()
    assert guide.main(["--release", "nope"]) == 2
