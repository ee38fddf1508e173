"""Nova's options of all releases: that they are right, and what is found in a file."""

import itertools
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilonova.config import conf, config_files
from kilonova.config.catalogue import catalogue, errors, fate, validate
from kilonova.config.catalogue.options import AUTH, by_hand, history
from kilonova.config.releases import RELEASES, find

GUIDE = Path(__file__).parents[1] / "data" / "guide"


def status(section: str, name: str, nova: int) -> str:
    """Return valid, deprecated (for removal), alias or gone."""
    option = catalogue(str(nova)).get(section, name)
    if option:
        return "valid" if option.deprecated is None else "deprecated"
    return "alias" if catalogue(str(nova)).aliased(section, name) else "gone"


def spans(text: str) -> dict[int, str]:
    """Return {nova: status} of "valid 15-16, alias 17, gone 18-34"."""
    out = {}
    for part in text.split(", "):
        word, _, numbers = part.partition(" ")
        first, _, last = numbers.partition("-")
        out |= dict.fromkeys(range(int(first), int(last or first) + 1), word)
    return out


# Every option that the guide sets, in every release.
GUIDE_OPTIONS = {
    ("DEFAULT", "rpc_backend"): "deprecated 15-18, gone 19-34",
    ("oslo_messaging_rabbit", "rabbit_host"): "deprecated 15-18, gone 19-34",
    ("oslo_messaging_rabbit", "rabbit_userid"): "deprecated 15-18, gone 19-34",
    ("oslo_messaging_rabbit", "rabbit_password"): "deprecated 15-18, gone 19-34",
    ("DEFAULT", "auth_strategy"): "alias 15-20, gone 21-34",
    ("api", "auth_strategy"): "valid 15-20, deprecated 21-31, gone 32-34",
    ("DEFAULT", "rootwrap_config"): "valid 15-34",
    ("DEFAULT", "my_ip"): "valid 15-34",
    ("oslo_concurrency", "lock_path"): "valid 15-34",
    ("vnc", "enabled"): "valid 15-34",
    ("vnc", "novncproxy_base_url"): "valid 15-34",
    ("DEFAULT", "transport_url"): "valid 15-34",
    ("DEFAULT", "enabled_apis"): "valid 15-31, gone 32-34",
    ("DEFAULT", "use_neutron"): "deprecated 15-20, gone 21-34",
    ("DEFAULT", "firewall_driver"): "valid 15, deprecated 16-20, gone 21-34",
    ("api_database", "connection"): "valid 15-34",
    ("database", "connection"): "valid 15-34",
    ("keystone_authtoken", "auth_uri"): "valid 15-16, deprecated 17-33, gone 34",
    ("keystone_authtoken", "www_authenticate_uri"): "gone 15-16, valid 17-34",
    ("keystone_authtoken", "auth_url"): "valid 15-34",
    ("keystone_authtoken", "memcached_servers"): "valid 15-34",
    ("keystone_authtoken", "auth_type"): "valid 15-34",
    ("keystone_authtoken", "project_domain_name"): "valid 15-34",
    ("keystone_authtoken", "user_domain_name"): "valid 15-34",
    ("keystone_authtoken", "project_name"): "valid 15-34",
    ("keystone_authtoken", "username"): "valid 15-34",
    ("keystone_authtoken", "password"): "valid 15-34",
    ("vnc", "vncserver_listen"): "valid 15-16, alias 17-24, gone 25-34",
    ("vnc", "vncserver_proxyclient_address"): "valid 15-16, alias 17-24, gone 25-34",
    ("vnc", "server_listen"): "gone 15-16, valid 17-34",
    ("vnc", "server_proxyclient_address"): "gone 15-16, valid 17-34",
    ("glance", "api_servers"): "valid 15-20, deprecated 21-34",
    ("placement", "os_region_name"): "valid 15-16, deprecated 17, gone 18-34",
    ("placement", "region_name"): "gone 15-16, valid 17-34",
    ("neutron", "url"): "valid 15-16, deprecated 17-19, gone 20-34",
    ("neutron", "endpoint_override"): "gone 15-16, valid 17-34",
    ("neutron", "region_name"): "valid 15-34",
    ("neutron", "service_metadata_proxy"): "valid 15-34",
    ("neutron", "metadata_proxy_shared_secret"): "valid 15-34",
    **{
        (section, name): "valid 15-34"
        for section in ("placement", "neutron")
        for name in ("auth_type", "auth_url", "project_domain_name", "user_domain_name", "project_name", "username", "password")
    },
    # beyond the guide
    ("service_user", "send_service_user_token"): "valid 15-34",
    ("keystone_authtoken", "service_token_roles_required"): "valid 15-34",
    ("oslo_middleware", "enable_proxy_headers_parsing"): "valid 15-34",
    ("oslo_messaging_rabbit", "rabbit_quorum_queue"): "gone 15-24, valid 25-34",
    ("database", "connection_recycle_time"): "gone 15-16, valid 17-34",
    ("libvirt", "cpu_models"): "gone 15-19, valid 20-34",
    ("vnc", "auth_schemes"): "gone 15-16, valid 17-34",
    ("cinder", "os_region_name"): "valid 15-34",
    ("cinder", "interface"): "gone 15-34",
    ("service_user", "auth_strategy"): "gone 15-34",
}


@pytest.mark.parametrize(("option", "expected"), GUIDE_OPTIONS.items(), ids=lambda v: ".".join(v) if isinstance(v, tuple) else "")
def test_options_of_the_guide_in_every_release(option, expected):
    assert {nova: status(*option, nova) for nova in range(15, 35)} == spans(expected)


def test_the_guide_sets_no_other_option():
    items = [i for name in ("controller", "compute") for i in conf.read((GUIDE / f"{name}.conf").read_text()).items]
    assert {(i.section, i.name) for i in items} <= set(GUIDE_OPTIONS)


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_a_release_has_all_its_options(release):
    assert 1000 < len(catalogue(release)) < 1250
    assert catalogue(release).get("DEFAULT", "control_exchange").default == "nova"


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_every_default_is_a_value_of_its_option(release):
    """All types can be made again, and take what Nova itself takes."""
    mapping: dict = {}
    for section, options in catalogue(release).sections.items():
        for option in options.values():
            assert callable(option.type)
            default = option.default
            if isinstance(default, dict):
                default = ",".join(f"{k}:{v}" for k, v in default.items())
            elif isinstance(default, list) and not option.multi:
                default = ",".join(map(str, default))
            if default in ("<host_ipv4>", "<current_hostname>"):
                default = "127.0.0.1"
            if default is not None and section[0] != "{":
                mapping.setdefault(section.replace("*", "x"), {})[option.dest] = default
    found = errors(validate(mapping, release))
    # oslo.messaging 5.17 gave an integer option the default 1.0
    assert [f.option for f in found] == ["kafka_consumer_timeout"] * (release.nova == 15)


def test_no_trace_of_the_machine_that_read_the_packages():
    text = str(history())
    assert not re.search(r"(?<!/var)/tmp/|/root/|/home/|site-packages", text)
    assert catalogue("ocata").get("DEFAULT", "my_ip").default == "<host_ipv4>"


def test_secrets_are_known():
    cat = catalogue("epoxy")
    for section, name in [("DEFAULT", "transport_url"), ("database", "connection"), ("neutron", "password")]:
        assert cat.get(section, name).secret
    assert not cat.get("DEFAULT", "my_ip").secret
    # those that their libraries do not declare
    old = catalogue("train")
    assert old.get("vault", "root_token_id").secret and old.get("profiler", "hmac_keys").secret
    assert old.get("neutron", "consumer_key", "v3oauth1").secret


def test_names_are_found_as_oslo_config_finds_them():
    cat = catalogue("zed")
    assert cat.resolve("NEUTRON", "auth_url") == (cat.get("neutron", "auth_url"), False)
    assert cat.resolve("default", "my_ip") is None, "only DEFAULT in capitals is the default section"
    assert cat.resolve("neutron", "auth-url") is None, "a file has the name with underscores"
    assert cat.resolve("neutron", "Auth_url") is None
    option, alias = cat.resolve("neutron", "user-name")
    assert (option.dest, alias) == ("username", True)
    option, alias = cat.resolve("DATABASE", "sql_connection")
    assert (repr(option), alias) == ("[database] connection", True)


def test_sections_that_a_value_makes():
    assert catalogue("zed").get("mdev_nvidia-35", "device_addresses").section == "mdev_nvidia-35"
    assert repr(catalogue("zed").aliased("vgpu_nvidia-35", "device_addresses")[0]) == "[mdev_nvidia-35] device_addresses"
    assert catalogue("ussuri").get("vgpu_nvidia-35", "device_addresses")
    assert catalogue("ocata").get("image_file_url:nfs", "mountpoint")


def test_options_of_auth_plugins_belong_to_their_plugin():
    text = "[neutron]\nauth_type = {}\nauth_url = http://k:5000\napplication_credential_id = 1\n"
    assert validate(text.format("v3applicationcredential"), "epoxy") == []
    (finding,) = validate(text.format("password"), "epoxy")
    assert finding.option == "application_credential_id"
    assert validate(text.format("some_other_plugin"), "epoxy") == []
    assert AUTH % "password" in catalogue("epoxy").sections


# ------------------------------------------------------------------------------------------------------ validation


def only(text, release="zed", node=None):
    (finding,) = validate(text, release, node)
    return finding


def test_unknown_option_names_the_nearest():
    finding = only("[vnc]\n\nserver_listn = 1.2.3.4\n")
    assert (finding.level, finding.line, finding.value) == ("error", 3, "1.2.3.4")
    assert "did you mean [vnc] server_listen?" in finding.message
    assert "did you mean [neutron] auth_url?" in only("[neutron]\nauth-url = http://x\n").message
    assert "did you mean [DEFAULT] my_ip?" in only("[DEFAULT]\nMY_IP = 1.2.3.4\n").message


def test_unknown_section_is_said_once():
    finding = only("[placment]\na = 1\nb = 2\n")
    assert (finding.section, finding.option, finding.line) == ("placment", None, 1)
    assert "did you mean [placement]?" in finding.message
    assert "did you mean [DEFAULT]?" in only("[default]\nmy_ip = 1.2.3.4\n").message


@pytest.mark.parametrize(
    ("release", "text", "remedy"),
    [
        ("yoga", "[vnc]\nvncserver_listen = 0.0.0.0", "last release to read it was Xena.*use .vnc. server_listen"),
        ("zed", "[neutron]\nurl = http://n:9696", "was Stein.*use .neutron. endpoint_override"),
        ("rocky", "[placement]\nos_region_name = R", "was Queens.*use .placement. region_name"),
        ("stein", "[DEFAULT]\nrpc_backend = rabbit", "was Rocky.*transport_url.*remove it"),
        ("2025.2", "[DEFAULT]\nenabled_apis = osapi_compute", "was 2025.1 Epoxy.*uWSGI"),
        ("2026.2", "[keystone_authtoken]\nauth_uri = http://k", "was 2026.1 Gazpacho.*www_authenticate_uri"),
        ("train", "[cells]\nenable = true", "was Stein.*Cells v2"),
        ("ocata", "[vnc]\nserver_listen = 0.0.0.0", "exists since Queens"),
    ],
)
def test_options_of_other_releases(release, text, remedy):
    finding = only(text, release)
    assert finding.level == "error"
    assert re.search(remedy, finding.message), finding.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[vnc]\nenabled = maybe", "true or false"),
        ("[vnc]\nnovncproxy_port = 70000", "at most 65535"),
        ("[libvirt]\nvirt_type = kvmm", "one of kvm, lxc, qemu, parallels"),
        ("[DEFAULT]\nreserved_host_cpus = -1", "at least 0"),
        ("[DEFAULT]\nreserved_host_cpus = many", "an integer at least 0"),
        ("[vnc]\nserver_listen = not_an!address", "a host name or IP address"),
        ("[vnc]\nauth_schemes = none,tls", "each one of none, vencrypt"),
        ("[mdev_x]\nmdev_class = GPU", "matches"),
        ("[DEFAULT]\ncpu_allocation_ratio = much", "a number"),
    ],
)
def test_wrong_values_say_what_is_right(text, words):
    finding = only(text)
    assert finding.level == "error"
    assert words in finding.message


def test_right_values_are_accepted():
    text = "[vnc]\nenabled = Yes\nnovncproxy_port = 6080\n[libvirt]\nvirt_type = kvm\n[DEFAULT]\nmy_ip=::1\n"
    assert errors(validate(text, "zed")) == []


def test_deprecated_is_a_warning_with_the_reason():
    finding = only("[glance]\napi_servers = http://glance:9292")
    assert finding.level == "warning"
    assert "keystoneauth1 Adapter options" in finding.message
    finding = only("[vnc]\nvncserver_listen = 127.0.0.1", "xena")
    assert (finding.level, finding.message) == ("warning", "deprecated name; use [vnc] server_listen")


def test_only_the_last_of_repeated_values_counts():
    found = validate("[vnc]\nenabled = maybe\nenabled = true\n", "zed")
    assert [f.level for f in found] == ["warning"]
    assert "lines 2, 3" in found[0].message
    multi = '[pci]\nalias = {"name": "a"}\nalias = {"name": "b"}\n'
    assert validate(multi, "zed") == []


def test_database_url_is_wrong_on_a_compute_only():
    text = "[database]\nconnection = mysql+pymysql://nova:geheim@db/nova\n"
    assert validate(text, "zed") == validate(text, "zed", "controller") == []
    finding = only(text, "zed", "compute")
    assert (finding.level, finding.value) == ("error", "(hidden)")
    assert "must not hold a database URL" in finding.message
    with pytest.raises(ValueError, match="unknown kind of node"):
        validate(text, "zed", "cell")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("server_listen = $my_ip", True),
        ("server_listen = ${my_ip}", True),
        ("server_listen = $server_proxyclient_address", True),
        ("novncproxy_base_url = http://${vnc.server_listen}:6080/vnc_lite.html", True),
        ("novncproxy_base_url = http://${DEFAULT.my_ip}:6080/", False),
        ("server_listen = $my_ipp", False),
        ("server_listen = ${nova.my_ip}", False),
        ("server_listen = $server_listen", False),
        ("server_listen = $MY_IP", False),
        ("novncproxy_base_url = http://h/$$my", True),
        (r"novncproxy_base_url = http://h/\$my", True),
        ("novncproxy_base_url = http://h/$", True),
    ],
)
def test_interpolation(text, good):
    found = validate(f"[DEFAULT]\nmy_ip = 10.0.0.1\n[vnc]\n{text}\n", "zed")
    assert (found == []) is good, found


def test_secrets_are_in_no_finding():
    text = (
        "[DEFAULT]\ntransport_url = rabbit://u:geheim@h\nrabbit_password = geheim\nfoo = http://u:geheim@h/\n"
        "[neutron]\npassword = gehe$geheim\nuser_password = geheim\n"
    )
    found = validate(text, "zed")
    assert len(found) == 4
    assert "geheim" not in str(found) + "".join(map(str, found))


def test_a_mapping_is_checked_as_its_file_would_be():
    mapping = {"DEFAULT": {"my_ip": "10.0.0.1", "debug": True, "host": None}, "vnc": {"enabled": "maybe"}}
    text = config_files.render({"path": "/etc/nova/nova.conf", "layers": {"ours": mapping}})
    assert [(f.option, f.message) for f in validate(mapping, "zed")] == [(f.option, f.message) for f in validate(text, "zed")]
    (finding,) = validate({"DEFAULT": {"my_ip": "10.0.0.1\nfoo = 1"}}, "zed")
    assert "cannot contain" in finding.message
    (finding,) = validate({"DEFAULT": {"my_ip": {"a": 1}}}, "zed")
    assert finding.level == "error"
    assert validate({"DEFAULT": None}, "zed") == []


def test_sections_named_by_a_value():
    text = "[neutron]\nauth_section = cloud\n[cloud]\nauth_type = password\nauth_url = http://k\nusername = n\n"
    assert validate(text, "epoxy") == []


@given(
    st.dictionaries(
        st.sampled_from(["DEFAULT", "vnc", "neutron", "x"]),
        st.dictionaries(
            st.text(max_size=8), st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text(), max_size=2))
        ),
        max_size=3,
    )
)
@settings(max_examples=150, deadline=None)
def test_no_mapping_crashes_it(mapping):
    for finding in validate(mapping, "epoxy", "compute"):
        assert finding.level in ("error", "warning")


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_every_option_has_a_fate(release):
    """Whatever a release knows is followed to the newest, and what is left is valid there."""
    newest = catalogue(RELEASES[-1])
    for section, options in catalogue(release).sections.items():
        for name in () if section[0] == "{" else options:
            became = fate(section, name, release, RELEASES[-1])
            assert became.target is None or newest.get(*became.target), (section, name)
            assert became.target == (section, name) or (became.reason and became.source), (section, name)


def test_knowledge_by_hand_is_about_options_that_are_gone_and_has_a_source():
    for row in by_hand()["options"]:
        assert row["source"]
        for name in row["names"]:
            before, since = (catalogue(str(row["from"] - step)) for step in (1, 0))
            assert before.resolve(row["section"], name), (row["section"], name)
            assert not since.get(row["section"], name), (row["section"], name)
        if "new" in row:
            assert since.get(*row["new"])
    for row in [r for kind in ("values", "required", "nodes", "sections") for r in by_hand()[kind]]:
        assert row["source"]
        if "set" in row:
            assert catalogue(str(row["from"])).get(*row["set"][:2])


def test_knowledge_by_hand_of_whole_sections_and_of_what_is_not_read():
    for row in by_hand()["gone_sections"]:
        before = catalogue(str(row["from"] - 1))
        assert row["source"] and row["reason"]
        assert before.sections.get(before.family(row["section"])), row["section"]
    for row in by_hand()["unread"]:
        assert all(catalogue(str(row["from"])).get(row["section"], name) for name in row["names"])
    for row in by_hand()["older"]:
        assert row["source"] and row["reason"]
        for name in row["names"]:
            assert not any(catalogue(r).resolve(row["section"], name) for r in RELEASES), (row["section"], name)
    for row in by_hand()["precedence"]:
        assert row["source"] and all(history()[row["section"]][name] for name in row["names"])
    for row in by_hand()["values"]:
        assert row["level"] in ("error", "warning") and row["reason"]
        assert len({"match", "drop_items", "only_items"} & set(row)) == 1
        # it is about an option of that release or of the one before, and not about one that never was
        around = [catalogue(r) for r in RELEASES if row["from"] - 1 <= r.nova]
        for name in row["names"] if row["section"] != "*" else ():
            assert name == "*" or any(cat.get(row["section"], name) for cat in around), (row["section"], name)


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_filters_of_a_release_that_exist_are_not_called_gone(release):
    gone = {
        f
        for row in by_hand()["values"]
        if row["from"] <= release.nova and row["names"] == ["enabled_filters"]
        for f in row.get("drop_items", ())
    }
    default = catalogue(release).get("filter_scheduler", "enabled_filters").default
    assert not gone & set(default)


@pytest.mark.parametrize("release", ["ocata", "zed", "hibiscus"])
def test_filters_that_never_existed(release):
    def said(text):
        return [(one.level, one.message.partition(":")[0]) for one in validate(f"[filter_scheduler]\n{text}\n", release)]

    assert said("enabled_filters = ComputeFilter, FooFilter,Computefilter") == [("error", "FooFilter, Computefilter")]
    assert said("enabled_filters = nova.scheduler.filters.compute_filter.ComputeFilter")[0][0] == "error"
    assert said("enabled_filters = ComputeFilter,ServerGroupAffinityFilter, AggregateInstanceExtraSpecsFilter") == []
    # An operator's own, beside Nova's or alone.
    nova = "nova.scheduler.filters.all_filters"
    for own in (f"{nova}\navailable_filters = mine.FooFilter", f"mine.FooFilter\navailable_filters = {nova}", "mine.filters"):
        assert said(f"available_filters = {own}\nenabled_filters = FooFilter") == []


def test_an_empty_section_is_nothing_that_could_be_ignored():
    assert validate("[DEFAULT]\ndebug = true\n[privsep]\n[crypto]\n", "zed") == []
    assert validate("[placment]\n# a = 1\n", "zed") == [] and validate({"bogus": None, "cells": {}}, "zed") == []
    assert only("[placment]\na = 1\n[privsep]\n").section == "placment"


def test_the_pool_of_the_rabbit_driver_is_in_its_own_section():
    for release in RELEASES:
        option = catalogue(release).get("oslo_messaging_rabbit", "rpc_conn_pool_size")
        assert option.default == 30
        alias = catalogue(release).resolve("DEFAULT", "rpc_conn_pool_size")
        assert (alias == (option, True)) if release.nova < 31 else (alias is None)
    assert "oslo_messaging_rabbit" in only("[DEFAULT]\nconn_pool_ttl = 5\n", "train").message


def test_what_oslo_config_cannot_expand_in_time_is_an_error():
    names = [o.dest for o in catalogue("zed").sections["DEFAULT"].values() if o.spec["type"] == "String" and not o.choices]
    text = "[DEFAULT]\n" + "".join(f"{a} = ${b}${b}${b}\n" for a, b in itertools.pairwise(names[:20])) + f"{names[19]} = x\n"
    started = time.monotonic()
    assert any("longer than" in f.message for f in errors(validate(text, "zed")))
    assert time.monotonic() - started < 2


def test_a_file_of_a_hundred_options_takes_less_than_20_ms():
    text = (GUIDE / "controller.conf").read_text() + "\n".join(
        ["[libvirt]", *(f"{o.dest} = " for o in list(catalogue("zed").sections["libvirt"].values())[:60])]
    )
    validate(text, "zed", "controller")  # loading
    start = time.perf_counter()
    for _ in range(10):
        validate(text, "zed", "controller")
    assert (time.perf_counter() - start) / 10 < 0.020


def test_find_accepts_the_same_words_everywhere():
    assert catalogue(2025.1) is catalogue("epoxy") is catalogue(find(31))
