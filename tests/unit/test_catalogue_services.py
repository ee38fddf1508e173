"""The options of Keystone, Glance, Placement and Neutron: what is found in their files, and nothing in those that we write."""

import itertools
import re

import pytest
import yaml
from test_generate import ONE, TWO, inventory

from kilonova.config import checking, generate
from kilonova.config.catalogue import catalogue, errors, validate
from kilonova.config.catalogue.options import by_hand, covers, files, package
from kilonova.config.config_files import ROLES
from kilonova.config.releases import RELEASES, find

OTHERS = [file for file, (service, _parts) in files().items() if service != "Nova"]
KNOWN = [release for release in RELEASES if covers(release, "neutron.conf")]
# With volumes.
CEPH = {**TWO, "storage": ["storage1"], "volumes": ["controller"]}
# Since when a file exists, and until when.
LIFE = {"linuxbridge_agent.ini": (26, 30), "ovn_agent.ini": (27, 34)}


def only(file, text, release="zed"):
    (finding,) = validate(text, release, None, file)
    return finding


def backends():
    """Each release with its network backends, as the roles have them."""
    rows = yaml.safe_load((ROLES / "openstack" / "vars" / "main" / "main.yml").read_text())["openstack_network_backends"]
    for release in KNOWN:
        for name, row in rows.items():
            if find(row.get("since", "ocata")) <= release <= find(row.get("until", "hibiscus")):
                yield release.name, name


@pytest.mark.parametrize(("release", "backend"), list(backends()))
def test_nothing_is_found_in_what_the_roles_write(release, backend):
    """On one host and two, with and without provider networks, for each datapath and hypervisor."""
    found = []
    bridges = [{"name": "br-provider"}]
    usual = itertools.product((ONE, TWO), ("auto", "system", "netdev"), ({}, {"provider": "br-provider"}), ("kvm", "qemu"))
    for groups, datapath, mappings, virt_type in [*usual, (CEPH, "auto", {}, "qemu")]:
        source = inventory(
            groups,
            release,
            openstack_network_backend=backend,
            openstack_datapath=datapath,
            openstack_bridges=bridges,
            openstack_bridge_mappings=mappings,
            nova_compute_virt_type=virt_type,
            nova_compute_images="rbd" if groups is CEPH else "file",
            cinder_backends={"rbd": {"driver": "rbd", "pool": "volumes"}, "lvm": {"driver": "lvm", "volume_group": "v"}},
        )
        found += checking.complaints(source)
    assert found == []


def test_every_file_of_a_service_is_checked():
    """A role that writes a file whose options are known says for which release."""
    seen = set()
    for groups, (release, backend) in itertools.product((ONE, TWO, CEPH), backends()):
        source = inventory(groups, release, openstack_network_backend=backend)
        for host in source.hosts():
            for entry in source.host(host).files():
                name = entry["path"].rpartition("/")[2]
                assert ("catalogue" in entry) is (name in files()), entry["path"]
                seen.add(name)
    assert set(files()) <= seen


# Cinder's own mistake: 20.0 for an integer, which its service takes as long as nobody writes it.
NOT_OF_THEIR_TYPE = {"u4p_failover_timeout"}


@pytest.mark.parametrize("release", KNOWN, ids=str)
@pytest.mark.parametrize("file", OTHERS)
def test_every_default_is_a_value_of_its_option(file, release):
    """All types can be made again, and take what the service itself takes."""
    first, last = LIFE.get(file, (26, 34))
    mapping: dict = {}
    for section, options in catalogue(release, file).sections.items():
        for option in options.values():
            assert callable(option.type)
            default = option.default
            if isinstance(default, dict):
                default = ",".join(f"{k}:{v}" for k, v in default.items())
            elif isinstance(default, list) and not option.multi:
                default = ",".join(map(str, default))
                default = f"[{default}]" if option.spec.get("bounds") else default
            if default in ("<host_ipv4>", "<current_hostname>"):
                default = "127.0.0.1"
            if option.dest in NOT_OF_THEIR_TYPE:
                continue
            if default is not None and section[0] != "{":
                mapping.setdefault(section.replace("*", "x"), {})[option.dest] = default
    if first <= release.nova <= last:
        assert len(catalogue(release, file)) > 100
    assert errors(validate(mapping, release, None, file)) == []


def test_files_are_of_parts_that_are_stored_and_have_a_source():
    for row in by_hand()["files"].values():
        assert row["source"]
    for row in [*by_hand()["dynamic"], *by_hand()["plugins"]]:
        assert row["source"]
    assert package(find("epoxy"), "placement.conf") == "openstack-placement==13.0.1"
    assert package(find("zed"), "l3_agent.ini") == "neutron==21.2.1"


@pytest.mark.parametrize("file", OTHERS)
def test_releases_before_zed_are_not_checked(file):
    assert validate("[nonsense]\nx = 1\n", "yoga", None, file) == []
    with pytest.raises(ValueError, match="not known in Yoga"):
        catalogue("yoga", file)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        # a misspelt option
        ("neutron.conf", "[DEFAULT]\ncore_plugn = ml2", "no such option, and ignores it; did you mean .DEFAULT. core_plugin"),
        ("neutron.conf", "[nova]\nauth_type = password\nusernme = nova", "did you mean .nova. username"),
        ("keystone.conf", "[token]\nprovder = fernet", "Keystone Zed has no such option.*did you mean .token. provider"),
        ("glance-api.conf", "[glance_store]\ndefault_backnd = f", "Glance Zed has no such option.*default_backend"),
        ("glance-api.conf", "[DEFAULT]\nenabled_backends = f:file\n[f]\nfilesystem_store_datdir = /x", "store_datadir"),
        ("placement.conf", "[placement_database]\nmax_pol_size = 3", "Placement Zed has no such option.*max_pool_size"),
        ("ml2_conf.ini", "[ml2]\ntype_driver = flat", "did you mean .ml2. type_drivers"),
        ("dhcp_agent.ini", "[DEFAULT]\ndhcp_drver = x", "did you mean .DEFAULT. dhcp_driver"),
        ("neutron_ovn_metadata_agent.ini", "[ovn]\novn_sb_conection = tcp:h:1", "did you mean .ovn. ovn_sb_connection"),
        # a misspelt section
        ("neutron.conf", "[keystone_authtokn]\nusername = x", "no such section.*did you mean .keystone_authtoken."),
        ("keystone.conf", "[tokn]\nexpiration = 1", "did you mean .token."),
        ("placement.conf", "[placement_databse]\nconnection = x", "did you mean .placement_database."),
        ("linuxbridge_agent.ini", "[linuxbridge]\nbridge_mappings = a:b", "did you mean .linux_bridge."),
        # a wrong type, a value that is no choice, one out of bounds
        ("neutron.conf", "[DEFAULT]\ndhcp_agents_per_network = two", "an integer at least 1"),
        ("neutron.conf", "[DEFAULT]\ndhcp_agents_per_network = 0", "an integer at least 1"),
        ("keystone.conf", "[token]\nexpiration = an hour", "an integer at least 0"),
        ("keystone.conf", "[cache]\nenabled = maybe", "true or false"),
        ("glance-api.conf", "[DEFAULT]\nbind_port = 70000", "at most 65535"),
        ("placement.conf", "[api]\nauth_strategy = keyston", "one of keystone, noauth2"),
        ("ml2_conf.ini", "[ml2]\noverlay_ip_version = six", "an integer"),
        ("l3_agent.ini", "[DEFAULT]\nagent_mode = dvrsnat", "one of dvr, dvr_snat, legacy, dvr_no_external"),
        ("openvswitch_agent.ini", "[ovs]\nlocal_ip = eth0", "an IP address"),
        ("openvswitch_agent.ini", "[ovs]\ndatapath_type = dpdk", "one of system, netdev"),
        ("metadata_agent.ini", "[DEFAULT]\nnova_metadata_port = http", "an integer"),
        ("ovn_agent.ini", "[ovn]\novn_sb_connection = 10.0.0.11:6642", "matches"),
        # an option of another file or section
        ("ml2_conf.ini", "[ovs]\nbridge_mappings = a:b", "its programs read it in openvswitch_agent.ini"),
        ("l3_agent.ini", "[DEFAULT]\nenable_isolated_metadata = true", "read it in dhcp_agent.ini"),
        ("metadata_agent.ini", "[ml2]\ntype_drivers = flat", "in this file.*read it in ml2_conf.ini"),
        ("keystone.conf", "[DEFAULT]\nexpiration = 3600", "has no such option"),
        ("openvswitch_agent.ini", "[DEFAULT]\nbridge_mappings = a:b", "did you mean .ovs. bridge_mappings"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_error_with_the_remedy(file, text, message):
    finding = only(file, text, "zed" if file != "ovn_agent.ini" else "epoxy")
    assert finding.level == "error"
    assert re.search(message, finding.message), finding.message


@pytest.mark.parametrize(
    ("file", "release", "text", "message"),
    [
        ("glance-api.conf", "hibiscus", "[DEFAULT]\nworkers = 4", "the last release to read it was 2026.1 Gazpacho"),
        ("neutron.conf", "epoxy", "[experimental]\nlinuxbridge = true", "the last release to read it was 2024.2 Dalmatian"),
        ("neutron.conf", "hibiscus", "[keystone_authtoken]\nauth_uri = http://k", "use .keystone_authtoken. www_auth"),
        ("ml2_conf.ini", "zed", "[ml2]\nproject_network_types = vxlan", "it exists since 2026.1 Gazpacho"),
        ("ml2_conf.ini", "gazpacho", "[ovn]\novn_emit_need_to_frag = false", "the last release to read it was 2025.2 Flamingo"),
    ],
)
def test_options_of_other_releases(file, release, text, message):
    finding = only(file, text, release)
    assert finding.level == "error"
    assert re.search(message, finding.message), finding.message


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("keystone.conf", "[auth]\nmethods = password,token,openid\nopenid = keystone.auth.plugins.mapped.Mapped\n"),
        ("keystone.conf", "[my_protocol]\nremote_id_attribute = HTTP_OIDC_ISS\n"),
        ("glance-api.conf", "[DEFAULT]\nenabled_backends = big:rbd, Small:file\n[big]\nrbd_store_pool = images\n[small]\n"
                            "filesystem_store_datadir = /srv\n[os_glance_staging_store]\nfilesystem_store_datadir = /tmp\n"),
        ("neutron.conf", "[nova]\nauth_type = v3applicationcredential\napplication_credential_id = x\n"),
        ("neutron.conf", "[ironic]\nauth_type = password\nregion_name = R\n[AGENT]\nroot_helper = sudo\n"),
        ("neutron.conf", "[service_providers]\nservice_provider = L3:a:b\nservice_provider = L3:c:d:default\n"),
        ("placement.conf", "[keystone_authtoken]\nauth_section = cloud\n[cloud]\nauth_type = password\nusername = x\n"),
    ],
)  # fmt: skip
def test_what_is_registered_because_of_a_value(file, text):
    assert validate(text, "epoxy", None, file) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("keystone.conf", "[auth]\nmethods = password,token\nopenid = x.y\n"),
        ("keystone.conf", "[my_protocol]\nremote_id_atribute = HTTP_OIDC_ISS\n"),
        ("glance-api.conf", "[DEFAULT]\nenabled_backends = big:rbd\n[big]\nfilesystem_store_datadir = /srv\n"),
        ("neutron.conf", "[nova]\nauth_type = password\napplication_credential_id = x\n"),
        ("ml2_conf.ini", "[ml2]\nmechanism_drivers = openvswitch\n[ml2_arista]\neapi_host = x\n"),
    ],
)
def test_what_is_not(file, text):
    assert only(file, text, "epoxy").level == "error"


def test_a_plugin_of_somebody_else_may_have_sections_of_its_own():
    text = "[ml2]\nmechanism_drivers = openvswitch,{}\n[ml2_arista]\neapi_host = x\n"
    finding = only("ml2_conf.ini", text.format("arista"), "epoxy")
    assert (finding.level, finding.section) == ("warning", "ml2_arista")
    assert "only arista of [ml2] mechanism_drivers may read it" in finding.message
    # but a misspelt section of Neutron's stays one
    text = "[ml2]\nmechanism_drivers = arista\n[ml2_type_flt]\nflat_networks = x\n"
    assert only("ml2_conf.ini", text, "epoxy").level == "error"
    finding = only("neutron.conf", "[quotas]\nquota_firewall_group = 5\n", "epoxy")
    assert finding.level == "warning"
    assert only("neutron.conf", "[quotas]\nquota_netwrok = 5\n", "epoxy").level == "error"


def test_secrets_are_in_no_finding():
    text = (
        "[keystone_authtoken]\npasword = geheim\nmemcache_secret_key = $geheim\n[database]\nconnection = mysql://u:gehe$im@h/x\n"
    )
    for file in ("neutron.conf", "glance-api.conf"):
        found = validate(text, "epoxy", None, file)
        assert len(found) == 3
        assert "gehe" not in str(found) + "".join(map(str, found))


def test_hidden_secrets_are_not_what_is_checked():
    """What stands for a secret, or is hidden like one, need not be a value of its option."""
    source = inventory(release="epoxy", nova_compute_virt_type="kvm")
    checked = checking.Checked(generate.files(source, hide=True), hide=True)
    assert any("ovn_sb_connection = (hidden)" in file.text for file in checked)
    assert checked.complaints == []


def test_a_file_of_the_same_content_is_checked_once(monkeypatch):
    asked = []
    validate_once = checking.catalogue.validate
    monkeypatch.setattr(checking, "_FOUND", {})
    monkeypatch.setattr(checking.catalogue, "validate", lambda *a: asked.append(a[3]) or validate_once(*a))
    groups = {"controllers": ["c"], "computes": [f"n{number}" for number in range(30)]}
    assert checking.complaints(inventory(groups, "epoxy", nova_compute_virt_type="kvm")) == []
    assert asked.count("neutron.conf") == 2
    assert asked.count("neutron_ovn_metadata_agent.ini") == 1
    assert asked.count("nova.conf") == 31


@pytest.mark.parametrize("file", ["glance-api.conf", "keystone.conf", "neutron.conf"])
def test_what_is_known_of_a_librarys_values_holds_for_every_service(file):
    text = "[oslo_messaging_notifications]\ndriver = nova.openstack.common.notifier.rpc_notifier\n"
    assert "no such notification driver" in only(file, text).message
    assert "no such notification driver" in only(file, text, "2026.1").message
    assert validate("[oslo_messaging_notifications]\ndriver = messagingv2\n", "zed", None, file) == []
