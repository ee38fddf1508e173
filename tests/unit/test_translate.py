"""Old files carried to later releases: right, complete, accepted by the later release, and never a crash."""

import itertools
import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from kilonova.config import conf
from kilonova.config.catalogue import catalogue, errors, validate
from kilonova.config.catalogue.changes import _lives
from kilonova.config.catalogue.check import Values
from kilonova.config.releases import NEWEST, RELEASES, find, releases_between
from kilonova.config.translate import main, table, translate

GUIDE = Path(__file__).parents[1] / "data" / "guide"
FIELDS = ["section", "option", "value", "action", "new_section", "new_option", "new_value", "reason", "source"]


def check(text, old, new):
    """Translate, and check what every translation has to keep."""
    result = translate(text, old, new)
    before, after = conf.read(text), conf.read(result.text)
    # nothing lost: a record per assignment, in order, each with its reason and source
    assert [(r.section, r.option, r.line) for r in result.records] == [(i.section, i.name, i.line) for i in before.items]
    for record in result.records:
        assert record.reason and record.source and record.action in ("kept", "renamed", "dropped", "attention")
        assert list(record.as_dict()) == FIELDS
    # nothing in the file that no record announces
    announced = {(r.new_section, r.new_option) for r in result.records if r.new_option}
    assert {(i.section, i.name) for i in after.items} == announced
    # accepted by the later release, without aliases and dead names
    assert errors(validate(result.text, new)) == []
    for item in after.items:
        found = catalogue(new).resolve(item.section, item.name, _plugin(after, item.section))
        assert found is None or not found[1], f"{item} is an alias in {new}"
    # once more changes nothing
    assert translate(result.text, new, new).text == result.text
    return result


def _plugin(read, section):
    return (read.values(section, "auth_type") or ["password"])[-1]


def one(text, old, new):
    result = check(text, old, new)
    (record,) = result.records
    return record, result


# ---------------------------------------------------------------------------------------------------------- the guide


@pytest.mark.parametrize("name", ["controller", "compute"])
@pytest.mark.parametrize("old", RELEASES, ids=str)
def test_the_guides_files_from_every_release_to_every_later_one(name, old):
    text = (GUIDE / f"{name}.conf").read_text()
    for new in releases_between(old, NEWEST):
        check(text, old, new)


def actions(name, old, new):
    result = check((GUIDE / f"{name}.conf").read_text(), old, new)
    return {(r.section, r.option): (r.action, r.new_section, r.new_option) for r in result.records}, result


def test_the_guides_controller_from_ocata_to_zed():
    did, result = actions("controller", "ocata", "zed")
    gone = [("DEFAULT", n) for n in ("rpc_backend", "auth_strategy", "use_neutron", "firewall_driver")]
    gone += [("oslo_messaging_rabbit", n) for n in ("rabbit_host", "rabbit_userid", "rabbit_password")]
    assert {key for key, (action, *_) in did.items() if action == "dropped"} == set(gone)
    assert did["vnc", "vncserver_listen"] == ("renamed", "vnc", "server_listen")
    assert did["vnc", "vncserver_proxyclient_address"] == ("renamed", "vnc", "server_proxyclient_address")
    assert did["keystone_authtoken", "auth_uri"] == ("renamed", "keystone_authtoken", "www_authenticate_uri")
    assert did["placement", "os_region_name"] == ("renamed", "placement", "region_name")
    assert did["neutron", "url"] == ("renamed", "neutron", "endpoint_override")
    assert did["keystone_authtoken", "auth_url"][0] == did["neutron", "auth_url"][0] == "attention"
    assert did["DEFAULT", "my_ip"] == ("kept", "DEFAULT", "my_ip")
    assert any("[service_user]" in r.need for r in result.required)
    assert "# Kilonova: Nova Yoga needs: [service_user]" in result.text
    assert "\nserver_listen = $my_ip\n" in result.text


def test_the_guides_compute_to_the_newest():
    did, result = actions("compute", "15", "2026.2")
    for key in [("DEFAULT", "enabled_apis"), ("api", "auth_strategy"), ("DEFAULT", "auth_strategy")]:
        assert did[key][0] == "dropped"
    assert did["vnc", "novncproxy_base_url"][0] == "attention"
    assert "# Các bản sau bỏ port 35357\nauth_url = " in result.text, "comments stay where they are"
    reason = {r.option: r.reason for r in result.records}
    assert "nova-api" in reason["enabled_apis"] and "2025.2 Flamingo" in reason["enabled_apis"]
    assert "noVNC" in reason["novncproxy_base_url"]


def test_nothing_is_done_to_a_file_of_its_own_release():
    text = (GUIDE / "controller.conf").read_text()
    result = check(text, "ocata", "ocata")
    renamed = [(r.section, r.option) for r in result.records if r.action != "kept"]
    assert renamed == [("DEFAULT", "auth_strategy")], "an alias beside its successor; nothing else"


# -------------------------------------------------------------------------------------------------------- one by one


def test_renamed_in_place_keeps_spacing_and_comments():
    _, result = one("# a\n[vnc]\n# b\nvncserver_listen=1.2.3.4\n\n# c\n", "ocata", "queens")
    assert result.text == "# a\n[vnc]\n# b\nserver_listen=1.2.3.4\n\n# c\n"


def test_moved_with_its_comment_into_the_section_that_is_there():
    text = "[DEFAULT]\n# mine\nvncserver_listen = 1.2.3.4\nmy_ip = 1.2.3.4\n\n[vnc]\nenabled = true\n\n# end\n"
    result = check(text, "ocata", "queens")
    assert result.text == ("[DEFAULT]\nmy_ip = 1.2.3.4\n\n[vnc]\nenabled = true\n# mine\nserver_listen = 1.2.3.4\n\n# end\n")


def test_moved_into_a_new_section():
    _, result = one("[DEFAULT]\nvncserver_listen = 1.2.3.4\n", "ocata", "queens")
    assert result.text == "[DEFAULT]\n\n[vnc]\nserver_listen = 1.2.3.4\n"


def test_dropped_leaves_a_comment_without_the_value():
    record, result = one("[DEFAULT]\nrpc_backend = geheim\n  und mehr\n", "rocky", "stein")
    assert (record.action, record.new_option, record.new_value) == ("dropped", None, None)
    assert "# Kilonova: rpc_backend is not in Stein's file" in result.text
    assert "geheim" not in result.text and "mehr" not in result.text


def test_rabbit_options_become_a_transport_url():
    text = (
        "[oslo_messaging_rabbit]\nrabbit_host = mq\nrabbit_userid = open/stack\nrabbit_password = a@b$$c\n"
        "rabbit_virtual_host = /nova\n[DEFAULT]\nmy_ip = 1.1.1.1\n"
    )
    result = check(text, "rocky", "stein")
    assert "transport_url = rabbit://open%2Fstack:a%40b%24c@mq:5672//nova\n" in result.text
    assert [r.action for r in result.records] == ["renamed"] * 4 + ["kept"]
    assert {r.new_value for r in result.records[:4]} == {"(hidden)"}
    assert not any("transport_url must" in r.need for r in result.required)
    beside = check(text + "transport_url = rabbit://a:b@c\n", "rocky", "stein")
    assert [r.action for r in beside.records] == ["dropped"] * 4 + ["kept"] * 2
    cluster = check("[DEFAULT]\nrabbit_hosts = a:1,b:2\n", "rocky", "stein")
    assert "transport_url = rabbit://guest:guest@a:1,guest:guest@b:2/\n" in cluster.text


def test_of_two_names_for_one_option_the_one_that_nova_read_stays():
    result = check("[vnc]\nserver_listen = 1.1.1.1\nvncserver_listen = 2.2.2.2\n", "queens", "zed")
    assert [r.action for r in result.records] == ["kept", "dropped"]
    assert conf.read(result.text).values("vnc", "server_listen") == ["1.1.1.1"]
    result = check("[keystone_authtoken]\nauth_uri = http://a\nwww_authenticate_uri = http://b\n", "queens", "2026.2")
    assert conf.read(result.text).values("keystone_authtoken", "www_authenticate_uri") == ["http://b"]


def test_repeated_values_stay():
    text = "[pci]\npassthrough_whitelist = {}\npassthrough_whitelist = {\n  }\n"
    result = check(text, "yoga", "2023.1")
    assert result.text.count("device_spec = {") == 2
    text = "[vnc]\nenabled = true\nenabled = false\n"
    assert check(text, "ocata", "ocata").text == text


ORDERED = [
    # text, releases, the values of [pci] device_spec in the order in which the old release read them
    ("[DEFAULT]\npci_passthrough_whitelist = A\n[pci]\npassthrough_whitelist = B\n", "ocata zed", "A B"),
    ("[pci]\npassthrough_whitelist = B\n[DEFAULT]\npci_passthrough_whitelist = A\n", "ocata zed", "A B"),
    ("[pci]\ndevice_spec = B\ndevice_spec = C\npassthrough_whitelist = A\n", "zed zed", "A B C"),
    ("[pci]\npassthrough_whitelist = A\ndevice_spec = B\npassthrough_whitelist = C\n", "zed 2026.2", "A C B"),
    ("[pci]\npassthrough_whitelist = A\npassthrough_whitelist = B\n", "queens zed", "A B"),
]


@pytest.mark.parametrize(("text", "path", "expected"), ORDERED)
def test_values_of_several_names_that_all_count_keep_their_order(text, path, expected, tmp_path):
    old, new = map(find, path.split())
    for letter in "ABC":
        text = text.replace(f"= {letter}\n", f'= {{"vendor_id": "{letter.lower()}"}}\n')
    (tmp_path / "nova.conf").write_text(text)
    option = catalogue(old).get("pci", "device_spec") or catalogue(old).get("pci", "passthrough_whitelist")
    real = cfg.ConfigOpts()
    aliases = [cfg.DeprecatedOpt(name, group=section) for section, name in option.aliases]
    real.register_opt(cfg.MultiStrOpt(option.dest, deprecated_opts=aliases), group="pci")
    real(["--config-file", str(tmp_path / "nova.conf")], default_config_files=[])
    letters = [json.loads(value)["vendor_id"].upper() for value in real.pci[option.dest]]
    assert letters == expected.split()  # what oslo.config itself reads of the old file
    result = check(text, old, new)
    assert [json.loads(i.value)["vendor_id"].upper() for i in conf.read(result.text).items] == expected.split()
    assert check(result.text, new, new).text == result.text


def test_references_follow_renamed_options():
    text = (
        "[DEFAULT]\nvncserver_listen = 1.2.3.4\n[vnc]\nvncserver_proxyclient_address = $vncserver_listen\n"
        "novncproxy_base_url = http://${vnc.vncserver_proxyclient_address}:6080/vnc_lite.html\n"
    )
    result = check(text, "ocata", "zed")
    assert "server_proxyclient_address = ${server_listen}\n" in result.text
    assert "http://${vnc.server_proxyclient_address}:6080" in result.text or "${server_proxyclient_address}" in result.text


def test_references_are_looked_up_where_the_option_lives():
    text = "[DEFAULT]\nvncserver_listen = $vncserver_proxyclient_address\n[vnc]\nvncserver_proxyclient_address = 1.2.3.4\n"
    assert errors(validate(text, "ocata")) == []
    result = check(text, "ocata", "zed")
    assert "[vnc]\nserver_proxyclient_address = 1.2.3.4\nserver_listen = ${server_proxyclient_address}\n" in result.text


def test_references_to_what_is_gone_are_resolved():
    result = check(
        "[oslo_messaging_rabbit]\nrabbit_host = mq\n[DEFAULT]\ntransport_url = rabbit://${oslo_messaging_rabbit.rabbit_host}/\n",
        "rocky",
        "stein",
    )
    assert conf.read(result.text).values("DEFAULT", "transport_url") == ["rabbit://mq/"]
    assert result.records[1].action == "attention"


def test_references_that_never_had_a_target_become_text():
    record, result = one("[DEFAULT]\ninstance_name_template = i-$nope\n", "zed", "2023.1")
    assert record.action == "attention"
    assert "instance_name_template = i-$$nope\n" in result.text


def test_values_that_the_new_release_refuses_are_left_out():
    record, result = one("[libvirt]\nvirt_type = xen\n", "victoria", "wallaby")
    assert (record.action, record.new_option) == ("attention", None)
    assert "kvm, lxc, qemu, parallels" in record.reason
    assert conf.read(result.text).items == []


def test_filters_that_are_gone_leave_the_list():
    filters = "RetryFilter, nova.scheduler.filters.ram_filter.RamFilter,ComputeFilter"
    text = f"[DEFAULT]\nscheduler_default_filters = {filters}\n"
    record, _ = one(text, "ocata", "zed")
    assert (record.action, record.new_section, record.new_option) == ("attention", "filter_scheduler", "enabled_filters")
    assert record.new_value == "ComputeFilter"
    # Nova looks for the name of a class (nova 15.1.5: nova/scheduler/host_manager.py, _choose_host_filters).
    record, _ = one(text, "ocata", "stein")
    assert record.action == "attention" and "nova.scheduler.filters.ram_filter.RamFilter: " in record.reason
    assert record.new_value == "RetryFilter,ComputeFilter"
    record, _ = one("[DEFAULT]\nscheduler_default_filters = RetryFilter, RamFilter,ComputeFilter\n", "ocata", "stein")
    assert record.action == "renamed"


def test_one_filter_that_never_existed_does_not_take_the_others_with_it():
    """Without the list, Nova's default would apply: without the isolation of tenants, for one."""
    filters = "AggregateMultiTenancyIsolation,ComputeFilter,AvailabiltyZoneFilter"
    record, result = one(f"[filter_scheduler]\nenabled_filters = {filters}\n", "ocata", "epoxy")
    assert record.action == "attention" and record.reason.startswith("AvailabiltyZoneFilter: nova-scheduler does not start")
    assert "enabled_filters = AggregateMultiTenancyIsolation,ComputeFilter\n" in result.text


def test_values_that_do_not_work_are_pointed_out_in_every_release_in_which_they_do_not():
    text = "[keystone_authtoken]\nauth_url = http://controller:35357\n"
    assert one(text, "ocata", "pike")[0].action == "kept"
    assert one(text, "pike", "queens")[0].action == "attention"
    assert one(text, "queens", "zed")[0].action == "attention", "whichever release the file was written for"
    record, _ = one("[DEFAULT]\nuse_neutron = False\n", "train", "ussuri")
    assert (record.action, record.new_option) == ("attention", None)
    assert "nova-network" in record.reason
    assert one("[DEFAULT]\ncompute_driver = xenapi.XenAPIDriver\n", "ussuri", "victoria")[0].action == "attention"


def test_what_the_old_release_ignored_is_not_brought_to_life_unseen():
    record, result = one("[vnc]\nserver_listen = 0.0.0.0\n", "ocata", "zed")
    assert (record.action, record.new_option) == ("attention", "server_listen")
    assert "takes effect" in record.reason
    record, result = one("[vnc]\nvncserver_listen = 0.0.0.0\n", "zed", "2023.1")
    assert (record.action, record.new_option) == ("attention", None)
    assert "set [vnc] server_listen" in record.reason
    record, result = one("[bogus]\nx = 1\n", "zed", "2023.1")
    assert record.action == "dropped"
    assert "# Kilonova: Nova 2023.1 Antelope has no section bogus\n" in result.text


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("[service_user]\nsend_service_user_token = true\n", True),
        ("[service_user]\nsend_service_user_token = false\n", False),
        ("[DEFAULT]\n", False),
    ],
)
def test_what_the_new_release_needs(text, met):
    need = [r for r in check(text, "xena", "yoga").required if "service_user" in r.need]
    assert bool(need) is not met
    assert check(text, "yoga", "yoga").required == []


def test_secrets_are_in_no_report():
    text = (
        "[DEFAULT]\ntransport_url = rabbit://u:geheim@h\nrabbit_password = geheim\n[oslo_messaging_rabbit]\n"
        "rabbit_password = geheim\n[neutron]\npassword = geheim$$\nmetadata_proxy_shared_secret = geheim\n"
        "url = http://u:geheim@h\n[bogus]\nuser_password = geheim\nurl = x://u:geheim@h/\n"
    )
    for new in ("ocata", "rocky", "stein", "2026.2"):
        result = check(text, "ocata", new)
        assert "geheim" not in result.report() + table(result)
        comments = [line for line in result.text.splitlines() if line.startswith("#")]
        assert "geheim" not in "".join(comments)


def test_windows_files_stay_windows_files():
    result = check("[vnc]\r\nvncserver_listen = 1.2.3.4\r\n", "ocata", "queens")
    assert result.text == "[vnc]\r\nserver_listen = 1.2.3.4\r\n"


def test_backwards_is_refused():
    with pytest.raises(ValueError, match="Pike is older than Zed"):
        translate("", "zed", "pike")


def test_an_unreadable_file_is_refused_with_the_line():
    with pytest.raises(conf.ConfError, match="line 2: option 'a' comes before the first section"):
        translate("\na = 1\n", "zed", "2023.1")


# --------------------------------------------------------------------------------- what the old release read is not lost


def values(text, old, new):
    """Return {(section, option): value} of the translation, and {option: action}."""
    result = check(text, old, new)
    read = {(i.section, i.name): i.value for i in conf.read(result.text).items}
    return read, {r.option: r.action for r in result.records}, result


@pytest.mark.parametrize(("text", "old", "new", "expected"), [
    ("[DEFAULT]\nvncserver_listen = 192.0.2.1\n[vnc]\nvncserver_listen = 0.0.0.0", "ocata", "zed",
     ("vnc", "server_listen", "0.0.0.0")),
    ("[vnc]\nvncserver_listen = 0.0.0.0\n[DEFAULT]\nvncserver_listen = 192.0.2.1", "ocata", "queens",
     ("vnc", "server_listen", "0.0.0.0")),
    # what the old release ignored does not win, though it has the option's name of today
    ("[vnc]\nserver_listen = 1.1.1.1\nvncserver_listen = 2.2.2.2", "ocata", "zed", ("vnc", "server_listen", "2.2.2.2")),
    ("[DEFAULT]\nrabbit_use_ssl = false\n[oslo_messaging_rabbit]\nrabbit_use_ssl = true", "ocata", "2025.1",
     ("oslo_messaging_rabbit", "ssl", "true")),
    ("[DEFAULT]\nkombu_ssl_version = a\n[oslo_messaging_rabbit]\nkombu_ssl_version = b", "ocata", "2025.1",
     ("oslo_messaging_rabbit", "ssl_version", "b")),
    ("[DEFAULT]\nosapi_max_request_body_size = 5\n[oslo_middleware]\nmax_request_body_size = 6", "ocata", "2026.2",
     ("oslo_middleware", "max_request_body_size", "6")),
    # where the release's code chooses between two options, as that does
    ("[neutron]\nendpoint_override = http://b\nurl = http://a", "queens", "zed", ("neutron", "endpoint_override", "http://a")),
    ("[DEFAULT]\ndefault_floating_pool = public\n[neutron]\ndefault_floating_pool = ext", "pike", "zed",
     ("neutron", "default_floating_pool", "public")),
    ("[DEFAULT]\ndefault_floating_pool = nova\n[neutron]\ndefault_floating_pool = ext", "train", "ussuri",
     ("neutron", "default_floating_pool", "ext")),
    ("[ironic]\nendpoint_override = http://b\napi_endpoint = http://a", "queens", "zed", ("ironic", "endpoint_override", "http://a")),
    ("[oslo_messaging_rabbit]\nssl = false\nrabbit_use_ssl = true", "ocata", "zed", ("oslo_messaging_rabbit", "ssl", "true")),
    ("[DEFAULT]\nrabbit_use_ssl = true\n[oslo_messaging_rabbit]\nssl = false", "ocata", "pike",
     ("oslo_messaging_rabbit", "ssl", "true")),
    ("[cache]\nbackend = dogpile.cache.redis\nmemcache_username = a\nredis_username = b", "2025.2", "2026.1",
     ("cache", "username", "b")),
    ("[cache]\nbackend = dogpile.cache.memcached\nredis_username = b\nmemcache_username = a", "2024.1", "2026.2",
     ("cache", "username", "a")),
    ("[DEFAULT]\ndefault_floating_pool = public", "ocata", "2026.2", ("neutron", "default_floating_pool", "public")),
])  # fmt: skip
def test_of_two_names_the_value_counts_that_the_old_release_read(text, old, new, expected):
    read, _, _ = values(text, old, new)
    assert read[expected[:2]] == expected[2]


@pytest.mark.parametrize("new", ["pike", "stein", "zed", "2026.2"])
@pytest.mark.parametrize("old", ["ocata", "queens", "victoria"])
def test_every_option_that_is_set_by_all_its_names_keeps_what_oslo_config_reads(old, new):
    """The oracle is oslo.config's order: the option's own name, then its deprecated ones."""
    old, new = find(old), find(new)
    if new < old:
        return
    tried = 0
    for section, options in catalogue(old).sections.items():
        for option in () if section[0] == "{" or section[-1] == "*" else options.values():
            names = [(option.section, option.dest), *option.aliases]
            names = [n for n in names if n[0][-1] != "*" and repr(catalogue(old).resolve(*n)[0]) == repr(option)]
            # what can be renamed by hand is decided by the release's code, see above
            if option.multi or len(names) < 2 or option.choices or option.spec["type"] != "String":
                continue
            text = "".join(f"[{s}]\n{name} = v{at}\n" for at, (s, name) in reversed(list(enumerate(names))))
            result = translate(text, old, new)
            became = {(r.new_section, r.new_option) for r in result.records if r.new_option}
            for target in became - {("DEFAULT", "transport_url")}:
                assert conf.read(result.text).values(*target) in ([], ["v0"]), (names, result.text)
            tried += 1
    assert tried > 15


RABBIT = "[oslo_messaging_rabbit]\n"


@pytest.mark.parametrize(("lines", "expected"), [
    ("rabbit_hosts = 192.0.2.1,192.0.2.2\nrabbit_port = 5671\nrabbit_userid = u\nrabbit_password = p",
     "rabbit://u:p@192.0.2.1:5671,u:p@192.0.2.2:5671/"),
    ("rabbit_hosts = a:1,b\nrabbit_port = 5671", "rabbit://guest:guest@a:1,guest:guest@b:5671/"),
    ("rabbit_hosts = fd00::1,[fd00::2]:5673,[fd00::3]", "rabbit://guest:guest@[fd00::1]:5672,guest:guest@[fd00::2]:5673,"
     "guest:guest@[fd00::3]:5672/"),
    ("rabbit_host = fd00::1", "rabbit://guest:guest@[fd00::1]:5672/"),
    ("rabbit_host = h\nrabbit_virtual_host = /openstack", "rabbit://guest:guest@h:5672//openstack"),
    ("rabbit_host = h\nrabbit_virtual_host = openstack", "rabbit://guest:guest@h:5672/openstack"),
    ("rabbit_host = h\nrabbit_virtual_host = /", "rabbit://guest:guest@h:5672/"),
    ("rabbit_host = h\nrabbit_virtual_host = a/b?c", "rabbit://guest:guest@h:5672/a/b%3Fc"),
    # until Rocky the driver looked at them beside a URL that did not say it
    ("rabbit_virtual_host = /nova\n[DEFAULT]\ntransport_url = rabbit://u:p@h", "rabbit://u:p@h//nova"),
    ("rabbit_virtual_host = nova\n[DEFAULT]\ntransport_url = rabbit://u:p@h/?a=b", "rabbit://u:p@h/?a=b"),
    ("rabbit_virtual_host = nova\n[DEFAULT]\ntransport_url = rabbit://u:p@h?a=b", "rabbit://u:p@h/nova?a=b"),
    ("rabbit_host = h\n[DEFAULT]\ntransport_url = rabbit://", "rabbit://guest:guest@h:5672/"),
    ("rabbit_host = h\n[DEFAULT]\nrpc_backend = nova.openstack.common.rpc.impl_kombu", "rabbit://guest:guest@h:5672/"),
])  # fmt: skip
def test_the_transport_url_is_that_of_the_old_driver(lines, expected):
    read, _, _ = values(RABBIT + lines + "\n", "ocata", "zed")
    assert read["DEFAULT", "transport_url"] == expected


@pytest.mark.parametrize(("backend", "new", "words"), [
    ("zmq", "zed", "no driver any more"), ("nova.rpc.impl_qpid", "stein", "no driver any more"), ("amqp", "zed", "transport_url = amqp://"),
    ("kafka", "2026.2", "transport_url = kafka://"), ("amqp", "2026.2", "the scheme of"),
])  # fmt: skip
def test_no_url_is_made_up_for_another_messaging_system(backend, new, words):
    text = f"[DEFAULT]\nrpc_backend = {backend}\n[oslo_messaging_rabbit]\nrabbit_password = left_over\n"
    read, actions_, result = values(text, "ocata", new)
    assert read == {} and actions_["rpc_backend"] == "attention"
    assert words in result.records[0].reason
    assert "left_over" not in result.text


@pytest.mark.parametrize("old", ["ocata", "train", "zed", "2024.2"])
def test_the_rabbit_pool_stays_and_moves(old):
    text = "[oslo_messaging_rabbit]\nrpc_conn_pool_size = 60\nconn_pool_min_size = 4\nconn_pool_ttl = 600\n"
    assert validate(text, old) == []
    assert check(text, old, "2026.2").text.endswith(text)
    read, _, _ = values("[DEFAULT]\nrpc_conn_pool_size = 60\n", old, "2025.1")
    assert read == {("oslo_messaging_rabbit", "rpc_conn_pool_size"): "60"}


@pytest.mark.parametrize(("text", "old", "new"), [
    ("[oslo_limit]\nauth_type = password\nauth_url = http://c\nusername = n\npassword = p\nsystem_scope = all\nendpoint_id = e\n",
     "yoga", "2025.1"),
    ("[oslo_limit]\nauth_type = v3applicationcredential\napplication_credential_id = a\n", "ussuri", "2026.2"),
    ("[oslo_limit]\nauth_section = neutron\n", "zed", "2026.2"),
    ("[audit_middleware_notifications]\ndriver = log\ntopics = a\n", "ocata", "train"),
    ("[neutron]\nauth_type = v3oauth1\nconsumer_key = a\naccess_secret = b\n", "zed", "zed"),
    ("[neutron]\nauth_type = v3adfspassword\nservice_provider_endpoint = a\n", "train", "zed"),
    ("[neutron]\nauth_type = v3fedkerb\nmutual_auth = required\n", "train", "zed"),
    ("[barbican]\ncafile = /a\ninsecure = true\n", "ocata", "train"),
    ("[vault]\ncafile = /a\n", "rocky", "2024.1"),
    ("[cors.www]\nallowed_origin = http://www\n", "ocata", "2025.2"),
])  # fmt: skip
def test_what_libraries_register_when_they_run_is_kept(text, old, new):
    assert validate(text, old) == []
    assert conf.read(check(text, old, new).text).items[0].name == conf.read(text).items[0].name
    assert [r.action for r in check(text, old, new).records] == ["kept"] * (len(text.splitlines()) - 1)


def test_nothing_in_a_section_of_an_unknown_auth_plugin_is_refused_or_dropped():
    text = "[neutron]\nauth_type = my_own\nticket = a\nurl = http://n:9696\n"
    found = validate(text, "ocata")
    assert [(f.level, f.option) for f in found] == [("warning", "ticket")]
    read, did, _ = values(text, "ocata", "zed")
    assert read == {
        ("neutron", "auth_type"): "my_own",
        ("neutron", "ticket"): "a",
        ("neutron", "endpoint_override"): "http://n:9696",
    }
    assert did["ticket"] == "attention"


@pytest.mark.parametrize("plugin", ["v3kerberos", "v3oauth1", "admin_token", "password", "my_own"])
def test_novas_own_option_is_not_renamed_as_a_plugins(plugin):
    read, _, _ = values(f"[neutron]\nauth_type = {plugin}\nurl = http://n:9696\n", "ocata", "zed")
    assert read["neutron", "endpoint_override"] == "http://n:9696"


def test_credentials_of_keystone_v2_get_their_names_of_today():
    text = (
        "[keystone_authtoken]\nidentity_uri = http://c:35357/v2.0\nadmin_user = nova\nadmin_password = p$$w\n"
        "admin_tenant_name = service\n"
    )
    assert errors(validate(text, "ocata")) == [] and not errors(validate(text, "zed"))
    assert {f.option for f in validate(text, "zed")} == {"identity_uri", "admin_user", "admin_password", "admin_tenant_name"}
    for new in ("queens", "zed", "2026.2"):
        read, did, result = values(text, "ocata", new)
        section = "keystone_authtoken"
        assert read == {
            (section, "auth_url"): "http://c:35357",
            (section, "username"): "nova",
            (section, "password"): "p$$w",
            (section, "project_name"): "service",
        }
        assert set(did.values()) == {"attention"}
        (need,) = [r.need for r in result.required if "auth_type = password" in r.need and section in r.need]
        assert "user_domain_name = Default and project_domain_name = Default" in need
        assert "p$$w" not in result.report()
    assert translate(text, "ocata", "pike").text == text, "Pike still speaks v2.0"


def test_other_credentials_of_keystone_v2():
    text = (
        "[keystone_authtoken]\nauth_host = fd00::1\nauth_protocol = http\nauth_port = 5000\nauth_admin_prefix = /id\n"
        "admin_token = t\n"
    )
    read, did, _ = values(text, "train", "2026.2")
    assert read == {("keystone_authtoken", "auth_url"): "http://[fd00::1]:5000/id"}
    assert set(did.values()) == {"attention"}
    # nothing reads them beside auth_type
    read, did, _ = values("[keystone_authtoken]\nauth_type = password\nusername = a\nadmin_user = b\n", "ocata", "zed")
    assert read["keystone_authtoken", "username"] == "a" and did["admin_user"] == "dropped"
    # what stood under the new names was not read without auth_type
    read, _, _ = values("[keystone_authtoken]\nusername = a\nadmin_user = b\n", "ocata", "zed")
    assert read["keystone_authtoken", "username"] == "b"


@pytest.mark.parametrize(
    ("driver", "expected"),
    [("vmwareapi.VMwareVCDriver", "de"), ("nova.virt.vmwareapi.VMwareVCDriver", "de"), ("libvirt.LibvirtDriver", None)],
)
def test_the_keymap_of_vmware(driver, expected):
    text = f"[DEFAULT]\ncompute_driver = {driver}\n[vnc]\nkeymap = de\n"
    read, did, _ = values(text, "queens", "zed")
    assert read.get(("vmware", "vnc_keymap")) == expected
    assert did["keymap"] == ("renamed" if expected else "attention")


@pytest.mark.parametrize(("text", "old", "new", "action", "words"), [
    ("[api]\nuse_forwarded_for = true", "zed", "2024.1", "attention", "[oslo_middleware] enable_proxy_headers_parsing = true"),
    ("[api]\nuse_forwarded_for = false", "zed", "2024.1", "dropped", "HTTPProxyToWSGI"),
    ("[DEFAULT]\nuse_forwarded_for = yes", "ocata", "2026.2", "attention", "HTTPProxyToWSGI"),
    ("[api]\nuse_forwarded_for = true\n[oslo_middleware]\nenable_proxy_headers_parsing = true", "zed", "2024.1", "dropped",
     "HTTPProxyToWSGI"),
    ("[placement_database]\nconnection = mysql+pymysql://a:b@c/d", "stein", "train", "attention", "placement.conf"),
    ("[placement]\nrandomize_allocation_candidates = true", "stein", "zed", "attention", "placement.conf"),
    ("[cells]\nname = a\nenable = True", "queens", "zed", "attention", "Cells v2"),
    ("[cells]\nname = a\nenable = False", "queens", "zed", "dropped", "Cells v2"),
    ("[scheduler]\ndriver = my_own", "rocky", "zed", "attention", "filters and weighers"),
    ("[scheduler]\ndriver = filter_scheduler", "rocky", "zed", "dropped", "filters and weighers"),
    ("[hyperv]\nvswitch_name = a\n[DEFAULT]\ncompute_driver = hyperv.HyperVDriver", "zed", "2024.1", "attention", "Hyper-V"),
    ("[hyperv]\nvswitch_name = a", "zed", "2024.1", "dropped", "Hyper-V"),
    ("[libvirt]\nuse_usb_tablet = false", "ocata", "wallaby", "attention", "pointer_model"),
    ("[DEFAULT]\nflat_network_bridge = br100\nuse_neutron = false", "train", "ussuri", "attention", "nova-network"),
    ("[DEFAULT]\nflat_network_bridge = br100", "train", "ussuri", "dropped", "nova-network"),
    ("[workarounds]\ndisable_native_luksv1 = true", "wallaby", "xena", "attention", "libgcrypt"),
    ("[quota]\nuntil_refresh = 5", "rocky", "stein", "dropped", "quotas are counted"),
])  # fmt: skip
def test_a_lost_value_that_took_effect_is_attention_with_the_reason(text, old, new, action, words):
    record = check(text + "\n", old, new).records[0]
    assert (record.action, record.new_option) == (action, None)
    assert words in record.reason


# ------------------------------------------------------------------------------------- what cannot work is not kept unsaid


def last_line(value):
    return value.split("\n")[-1][:40] if "\n" in value else ""


BAD = [
    # text, releases in which it is fine, releases in which it is not, level, words
    ("[cinder]\ncatalog_info = volumev2:cinderv2:internalURL", "pike", "queens 2026.2", "warning", "volumev3"),
    ("[cinder]\ncatalog_info = volume:cinder:internalURL", "pike", "zed", "warning", "volumev3"),
    ("[cinder]\nendpoint_template = http://h:8776/v1/%(project_id)s", "pike", "queens", "warning", "/v3"),
    ("[cinder]\nendpoint_template = http://h/volume/v2.0/%(project_id)s", "pike", "queens 2026.2", "warning", "/v3"),
    ("[cinder]\nendpoint_template = http://h/volume/%(project_id)s", "pike", "zed", "warning", "/v3"),
    ("[cinder]\nendpoint_template = http://h/v3/%(project_id)s", "pike zed", "", "warning", "/v3"),
    ("[cinder]\nendpoint_template =", "pike zed", "", "warning", "/v3"),
    ("[upgrade_levels]\ncompute = mitaka", "", "ocata zed 2026.2", "warning", "auto"),
    ("[upgrade_levels]\nconductor = 3.0", "", "ocata zed 2026.2", "warning", "remove it"),
    ("[upgrade_levels]\ncompute = auto", "ocata zed 2026.2", "", "warning", "calls fail"),
    ("[upgrade_levels]\nconductor = auto", "", "ocata zed 2026.2", "warning", "calls fail"),
    ("[upgrade_levels]\nbaseapi = auto", "", "ocata 2026.2", "warning", "calls fail"),
    ("[scheduler]\ndriver = caching_scheduler", "rocky", "stein victoria", "error", "filter_scheduler"),
    ("[scheduler]\ndriver = nova.scheduler.chance.ChanceScheduler", "", "stein", "error", "filter_scheduler"),
    ("[scheduler]\ndriver = nova.scheduler.chance.ChanceScheduler", "", "ocata rocky", "error", "not by its class"),
    ("[scheduler]\ndriver = nova.scheduler.caching_scheduler.CachingScheduler", "", "pike", "error", "not by its class"),
    ("[DEFAULT]\ncompute_driver = vmwareapi.VMwareESXDriver", "", "ocata zed", "error", "vCenter"),
    ("[DEFAULT]\ncompute_driver = vmwareapi.VMwareVCDriver", "ocata zed 2026.2", "", "error", "vCenter"),
    (
        "[DEFAULT]\ncompute_driver = nova_docker.virt.docker.DockerDriver",
        "",
        "ocata zed",
        "warning",
        "not a driver of Nova's own",
    ),
    ("[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver", "ocata zed 2026.2", "", "warning", "not a driver of Nova's own"),
    ("[keystone]\nendpoint_override = http://c:35357/v3", "", "queens zed", "warning", "5000"),
    ("[keystone]\nendpoint_override = http://c:5000/v2.0", "", "queens zed", "warning", "without the version"),
    ("[neutron]\nendpoint_override = http://c:9696/v2.0", "queens zed", "", "warning", "without the version"),
    ("[compute]\nmax_disk_devices_to_attach = 0", "", "stein 2026.2", "error", "does not start with 0"),
    ("[compute]\nmax_disk_devices_to_attach = -1", "stein 2026.2", "", "error", "does not start with 0"),
    ("[libvirt]\nlive_migration_uri = xenmigr://%s/system", "victoria", "wallaby 2026.2", "warning", "Xen"),
    ("[DEFAULT]\nreserved_host_cpus = 2\n[compute]\ncpu_shared_set = 0-3", "stein", "train zed", "error", "cpu_shared_set"),
    ("[DEFAULT]\nreserved_host_cpus = 2\n[compute]\ncpu_dedicated_set = 0-3", "", "train zed", "error", "cpu_dedicated_set"),
    ("[DEFAULT]\nreserved_host_cpus = 0\n[compute]\ncpu_shared_set = 0-3", "stein train zed", "", "error", "does not start"),
    ("[DEFAULT]\nreserved_host_cpus = 2\nvcpu_pin_set = 0-3\n[compute]\ncpu_shared_set = 0", "stein train", "", "error", "start"),
    (
        "[oslo_messaging_rabbit]\nrabbit_ha_queues = true\nrabbit_quorum_queue = yes",
        "",
        "yoga 2024.1",
        "error",
        "exclude each other",
    ),
    ("[oslo_messaging_rabbit]\nrabbit_ha_queues = true", "yoga 2024.1", "", "error", "exclude each other"),
    ("[DEFAULT]\nlogging_context_format_string = %(tenant)s %(message)s", "xena", "yoga 2026.2", "warning", "project"),
    ("[DEFAULT]\nlogging_user_identity_format = %(user)s %(tenant)s", "xena", "yoga zed", "warning", "project"),
    ("[neutron]\nauth_type = v2password", "pike", "queens zed", "warning", "user_domain_name"),
    ("[placement]\nauth_type = v2token", "pike", "zed", "warning", "v2.0"),
    ("[neutron]\nauth_url = http://c:5000/v2.0/", "pike", "queens zed", "warning", "without the version"),
    ("[placement]\nauth_url = http://c:5000/v2.0/tokens", "pike", "queens zed", "warning", "without the version"),
    ("[keystone_authtoken]\nwww_authenticate_uri = http://c:5000/v2.0", "", "queens zed", "warning", "without the version"),
    ("[barbican]\nauth_endpoint = http://c:5000/v2.0", "pike", "queens", "warning", "without the version"),
    ("[keystone_authtoken]\nauth_version = v2.0", "pike", "zed", "warning", "v3"),
    ("[DEFAULT]\ncompute_driver = xenapi.XenAPIDriver", "ussuri", "victoria zed", "error", "XenAPI"),
    ("[DEFAULT]\ncompute_driver = powervm.PowerVMDriver", "yoga", "zed", "error", "PowerVM"),
    ("[filter_scheduler]\nenabled_filters = RetryFilter,CoreFilter", "stein", "zed 2026.2", "error", "RetryFilter"),
    ("[filter_scheduler]\navailable_filters = nova.scheduler.filters.ram_filter.RamFilter", "stein", "zed", "error", "Placement"),
    ("[DEFAULT]\ntransport_url = zmq+redis://h", "rocky", "stein zed", "error", "ZeroMQ"),
    ("[DEFAULT]\ntransport_url = amqp://u:p@h", "2024.2", "2025.1 2026.2", "error", "AMQP 1.0"),
    ("[oslo_messaging_notifications]\ntransport_url = amqp://u:p@h", "zed", "2025.1", "error", "AMQP 1.0"),
    (
        "[oslo_messaging_notifications]\ndriver = nova.openstack.common.notifier.rpc_notifier",
        "",
        "ocata zed",
        "warning",
        "messagingv2",
    ),
    ("[database]\nconnection = mysql://u:p@h/nova", "train", "ussuri zed", "warning", "mysql+pymysql"),
    ("[api_database]\nconnection = mysql://u:p@h/nova", "train", "zed", "warning", "mysql+pymysql"),
    ("[database]\nconnection = mysql+mysqldb://u:p@h/nova", "train", "ussuri 2026.2", "warning", "mysql+pymysql"),
    ("[database]\nconnection = mysql+pymysql://u:p@h/nova", "train zed 2026.2", "", "warning", "mysql+pymysql"),
    ("[database]\nslave_connection = postgres://u:p@h/nova", "wallaby", "xena zed", "error", "postgresql://"),
    ("[api_database]\nconnection = postgres+psycopg2://u:p@h/nova", "wallaby", "zed", "error", "postgresql://"),
    ("[database]\nconnection = postgresql://u:p@h/nova", "wallaby zed", "", "error", "SQLAlchemy"),
    ("[DEFAULT]\nforce_raw_images = false\n[libvirt]\nimages_type = rbd", "stein", "train zed", "error", "rbd"),
    ("[DEFAULT]\nforce_raw_images = false\n[libvirt]\nimages_type = qcow2", "train zed", "", "error", ""),
    ("[key_manager]\nbackend = nova.keymgr.barbican.BarbicanKeyManager", "", "queens zed", "error", "castellan"),
    ("[libvirt]\nenabled_perf_events = cmt,cpu_clock", "rocky", "stein", "warning", "CMT"),
]


@pytest.mark.parametrize(("notifications", "default", "expected"), [
    ("rabbit://a:b@c", "", "rabbit://a:b@c/v"),
    ("rabbit://", "", "rabbit://guest:guest@x:5672/v"),
    ("rabbit://", "rabbit://a:b@h/", "rabbit://guest:guest@x:5672/v"),
    ("rabbit://a:b@c/own", "", "rabbit://a:b@c/own"),
    ("kafka://a:b@c", "", "kafka://a:b@c"),
])  # fmt: skip
def test_the_transport_url_of_notifications_gets_its_parts_too(notifications, default, expected):
    text = f"[DEFAULT]\ntransport_url = {default}\n" if default else ""
    text += f"[oslo_messaging_notifications]\ntransport_url = {notifications}\n"
    text += "[oslo_messaging_rabbit]\nrabbit_host = x\nrabbit_virtual_host = v\n"
    read = conf.read(check(text, "ocata", "zed").text)
    assert read.values("oslo_messaging_notifications", "transport_url") == [expected]
    assert read.values("DEFAULT", "transport_url") == [default or "rabbit://guest:guest@x:5672/v"]


@pytest.mark.parametrize(("address", "right"), [
    ("0000:0a:00.1", True), ("0a:00.1", True), ("*:0a:*.*", True), (":00.", True), ("0000:0a:00", True),
    ("0000:zz:00.1", False), ("0000:0a:20.0", False), ("*:*:*.8", False), ("1:2:3:4.0", False), ("10000:0a:00.0", False),
])  # fmt: skip
def test_addresses_of_pci_devices(address, right):
    assert (errors(validate(f'[pci]\ndevice_spec = {{"address": "{address}"}}\n', "zed")) == []) == right


@pytest.mark.parametrize(("policy", "release", "right"), [
    ("required", "pike", False), ("required", "queens", True), ("socket", "victoria", False), ("socket", "wallaby", True),
])  # fmt: skip
def test_an_alias_has_what_the_release_knows(policy, release, right):
    alias = f'{{"name": "a", "vendor_id": "8086", "product_id": "154d", "numa_policy": "{policy}"}}'
    assert (errors(validate(f"[pci]\nalias = {alias}\n", release)) == []) == right


def test_sections_that_a_list_of_networks_makes():
    text = "[neutron]\nphysnets = provider\n[neutron_physnet_provider]\nnuma_nodes = 0,1\n[neutron_tunnel]\nnuma_nodes = 0\n"
    for release in ("rocky", "zed", "2026.2"):
        assert [f for f in validate(text, release) if "deprecated" not in f.message] == []
        assert check(text, release, "2026.2").text.endswith(text)
    assert [r.action for r in check(text, "queens", "zed").records] == ["attention"] * 3  # from Rocky on they take effect
    assert "from Rocky on" in check(text, "queens", "zed").records[1].reason
    assert errors(validate(text, "queens"))
    (other,) = validate(text.replace("= provider", "= other"), "zed")
    assert other.level == "warning" and "unless provider is in [neutron] physnets" in other.message
    (wrong,) = errors(validate(text.replace("0,1", "zero"), "zed"))
    assert wrong.option == "numa_nodes"
    (unknown,) = errors(validate(text.replace("numa_nodes = 0,1", "numa_node = 0"), "zed"))
    assert "numa_nodes" in unknown.message


@pytest.mark.parametrize(("text", "good", "bad", "level", "words"), BAD, ids=last_line)
def test_the_validator_knows_values_that_cannot_work(text, good, bad, level, words):
    for release in good.split():
        assert not any(words in f.message for f in validate(text + "\n", release) if "deprecated" not in f.message and words)
        assert errors(validate(text + "\n", release)) == []
    for release in bad.split():
        told = [f for f in validate(text + "\n", release) if words in f.message and not f.message.startswith("deprecated")]
        assert [f.level for f in told] == [level], release


@pytest.mark.parametrize(("text", "good", "bad", "level", "words"), BAD, ids=last_line)
def test_the_translator_tells_of_them_whichever_release_the_file_is_of(text, good, bad, level, words):
    for new in bad.split():
        for old in releases_between(find("ocata"), find(new)):
            if any(not catalogue(old).resolve(i.section, i.name) for i in conf.read(text).items):
                continue  # an option that is younger
            record = check(text + "\n", old, new).records[0]
            assert record.action == "attention" and words in record.reason, (old, new)


def test_addresses_of_glance_get_what_nova_put_before_them():
    read, did, _ = values("[glance]\napi_servers = 192.0.2.10:9292, https://b, c\n", "ocata", "zed")
    assert read["glance", "api_servers"] == "http://192.0.2.10:9292,https://b,http://c" and did["api_servers"] == "attention"
    text = "[DEFAULT]\nmy_ip = 192.0.2.1\nstate_path = https://h\n[glance]\napi_servers = $my_ip:9292,$state_path:9292\n"
    assert values(text, "ocata", "zed")[0]["glance", "api_servers"] == "http://$my_ip:9292,$state_path:9292"
    assert values("[glance]\napi_servers = 192.0.2.10:9292\n", "ocata", "pike")[1]["api_servers"] == "kept"
    read, _, _ = values("[glance]\napi_servers = HTTPS://a,[fd00::1]:9292\n", "ocata", "zed")
    assert read["glance", "api_servers"] == "HTTPS://a,http://[fd00::1]:9292"
    read, did, _ = values("[glance]\napi_servers = http://a,https://b\n", "ocata", "zed")
    assert did["api_servers"] == "kept"
    assert "makes every request to Glance fail" in str(validate("[glance]\napi_servers = a:9292\n", "2026.2"))


def test_values_that_have_one_right_form_are_written_so():
    read, _, _ = values("[DEFAULT]\ntransport_url = pika://u:p@h/v\n", "queens", "zed")
    assert read["DEFAULT", "transport_url"] == "rabbit://u:p@h/v"
    read, _, _ = values("[DEFAULT]\ncompute_driver = nova.virt.libvirt.LibvirtDriver\n", "ocata", "zed")
    assert read["DEFAULT", "compute_driver"] == "libvirt.LibvirtDriver"
    read, _, _ = values("[key_manager]\napi_class = nova.keymgr.barbican.BarbicanKeyManager\n", "ocata", "zed")
    assert read["key_manager", "backend"] == "barbican"
    read, _, _ = values("[api_database]\nconnection = postgres+psycopg2://u:p@h/n\n", "ocata", "zed")
    assert read["api_database", "connection"] == "postgresql+psycopg2://u:p@h/n"
    _, did, _ = values("[key_manager]\napi_class = nova.keymgr.conf_key_mgr.ConfKeyManager\n", "ocata", "zed")
    assert did["api_class"] == "renamed"
    # a list in another option, of which a filter is gone
    text = "[DEFAULT]\nhost = RamFilter,ComputeFilter\n[filter_scheduler]\nenabled_filters = $host\n"
    read, _, _ = values(text, "stein", "zed")
    assert read["filter_scheduler", "enabled_filters"] == "ComputeFilter"


def test_only_the_wrong_ones_of_repeated_values_go():
    text = (
        "[filter_scheduler]\navailable_filters = nova.scheduler.filters.all_filters\n"
        "available_filters = nova.scheduler.filters.retry_filter.RetryFilter\navailable_filters = mine.Filter\n"
    )
    result = check(text, "stein", "zed")
    stay = conf.read(result.text).values("filter_scheduler", "available_filters")
    assert stay == ["nova.scheduler.filters.all_filters", "mine.Filter"]


@pytest.mark.parametrize(("text", "old", "new", "told", "untold"), [
    ("[DEFAULT]\ninitial_cpu_allocation_ratio = 16.0", "zed", "2023.1",
     "initial_ram_allocation_ratio", "initial_cpu_allocation_ratio"),
    ("[DEFAULT]\ninitial_ram_allocation_ratio = 1.5", "zed", "2023.1",
     "initial_cpu_allocation_ratio", "initial_ram_allocation_ratio"),
    ("[keystone_authtoken]\nservice_token_roles_required = true", "2026.1", "2026.2", "", "service_token_roles_required"),
    ("[keystone_authtoken]\nservice_token_roles_required = false", "2026.1", "2026.2", "service_token_roles_required", "uWSGI"),
    ("[libvirt]\nvirt_type = kvm", "zed", "2026.2", "compute_id", "nova-api"),
    ("[libvirt]\nvirt_type = kvm\n[database]\nconnection = a", "zed", "2026.2", "nova-api", "extract"),
    ("[placement_database]\nconnection = a", "stein", "train", "", "extract"),
    ("[api_database]\nconnection = a", "stein", "train", "extract", "service_user"),
])  # fmt: skip
def test_needs_are_whole_and_only_those_that_are_not_met(text, old, new, told, untold):
    needs = " ".join(r.need for r in check(text + "\n", old, new).required)
    assert told in needs and untold not in needs


# ----------------------------------------------------------------------------------------------- comments, secrets, bounds


def test_commented_out_options_stay_in_their_section():
    text = (
        "[DEFAULT]\n#debug = true\n#my_ip = 192.0.2.9\nvncserver_listen = 0.0.0.0\n# words: about it\n"
        "vncserver_proxyclient_address = 0.0.0.1\n; host: x\n#[spice]\n# mine\nnovncproxy_port = 6081\n[cells]\n#enable = false\n"
    )
    result = check(text, "ocata", "zed")
    stays, moved = result.text.split("[vnc]\n")
    for line in ("#debug = true", "#my_ip = 192.0.2.9", "; host: x", "#[spice]"):
        assert line in stays.split("[cells]")[0]
    assert stays.rstrip().endswith("[cells]\n#enable = false")
    assert moved == (
        "server_listen = 0.0.0.0\n# words: about it\nserver_proxyclient_address = 0.0.0.1\n# mine\nnovncproxy_port = 6081\n"
    )


def test_a_retired_header_goes_only_when_nothing_is_below_it():
    assert check("[cells]\nenable = false\n", "ocata", "zed").text.split("\n")[-3].endswith("Nova Zed has no section cells")
    assert "[cells]\n" in check("[cells]\nenable = false\n# of mine\n[DEFAULT]\ndebug = true\n", "ocata", "zed").text
    assert "[privsep]\n#user = x\n" in check("[privsep]\n#user = x\n", "train", "zed").text


@pytest.mark.parametrize("text", [
    "[vault]\nroot_token_id = s.GEHEIM", "[vault]\napprole_role_id = GEHEIM", "[profiler]\nhmac_keys = GEHEIM,GEHEIM2",
    "[profiler]\nconnection_string = redis://GEHEIM@h", "[cache]\nbackend_argument = password:GEHEIM",
    "[neutron]\nauth_type = v3oauth1\naccess_key = GEHEIM\nconsumer_secret = GEHEIM", "[bogus]\nurl = x://u:GE/HEIM@h/",
    "[bogus]\napikey = GEHEIM",
    "[bogus]\napi_keys = GEHEIM", "[bogus]\nadmin_pwd = GEHEIM", "[keystone_authtoken]\nadmin_token = GEHEIM",
    "[DEFAULT]\ninstance_name_template = $ldap_dns_password\nldap_dns_password = GEHEIM",
    "[DEFAULT]\nrpc_backend = GEHEIM GEHEIM",
])  # fmt: skip
def test_neighbours_of_secrets_are_in_no_report(text):
    for old, new in [("train", "zed"), ("ocata", "stein"), ("ocata", "2026.2")]:
        result = check(text + "\n", old, new)
        said = result.report() + table(result) + "".join(map(str, [*validate(text + "\n", old), *validate(text + "\n", new)]))
        comments = [line for line in result.text.splitlines() if line.startswith("#")]
        if "rpc_backend" in text:  # its name tells of no secret
            said = ""
        assert "HEIM" not in said + "".join(comments)


@pytest.mark.parametrize("text", [
    "[oslo_messaging_rabbit]\nrabbit_password = p$geheim",
    "[oslo_messaging_rabbit]\nrabbit_password = ${geheim}x\nrabbit_host = h",
    "[neutron]\nurl = http://u:p$geheim@h/",
    "[DEFAULT]\ntransport_url = rabbit://u:p$geheim@h/", "[keystone_authtoken]\nadmin_password = a$geheim",
    "[database]\nconnection = mysql+pymysql://u:p$geheim@h/n", "[glance]\napi_servers = http://u:p$geheim@h",
])  # fmt: skip
def test_no_part_of_a_password_is_in_a_comment(text):
    for new in ("ocata", "stein", "2026.2"):
        result = check(text + "\n", "ocata", new)
        comments = "".join(line for line in result.text.splitlines() if line.startswith("#"))
        assert "geheim" not in comments + "".join(r.reason for r in result.records) + "".join(map(str, validate(text, "ocata")))


STRINGS = [o.dest for o in catalogue("zed").sections["libvirt"].values() if o.spec["type"] == "String" and not o.choices]


def test_references_that_double_are_bounded():
    names = STRINGS[:28]
    text = "[libvirt]\n" + "".join(f"{a} = ${{{b}}}${{{b}}}\n" for a, b in itertools.pairwise(names)) + f"{names[-1]} = xxxx\n"
    found = errors(validate(text, "zed"))
    assert found and all("longer than 1,000,000 characters" in f.message for f in found)
    assert errors(validate(translate(text, "zed", "2023.1").text, "2023.1")) == []
    # a chain, however long, is no reason to fail
    chain = "[libvirt]\n" + "".join(f"{a} = ${b}\n" for a, b in itertools.pairwise(names)) + f"{names[-1]} = x\n"
    assert not any("$" in f.message for f in errors(validate(chain, "zed")))


def counted(text):
    """Return how many lines of Python a translation and a check run: work that does not depend on the machine."""
    lines = 0

    def trace(frame, event, _argument):
        nonlocal lines
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        translate(text, "ocata", "zed")
        validate(text, "zed")
    finally:
        sys.settrace(None)
    return lines


@pytest.mark.parametrize("make", [
    lambda n: "[DEFAULT]\n" + "".join(f"unknwn_{i} = 1\n" for i in range(n)),
    lambda n: "[DEFAULT]\n" + "vncserver_listen = 1\n" * n,
    lambda n: "[DEFAULT]\n" + "pci_passthrough_whitelist = $nope\n" * n,
    lambda n: "".join(f"[section{i}]\na = 1\n" for i in range(n)),
    lambda n: "".join(f"[vgpu_{i}]\ndevice_addresses = ${{mdev_{i + 1}.device_addresses}}\n" for i in range(n)),
    lambda n: "[DEFAULT]\nmy_ip = 1.1.1.1\nhost = " + "$my_ip" * n + "\n",
    lambda n: "[zz]\n#a\n" * n,
], ids=["unknown", "renamed", "repeated", "sections", "dynamic", "references", "headers"])  # fmt: skip
def test_work_grows_with_the_file_and_no_faster(make):
    counted(make(10))  # loading
    small, large = counted(make(300)), counted(make(600))
    assert large < 2.2 * small + 2000


def test_hints_do_not_mislead():
    text = (
        "[libvirt]\nvif_driver = a\nlive_migration_flag = b\n[service_user]\nauth_strategy = c\n"
        "[DEFAULT]\nmemcached_servers = d\n[cinder]\ninterface = e\n"
    )
    result = check(text, "ocata", "zed")
    assert {r.action for r in result.records} == {"dropped"} and "meant" not in result.text
    reasons = {r.option: r.reason for r in result.records}
    assert "[cache] memcache_servers" in reasons["memcached_servers"] and "catalog_info" in reasons["interface"]
    assert "live_migration_tunnelled" in reasons["live_migration_flag"]
    assert "catalog_info" in str(validate("[cinder]\ninterface = e\n", "2026.2"))


# --------------------------------------------------------------------------------------------------------------- fuzz

NAMES = sorted((s.replace("*", "x"), n) for s, n in _lives() if s[0] != "{")
VALUES = st.sampled_from(
    [
        "true", "1", "abc", "$my_ip", "${neutron.url}", "$nope", "x,y", "10.0.0.1", "http://a:35357/", "", '"q"', "'",
        "a\n  b", "$$", r"\$x", "RamFilter,ComputeFilter", "0.0", "a:b", "xen", "${vnc.vncserver_listen}",
        "$rabbit_host", "é", '" q "', "v3password", "v2password", "mine",
    ]
)  # fmt: skip
SETTING = st.one_of(
    st.tuples(st.sampled_from(NAMES), VALUES),
    st.tuples(st.sampled_from([("neutron", "auth_section"), ("DEFAULT", "config_source")]), st.just("mine")),
    st.tuples(
        st.tuples(st.sampled_from(["mine", "x", "VNC", "default"]), st.sampled_from(["auth_type", "username", "enabled"])), VALUES
    ),
)


@given(st.lists(SETTING, max_size=15), st.sampled_from(RELEASES), st.integers(0, 19), st.sampled_from(["", "\n", "# note\n"]))
@settings(max_examples=250, deadline=None)
def test_any_options_with_any_values(settings_, old, steps, between):
    text = "".join(f"[{section}]\n{between}{name} = {value}\n{between}" for (section, name), value in settings_)
    check(text, old, RELEASES[min(old.nova - 15 + steps, 19)])


def legal(spec, default, number):
    """A value that an option of this type takes, other than its default where there is one."""
    kind = spec["type"]
    if spec.get("choices"):
        return str(next((c for c in spec["choices"] if c not in ("", None, default)), spec["choices"][0]))
    if kind in ("Integer", "Port", "Float"):
        low, high = spec.get("min") or 0, spec.get("max")
        return str(next((n for n in (low + number % 7, low, high) if n is not None and (high is None or n <= high)), low))
    if kind == "List":
        text = legal(spec.get("item", {"type": "String"}), None, number)
        return f"[{text}]" if spec.get("bounds") else text
    kinds = {
        "Boolean": "false" if default is True else "true",
        "IPAddress": "192.0.2.7",
        "URI": "http://192.0.2.7/",
        "Dict": "a:b",
    }
    return kinds.get(kind, f"text{number}")


@settings(max_examples=120, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(RELEASES), st.integers(0, 19))
def test_what_counted_still_counts_or_is_pointed_out(random, old, steps):
    """Any options of a release, under any of their names, with values that they take: none is lost or other, unsaid."""
    new = RELEASES[min(old.nova - 15 + steps, 19)]
    options = [o for s, known in catalogue(old).sections.items() if s[0] != "{" and s[-1] != "*" for o in known.values()]
    lines = []
    for number, option in enumerate(random.sample(options, 30)):
        names = [(option.section, option.dest), *(a for a in option.aliases if a[0][-1] != "*")]
        for section, name in random.sample(names, random.randint(1, min(2, len(names)))):
            lines.append((section, name, legal(option.spec, option.default, number)))
    random.shuffle(lines)
    wrong = {(f.section, f.option) for f in errors(validate("".join(f"[{s}]\n{n} = {v}\n" for s, n, v in lines), old))}
    text = "".join(f"[{s}]\n{n} = {v}\n" for s, n, v in lines if (s, n) not in wrong)
    result = check(text, old, new)
    items = conf.read(text).items
    before, after = Values(catalogue(old), items), Values(catalogue(new), conf.read(result.text).items)
    for record, item in zip(result.records, items, strict=True):
        option = catalogue(old).resolve(item.section, item.name)[0]
        names = [(option.section, option.dest), *option.aliases]
        counts = (item.section, item.name) == next(name for name in names if name in before.set)
        if option.multi or not counts or before.set[item.section, item.name] != item.value or record.action == "attention":
            continue
        if record.new_option == "transport_url" != item.name:
            continue  # one of its parts
        if record.new_option:
            now = catalogue(new).get(record.new_section, record.new_option)
            assert after.effective(now) == item.value, record
        elif "is read before it" in record.reason:
            winner = re.findall(r"\[(\S+)\] (\S+) in the same file", record.reason)[-1]
            assert catalogue(old).resolve(*winner)[0] is not option, record  # another option, of which it was only later an alias


@given(st.text(), st.sampled_from(RELEASES))
@settings(max_examples=150, deadline=None)
def test_any_text(text, old):
    for content in (text, "[DEFAULT]\n" + text, text.encode("utf-8", "ignore")):
        try:
            translate(content, old, NEWEST)
        except conf.ConfError as error:
            assert error.line >= 1


@given(st.binary())
@settings(max_examples=100, deadline=None)
def test_any_bytes(data):
    for content in (data, b"[DEFAULT]\n" + data):
        try:
            translate(content, "ocata", "zed")
        except conf.ConfError as error:
            assert error.line >= 1


# ------------------------------------------------------------------------------------------------------- command line


def test_command_line_writes_the_file_and_its_report(tmp_path, capsys):
    out = tmp_path / "new" / "nova.conf"
    arguments = ["--conf", str(GUIDE / "controller.conf"), "--from", "ocata", "--to", "2022.2", "--out", str(out)]
    assert main(arguments) == 2
    assert "unknown release '2022.2'" in capsys.readouterr().err
    arguments[5] = "zed"
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "[vnc] vncserver_listen -> [vnc] server_listen" in printed
    assert "NOVA_DBPASS" not in printed
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    records = json.loads((tmp_path / "new" / "nova.conf.report.json").read_text())
    assert len(records) == len(conf.read((GUIDE / "controller.conf").read_text()).items)
    assert list(records[0]) == FIELDS
    assert errors(validate(out.read_bytes(), find("zed"))) == []


def test_command_line_names_file_and_line_of_a_bad_file(tmp_path, capsys):
    bad = tmp_path / "bad.conf"
    bad.write_text("a = 1\n")
    out = tmp_path / "out.conf"
    assert main(["--conf", str(bad), "--from", "zed", "--to", "zed", "--out", str(out)]) == 2
    assert f"{bad}: line 1: option 'a' comes before the first section" in capsys.readouterr().err
    assert not out.exists()
    assert main(["--conf", str(tmp_path / "none"), "--from", "zed", "--to", "zed", "--out", str(out)]) == 2


@pytest.mark.parametrize(("out", "words"), [
    ("/dev/null", "is a device"), ("directory", "is a directory"), ("link", "is a symbolic link"),
    ("dangling", "is a symbolic link"),
    ("pipe", "is a pipe"), ("in.conf/x", "not a directory"), ("", "is a directory"),
])  # fmt: skip
def test_out_must_be_an_ordinary_file(out, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.conf").write_text("[DEFAULT]\ndebug = true\n")
    (tmp_path / "directory").mkdir()
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    assert main(["--conf", "in.conf", "--from", "ocata", "--to", "zed", "--out", out]) == 2
    assert words in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "target").read_text() == "mine"
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_what_the_report_would_replace_is_looked_at_too(tmp_path, capsys):
    conf_ = tmp_path / "in.conf"
    conf_.write_text("[DEFAULT]\ndebug = true\n")
    (tmp_path / "out.report.json").mkdir()
    assert main(["--conf", str(conf_), "--from", "zed", "--to", "zed", "--out", str(tmp_path / "out")]) == 2
    assert "is a directory" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_out_held_is_kept_once(tmp_path, capsys):
    name = tmp_path / "nova.conf"
    name.write_bytes(b"[vnc]\nvncserver_listen = 1.2.3.4\n# \xc3\xa9\n")
    first = name.read_bytes()
    arguments = ["--conf", str(name), "--from", "ocata", "--to", "zed", "--out", str(name)]
    assert main(arguments) == 0
    orig = tmp_path / "nova.conf.orig"
    assert orig.read_bytes() == first and stat.S_IMODE(orig.stat().st_mode) == 0o600
    assert "server_listen = 1.2.3.4" in name.read_text()
    assert main(arguments) == 2, "the second time it would be taken for a file of Ocata"
    assert str(orig) in capsys.readouterr().err
    other = tmp_path / "other.conf"
    other.write_text("something else")
    arguments[1], arguments[-1] = str(orig), str(other)
    assert main(arguments) == 0 and main(arguments) == 0
    assert (tmp_path / "other.conf.orig").read_text() == "something else"


@pytest.mark.parametrize(
    ("name", "words"), [("none", "the file does not exist"), ("directory", "is a directory"), ("/dev/zero", "is a device")]
)
def test_what_cannot_be_read_is_named(name, words, tmp_path, capsys):
    (tmp_path / "directory").mkdir()
    assert main(["--conf", str(tmp_path / name), "--from", "zed", "--to", "zed", "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
