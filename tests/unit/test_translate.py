"""Old files carried to later releases: right, complete, accepted by the later release, and never a crash."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilonova import conf
from kilonova.catalogue import catalogue, errors, validate
from kilonova.catalogue.changes import _lives
from kilonova.releases import NEWEST, RELEASES, find, releases_between
from kilonova.translate import main, table, translate

GUIDE = Path(__file__).parents[1] / "data" / "guide"
FIELDS = ["section", "option", "value", "action", "new_section", "new_option", "new_value", "reason", "source"]


def check(text, old, new):
    """Translate, and check what every translation has to keep."""
    result = translate(text, old, new)
    before, after = conf.read(text), conf.read(result.text)
    # nothing lost: a record per assignment, in order, each with its reason and source
    assert [(r.section, r.option, r.line) for r in result.records] == [
        (i.section, i.name, i.line) for i in before.items
    ]
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
    assert result.text == (
        "[DEFAULT]\nmy_ip = 1.2.3.4\n\n[vnc]\nenabled = true\n# mine\nserver_listen = 1.2.3.4\n\n# end\n"
    )


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
    assert {r.new_value for r in result.records[:4]} == {"***"}
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


def test_references_follow_renamed_options():
    text = (
        "[DEFAULT]\nvncserver_listen = 1.2.3.4\n[vnc]\nvncserver_proxyclient_address = $vncserver_listen\n"
        "novncproxy_base_url = http://${vnc.vncserver_proxyclient_address}:6080/vnc_lite.html\n"
    )
    result = check(text, "ocata", "zed")
    assert "server_proxyclient_address = ${server_listen}\n" in result.text
    assert (
        "http://${vnc.server_proxyclient_address}:6080" in result.text or "${server_proxyclient_address}" in result.text
    )


def test_references_are_looked_up_where_the_option_lives():
    text = (
        "[DEFAULT]\nvncserver_listen = $vncserver_proxyclient_address\n[vnc]\nvncserver_proxyclient_address = 1.2.3.4\n"
    )
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
    assert (record.action, record.new_section, record.new_option) == (
        "attention",
        "filter_scheduler",
        "enabled_filters",
    )
    assert record.new_value == "ComputeFilter"
    record, _ = one(text, "ocata", "stein")
    assert record.action == "renamed"


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
        st.tuples(
            st.sampled_from(["mine", "x", "VNC", "default"]), st.sampled_from(["auth_type", "username", "enabled"])
        ),
        VALUES,
    ),
)


@given(
    st.lists(SETTING, max_size=15),
    st.sampled_from(RELEASES),
    st.integers(0, 19),
    st.sampled_from(["", "\n", "# note\n"]),
)
@settings(max_examples=250, deadline=None)
def test_any_options_with_any_values(settings_, old, steps, between):
    text = "".join(f"[{section}]\n{between}{name} = {value}\n{between}" for (section, name), value in settings_)
    check(text, old, RELEASES[min(old.nova - 15 + steps, 19)])


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
