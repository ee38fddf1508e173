"""Files of every host from the inventory alone: the same as Ansible makes, right for each release, secrets hidden."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from kilonova.config import checking, config_files, declared, generate, inventories, overrides, tree
from kilonova.config.catalogue import errors, validate
from kilonova.config.config_files import ROLES, says_nothing
from kilonova.config.inventories import GenerateError, Inventory
from kilonova.config.releases import RELEASES
from kilonova.run import authorities
from kilonova.run.variables import certificates_of, check_names

TREE = ROLES.parent
SECRETS = {name: f"{word}-of-this-test" for name, word in generate.placeholders().items()}
# Certificates are the business of test_tls.py.
PLAIN = {**SECRETS, "openstack_tls": False}
TWO = {"controllers": ["controller"], "computes": ["compute1"]}
ONE = {"controllers": ["allinone"], "computes": ["allinone"]}


def inventory(groups=TWO, release=None, hosts=None, **variables):
    """An inventory as data; `hosts` has variables of single hosts."""
    names = list(dict.fromkeys(host for members in groups.values() for host in members))
    data = {
        name: {**PLAIN, "openstack_management_address": f"10.0.0.{number}", **variables, **(hosts or {}).get(name, {})}
        for number, name in enumerate(names, start=11)
    }
    return Inventory(data, groups, release=release)


def texts(source, **options):
    """(host, path) -> text."""
    return {(file.host, file.path): file.text for file in generate.files(source, **options)}


# ---------------------------------------------------------------------------------------- the same as Ansible would make

# Values that another templating could read otherwise: quotes, dollars, templates that are none, numbers, null, lists.
HOSTILE = {
    "openstack_nova_pass": "p@ss:w/ord%41$x'#\"&",
    "openstack_rabbit_pass": "a,b[c]?d#e&f=g $ 100%",
    "openstack_metadata_secret": "-----begin: a # b\\n",
}
EXTRAS = """
  vars:
    site_vendor: "15b3"
    openstack_workers: 3
    openstack_public_host: "cloud.{{ site_domain }}"
    site_domain: "{{ ['example', 'org'] | join('.') }}"
    site_debug: "{{ inventory_hostname in groups['computes'] }}"
    rabbitmq_overrides: {rabbitmq.conf: {DEFAULT: {disk_free_limit.absolute: 1GB}}}
    openstack_overrides:
      keystone.conf: {token: {expiration: "{{ openstack_workers * 1200 }}"}}
      nova.conf: {DEFAULT: {debug: true, instance_usage_audit: true}}
      99-openstack.cnf: {mysqld: {max_connections: 5000}}
    openstack_datapath: "{{ 'netdev' if site_debug else 'system' }}"
    openstack_vendordata: {site: "{{ site_domain }}", dns: [192.0.2.53], name: 'Zürich "1"'}
    openstack_public_image_url: "https://{{ openstack_public_host }}/image"
    nova_controller_policy:
      "os_compute_api:servers:create": "role:member and project_id:%(project_id)s"
      "os_compute_api:servers:index": "@"
    nova_compute_overrides:
      nova.conf:
        DEFAULT:
          debug: "{{ site_debug }}"
          # Another host's variable, and a text that only looks like a template.
          default_availability_zone: "zone-{{ hostvars[groups['controllers'][0]].site_domain }}"
          instance_name_template: !unsafe "{{ not a template }}-%08x"
          instance_usage_audit_period: null
          # What only Ansible's own templar resolves, and a list.
          internal_service_availability_zone: >-
            {{ lookup('pipe', 'echo zone') }}-{{ lookup('vars', 'site_domain') }}-{{ now().month > 0 }}
          non_inheritable_image_properties: [cache_in_nova, bittorrent]
        # Text that looks like a mapping after a template: ansible-core before 2.19 makes one of it.
        pci: {alias: ['{"name": "a"}', '{"name": "b", "vendor_id": "{{ site_vendor }}"}']}
        libvirt: "{{ {'cpu_mode': 'none'} | combine({'images_type': 'qcow2'}) }}"
"""


def write_inventory(path: Path, groups):
    """An inventory with what is difficult in it."""
    children = "\n".join(f"    {group}: {{hosts: {{{hosts[0]}: }}}}" for group, hosts in groups.items())
    addresses = "\n".join(
        f"    {host}: {{openstack_management_address: 10.0.0.{number}, ansible_connection: local}}"
        for number, host in enumerate(dict.fromkeys(host for hosts in groups.values() for host in hosts), start=11)
    )
    (path / "group_vars" / "all").mkdir(parents=True)
    (path / "hosts.yml").write_text(f"all:\n  children:\n{children}\n  hosts:\n{addresses}{EXTRAS}", encoding="utf-8")
    (path / "group_vars" / "all" / "secrets.yml").write_text(yaml.safe_dump({**SECRETS, **HOSTILE}), encoding="utf-8")
    # Ansible remembers which files there are.
    authorities.file_of(path, "all").write_text("{}")
    source = of_ansible(path)
    held, wanted = certificates_of({name: source.host(name) for name in source.hosts()})
    authorities.write(authorities.file_of(path, "all"), held, authorities.complete(held, wanted)[0])
    return path


def run(*arguments, **environment):
    """Run ansible-playbook in the tree."""
    program = Path(sys.executable).with_name("ansible-playbook")
    settings = {**os.environ, "ANSIBLE_CONFIG": str(TREE / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **environment}
    return subprocess.run([program, *map(str, arguments)], cwd=TREE, env=settings, capture_output=True, text=True, check=False)


def ansible_entries(directory: Path, inventory_directory: Path, release: str):
    """What Ansible itself gives to `config_files`: the roles are in the play for their variables, their tasks do not run.

    The overrides are those that Ansible finds as well; that the actions add them is tests/unit/test_overrides.py's.
    """
    plays = []
    for group, roles in inventories.role_data()[1]["openstack_group_roles"].items():
        names = ["openstack_host_roles", *(name for role in roles for name in inventories.file_variables(role))]
        told = list(dict.fromkeys(name for role in roles for name in overrides.variables_of(role)))
        names += [name for name in told if name in overrides.files_of()]
        plays.append(
            {
                "hosts": group,
                "gather_facts": False,
                "roles": roles,
                "tasks": [
                    {
                        "name": "Record",
                        "tags": ["record"],
                        "delegate_to": "localhost",
                        "ansible.builtin.copy": {
                            "content": "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} | to_json }}",
                            "dest": f"{directory}/{group}.json",
                            "mode": "0600",
                        },
                    }
                ],
            }
        )
    (directory / "record.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    # The validation of arguments is tagged `always`; it would check every role of the play.
    only = ("--tags", "record", "--skip-tags", "always", "-e", f"openstack_release={release}")
    done = run(
        "-i",
        inventory_directory,
        directory / "record.yml",
        *only,
        ANSIBLE_ROLES_PATH=str(ROLES),
        ANSIBLE_FILTER_PLUGINS=str(TREE / "filter_plugins"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {group: json.loads((directory / f"{group}.json").read_text(encoding="utf-8")) for group in TWO}
    # Roles of other network backends are in the play as well, and not on the host.
    return {
        group: {
            name: [overrides.with_overrides(role, entry, values.get) for entry in values[name] if not says_nothing(entry)]
            for role in values["openstack_host_roles"]
            for name in inventories.file_variables(role)
            if name in values  # one host has roles of the other group too
        }
        for group, values in found.items()
    }


def of_ansible(inventory_directory: Path, **options):
    """The generator's inventory, from Ansible's reading of one."""
    loader = DataLoader()
    read = InventoryManager(loader, sources=[str(inventory_directory)])
    hostvars = HostVars(read, VariableManager(loader=loader, inventory=read), loader)
    return Inventory.of_ansible({"hostvars": hostvars, "groups": read.get_groups_dict()}, **options)


def written(data):
    """Data with its scalars as text: before 2.19, Ansible makes text of every template."""
    if isinstance(data, dict):
        return {key: written(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [written(value) for value in data]
    return data if data is None else str(data)


@pytest.mark.parametrize("release", ["zed", "hibiscus"])
@pytest.mark.parametrize("groups", [TWO, ONE], ids=["two hosts", "one host"])
def test_files_are_those_that_ansible_makes(groups, release, tmp_path):
    directory = write_inventory(tmp_path / "inventory", groups)
    expected = ansible_entries(tmp_path, directory, release)
    source = of_ansible(directory, release=release)
    compared = 0
    for group, variables in expected.items():
        host = source.host(groups[group][0])
        for name, entries in variables.items():
            paths = {entry["path"] for entry in entries}
            ours = [entry for entry in host.files() if entry["path"] in paths]
            assert written(ours) == written(entries), name
            assert [config_files.render(entry) for entry in ours] == [config_files.render(entry) for entry in entries], name
            compared += len(entries)
    assert compared > 25
    text = texts(source)[groups["computes"][0], "/etc/nova/nova-compute.conf" if groups is ONE else "/etc/nova/nova.conf"]
    assert "default_availability_zone = zone-example.org" in text
    assert "instance_name_template = {{ not a template }}-%08x" in text
    assert "images_type = qcow2" in text
    assert "# overrides of openstack_overrides\ninstance_usage_audit = true" in text


def test_the_playbook_writes_what_ansible_makes(tmp_path):
    directory = write_inventory(tmp_path / "inventory", TWO)
    expected = ansible_entries(tmp_path, directory, "epoxy")
    out = tmp_path / "out"
    arguments = ("-i", directory, TREE / "playbooks/config.yml", "-e", f"config_out={out}")
    done = run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    for group, variables in expected.items():
        for entry in [entry for entries in variables.values() for entry in entries]:
            file = out / TWO[group][0] / entry["path"].lstrip("/")
            assert file.read_text(encoding="utf-8") == config_files.render(entry), file
            assert f"{file}" in done.stdout
            assert not file.stat().st_mode & 0o077 or str(entry.get("mode", "0644"))[-1] != "0"
    assert not any(secret in done.stdout + done.stderr for secret in [*SECRETS.values(), *HOSTILE.values()])
    again = run(*arguments)
    assert "changed=0" in again.stdout
    hidden = run(*arguments, "-e", "config_secrets=hide")
    assert "(only the values of hidden secrets)" in hidden.stdout
    written = "".join(path.read_text(encoding="utf-8") for path in out.rglob("*") if path.is_file())
    assert not any(secret in written for secret in [*SECRETS.values(), *HOSTILE.values()])
    assert "BEGIN PRIVATE KEY-----\n(hidden)" in written and "BEGIN PRIVATE KEY-----\nM" not in written


# ---------------------------------------------------------------------------------------------------------- releases

# The guide's own form for Ocata, which Ocata reads and has given up already.
KNOWN = {("ocata", "rpc_backend"), ("ocata", "use_neutron")}
each_release = pytest.mark.parametrize("release", [release.name for release in RELEASES])


@each_release
@pytest.mark.parametrize("virt_type", ["auto", "qemu"])
@pytest.mark.parametrize("groups", [TWO, ONE], ids=["two hosts", "one host"])
def test_nova_reads_every_option_that_we_set(release, groups, virt_type):
    source = inventory(groups, release, nova_compute_virt_type=virt_type)
    checked = 0
    for file in generate.files(source):
        if not Path(file.path).name.startswith("nova") or not file.path.endswith(".conf"):
            continue
        wanted = file.entry["catalogue"]
        assert wanted["release"] == release
        assert wanted["node"] == ("" if groups is ONE else {"controller": "controller"}.get(file.host, "compute"))
        found = validate(file.text, release, wanted["node"] or None)
        assert [str(finding) for finding in found if (release, finding.option) not in KNOWN] == []
        assert not errors(found)
        checked += 1
    assert checked == (3 if groups is TWO else 2)


def test_the_guides_own_form_is_ocatas():
    made = texts(inventory(release="ocata"))
    controller, compute = made["controller", "/etc/nova/nova.conf"], made["compute1", "/etc/nova/nova.conf"]
    for text in (controller, compute):
        for line in (
            "rpc_backend = rabbit",
            "use_neutron = true",
            "firewall_driver = nova.virt.firewall.NoopFirewallDriver",
            "auth_uri = http://10.0.0.11:5000/v3",
            "auth_url = http://10.0.0.11:35357/v3",
            "os_region_name = RegionOne",
            "vncserver_listen = $my_ip",
            "url = http://10.0.0.11:9696",
            "api_servers = http://10.0.0.11:9292",
        ):
            assert f"\n{line}\n" in text, line
        assert "rabbit_host" not in text
    assert "/vnc_auto.html\n" in compute
    emulated = texts(inventory(release="ocata", nova_compute_virt_type="qemu"))
    assert "cpu_model = " in emulated["compute1", "/etc/nova/nova-compute.conf"]


def test_the_api_is_served_as_the_release_can():
    made = {release: texts(inventory(release=release)) for release in ("queens", "rocky", "zed", "gazpacho")}
    files = {path for _host, path in set(made["rocky"]) - set(made["queens"])}
    assert files == {
        "/etc/nova/nova-api-uwsgi.ini",
        "/etc/nova/nova-api-metadata-uwsgi.ini",
        "/etc/default/nova-api",
        "/etc/default/nova-api-metadata",
    }
    ini = {release: made[release]["controller", "/etc/nova/nova-api-uwsgi.ini"] for release in ("zed", "gazpacho")}
    assert "wsgi-file = /usr/bin/nova-api-wsgi" in ini["zed"] and "module" not in ini["zed"]
    assert "module = nova.wsgi.osapi_compute" in ini["gazpacho"] and "wsgi-file" not in ini["gazpacho"]


@pytest.mark.parametrize(
    ("release", "more"),
    [("ocata", ["nova-cert", "nova-consoleauth"]), ("stein", ["nova-consoleauth"]), ("train", []), ("zed", [])],
)
def test_services_that_only_old_releases_have(release, more):
    host = inventory(release=release, openstack_host={"hostname": "c1"}).host("controller")
    assert [unit["name"] for unit in host.find("__nova_controller_units") if unit.get("runs", True)][5:] == more
    assert list(host.find("__nova_controller_expected_services"))[3:] == more
    packages = config_files.for_release(host.find("__nova_controller_packages"), release)
    assert [name for name in packages if name in ("nova-cert", "nova-consoleauth")] == more


# --------------------------------------------------------------------------------------------------------- variables


def test_what_is_remembered_of_one_host_is_right_for_another():
    """A result is used again only where everything that it was made from is the same."""
    computes = [f"compute{number}" for number in range(8)]
    groups = {"controllers": ["controller"], "computes": computes}
    hosts = {
        "compute1": {"openstack_public_host": "other.example.org"},
        "compute3": {"openstack_rabbit_pass": "another-password"},
        "compute5": {"nova_compute_host_overrides": {"nova.conf": {"DEFAULT": {"debug": True}}}},
        "compute6": {"openstack_internal_host": "{{ inventory_hostname }}.example.org"},
    }
    together = texts(inventory(groups, hosts=hosts))
    alone = {}
    for name in ["controller", *computes]:
        alone |= texts(inventory(groups, hosts=hosts), hosts=[name])
    assert together == alone
    assert "other.example.org" in together["compute1", "/etc/nova/nova.conf"]
    assert "other.example.org" not in together["compute2", "/etc/nova/nova.conf"]
    assert "another-password" not in together["compute4", "/etc/nova/nova.conf"]
    assert "compute6.example.org" in together["compute6", "/etc/nova/nova.conf"]


@pytest.mark.parametrize("racks", [3, 20])
def test_what_was_another_on_many_hosts_in_turn_is_right_for_the_next(racks):
    """Hosts of racks in turn, and then many of one: what is remembered, and no longer remembered, is right for each."""
    computes = [f"compute{number}" for number in range(80)]
    rack = {name: number % racks if number < 50 else 1 for number, name in enumerate(computes)}
    hosts = {
        name: {"nova_compute_host_overrides": {"nova.conf": {"DEFAULT": {"reserved_host_memory_mb": 600 + rack[name]}}}}
        for name in computes
    }
    found = texts(inventory({"controllers": ["controller"], "computes": computes}, hosts=hosts), hosts=computes)
    for number, name in enumerate(computes, start=12):
        text = found[name, "/etc/nova/nova.conf"]
        assert f"\nreserved_host_memory_mb = {600 + rack[name]}\n" in text
        assert f"\nmy_ip = 10.0.0.{number}\n" in text


def test_precedence_is_ansibles():
    """Role defaults, inventory, role variables, extra variables."""
    source = Inventory(
        {
            "controller": {
                **PLAIN,
                "openstack_management_address": "10.0.0.11",
                "openstack_workers": 7,
                "openstack_uwsgi": "ignored",
            }
        },
        {"controllers": ["controller"], "computes": []},
        extra={"openstack_region": "Extra"},
    )
    host = source.host("controller")
    assert host.find("openstack_workers") == 7
    assert host.find("openstack_uwsgi")["processes"] == 7
    assert host.find("openstack_region") == "Extra"
    assert host.find("openstack_rabbit_port") == 5672


def value(template, **variables):
    """What a variable of that template is."""
    return inventory(x=template, **variables).host("controller").find("x")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 6080 }}", 6080),
        ("{{ {} }}", {}),
        ("{{ none }}", None if inventories.keeps_types() else ""),
        ("{{ 'a' }}{{ none }}b", "ab"),
        ("{{ [1, 2] | map('string') }}", ["1", "2"]),
        ("{{ {'a': 1}.items() }}", [("a", 1)]),
        ("{% for i in [1, 2] %}{{ i }}{% endfor %}", "12"),
        ("{% set y = 3 %}{{ y }}", 3),
        ("{{ nothing.of.that | default('d') }}", "d"),
        ("{{ {'a': {'b': 1}} | combine({'a': {'c': 2}}, recursive=true) }}", {"a": {"b": 1, "c": 2}}),
        ("{{ [3, 1, 3] | unique }}", [3, 1]),
        ("{{ 'a' is match('A', ignorecase=true) }}", True),
        ("{{ groups.computes | map('extract', hostvars, 'openstack_management_address') }}", ["10.0.0.12"]),
        ("{{ vars.openstack_management_address }}", "10.0.0.11"),
        ("{{ lookup('ansible.builtin.env', 'KILONOVA_NOTHING') }}", ""),
        (inventories.Literal("{{ no template }}"), "{{ no template }}"),
        ("text", "text"),
    ],
)
def test_templates(template, expected):
    assert value(template) == expected


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"nova.conf": {"DEFAULT": {"debug": "{{ nowhere }}"}}},
            ["compute1: ", "/etc/nova/nova.conf: ", "_overrides: DEFAULT: debug: 'nowhere' is undefined"],
        ),
        ({"nova.conf": {"DEFAULT": {"debug": "{{ 1 | nofilter }}"}}}, ["compute1: ", "nofilter"]),
        ({"nova.conf": {"DEFAULT": {"debug": "{{ oops"}}}, ["compute1: "]),
        ({"nova.conf": {"DEFAULT": {"debug": {"a": 1}}}}, ["compute1: /etc/nova/nova.conf", "debug of [DEFAULT] is a mapping"]),
        ({"nova.conf": {"DEFAULT": {"debug": "a\nb"}}}, ["compute1: /etc/nova/nova.conf"]),
        ({"nova.conf": "text"}, ["compute1: /etc/nova/nova.conf", "not a mapping"]),
        ("{{ nova_compute_overrides }}", ["compute1: ", "nova_compute_overrides refers to itself"]),
        ("{{ 5 | literal }}{{ '\\\\$' | literal }}", ["compute1: "]),
    ],
)
def test_data_that_makes_no_file_names_host_and_place(overrides, words):
    source = inventory(nova_compute_overrides=overrides)
    with pytest.raises(GenerateError) as error:
        texts(source)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not any(secret in str(error.value) for secret in SECRETS.values())
    assert [complaint.host for complaint in checking.complaints(source)] == ["compute1"]


def test_a_missing_secret_is_named():
    groups = {"controllers": ["controller"], "computes": []}
    source = Inventory({"controller": {"openstack_management_address": "10.0.0.1", "openstack_tls": False}}, groups)
    with pytest.raises(GenerateError, match="openstack_keystone_dbpass"):
        texts(source)
    assert "NOVA_PASS" in texts(source, hide=True)["controller", "/etc/nova/nova.conf"]


def test_without_certificates_there_are_placeholders():
    """As for secrets: who only wants to look needs none."""
    source = inventory(openstack_tls=True)
    found = texts(source, hide=True)
    authority, key = ("/etc/ssl/certs/openstack-authority.pem", "/etc/pki/qemu/server-key.pem")
    assert found["controller", authority] == found["compute1", authority] == "AUTHORITY\n"
    assert found["compute1", key] == "KEY\n"
    assert found["controller", "/etc/haproxy/openstack.pem"] == "CERTIFICATE\nKEY\n"
    with pytest.raises(GenerateError, match="openstack_tls_authority"):
        texts(source)


# ------------------------------------------------------------------------------------------------------------ secrets


def test_a_slash_in_the_password_of_the_message_queue_survives_oslo_messaging():
    """It decodes the password, and encodes it again with urllib's quote, which leaves slashes: kombu cuts the URL there."""
    text = texts(inventory(openstack_rabbit_pass="p@ss:w/ord"))["controller", "/etc/nova/nova.conf"]
    [line] = [line for line in text.splitlines() if line.startswith("transport_url")]
    again = quote(unquote(urlsplit(line.partition(" = ")[2]).password))
    assert "/" not in again
    assert unquote(again) == "p@ss:w%2Ford"  # what the account gets


def test_hidden_files_have_placeholders_and_no_secret():
    overrides = {"nova.conf": {"barbican_service_user": {"password": "an-operators-own"}, "DEFAULT": {"debug": True}}}
    made = texts(inventory(nova_controller_overrides=overrides), hide=True)
    everything = "".join(made.values())
    assert not any(secret in everything for secret in [*SECRETS.values(), "an-operators-own"])
    text = made["controller", "/etc/nova/nova.conf"]
    assert "transport_url = rabbit://openstack:RABBIT_PASS@10.0.0.11:5672/" in text
    assert "connection = mysql+pymysql://nova:NOVA_DBPASS@10.0.0.11:3306/nova_api" in text
    assert "send_service_user_token = true" in text
    assert "password = (hidden)" in text
    usual = declared.needed_secrets({})
    assert all(word in everything for name, word in generate.placeholders().items() if name in usual)


def test_a_vaulted_value_is_no_template():
    class AnsibleVaultEncryptedUnicode:
        def __str__(self):
            return "{{ x }}"

    assert value(AnsibleVaultEncryptedUnicode()) == "{{ x }}"


# ------------------------------------------------------------------------------------------------------------ writing


def test_writing_is_repeatable_and_removes_only_what_it_wrote(tmp_path):
    first = tree.write(generate.files(inventory()), tmp_path)
    assert first.new and not (first.changed or first.unchanged or first.removed)
    nova = tmp_path / "compute1/etc/nova/nova.conf"
    assert nova.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "controller/usr/local/sbin/openstack-bridges").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "controller/root/admin-openrc").stat().st_mode & 0o777 == 0o600
    mine = tmp_path / "compute1/etc/nova/mine.conf"
    mine.write_text("kept")
    before = nova.stat().st_mtime_ns
    second = tree.write(generate.files(inventory()), tmp_path)
    assert len(second.unchanged) == len(first.new) and not (second.new or second.changed or second.removed)
    assert nova.stat().st_mtime_ns == before
    third = tree.write(generate.files(inventory({"controllers": ["controller"], "computes": []})), tmp_path)
    assert not nova.exists() and mine.exists()
    assert set(third.removed) == {name for name in first.new if name.startswith("compute1/")}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_manifest_is_indented_json(count):
    rows = [{"host": "[{a}]", "path": '/b},\n  {"c"', "owner": "ü\u2028", "group": "", "mode": "0644"}] * count
    assert tree._manifest(rows) == json.dumps(rows, indent=1) + "\n"


def test_differences_are_shown_once_and_without_secrets(tmp_path):
    groups = {"controllers": ["controller"], "computes": [f"compute{number}" for number in range(60)]}
    tree.write(generate.files(inventory(groups)), tmp_path)
    overrides = {"nova.conf": {"DEFAULT": {"debug": True}}}
    changed = inventory(groups, openstack_nova_pass="changed-password", nova_compute_overrides=overrides)
    plan = tree.write(generate.files(changed), tmp_path, check_mode=True)
    assert "debug" not in (tmp_path / "compute0/etc/nova/nova.conf").read_text()
    done = tree.write(generate.files(changed), tmp_path)
    assert (plan.changed, plan.diffs) == (done.changed, done.diffs)
    lines = tree.report(done, tmp_path)
    assert [line for line in lines if line.startswith("+debug")] == ["+debug = true"]
    assert "--- compute0/etc/nova/nova.conf, compute1/etc/nova/nova.conf, compute2/etc/nova/nova.conf and 57 more" in lines
    assert any("60 hosts  0640  /etc/nova/nova-compute.conf (60 unchanged)" in line for line in lines)
    assert not any("changed-password" in line or SECRETS["openstack_nova_pass"] in line for line in lines)


@pytest.mark.parametrize("host", ["..", "a/b", "."])
def test_no_host_leads_out_of_the_directory(host, tmp_path):
    source = inventory({"controllers": [host], "computes": []})
    with pytest.raises(GenerateError, match="is not a valid path for a file"):
        tree.write(generate.files(source), tmp_path / "out")


# --------------------------------------------------------------------------------------------------------- validating


def test_overrides_are_checked_like_ours():
    overrides = {
        "nova.conf": {
            "vnc": {"vncserver_listn": "x"},
            "database": {"connection": "mysql://a:secret@b/c"},
            "DEFAULT": {"osapi_max_limit": "many"},
            "glance": {"api_servers": "http://x"},
        }
    }
    found = checking.complaints(inventory(release="zed", nova_compute_overrides=overrides))
    told = checking.lines(found, "error")
    assert len(told) == 3
    assert all(line.startswith("compute1: /etc/nova/nova.conf [") for line in told)
    assert any("did you mean [vnc] server_listen?" in line for line in told)
    assert "secret" not in "".join(told)
    assert ["api_servers" in line for line in checking.lines(found, "warning")] == [False, True]


def checked(source):
    """What is said about the files of all hosts."""
    found = checking.Checked(generate.files(source))
    for _file in found:
        pass
    return [f"{complaint.host}: {complaint.what}" for complaint in found.complaints if complaint.level == "error"]


def test_files_that_differ_by_the_hosts_addresses_alone_are_checked_once(monkeypatch):
    validate, asked = checking.catalogue.validate, []
    monkeypatch.setattr(checking.catalogue, "validate", lambda *args: asked.append(args) or validate(*args))
    counts = []
    for number in (2, 20):
        monkeypatch.setattr(checking, "_FOUND", {})
        asked.clear()
        assert checked(inventory({"controllers": ["controller"], "computes": [f"compute{n}" for n in range(number)]})) == []
        counts.append(len(asked))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("address", ["10.0.0.999", "10.0.0", "1"])
def test_an_address_that_is_none_is_seen_among_right_ones(address):
    wrong = {"nova_compute_host_overrides": {"nova.conf": {"vnc": {"server_proxyclient_address": address}}}}
    groups = {"controllers": ["controller"], "computes": ["compute1", "compute2", "compute3"]}
    (said,) = checked(inventory(groups, hosts={"compute2": wrong}))
    assert f"compute2: /etc/nova/nova.conf [vnc] server_proxyclient_address = {address}: not a valid value" in said


def test_the_same_complaint_about_many_hosts_is_one_line():
    groups = {"controllers": ["controller"], "computes": [f"compute{number}" for number in range(10)]}
    found = checking.complaints(inventory(groups, nova_compute_overrides={"nova.conf": {"DEFAULT": {"debgu": True}}}))
    assert [line.split(": ")[0] for line in checking.lines(found, "error")] == ["compute0, compute1, compute2 and 7 more"]


@pytest.mark.parametrize(
    ("template", "level"),
    [
        ("{{ openstack_host.hostname }}", "warning"),
        ("{{ ansible_facts.processor_vcpus * 2 }}", "warning"),
        ("{{ openstack_hots }}", "error"),
    ],
)
def test_what_only_the_host_knows_does_not_stop_the_preflight(template, level):
    overrides = {"nova.conf": {"DEFAULT": {"osapi_compute_workers": template}}}
    found = checking.complaints(inventory(nova_compute_overrides=overrides, ansible_facts={}))
    assert [(complaint.host, complaint.level) for complaint in found] == [("compute1", level)]


def test_the_preflight_stops_before_a_host_is_reached(tmp_path):
    directory = write_inventory(tmp_path / "inventory", TWO)
    hosts = (directory / "hosts.yml").read_text().replace("ansible_connection: local", "ansible_connection: nowhere")
    (directory / "hosts.yml").write_text(hosts)
    override = {"nova_controller_overrides": {"nova.conf": {"api": {"auth_strategie": "keystone"}}}}
    done = run("-i", directory, TREE / "playbooks/preflight.yml", "-e", json.dumps(override))
    assert done.returncode != 0
    assert "controller: /etc/nova/nova.conf [api] auth_strategie = keystone: " in done.stdout + done.stderr
    assert "nowhere" not in done.stdout + done.stderr


@pytest.mark.parametrize(("option", "written"), [("debug", True), ("debgu", False)])
def test_the_action_checks_before_it_writes(option, written, tmp_path):
    path, me = tmp_path / "nova.conf", {"owner": os.environ.get("USER") or "root", "group": "root"}
    entry = {"path": str(path), "catalogue": {"release": "zed", "node": "compute"}, "layers": {"x": {"DEFAULT": {option: True}}}}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"name": "Write", "check_mode": written, "config_files": {"files": [{**entry, **me}]}}],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    done = run("-i", "localhost,", tmp_path / "play.yml", "-e", f"ansible_python_interpreter={sys.executable}")
    assert (done.returncode == 0) is written, done.stdout + done.stderr
    assert ("Nothing was written. localhost: " in done.stdout) is not written
    assert not path.exists()


# --------------------------------------------------------------------------------------------------------- translating


def test_the_playbook_translates(tmp_path):
    arguments = [f"translate_conf={TREE}/tests/data/guide/controller.conf", "translate_from=ocata", "translate_to=2025.1"]
    command = [word for argument in [*arguments, f"translate_out={tmp_path}/new.conf"] for word in ("-e", argument)]
    done = run("-i", "localhost,", TREE / "playbooks/translate.yml", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "renamed    [vnc] vncserver_listen -> [vnc] server_listen" in done.stdout
    assert not errors(validate((tmp_path / "new.conf").read_text(encoding="utf-8"), "epoxy", "controller"))
    assert len(json.loads((tmp_path / "new.conf.report.json").read_text(encoding="utf-8"))) > 30
    assert "changed=0" in run("-i", "localhost,", TREE / "playbooks/translate.yml", *command).stdout
    wrong = run("-i", "localhost,", TREE / "playbooks/translate.yml", "-e", "translate_from=ocata")
    assert wrong.returncode != 0
    assert "CONF, TO, OUT is not set; write e.g. make translate" in wrong.stdout + wrong.stderr


# ---------------------------------------------------------------------------------------------------- network backends


@pytest.mark.parametrize(
    ("backend", "release", "has", "has_not"),
    [
        ("ovn", "epoxy", ["default/ovn-central", "neutron_ovn_metadata_agent.ini"], ["l3_agent.ini", "openvswitch_agent.ini"]),
        ("openvswitch", "epoxy", ["l3_agent.ini", "openvswitch_agent.ini"], ["ovn-central", "linuxbridge_agent.ini"]),
        ("linuxbridge", "zed", ["l3_agent.ini", "linuxbridge_agent.ini"], ["openvswitch"]),
    ],
)
def test_a_backend_brings_its_own_files(backend, release, has, has_not):
    found = texts(inventory(release=release, openstack_network_backend=backend))
    paths = " ".join(path for _host, path in found)
    assert not [name for name in has if name not in paths]
    assert not [name for name in has_not if name in paths]
    assert f"mechanism_drivers = {backend}" in found["controller", "/etc/neutron/plugins/ml2/ml2_conf.ini"]


def test_the_default_backend_follows_the_release():
    for release, backend in (("zed", "openvswitch"), ("epoxy", "ovn"), ("2026.2", "ovn")):
        assert inventory(release=release).host("controller").find("openstack_network_backend") == backend


@pytest.mark.parametrize(
    ("backend", "agents"),
    [
        ("openvswitch", {"neutron-openvswitch-agent": ["vm1", "vm2"]}),
        ("linuxbridge", {"neutron-linuxbridge-agent": ["vm1", "vm2"]}),
        ("ovn", {}),
    ],
)
def test_the_agents_that_must_report_are_the_backends(backend, agents):
    facts = {name: {"openstack_host": {"hostname": f"vm{n}"}} for n, name in enumerate(("controller", "compute1", "compute2"), 1)}
    release = "epoxy" if backend == "ovn" else "zed"
    groups = {"controllers": ["controller"], "computes": ["compute1", "compute2"]}
    played = {"ansible_play_hosts": ["controller", "compute1"]}  # the other is out of reach
    source = inventory(groups, release, facts, openstack_network_backend=backend, **played)
    for name in ("controller", "compute1"):
        units = [unit for role in source.host(name).roles() for unit in inventories.unit_variables(role)]
        names = {unit["name"] for variable in units for unit in source.host(name).find(variable)}
        assert set(agents) <= names
    assert source.host("controller").find("__nova_controller_expected_agents") == agents


def test_only_controllers_with_a_bridge_are_gateways():
    mappings = {"openstack_bridge_mappings": {"provider": "br-provider"}}
    found = texts(inventory(release="epoxy", **mappings))
    chassis = "/etc/systemd/system/ovn-controller.service.d/chassis.conf"
    assert "enable-chassis-as-gw" in found["controller", chassis]
    assert "remove Open_vSwitch . external-ids ovn-cms-options" in found["compute1", chassis]
    assert "enable-chassis-as-gw" not in texts(inventory(release="epoxy"))["controller", chassis]


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file", "file is not a directory; remove it, or name another directory"),
        ("file/below/it", "file is not a directory; "),
        ("to-file", "to-file is not a directory; "),
        ("dangling", "dangling is a link to nowhere, which does not exist; remove it, or name another directory"),
        ("host-is-file", "host-is-file/a is not a directory; "),
        ("file-is-directory", "file-is-directory/a/etc/x is a directory where a file belongs; remove it, or name another "),
        ("no-manifest", "no-manifest/manifest.json is a directory where a file belongs; "),
    ],
)
def test_what_is_in_the_place_of_a_directory_or_a_file_is_named(out, message, check_mode, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "host-is-file").mkdir()
    (tmp_path / "host-is-file" / "a").touch()
    (tmp_path / "file-is-directory" / "a" / "etc" / "x").mkdir(parents=True)
    (tmp_path / "no-manifest" / "manifest.json").mkdir(parents=True)
    file = generate.File("a", "/etc/x", "text\n", {"path": "/etc/x", "mode": "0644"})
    with pytest.raises(inventories.GenerateError, match=re.escape(f"{tmp_path}/{message}")):
        tree.write([file], tmp_path / out, check_mode=check_mode)


def test_what_an_inventory_gives_is_of_built_in_types():
    """ansible-core 2.18's unsafe strings answer str() with themselves, and PyYAML refuses them."""

    class Unsafe(str):
        def __str__(self):
            return self

    given = {"text": Unsafe("p@ss"), "list": [Unsafe("a")], "mapping": {Unsafe("key"): Unsafe("b")}}
    source = inventories.Inventory({"a": given}, {"controllers": ["a"]}, trusted=lambda text: False)
    host = source.host("a")
    [(key, value)] = host.find("mapping").items()
    assert [type(one) for one in (host.find("text"), host.find("list")[0], key, value)] == [str] * 4


def test_a_path_that_is_written_in_another_way_is_the_same_directory(tmp_path):
    files = [generate.File("a", path, "text\n", {"path": path, "mode": "0644"}) for path in ("/a/b/x", "/a//b/y", "/a/./b/z")]
    assert len(tree.write(files, tmp_path / "out").new) == 3
    assert sorted(path.name for path in (tmp_path / "out/a/a/b").iterdir()) == ["x", "y", "z"]


def test_a_value_that_stands_twice_is_written_twice():
    """YAML would write a reference, which not every reader of a policy knows."""
    checks = ["role:admin"]
    entry = {"path": "/x", "template": "policy.yaml.j2", "variables": {"variable": "x", "rules": {"one": checks, "two": checks}}}
    assert "*id" not in config_files.render(entry)


@pytest.mark.parametrize("text", ["&a [*a]", "&a {x: {y: *a}}", "{one: &a [1, {two: *a}], three: 3}"])
def test_a_value_that_contains_itself_is_named(text):
    inventory = inventories.Inventory({"a": {"openstack_bridges": yaml.safe_load(text)}}, {"controllers": ["a"]})
    with pytest.raises(inventories.GenerateError, match=r"openstack_bridges: contains itself: a YAML anchor"):
        inventory.host("a").find("openstack_bridges")
    problems = [str(problem) for problem in check_names(inventory, ["a"])]
    assert problems == [f"a: openstack_bridges: {inventories.CONTAINS_ITSELF}; write it out"]
    # Something that is used twice is no such thing.
    twice = inventories.Inventory({"a": {"openstack_bridges": yaml.safe_load("[&a {x: 1}, *a]")}}, {"controllers": ["a"]})
    assert twice.host("a").find("openstack_bridges") == [{"x": 1}, {"x": 1}]


# ---------------------------------------------------------------------------------------------- addresses, servers of others

SIX = {
    "controller": {"openstack_management_address": "fd00:a::11", "openstack_tunnel_address": "FD00:B::11"},
    "compute1": {"openstack_management_address": "fd00:a::31", "openstack_tunnel_address": "fd00:b::31"},
}
# An address without brackets before a port, in whatever is written for a program.
BARE = re.compile(r"(?<![\[0-9a-f:])fd00:a::[0-9a-f]+:\d{3,}", re.IGNORECASE)


@each_release
@pytest.mark.parametrize("groups", [ONE, TWO])
def test_every_release_has_all_kinds_of_consoles(groups, release):
    given = {"openstack_tls": False, "release": release, "nova_compute_migration_address": "10.9.0.1"}
    every = inventory(groups, nova_consoles=["novnc", "spice", "serial"], **given)
    assert set(map(str, checking.complaints(every))) == set(map(str, checking.complaints(inventory(groups, **given))))


@pytest.mark.parametrize("release", ["zed", "epoxy", "hibiscus"])
@pytest.mark.parametrize("backend", ["ovn", "openvswitch"])
def test_a_cloud_of_ipv6_addresses(release, backend):
    if (release, backend) == ("zed", "ovn"):
        pytest.skip("Zed has no OVN here")
    made = texts(inventory(release=release, hosts=SIX, openstack_network_backend=backend))
    for (host, path), text in made.items():
        if path != "/etc/rabbitmq/rabbitmq.conf":  # the port is what follows the last colon there
            assert not BARE.search(text), (host, path, BARE.search(text))
    nova, compute = made["controller", "/etc/nova/nova.conf"], made["compute1", "/etc/nova/nova.conf"]
    assert "auth_url = http://[fd00:a::11]:5000/v3" in nova
    assert "@[fd00:a::11]:3306/nova_api" in nova
    assert "my_ip = fd00:a::11" in nova
    assert "@[fd00:a::11]:5672/" in compute
    assert "novncproxy_base_url = http://[fd00:a::11]:6080/vnc_lite.html" in compute
    assert "listeners.tcp.openstack = fd00:a::11:5672" in made["controller", "/etc/rabbitmq/rabbitmq.conf"]
    assert "bind-address = fd00:a::11" in made["controller", "/etc/mysql/mariadb.conf.d/99-openstack.cnf"]
    assert "overlay_ip_version = 6" in made["controller", "/etc/neutron/plugins/ml2/ml2_conf.ini"]
    if backend == "ovn":
        assert "--db-sb-addr=[fd00:a::11] " in made["controller", "/etc/default/ovn-central"]
        assert "tcp:[fd00:a::11]:6642" in made["compute1", "/etc/neutron/neutron_ovn_metadata_agent.ini"]


def test_the_kind_of_the_tunnels_is_not_that_of_management():
    hosts = {"controller": {"openstack_tunnel_address": "10.0.1.11"}, "compute1": {"openstack_tunnel_address": "10.0.1.31"}}
    hosts = {name: {**SIX[name], **values} for name, values in hosts.items()}
    assert "overlay_ip_version = 4" in texts(inventory(hosts=hosts))["controller", "/etc/neutron/plugins/ml2/ml2_conf.ini"]


@pytest.mark.parametrize(
    ("variables", "roles", "url"),
    [
        ({"openstack_database_host": "10.0.0.110"}, {"rabbitmq"}, "@10.0.0.110:3306/nova_api"),
        ({"openstack_database_host": "db.test", "openstack_database_port": 3307}, {"rabbitmq"}, "@db.test:3307/nova_api"),
        ({"openstack_rabbit_host": "fd00::99", "openstack_rabbit_vhost": "cloud"}, {"mysql"}, "@[fd00::99]:5672/cloud"),
        ({"openstack_database_port": 3307}, {"mysql", "rabbitmq"}, "@10.0.0.11:3307/nova_api"),
        ({"openstack_database_host": "controller", "openstack_rabbit_host": "CTL"}, {"mysql"}, "@CTL:5672/"),
        ({"openstack_database_host": "a", "openstack_rabbit_host": "b"}, set(), "@b:5672/"),
    ],
)
def test_servers_of_others_are_not_installed(variables, roles, url):
    source = inventory(**variables)
    assert set(source.host("controller").roles()) & {"mysql", "rabbitmq"} == roles
    made = texts(source)
    assert url in made["controller", "/etc/nova/nova.conf"]
    ours = made.get(("controller", "/etc/mysql/mariadb.conf.d/99-openstack.cnf"), "")
    assert ("mysql" in roles) == bool(ours)
    assert not ours or f"port = {variables.get('openstack_database_port', 3306)}" in ours


def test_a_name_is_the_controllers_when_it_says_so():
    resolved = {"db.example.org": ["10.0.0.11"], "mq.example.org": ["10.0.0.110"]}
    told = {"hostname": "ctl", "addresses": {"10.0.0.11": "eth0"}, "resolved": resolved}
    names = {"openstack_database_host": "db.example.org", "openstack_rabbit_host": "mq.example.org"}
    source = inventory(hosts={"controller": {"openstack_host": told}}, **names)
    assert set(source.host("controller").roles()) & {"mysql", "rabbitmq"} == {"mysql"}


ASKS = yaml.safe_load((ROLES / "preflight" / "vars" / "main.yml").read_text(encoding="utf-8"))
ADMIN = {"openstack_database_admin_user": "root", "openstack_database_admin_pass": "of-an-administrator"}
RUNS = {"services": {"busy": ["keystone"], "current": {"keystone": {}}}}


# --------------------------------------------------------------------------------------------- data of the operator's own


def identities(source):
    """Type of a service -> the URL of its public endpoint."""
    entries = source.host("controller").find("openstack_identities")
    return {entry["type"]: entry["endpoints"]["public"] for entry in entries}


def test_a_public_endpoint_has_a_port_and_a_path_of_its_own():
    usual = identities(inventory(openstack_public_host="cloud.example.org"))
    assert usual["image"] == "http://cloud.example.org:9292"
    assert usual["compute"] == "http://cloud.example.org:8774/v2.1"
    given = {"image": "https://cloud.example.org/image", "compute": "https://cloud.example.org:8443/compute/v2.1"}
    found = identities(inventory(**{f"openstack_public_{kind}_url": url for kind, url in given.items()}))
    assert {kind: found[kind] for kind in given} == given
    assert found["network"] == "http://10.0.0.11:9696"


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("keystone_policy", "/etc/keystone/policy.d/50-kilonova.yaml"),
        ("glance_policy", "/etc/glance/policy.d/50-kilonova.yaml"),
        ("placement_policy", "/etc/placement/policy.d/50-kilonova.yaml"),
        ("nova_controller_policy", "/etc/nova/policy.d/50-kilonova.yaml"),
        ("neutron_controller_policy", "/etc/neutron/policy.d/50-kilonova.yaml"),
    ],
)
def test_rules_of_a_policy_are_written(variable, path):
    rules = {"get:all: # 1": "role:a and 'Member':%(role.name)s", "b": "", "c": "!"}
    made = texts(inventory(**{variable: rules}))
    assert yaml.safe_load(made["controller", path]) == rules
    assert ("compute1", path) not in made
    assert ("controller", path) not in texts(inventory())


def test_libvirts_own_files_are_written_from_variables():
    """On compute nodes alone, whole, and only where something is set."""
    qemu, libvirtd = "/etc/libvirt/qemu.conf", "/etc/libvirt/libvirtd.conf"
    assert not {path for _host, path in texts(inventory())} & {qemu, libvirtd}
    made = texts(inventory(nova_compute_qemu_conf={"vnc_tls": True, "vnc_tls_x509_cert_dir": "/etc/pki/qemu"}))
    assert made["compute1", qemu].splitlines()[1:] == ["vnc_tls = 1", 'vnc_tls_x509_cert_dir = "/etc/pki/qemu"']
    assert not {("controller", qemu), ("compute1", libvirtd)} & set(made)
    made = texts(inventory(ONE, nova_compute_libvirtd_conf={"max_clients": 99}))
    assert made["allinone", libvirtd].splitlines()[1:] == ["max_clients = 99"]


def test_vendor_data_is_where_it_is_read():
    data = {"site": {"dns": ["192.0.2.53"], "name": 'Zürich "1"'}}
    path = "/etc/nova/vendor_data.json"
    for groups in (TWO, ONE):
        made = texts(inventory(groups, openstack_vendordata=data))
        for host in {host for members in groups.values() for host in members}:
            assert json.loads(made[host, path]) == data
            assert f"vendordata_jsonfile_path = {path}\n" in made[host, "/etc/nova/nova.conf"]
    without = texts(inventory())
    assert not any(name == path or "vendordata_jsonfile_path" in text for (_host, name), text in without.items())


@pytest.mark.parametrize(
    ("variables", "told", "asked"),
    [
        ({}, {}, set()),
        # A fresh host whose services are reached by its own name, or by another address of it.
        ({"openstack_internal_host": "vm"}, {"resolved": {"vm": ["127.0.1.1"]}}, set()),
        ({"openstack_internal_host": "api"}, {"addresses": {"192.0.2.9": "eth1"}, "resolved": {"api": ["192.0.2.9"]}}, set()),
        # A proxy in front: Keystone is asked once it runs.
        ({"openstack_internal_host": "10.0.0.110"}, {}, set()),
        ({"openstack_internal_host": "10.0.0.110"}, RUNS, {"identity"}),
        ({"openstack_internal_host": "vip"}, {**RUNS, "resolved": {"vip": ["10.0.0.110"]}}, {"identity"}),
        ({"openstack_internal_host": "10.0.0.11"}, RUNS, set()),
        ({"openstack_database_host": "10.0.0.110"}, {}, {"database"}),
        ({"openstack_database_host": "db"}, {"resolved": {"db": ["10.0.0.11"]}}, set()),
        ({"openstack_database_host": "db"}, {"resolved": {"db": ["10.0.0.9"]}}, {"database"}),
        ({"openstack_rabbit_host": "mq"}, {}, {"queue"}),
        ({"ansible_play_hosts_all": ["compute1"]}, RUNS, {"database", "queue", "identity"}),
    ],
)
def test_who_is_asked_before_anything_is_changed(variables, told, asked):
    host = {"addresses": {"10.0.0.11": "eth0"}, "hostname": "vm", **told}
    given = {"preflight_backends": "auto", "ansible_play_hosts_all": ["controller", "compute1"], **ASKS, **variables}
    source = inventory(hosts={"controller": {"openstack_host": host}}, **given).host("controller")
    found = {name for name in ("database", "queue", "identity") if source.find(f"__preflight_asks_{name}")}
    assert found == asked


@pytest.mark.parametrize(
    ("variables", "users"),
    [
        ({}, ["keystone", "glance", "placement", "nova", "neutron"]),
        ({"openstack_database_host": "10.0.0.9"}, ["keystone", "glance", "placement", "nova", "neutron"]),
        ({"openstack_database_host": "10.0.0.9", **ADMIN}, ["root"]),
    ],
)
def test_who_logs_in_to_the_database_beforehand(variables, users):
    """An administrator makes the accounts, so they are not asked for; but on our own server nobody else's counts."""
    logins = inventory(**ASKS, **variables).host("controller").find("__preflight_database_logins")
    assert [account["user"] for account in logins["accounts"]] == users
    assert logins["external"] is ("openstack_database_host" in variables)


@pytest.mark.parametrize("groups", [ONE, TWO])
def test_calls_to_compute_nodes_of_an_older_release(groups):
    """auto asks the database of the API where nova.conf names one, which a compute service may not do."""
    known = inventory(groups, release="epoxy", ansible_facts={"openstack_older_compute": "zed"})
    for name in known.hosts():
        files = {entry["path"]: config_files.render(entry) for entry in known.host(name).files()}
        assert "\n[upgrade_levels]\ncompute = auto\n" in files["/etc/nova/nova.conf"]
        assert "\ndisable_compute_service_check_for_ffu = true\n" in files["/etc/nova/nova.conf"]
        second = files.get("/etc/nova/nova-compute.conf", "")
        assert ("\n[upgrade_levels]\ncompute = zed\n" in second) == (groups == ONE)
    plain = inventory(groups, release="epoxy")
    assert not [text for text in texts(plain).values() if "upgrade_levels" in text]
