"""What is configured takes effect, or is refused: lists, files read in order, overrides of several places, grammars."""

import json

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from test_generate import ONE, PLAIN, TREE, TWO, inventory, run, texts

from kilonova.config import checking, config_files, declared, inventories, sources
from kilonova.config.catalogue import catalogue, errors, grammar, validate
from kilonova.config.config_files import ROLES
from kilonova.config.inventories import Inventory
from kilonova.config.overrides import with_overrides
from kilonova.run import variables

NOVA, SECOND = "/etc/nova/nova.conf", "/etc/nova/nova-compute.conf"


def overrides(section, role="nova_compute", file="nova.conf", level="overrides", **options):
    """Overrides of one section as a variable."""
    return {f"{role}_{level}": {file: {section: options}}}


def lines(text, *names):
    """The lines of a file that set one of these options."""
    return [line.rstrip() for line in text.splitlines() if line.split(" =")[0] in names]


def said(source, level="error"):
    """Complaints about an inventory's files."""
    return checking.lines(checking.complaints(source), level)


def of_directory(directory, *others):
    """The generator's inventory of sources that Ansible reads."""
    loader = DataLoader()
    loader.set_basedir(str(TREE / "playbooks"))
    read = InventoryManager(loader, sources=[str(directory), *map(str, others)])
    hostvars = HostVars(read, VariableManager(loader=loader, inventory=read), loader)
    return Inventory.of_ansible({"hostvars": hostvars, "groups": read.get_groups_dict()})


# --------------------------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    ("section", "options", "expected"),
    [
        (
            "filter_scheduler",
            {"enabled_filters": ["ComputeFilter", "PciPassthroughFilter"]},
            ["enabled_filters = ComputeFilter,PciPassthroughFilter"],
        ),
        ("devices", {"enabled_mdev_types": ["nvidia-35", "nvidia-36"]}, ["enabled_mdev_types = nvidia-35,nvidia-36"]),
        (
            "api",
            {"vendordata_dynamic_targets": ["a@http://x/", "b@http://y/"]},
            ["vendordata_dynamic_targets = a@http://x/,b@http://y/"],
        ),
        ("libvirt", {"enabled_perf_events": []}, ["enabled_perf_events ="]),
        (
            "pci",
            {"alias": [{"name": "a", "vendor_id": "15b3"}, '{"name": "b"}']},
            ['alias = {"name": "a", "vendor_id": "15b3"}', 'alias = {"name": "b"}'],
        ),
        (
            "pci",
            {"device_spec": {"vendor_id": "15b3", "trusted": True, "address": {"domain": ".*"}}},
            ['device_spec = {"vendor_id": "15b3", "trusted": "true", "address": {"domain": ".*"}}'],
        ),
        (
            "DEFAULT",
            {"reserved_huge_pages": [{"node": 0, "size": "2MB", "count": 64}, "node:1,size:1GB,count:2"]},
            ["reserved_huge_pages = node:0,size:2MB,count:64", "reserved_huge_pages = node:1,size:1GB,count:2"],
        ),
    ],
)
def test_a_list_or_mapping_becomes_what_the_option_takes(section, options, expected):
    source = inventory(release="epoxy", **overrides(section, **options))
    assert lines(texts(source)["compute1", NOVA], *options) == expected
    assert said(source) == []


@pytest.mark.parametrize(
    ("section", "options", "words"),
    [
        ("filter_scheduler", {"enabled_filters": ["A,B"]}, "has a comma in element 1"),
        ("devices", {"enabled_mdev_types": ["a", " b"]}, "a blank at its start"),
        ("filter_scheduler", {"enabled_filters": [{"a": "S3cret"}]}, "has a mapping as element 1"),
        ("DEFAULT", {"default_availability_zone": ["a", "b"]}, "is a list, and this option takes one value"),
        ("libvirt", {"images_type": {"rbd": "S3cret"}}, "is a mapping, and this option takes a text"),
        ("keystone_authtoken", {"password": [{"a": "S3cret"}]}, "is a list, and this option takes one value"),
        ("keystone_authtoken", {"memcache_secret_key": {"a": "S3cret"}}, "is a mapping"),
        ("transport", {"anything": [["S3cret"]]}, "is not a value of an option (a list)"),
    ],
)
def test_a_list_or_mapping_that_the_option_does_not_take_is_refused(section, options, words):
    told = said(inventory(release="epoxy", **overrides(section, **options)))
    assert len(told) == 1, told
    assert words in told[0] and f"option {next(iter(options))} of [{section}]" in told[0] and "nova_compute_overrides" in told[0]
    assert "S3cret" not in told[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sql_mode": ["STRICT_TRANS_TABLES", "NO_ZERO_DATE"]}, "would read the last element only"),
        ({"init_connect": ["a", "b"]}, "would read the last element only"),
        ({"sql_mode": "STRICT_TRANS_TABLES,NO_ZERO_DATE"}, ""),
        ({"sql_mode": ["STRICT_TRANS_TABLES"]}, ""),
        ({"replicate-do-db": ["a", "b"], "binlog_ignore_db": ["c", "d"], "plugin-load-add": ["e", "f"]}, ""),
    ],
)
def test_a_list_of_which_mariadb_reads_the_last_element_is_refused(options, words):
    told = said(inventory(mysql_overrides={"99-openstack.cnf": {"mysqld": options}}))
    assert [words in line for line in told] == [True] * bool(words), told


@pytest.mark.parametrize("value", [[["mysql://u:S3cret@h/"]], [{"a": "S3cret"}], {"a": "S3cret"}])
@pytest.mark.parametrize("role", ["keystone", "glance", "placement"])
def test_no_message_of_any_file_has_the_value(role, value):
    file = {"keystone": "keystone.conf", "glance": "glance-api.conf", "placement": "placement.conf"}[role]
    told = said(inventory(**overrides("database", role, file, connection=value)))
    assert len(told) == 1 and "S3cret" not in told[0] and "connection of [database]" in told[0]


# ------------------------------------------------------------------------------------------- files read one after another


@pytest.mark.parametrize(
    ("groups", "variables", "words"),
    [
        (TWO, overrides("libvirt", virt_type="qemu"), ["[libvirt] virt_type", "write it under nova-compute.conf"]),
        (TWO, overrides("DEFAULT", compute_driver="fake.FakeDriver"), ["[DEFAULT] compute_driver"]),
        (TWO, overrides("DEFAULT", compute_driver=None), ["[DEFAULT] compute_driver"]),
        (TWO, overrides("libvirt", level="host_overrides", virt_type="qemu"), ["in nova_compute_host_overrides"]),
        (ONE, overrides("vnc", "nova_controller", server_listen="0.0.0.0"), ["[vnc] server_listen", "in nova_compute_overrides"]),
        (ONE, overrides("glance", "nova_controller", valid_interfaces="public"), ["[glance] valid_interfaces"]),
    ],
)
def test_an_override_that_a_later_file_undoes_is_refused(groups, variables, words):
    told = said(inventory(groups, release="epoxy", **variables))
    assert len(told) == 1, told
    assert all(word in told[0] for word in ["is lost: nova-compute reads", *words])


@pytest.mark.parametrize(
    ("groups", "variables"),
    [
        (TWO, overrides("libvirt", virt_type="kvm")),  # the same
        (TWO, overrides("libvirt", file="nova-compute.conf", virt_type="qemu")),
        (TWO, overrides("libvirt", level="host_overrides", file="nova-compute.conf", virt_type="qemu")),
        (ONE, overrides("libvirt", virt_type="qemu")),  # goes into the second file there
        # Each service has its own.
        (ONE, {**overrides("DEFAULT", "nova_controller", debug=True), **overrides("DEFAULT", debug=False)}),
    ],
)
def test_an_override_that_counts_is_not_refused(groups, variables):
    assert said(inventory(groups, release="epoxy", **variables)) == []


def test_two_overrides_of_one_option_in_two_files_are_refused():
    both = {"nova.conf": {"DEFAULT": {"debug": True}}, "nova-compute.conf": {"DEFAULT": {"debug": False}}}
    told = said(inventory(nova_compute_overrides=both))
    assert len(told) == 1 and "remove one of them" in told[0]


def test_files_of_networking_are_compared_as_their_agents_read_them():
    """Debian's init script of the Open vSwitch agent names neutron.conf last."""
    changed = overrides("agent", "neutron_openvswitch", "openvswitch_agent.ini", root_helper="sudo mine")
    told = said(inventory(openstack_network_backend="openvswitch", release="zed", **changed))
    assert len(told) == 1 and "write it under neutron.conf in neutron_controller_overrides" in told[0]
    changed = overrides("ml2", "neutron_controller", "neutron.conf", extension_drivers="qos")
    told = said(inventory(release="epoxy", **changed))
    assert any("neutron-rpc-server" in line and "write it under ml2_conf.ini" in line for line in told)


def test_what_counts_is_found_by_the_present_name():
    cat = catalogue("queens")
    assert ("vnc", "vncserver_listen") in cat.get("vnc", "server_listen").aliases
    told = said(
        inventory(release="queens", openstack_network_backend="openvswitch", **overrides("vnc", vncserver_listen="0.0.0.0"))
    )
    words = "is also set there by its current name (the guide), which wins; write [vnc] server_listen"
    assert any(words in line for line in told)


@pytest.mark.parametrize("backend", ["ovn", "openvswitch"])
@pytest.mark.parametrize("groups", [TWO, ONE], ids=["two hosts", "one host"])
def test_every_unit_reads_files_of_its_host(groups, backend):
    # Without rules, a service has no policy of ours to read.
    policies = {f"{role}_policy": {"a": "@"} for role in declared.services()}
    # And without settings, no file of libvirt's.
    own = {"nova_compute_qemu_conf": {"a": 1}, "nova_compute_libvirtd_conf": {"a": 1}}
    source = inventory(groups, release="epoxy", openstack_network_backend=backend, **policies, **own)
    for name in source.hosts():
        host = source.host(name)
        paths = {entry["path"] for entry in host.files()}
        for role in host.roles():
            for variable in inventories.unit_variables(role):
                for unit in host.find(variable):
                    assert set(unit.get("reads", ())) <= paths, unit
                    if role.startswith("neutron") and unit.get("runs", True):
                        assert "/etc/neutron/neutron.conf" in unit["reads"], unit


def test_on_one_host_a_change_of_the_controllers_file_restarts_the_compute_services(tmp_path):
    """The plays of compute nodes know the controller's files: what their units read of them is in their digests."""
    directory = tmp_path / "inventory"
    (directory / "group_vars" / "all").mkdir(parents=True)
    groups = {group: {"hosts": {"allinone": {}}} for group in ONE}
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}), encoding="utf-8")
    usual = {**PLAIN, "openstack_management_address": "10.0.0.11", "ansible_connection": "local", "openstack_release": "epoxy"}
    (directory / "group_vars" / "all" / "main.yml").write_text(yaml.safe_dump(usual), encoding="utf-8")
    asked = {
        "compute_nodes": "{'units': __nova_compute_units, 'files': __nova_compute_files + openstack_controller_files}",
        "networking_nodes": (
            "{'units': __neutron_ovn_units, 'files': __neutron_ovn_files + __neutron_compute_files + openstack_controller_files}"
        ),
    }
    plays = []
    for name, units in asked.items():
        plays += yaml.safe_load((TREE / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))
        plays[-1]["roles"] = [{"role": "neutron_ovn"}]  # included by name, and so not known when the play begins
        plays[-1]["tasks"].append(
            {
                "name": "Record",
                "tags": ["record"],
                "delegate_to": "localhost",
                "ansible.builtin.copy": {
                    "content": f"{{{{ {units} | to_json }}}}",
                    "dest": str(tmp_path / f"{name}.json"),
                    "mode": "0600",
                },
            }
        )
    (tmp_path / "record.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")

    def digests(**extra):
        done = run(
            "-i",
            directory,
            tmp_path / "record.yml",
            "--tags",
            "record",
            "--skip-tags",
            "always",
            "-e",
            json.dumps(extra),
            ANSIBLE_ROLES_PATH=str(ROLES),
            ANSIBLE_FILTER_PLUGINS=str(TREE / "filter_plugins"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        tasks = [json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in asked]
        units = []
        for role, task in zip(("nova_compute", "neutron_ovn"), tasks, strict=True):
            files = [with_overrides(role, entry, extra.get) for entry in task["files"]]
            units += config_files.units_with_digests(task["units"], files)
        return {unit["name"]: unit["digests"] for unit in units if unit.get("runs", True) and unit["digests"]}

    before = digests()
    assert list(before["nova-compute"]) == [NOVA, SECOND]
    changed = digests(nova_controller_overrides={"nova.conf": {"DEFAULT": {"cpu_allocation_ratio": 4}}})
    assert changed["nova-compute"][NOVA]["DEFAULT"] != before["nova-compute"][NOVA]["DEFAULT"]
    unread = digests(nova_controller_overrides={"nova.conf": {"conductor": {"workers": 9}}})
    assert unread["nova-compute"] == before["nova-compute"]
    neutron = digests(neutron_controller_overrides={"neutron.conf": {"DEFAULT": {"debug": True}}})
    assert neutron["nova-compute"] == before["nova-compute"]
    both = digests(openstack_overrides={"nova.conf": {"DEFAULT": {"debug": True}}})
    assert all(both["nova-compute"][file]["DEFAULT"] != before["nova-compute"][file]["DEFAULT"] for file in (NOVA, SECOND))
    name = "neutron-ovn-metadata-agent"
    assert neutron[name]["/etc/neutron/neutron.conf"]["DEFAULT"] != before[name]["/etc/neutron/neutron.conf"]["DEFAULT"]


# -------------------------------------------------------------------------------------------------------------- grammars


@pytest.mark.parametrize(
    ("section", "name", "right", "wrong"),
    [
        (
            "pci",
            "device_spec",
            ['[{"vendor_id": "15b3"}]', '{"address": "0000:0a:00.*", "physical_network": null}', "{}"],
            [
                "[{'vendor_id': '15b3'}]",
                '"15b3"',
                '{"vendor_id": 5555}',
                '{"product_id": "xyz"}',
                '{"address": "a", "devname": "b"}',
            ],
        ),
        (
            "pci",
            "alias",
            ['{"name": "a", "device_type": "type-VF"}'],
            ["{name: a}", "[]", '{"vendor_id": "15b3"}', '{"name": "a", "vendor": "x"}', '{"name": "a", "numa_policy": "best"}'],
        ),
        ("compute", "cpu_dedicated_set", ["4-12,^8,15", " 4 - 6 , 9,", "0"], ["4..12", "0-", "7-3", "a", "4,^4", "-3"]),
        ("compute", "cpu_shared_set", ["0-1"], ["0-1;3"]),
        (
            "DEFAULT",
            "reserved_huge_pages",
            ["node:0,size:2048,count:64", "node:1, size:1GB, count:1"],
            ["node:0,size:2048", "node:a,size:4,count:1", "node:0,size:big,count:1"],
        ),
        (
            "cinder",
            "catalog_info",
            ["volumev3::internalURL", "block-storage:cinder:public"],
            ["volumev3::intern", "a:b:c:internalURL"],
        ),
        ("mdev_nvidia-35", "device_addresses", ["0000:84:00.0,0000:85:00.7"], ["84:00.0", "0000:84:00.9"]),
        ("libvirt", "disk_cachemodes", ["file=directsync,block=none"], ["file:none", "file=fast"]),
        ("libvirt", "hw_machine_type", ["x86_64=q35,aarch64=virt"], ["q35"]),
        ("DEFAULT", "instance_usage_audit_period", ["month@15", "hour"], ["week", "day@24"]),
        ("DEFAULT", "instance_name_template", ["instance-%08x", "i-%(uuid)s"], ["%(uuid", "i-%y"]),
        ("DEFAULT", "default_log_levels", ["sqlalchemy=WARN,amqp=10"], ["sqlalchemy", "amqp=loud"]),
        ("api", "vendordata_dynamic_targets", ["a@http://u@h/"], ["http://h/"]),
        ("ml2_type_vlan", "network_vlan_ranges", ["provider", "a:1:4094, b"], ["provider:100", "a:5:4", "a:1:4095", "a:0:3"]),
        ("ml2_type_geneve", "vni_ranges", ["1:1000,2000:3000"], ["1000", "3:2", "a:b", "0:5", "1:16777216"]),
        ("ml2_type_vxlan", "vni_ranges", ["1:16777215"], ["1-5"]),
        ("ml2_type_gre", "tunnel_id_ranges", ["1:2"], ["2"]),
    ],
)
def test_values_that_nova_parses_itself(section, name, right, wrong):
    more = "[devices]\nenabled_mdev_types = nvidia-35\n" if section.startswith("mdev") else ""
    file = "ml2_conf.ini" if section.startswith("ml2") else "nova.conf"
    for value in right:
        found = validate(f"{more}[{section}]\n{name} = {value}\n", "epoxy", file=file)
        assert [f for f in found if f.level == "error"] == [], value
    for value in wrong:
        found = validate(f"{more}[{section}]\n{name} = {value}\n", "epoxy", file=file)
        assert [f.level for f in found] == ["error"] and ";" in found[0].message, value


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("['ComputeFilter', 'ImagePropertiesFilter']", False),
        ('["ComputeFilter"]', False),
        ("[]", False),
        ("ComputeFilter,ImagePropertiesFilter", True),
        ("", True),
    ],
)
def test_the_text_of_a_list_is_none(text, right):
    """As a template makes it that turns a list into a text."""
    for release, section, name in (("zed", "filter_scheduler", "enabled_filters"), ("epoxy", "libvirt", "cpu_models")):
        assert (errors(validate(f"[{section}]\n{name} = {text}\n", release)) == []) is right
    assert errors(validate("[cache]\nmemcache_servers = [fd00::1]:11211,[fd00::2]\n", "zed")) == []
    assert errors(validate("[DEFAULT]\nenabled_import_methods = [web-download]\n", "zed", file="glance-api.conf")) == []


def test_json_that_is_nested_without_end_is_refused():
    for name in ("alias", "device_spec"):
        assert "is not JSON" in validate(f"[pci]\n{name} = {'[' * 100_000}\n", "epoxy")[-1].message


def test_older_names_have_the_same_grammar():
    assert "is not JSON" in validate("[pci]\npassthrough_whitelist = x\n", "yoga")[-1].message
    assert "is not a set of CPUs" in validate("[DEFAULT]\nvcpu_pin_set = 4..5\n", "zed")[-1].message


def test_every_row_of_the_grammar_names_an_option_and_its_source():
    data = grammar._data()
    releases = [catalogue(name) for name in ("ocata", "zed", "epoxy", "hibiscus")]
    for row in data["values"]:
        assert row["source"] and row["form"] in grammar._FORMS
        known = [catalogue("epoxy", row["file"])] if "file" in row else [*releases, catalogue("yoga")]
        for name in row["names"]:
            assert any(name in cat.sections.get(row["section"], {}) for cat in known), row
    for row in data["relations"]:
        assert row["source"]
        for asked in (*row["if"], *row.get("unless", {})):
            section, name = asked[1:].split("] ")
            assert any(name in cat.sections.get(section, {}) for cat in releases), asked


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (overrides("libvirt", file="nova-compute.conf", cpu_models=["Nehalem"]), "cpu_models: Nova takes no model"),
        (overrides("libvirt", file="nova-compute.conf", cpu_mode="custom"), "cpu_mode = custom needs a model"),
        (
            {
                "nova_compute_overrides": {
                    "nova.conf": {"DEFAULT": {"force_raw_images": False}},
                    "nova-compute.conf": {"libvirt": {"images_type": "rbd"}},
                }
            },
            "images_type = rbd needs",
        ),
        (overrides("libvirt", volume_enforce_multipath=True), "needs volume_use_multipath"),
        (
            {
                "nova_compute_overrides": {
                    "nova.conf": {"DEFAULT": {"reserved_host_cpus": 2}, "compute": {"cpu_shared_set": "0-3"}}
                }
            },
            "exclude each other",
        ),
        (
            {"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"reserved_host_cpus": 2}, "compute": {"cpu_shared_set": "0"}}}},
            "exclude each other",
        ),
        (overrides("compute", cpu_dedicated_set="4-7", cpu_shared_set="0-4"), "have a CPU in common"),
        (overrides("compute", cpu_dedicated_set="0", cpu_shared_set="0-3,^1"), "have a CPU in common"),
        (overrides("libvirt", file_backed_memory=4096), "another ram_allocation_ratio than 1.0"),
        (
            {
                "nova_compute_overrides": {
                    "nova.conf": {"DEFAULT": {"ram_allocation_ratio": 1.5}},
                    "nova-compute.conf": {"libvirt": {"file_backed_memory": "4096"}},
                }
            },
            "another ram_allocation_ratio than 1.0",
        ),
    ],
)
def test_options_that_cannot_stand_together(variables, words):
    told = said(inventory(release="epoxy", **variables))
    assert len(told) == 1 and words in told[0] and told[0].startswith(f"compute1: {SECOND} [")


@pytest.mark.parametrize("ratio", [1, 1.0, "1.0", "1"])
def test_memory_in_files_that_is_promised_once(ratio):
    given = {
        "nova.conf": {"DEFAULT": {"ram_allocation_ratio": ratio}},
        "nova-compute.conf": {"libvirt": {"file_backed_memory": 4096}},
    }
    assert said(inventory(release="epoxy", nova_compute_overrides=given)) == []
    none = {"nova-compute.conf": {"libvirt": {"file_backed_memory": 0}}}
    assert said(inventory(release="epoxy", nova_compute_overrides=none)) == []


@pytest.mark.parametrize(("dedicated", "shared"), [("4-7", "0-3"), ("0-7,^2", "2"), ("4-7", None)])
def test_sets_of_cpus_that_have_none_in_common_are_right(dedicated, shared):
    assert said(inventory(release="epoxy", **overrides("compute", cpu_dedicated_set=dedicated, cpu_shared_set=shared))) == []


@pytest.mark.parametrize(
    ("name", "value", "level", "words"),
    [
        ("default_availability_zone", False, "error", 'e.g. "no"'),
        ("instance_name_template", True, "error", 'e.g. "yes"'),
        ("default_availability_zone", 493, "warning", "put the text in quotes"),
        ("internal_service_availability_zone", 1.1, "warning", "put the text in quotes"),
        ("compute_monitors", ["cpu.virt_driver", False], "error", "is false to YAML"),
    ],
)
def test_what_yaml_made_of_a_text(name, value, level, words):
    told = said(inventory(release="epoxy", **overrides("DEFAULT", **{name: value})), level)
    assert len(told) == 1 and words in told[0] and f"[DEFAULT] {name}" in told[0]


def test_a_number_for_a_number_is_nothing_to_say():
    source = inventory(release="epoxy", **overrides("DEFAULT", cpu_allocation_ratio=4, debug=True, force_config_drive=False))
    assert said(source) == said(source, "warning") == []


@pytest.mark.parametrize(
    "name", ["debug\n[x]\npassword = S3cret", "a = S3cret", "a:b", "[x]", " a", "a ", "", "#a", 1, True, "a\r"]
)
@pytest.mark.parametrize("file", [("keystone", "keystone.conf"), ("nova_compute", "nova.conf"), ("glance", "glance-api.conf")])
def test_a_name_that_is_none_is_refused(file, name):
    told = said(inventory(**{f"{file[0]}_overrides": {file[1]: {"DEFAULT": {name: 1}}}}))
    assert len(told) == 1 and "name" in told[0] and f"{file[0]}_overrides" in told[0] and "S3cret" not in told[0]


def test_a_section_with_a_line_break_is_refused():
    told = said(inventory(neutron_controller_overrides={"neutron.conf": {"DEFAULT]\n[x": {"a": "b"}}}))
    assert len(told) == 1 and "the name 'DEFAULT…' of a section contains ']'" in told[0]


# ------------------------------------------------------------------------------------------------------------ kept twice


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (overrides("DEFAULT", host="compute1.example.org"), "hostnamectl set-hostname"),
        (overrides("DEFAULT", my_ip="10.9.9.9"), "set openstack_management_address"),
        (overrides("DEFAULT", instances_path="/srv/nova/instances"), "mount a file system at /var/lib/nova/instances"),
        (overrides("DEFAULT", "nova_controller", state_path="/srv/nova"), "mount a file system at /var/lib/nova "),
        (overrides("vnc", "nova_controller", novncproxy_port=6090), "set nova_controller_novncproxy_port"),
        (overrides("vnc", novncproxy_base_url="http://x/"), "set nova_compute_novncproxy_base_url"),
        (overrides("DEFAULT", transport_url="rabbit://u:S3cret@h/"), "set openstack_rabbit_host"),
        (overrides("placement", region_name="Two"), "set openstack_region"),
        (overrides("database", "nova_controller", connection="mysql+pymysql://u:S3cret@h/nova"), "set openstack_database_host"),
        (
            overrides("database", "keystone", "keystone.conf", connection="mysql+pymysql://u:S3cret@h/k"),
            "set openstack_database_host",
        ),
        (overrides("keystone_authtoken", "glance", "glance-api.conf", password="S3cret"), "openstack_..._pass"),
        (
            overrides("ovn", "neutron_ovn", "neutron_ovn_metadata_agent.ini", ovn_sb_connection="tcp:h:1"),
            "set openstack_controller_address",
        ),
        (overrides("DEFAULT", "glance", "glance-api.conf", bind_port=9393), "the port is fixed"),
        (overrides("DEFAULT", "glance", "glance-api.conf", bind_host="127.0.0.1"), "set openstack_api_addresses"),
        (overrides("DEFAULT", "glance", "glance-api.conf", bind_host="0.0.0.0"), "set openstack_api_addresses"),
        (overrides("placement", project_name="other"), "the user's project and domains are fixed"),
        (overrides("keystone_authtoken", "placement", "placement.conf", user_domain_name="Other"), "and domains are fixed"),
        (overrides("neutron", ovs_bridge="br-x"), "the bridge is br-int"),
        (
            {
                "openstack_network_backend": "openvswitch",
                **overrides("ovs", "neutron_openvswitch", "openvswitch_agent.ini", integration_bridge="br-x"),
            },
            "the bridge is br-int",
        ),
        (overrides("uwsgi", "keystone", "keystone-uwsgi.ini", **{"http-socket": "0.0.0.0:5001"}), "set openstack_api_addresses"),
        (overrides("uwsgi", "placement", "placement-api-uwsgi.ini", https=":5001"), "set openstack_api_addresses"),
    ],
)
def test_what_others_know_too_is_refused_with_the_variable(variables, words):
    told = said(inventory(release="epoxy", **variables))
    assert len(told) == 1 and words in told[0] and "S3cret" not in told[0], told


def test_the_same_value_is_no_change():
    same = overrides("DEFAULT", my_ip="10.0.0.12", state_path="/var/lib/nova", instances_path="/var/lib/nova/instances")
    assert said(inventory(release="epoxy", **same)) == []
    same = {
        **overrides("DEFAULT", instances_path="$state_path/instances"),
        **overrides("vnc", "nova_controller", novncproxy_host="${my_ip}"),
    }
    assert said(inventory(release="epoxy", **same)) == []
    told = said(inventory(release="epoxy", **overrides("DEFAULT", instances_path="$state_path/elsewhere")))
    assert len(told) == 1 and "mount a file system" in told[0]


@pytest.mark.parametrize("where", ["all", "controller"])
def test_the_url_of_consoles_follows_the_port(where):
    port = {"nova_controller_novncproxy_port": 6090}
    source = inventory(release="epoxy", **(port if where == "all" else {"hosts": {"controller": port}}))
    found = texts(source)
    assert lines(found["controller", NOVA], "novncproxy_port") == ["novncproxy_port = 6090"]
    assert lines(found["compute1", NOVA], "novncproxy_base_url") == ["novncproxy_base_url = http://10.0.0.11:6090/vnc_lite.html"]


def test_the_port_of_consoles_without_a_variable_is_the_roles():
    assert inventories.variables_of("nova_controller", "defaults")["nova_controller_novncproxy_port"] == 6080
    assert str(inventory().host("compute1").find("openstack_console_ports")["novnc"]) == "6080"


# --------------------------------------------------------------------------------------------------------------- sources


def write(directory, **files):
    """An inventory of two hosts, in the groups computes and ceph as well."""
    directory.mkdir()
    (directory / "hosts").write_text(
        "[controllers]\ncontroller openstack_management_address=10.0.0.11\n"
        "[computes]\ncompute1 openstack_management_address=10.0.0.21\n[ceph]\ncompute1\n[site:children]\nceph\n"
        + files.pop("ini", ""),
        encoding="utf-8",
    )
    for name, data in files.items():
        path = directory / f"{name.replace('__', '/')}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return directory


RBD = {"nova_compute_overrides": {"nova.conf": {"libvirt": {"images_type": "rbd"}}}}
DEBUG = {"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"debug": True}}}}


@pytest.mark.parametrize(
    ("files", "first", "second"),
    [
        # The group ceph is deeper, so it wins.
        ({"group_vars__computes": RBD, "group_vars__ceph": DEBUG}, "group_vars/computes.yml", "group_vars/ceph.yml"),
        ({"group_vars__all__a": RBD, "group_vars__all__b": DEBUG}, "group_vars/all/a.yml", "group_vars/all/b.yml"),
        ({"group_vars__site": RBD, "host_vars__compute1": DEBUG}, "group_vars/site.yml", "host_vars/compute1.yml"),
        (
            {
                "ini": '[computes:vars]\nnova_compute_overrides={"nova.conf": {"libvirt": {"images_type": "rbd"}}}\n',
                "group_vars__all": DEBUG,
            },
            "variables of the group computes",
            "group_vars/all.yml",
        ),
    ],
)
def test_overrides_that_replace_others_are_refused(files, first, second, tmp_path):
    source = of_directory(write(tmp_path / "inventory", **files) / ("hosts" if "ini" in files else ""))
    found = sources.check_overrides(source)
    assert len(found) == 1
    line = str(found[0])
    assert "compute1: nova_compute_overrides: is set in " in line and "nova.conf [libvirt] images_type is lost" in line
    assert line.index(first) < line.index(second)


@pytest.mark.parametrize(
    ("name", "lost"),
    [("nova_controller_policy", "controller"), ("nova_compute_qemu_conf", "compute1"), ("openstack_vendordata", "controller")],
)
def test_other_mappings_that_are_written_into_a_file_are_no_different(name, lost, tmp_path):
    """A rule that restricts an API must not be lost because another group has one."""
    group = "group_vars__controllers" if lost == "controller" else "group_vars__computes"
    directory = write(tmp_path / "inventory", group_vars__all={name: {"a": "1", "b": "2"}}, **{group: {name: {"b": "3"}}})
    (found,) = sources.check_overrides(of_directory(directory))
    assert str(found).startswith(f"{lost}: {name}: is set in ") and ": a is lost; " in str(found)


@pytest.mark.parametrize(
    "files",
    [
        {
            "group_vars__all": DEBUG,
            "group_vars__computes": {
                "nova_compute_overrides": {"nova.conf": {"DEFAULT": {"debug": False}, "libvirt": {"images_type": "rbd"}}}
            },
        },
        {
            "group_vars__all": {"site_rbd": RBD["nova_compute_overrides"]},
            "group_vars__computes": {
                "nova_compute_overrides": "{{ site_rbd | combine({'nova.conf': {'DEFAULT': {'debug': true}}}, recursive=true) }}"
            },
        },
        {"group_vars__all": RBD, "host_vars__compute1": {"nova_compute_host_overrides": DEBUG["nova_compute_overrides"]}},
    ],
)
def test_nothing_is_lost_and_nothing_refused(files, tmp_path):
    assert sources.check_overrides(of_directory(write(tmp_path / "inventory", **files))) == []


@pytest.mark.parametrize(
    ("text", "key", "first", "second"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", 1, 3),
        ("x:\n  nova.conf:\n    DEFAULT: {a: 1}\n    pci: {}\n    DEFAULT: {b: 1}\n", "DEFAULT", 3, 5),
        ("x: [{y: 1,\n y: 2}]\n", "y", 1, 2),
        ("x: !unsafe {}\ny: !vault |\n  z\n'x': 2\n", "x", 1, 4),
    ],
)
def test_a_key_twice_is_refused(text, key, first, second, tmp_path):
    found = sources.check_keys(of_directory(write(tmp_path / "inventory", group_vars__all__x=text)))
    assert [str(one) for one in found] == [
        f"group_vars/all/x.yml: {key}: is set twice, in line {first} and in line {second}, and Ansible drops the first one;"
        " write everything under one key"
    ]


def test_aliases_and_merges_are_no_keys_twice(tmp_path):
    text = "a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: *a\nd: [*a, *a]\n"
    assert sources.check_keys(of_directory(write(tmp_path / "inventory", group_vars__all=text))) == []
    loop = of_directory(write(tmp_path / "other", group_vars__all="site_x: &a\n  b: *a\n"))
    assert "is a part of itself" in str(variables.check_inventory(loop)[0][0])


# ------------------------------------------------------------------------------------------------ Ansible's own templar


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ lookup('pipe', 'echo out') }}", "out"),
        ("{{ lookup('vars', 'site_text') }}", "text of compute1"),
        ("{{ lookup('ansible.builtin.vars', 'site_' ~ 'text') }}", "text of compute1"),
        ("{{ query('env', 'HOME') | length }}", 1),
        ("{{ lookup('first_found', ['/nonexistent', '/etc/passwd']) }}", "/etc/passwd"),
        ("{{ lookup('file', '/etc/hostname') is string }}", True),
        ("{{ now().year > 2000 }}", True),
        (r"{{ 'a1b' | regex_replace('a(\d)b', '<\1>') }}", "<1>"),
        ("{% if site_text %}yes{% endif %}", "yes"),
        ("{{ [1, 2] | to_nice_json(indent=0) | from_json | sum }}", 3),
        ("{{ site_text | ansible.builtin.comment }}", "#\n# text of compute1\n#"),
        ({"a": "{{ lookup('pipe', 'echo out') }}", "b": {"c": "{{ site_text }}"}}, {"a": "out", "b": {"c": "text of compute1"}}),
    ],
)
def test_what_only_ansible_resolves(template, expected, tmp_path):
    data = {"site_text": "text of {{ inventory_hostname }}", "site_x": template}
    host = of_directory(write(tmp_path / "inventory", group_vars__all=data)).host("compute1")
    got = host.find("site_x")
    assert got == expected or (not inventories.keeps_types() and str(got) == str(expected))


def test_a_lookup_of_a_template_sees_the_hosts_variables(tmp_path):
    (tmp_path / "x.j2").write_text("{{ openstack_region }} of {{ inventory_hostname }}\n", encoding="utf-8")
    data = {"site_x": f"{{{{ lookup('template', '{tmp_path}/x.j2') | trim }}}}"}
    host = of_directory(write(tmp_path / "inventory", group_vars__all=data)).host("compute1")
    assert host.find("site_x") == "RegionOne of compute1"


def test_a_lookup_that_no_variable_changes_is_asked_once(tmp_path):
    count = tmp_path / "count"
    data = {"site_x": f"{{{{ lookup('pipe', 'echo x >> {count}; echo secret') }}}}"}
    source = of_directory(write(tmp_path / "inventory", group_vars__all=data))
    assert [source.host(name).find("site_x") for name in source.hosts()] == ["secret", "secret"]
    assert count.read_text(encoding="utf-8") == "x\n"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ lookup('pipe', 'exit 3') }}", "returned 3"),
        ("{{ lookup('vars', 'site_nothing') }}", "site_nothing"),
        ("{{ lookup('nobody.nowhere.nothing', 1) }}", "nobody.nowhere.nothing"),
        ("{{ lookup('file', '/nonexistent') }}", "/nonexistent"),
        ("{{ omit }}", "omit"),
        ("{{ ansible_facts['default_ipv4'].address }}", "runs do not gather facts"),
    ],
)
def test_what_cannot_be_resolved_names_variable_host_and_file(template, words, tmp_path):
    data = {**PLAIN, "openstack_public_host": template}
    source = of_directory(write(tmp_path / "inventory", group_vars__all=PLAIN, host_vars__compute1=data))
    told = [str(problem) for problem in variables.check_inventory(source)[0]]
    assert len(told) == 1, told
    assert told[0].startswith("compute1: openstack_public_host: ") and words in told[0] and "in host_vars/compute1.yml" in told[0]


def test_plain_templates_are_resolved_here():
    """The fast way: none of what inventories usually have is given to Ansible's templar."""
    for template in (
        "{{ openstack_management_address }}",
        "cloud.{{ site | default('x') }}",
        "{{ groups['computes'] | length > 1 }}",
        "{{ hostvars[groups['controllers'][0]].openstack_management_address }}",
        "{{ a | combine(b, recursive=true) }}",
    ):
        assert inventories.reads_as_ansible(template), template
    for template in (
        "{{ lookup('env', 'X') }}",
        "{{ omit }}",
        "{{ now() }}",
        r"{{ a | regex_replace('\.', '') }}",
        "{{ range(3) }}",
        "{{ a | community.general.json_query('x') }}",
        "{{ a.__class__ }}",
        "{{ a is ansible.builtin.version('1') }}",
    ):
        assert not inventories.reads_as_ansible(template), template


def test_text_that_looks_like_python_is_what_this_ansible_makes_of_it():
    got = inventory(hosts={"compute1": {"x": "a", "site_x": '{"name": "{{ x }}"}'}}).host("compute1").find("site_x")
    assert got == ('{"name": "a"}' if inventories.keeps_types() else {"name": "a"})


def test_a_secret_that_looks_like_a_list_is_refused_where_ansible_makes_one(monkeypatch):
    """ansible-core before 2.19 makes a list of what a template gives, so the service would get another secret."""
    secrets = {**PLAIN, "openstack_metadata_secret": "[12345678901234567890]"}
    data = {name: {**secrets, "openstack_management_address": f"10.0.0.{number}"} for number, name in ((1, "c"), (2, "n"))}
    for keeps in (True, False):
        monkeypatch.setattr(inventories, "keeps_types", lambda keeps=keeps: keeps)
        source = Inventory(data, {"controllers": ["c"], "computes": ["n"]})
        told = [str(problem) for problem in variables.check_inventory(source)[0]]
        assert any("openstack_metadata_secret: looks like a list" in line for line in told) is not keeps
        assert "1234567890" not in "".join(told)


def test_the_playbook_refuses_what_would_be_lost(tmp_path):
    """`make config`, too."""
    directory = write(tmp_path / "inventory", group_vars__all={**PLAIN, **RBD}, group_vars__computes=DEBUG)
    done = run("-i", directory, TREE / "playbooks" / "config.yml")
    assert done.returncode == 2 and "images_type is lost" in done.stdout.replace("\\", ""), done.stdout
