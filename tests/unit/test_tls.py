"""The APIs by TLS: what is generated where, who trusts whom, and that nothing of it is there without it."""

import configparser
import itertools
import re

import pytest
import yaml
from test_generate import ONE, TWO, inventory

from kilonova.config import checking, config_files, declared, generate, inventories, listening
from kilonova.run import authorities, variables

ADDRESS = "10.0.0.11"
PORTS = {5000, 9292, 8778, 8774, 8775, 6080, 9696}
AUTHORITY = "/etc/ssl/certs/openstack-authority.pem"
# section -> option by which a client is told the authority
TRUST = {"keystone_authtoken": "cafile", "service_user": "cafile", "placement": "cafile", "neutron": "cafile", "glance": "cafile"}


def made(groups, **given):
    """The variables that `make secrets` writes."""
    source = inventory(groups, openstack_tls=True, **given)
    before, wanted = variables.certificates_of({name: source.host(name) for name in source.hosts()})
    return authorities.complete(before, wanted)[0].variables()


def with_tls(groups, **given):
    """An inventory with an authority and certificates of its own."""
    return inventory(groups, openstack_tls=True, **made(groups, **given), **given)


def parsed(text):
    """section -> option -> value."""
    parser = configparser.RawConfigParser(strict=False, default_section="none")
    parser.read_string(text)
    return parser


def written(source, host):
    return {entry["path"]: config_files.render(entry) for entry in source.host(host).files()}


@pytest.mark.parametrize("groups", [ONE, TWO])
@pytest.mark.parametrize("release", ["zed", "epoxy", "gazpacho", "hibiscus"])
def test_services_listen_on_loopback_and_haproxy_answers(groups, release):
    source = with_tls(groups, release=release)
    [controller] = source.groups["controllers"]
    files = written(source, controller)
    fronts = {
        path: text for path, text in files.items() if path.startswith(f"{listening.PROXY_DIRECTORY}/") and "health" not in path
    }
    assert {int(re.search(r"\d+", path.rpartition("/")[2])[0]) for path in fronts} == PORTS
    for text in fronts.values():
        [port] = re.findall(r"^listen (\d+)$", text, re.MULTILINE)
        assert f"    bind {ADDRESS}:{port} ssl crt /etc/haproxy/openstack.pem alpn http/1.1\n" in text
        assert f"    server local 127.0.0.1:{port}\n" in text
        assert "http-request set-header X-Forwarded-Proto https" in text
        # Networking's agents say for which guest they ask; nobody else says for whom.
        assert ("http-request set-header X-Forwarded-For %[src]" in text) == (port != "8775")
    for path, text in files.items():
        if path.startswith("/etc/default/") and "--http-socket" in text:
            assert set(re.findall(r"--http-socket (\S+):", text)) == {"127.0.0.1"}, path
    nova = parsed(files["/etc/nova/nova.conf"])
    assert nova["vnc"]["novncproxy_host"] == "127.0.0.1"
    assert parsed(files["/etc/nova/nova-api-uwsgi.ini"])["uwsgi"]["log-x-forwarded-for"] == "true"
    pem = files["/etc/haproxy/openstack.pem"]
    assert pem.index("BEGIN CERTIFICATE") < pem.index("BEGIN PRIVATE KEY")
    (hidden,) = [file.text for file in generate.files(source, hide=True) if file.path == "/etc/haproxy/openstack.pem"]
    assert "BEGIN PRIVATE KEY-----\n(hidden)\n-----END PRIVATE KEY" in hidden and "BEGIN CERTIFICATE-----\nMII" in hidden
    assert not [one for one in checking.complaints(source) if one.level == "error"]


@pytest.mark.parametrize("groups", [ONE, TWO])
@pytest.mark.parametrize("release", ["zed", "epoxy", "hibiscus"])
def test_every_client_is_told_the_authority_and_asks_by_https(groups, release):
    source = with_tls(groups, release=release)
    for host in source.hosts():
        files = written(source, host)
        assert "BEGIN CERTIFICATE" in files[AUTHORITY]
        assert "PRIVATE" not in files[AUTHORITY]
        nova = parsed(files["/etc/nova/nova.conf"])
        for section, option in TRUST.items():
            assert nova[section][option] == AUTHORITY, (host, section)
        for path, text in files.items():
            if path.endswith((".conf", ".ini")) and "[keystone_authtoken]" in text:
                sections = parsed(text)
                assert sections["keystone_authtoken"]["auth_url"] == f"https://{ADDRESS}:5000/v3"
                assert sections["keystone_authtoken"]["cafile"] == AUTHORITY
                assert "insecure" not in text
            if path.endswith("metadata_agent.ini"):
                agent = parsed(text)["DEFAULT"]
                assert (agent["nova_metadata_protocol"], agent["auth_ca_cert"]) == ("https", AUTHORITY)
    files = written(source, source.groups["controllers"][0])
    assert f"export OS_CACERT={AUTHORITY}\n" in files["/root/admin-openrc"]
    assert f"cacert: {AUTHORITY}\n" in files["/etc/openstack/clouds.yaml"]
    assert "export OS_AUTH_URL=https://" in files["/root/admin-openrc"]
    for path in ("keystone/keystone.conf", "glance/glance-api.conf", "placement/placement.conf", "neutron/neutron.conf"):
        assert parsed(files[f"/etc/{path}"])["oslo_middleware"]["enable_proxy_headers_parsing"] == "true"


@pytest.mark.parametrize("groups", [ONE, TWO])
def test_without_it_nothing_of_it_is_there(groups):
    source = inventory(groups)
    for host in source.hosts():
        for path, text in written(source, host).items():
            assert "https://" not in text, path
            assert "cafile" not in text and "CACERT" not in text and "cacert" not in text, path
            assert "haproxy" not in path and path != AUTHORITY and "forwarded" not in text
        assert "haproxy" not in source.host(host).roles()


RABBIT = {"ssl": "true", "ssl_ca_file": AUTHORITY}


@pytest.mark.parametrize("groups", [ONE, TWO])
@pytest.mark.parametrize("release", ["zed", "epoxy", "hibiscus"])
def test_the_database_and_the_message_queue_are_asked_by_tls(groups, release):
    source = with_tls(groups, release=release)
    for host in source.hosts():
        files = written(source, host)
        connections = [value for text in files.values() for value in re.findall(r"(?m)^connection = (.*)$", text)]
        assert len(connections) == (6 if host in source.groups["controllers"] else 0)
        assert all(value.endswith(f"?ssl_ca={AUTHORITY}") for value in connections)
        for path, text in files.items():
            for url in re.findall(r"(?m)^transport_url = (.*)$", text):
                assert url.endswith(f"@{ADDRESS}:5671/"), path
                assert RABBIT.items() <= dict(parsed(text)["oslo_messaging_rabbit"]).items(), path
    files = written(source, source.groups["controllers"][0])
    mariadb = parsed(files["/etc/mysql/mariadb.conf.d/99-openstack.cnf"])["mysqld"]
    assert (mariadb["require_secure_transport"], mariadb["tls_version"]) == ("on", "TLSv1.2,TLSv1.3")
    assert parsed(files["/etc/mysql/mariadb.conf.d/99-openstack.cnf"])["client"]["ssl_ca"] == AUTHORITY
    assert "BEGIN CERTIFICATE" in files[mariadb["ssl_cert"]] and "PRIVATE KEY" in files[mariadb["ssl_key"]]
    queue = dict(line.split(" = ") for line in files["/etc/rabbitmq/rabbitmq.conf"].splitlines()[1:])
    assert (queue["listeners.tcp"], queue["listeners.ssl.openstack"]) == ("none", f"{ADDRESS}:5671")
    assert "PRIVATE KEY" in files[queue["ssl_options.keyfile"]]


@pytest.mark.parametrize(
    ("given", "connection", "url"),
    [
        ({"openstack_database_host": "192.0.2.7"}, "@192.0.2.7:3306/nova", f"@{ADDRESS}:5671/"),
        (
            {"openstack_database_host": "192.0.2.7", "openstack_database_tls": True},
            f"@192.0.2.7:3306/nova?ssl_ca={AUTHORITY}",
            f"@{ADDRESS}:5671/",
        ),
        ({"openstack_rabbit_host": "mq.test"}, f"@{ADDRESS}:3306/nova?ssl_ca={AUTHORITY}", "@mq.test:5672/"),
        ({"openstack_rabbit_host": "mq.test", "openstack_rabbit_tls": True}, f"?ssl_ca={AUTHORITY}", "@mq.test:5671/"),
    ],
)
def test_servers_of_others_have_tls_if_the_operator_says_so(given, connection, url):
    source = with_tls(TWO, **given)
    nova = parsed(written(source, "controller")["/etc/nova/nova.conf"])
    assert nova["database"]["connection"].endswith(connection)
    assert nova["DEFAULT"]["transport_url"].endswith(url)
    assert nova.has_section("oslo_messaging_rabbit") and ("ssl" in nova["oslo_messaging_rabbit"]) == url.endswith(":5671/")


@pytest.mark.parametrize("groups", [ONE, TWO])
def test_ovns_databases_have_tls(groups):
    source = with_tls(groups, release="epoxy", openstack_network_backend="ovn")
    files = written(source, source.groups["controllers"][0])
    for name, where in (("nb", "6641:127.0.0.1"), ("sb", f"6642:{ADDRESS}")):
        unit = files[f"/etc/systemd/system/ovn-ovsdb-server-{name}.service.d/connection.conf"]
        assert f"ovn-{name}ctl --timeout=30 set-connection pssl:{where}\n" in unit
        assert f"--ovn-{name}-db-ssl-key=/etc/openvswitch/openstack/key.pem" in files["/etc/default/ovn-central"]
    assert "insecure" not in files["/etc/default/ovn-central"]
    ml2 = parsed(files["/etc/neutron/plugins/ml2/ml2_conf.ini"])["ovn"]
    assert (ml2["ovn_nb_connection"], ml2["ovn_sb_connection"]) == ("ssl:127.0.0.1:6641", f"ssl:{ADDRESS}:6642")
    for name in ("nb", "sb"):
        assert "PRIVATE KEY" in files[ml2[f"ovn_{name}_private_key"]] and ml2[f"ovn_{name}_ca_cert"] == AUTHORITY
    files = written(source, source.groups["computes"][0])
    chassis = files["/etc/systemd/system/ovn-controller.service.d/chassis.conf"]
    assert f'ovn-remote="ssl:{ADDRESS}:6642"' in chassis
    assert f"set-ssl /etc/openvswitch/openstack/key.pem /etc/openvswitch/openstack/certificate.pem {AUTHORITY}\n" in chassis
    agent = parsed(files["/etc/neutron/neutron_ovn_metadata_agent.ini"])["ovn"]
    assert agent["ovn_sb_connection"] == f"ssl:{ADDRESS}:6642"
    assert "PRIVATE KEY" in files[agent["ovn_sb_private_key"]]


@pytest.mark.parametrize("groups", [ONE, TWO])
def test_screens_and_guests_that_move_have_tls(groups):
    source = with_tls(groups, nova_compute_migration=True)
    console = parsed(written(source, source.groups["controllers"][0])["/etc/nova/nova.conf"])["vnc"]
    assert (console["auth_schemes"], console["vencrypt_ca_certs"]) == ("vencrypt", AUTHORITY)
    files = written(source, source.groups["computes"][0])
    assert "vnc_tls = 1\nvnc_tls_x509_verify = 1\n" in files["/etc/libvirt/qemu.conf"]
    assert parsed(files["/etc/nova/nova-compute.conf"])["libvirt"]["live_migration_with_native_tls"] == "true"
    for path in ("libvirt-vnc/server", "qemu/server", "qemu/client"):
        assert "BEGIN CERTIFICATE" in files[f"/etc/pki/{path}-cert.pem"] and "PRIVATE KEY" in files[f"/etc/pki/{path}-key.pem"]
        assert "BEGIN CERTIFICATE" in files[f"/etc/pki/{path.partition('/')[0]}/ca-cert.pem"]
    # What the operator says of QEMU stays, and wins.
    source = with_tls(groups, nova_compute_qemu_conf={"vnc_tls_x509_verify": False, "max_files": 9})
    text = written(source, source.groups["computes"][0])["/etc/libvirt/qemu.conf"]
    assert text.endswith("vnc_tls = 1\nvnc_tls_x509_verify = 0\nmax_files = 9\n")


@pytest.mark.parametrize("release", ["ocata", "queens", "zed"])
def test_what_a_release_cannot_do_is_left_out(release):
    """And what an option was called in its time."""
    source = with_tls(TWO, release=release, nova_compute_migration=True)
    nova = parsed(written(source, "controller")["/etc/nova/nova.conf"])
    assert ("auth_schemes" in nova["vnc"]) == (release != "ocata")
    assert (dict(nova["oslo_messaging_rabbit"]).get("rabbit_use_ssl") == "true") == (release == "ocata")
    libvirt = parsed(written(source, "compute1")["/etc/nova/nova-compute.conf"])["libvirt"]
    assert ("live_migration_with_native_tls" in libvirt) == (release == "zed")
    assert not [one for one in checking.complaints(source) if one.level == "error"]


def test_keys_are_read_by_their_service_alone():
    source = with_tls(TWO, release="epoxy", nova_compute_migration=True)
    seen = {}
    for host in source.hosts():
        for entry in source.host(host).files():
            if "PRIVATE KEY" in str(entry.get("variables")):
                seen[entry["path"]] = (entry.get("owner", "root"), entry.get("group", "root"), entry["mode"])
    assert {path: rights for path, rights in seen.items() if rights[1] == "root"} == {
        "/etc/haproxy/openstack.pem": ("root", "root", "0600"),
        "/etc/openvswitch/openstack/key.pem": ("root", "root", "0600"),
    }
    assert {group for _owner, group, mode in seen.values() if mode == "0640"} == {
        "mysql",
        "rabbitmq",
        "neutron",
        "nova",
        "libvirt-qemu",
    }
    assert len(seen) == 9


def test_links_of_a_plain_address_family():
    """An IPv6 address stands in brackets."""
    [file] = listening.proxy_files([{"port": 5000, "service": "Identity", "proxied": True}], ["fd00::11", ADDRESS])
    text = config_files.render(file)
    assert "    bind [fd00::11]:5000 ssl " in text
    assert f"    bind {ADDRESS}:5000 ssl " in text


def test_a_port_that_a_variable_sets_is_a_number():
    """In ansible-core 2.18, what a template gives is a text, which is not among the ports that are taken."""
    [file] = listening.proxy_files([{"port": 6080, "service": "console proxy", "proxied": True}], [ADDRESS], {6080: "6081"})
    assert file["variables"]["port"] == 6081


def test_a_port_that_is_not_proxied_has_no_file():
    assert listening.proxy_files([{"port": 3306, "service": "MariaDB"}], [ADDRESS]) == []


def test_the_console_has_the_port_that_a_variable_sets():
    files = written(with_tls(TWO, nova_controller_novncproxy_port=6081), "controller")
    front = files[f"{listening.PROXY_DIRECTORY}/6080.cfg"]
    assert f"    bind {ADDRESS}:6081 ssl " in front
    assert "    server local 127.0.0.1:6081\n" in front
    assert parsed(files["/etc/nova/nova.conf"])["vnc"]["novncproxy_port"] == "6081"


def test_each_page_leads_haproxy_to_its_own_services():
    """After they have begun to listen on the loopback interface, and in no other way."""
    led = []
    for role, found in declared.services().items():
        if not any(row.get("proxied") for row in found["ports"]):
            continue
        page = yaml.safe_load((config_files.ROLES / role / "tasks/main.yml").read_text(encoding="utf-8"))
        names = [next((key for key in ("service_units", "ansible.builtin.import_role") if key in task), "") for task in page]
        [at] = [at for at, task in enumerate(page) if task.get("vars", {}).get("haproxy_leads_to")]
        assert "service_units" in names[:at], role
        assert page[at]["vars"]["haproxy_leads_to"] == f"{{{{ {role}_ports }}}}"
        led += found["ports"]
    assert {row["port"] for row in led if row.get("proxied")} == PORTS | {443, 6082, 6083, 8776}


def test_haproxy_begins_with_all_ways_on_a_new_host_and_with_none_to_what_still_has_its_port():
    def begins_with(**report):
        host = with_tls(TWO, openstack_host=report).host("controller")
        ways, [unit] = host.find("__haproxy_new_ways"), host.find("__haproxy_units")
        paths = {way["path"] for way in ways}
        assert paths < set(unit["reads"]) and paths < set(unit["reloads"]) and not {"/etc/default/haproxy"} & set(unit["reloads"])
        return {way["variables"]["port"] for way in ways if way["variables"]["addresses"]}

    assert begins_with() == PORTS
    assert begins_with(listening=[{"port": 5000, "address": ADDRESS, "unit": "keystone.service"}]) == PORTS - {5000}
    assert begins_with(files={f"{listening.PROXY_DIRECTORY}/{port}.cfg": ["", "root", "root", "0644"] for port in PORTS}) == set()


@pytest.mark.parametrize(
    ("consoles", "ports"),
    [(["novnc"], {6080}), (["spice", "serial"], {6082, 6083}), (["novnc", "spice", "serial"], {6080, 6082, 6083}), ([], set())],
)
def test_haproxy_leads_to_the_consoles_that_are_offered(consoles, ports):
    source = with_tls(TWO, nova_consoles=consoles, **inventories.variables_of("verify", "vars"))
    files = written(source, "controller")
    assert {port for port in (6080, 6082, 6083) if f"{listening.PROXY_DIRECTORY}/{port}.cfg" in files} == ports
    host = source.host("controller")
    assert {server["port"] for server in host.find("__verify_tls")} & {6080, 6082, 6083} == ports
    runs = {unit["name"]: unit.get("runs", True) for unit in host.find("__nova_controller_units")}
    names = {"nova-novncproxy": 6080, "nova-spicehtml5proxy": 6082, "nova-serialproxy": 6083}
    assert {port for name, port in names.items() if runs[name]} == ports
    for name in ("controller", "compute1"):
        conf = parsed(written(source, name)["/etc/nova/nova.conf"])
        enabled = [conf.get(section, "enabled", fallback="false") for section in ("vnc", "spice", "serial_console")]
        assert enabled == [str(port in ports).lower() for port in (6080, 6082, 6083)]


def test_certificates_that_only_some_hosts_have_are_not_made_anew():
    source = inventory(TWO, openstack_tls=True)
    hosts = {name: source.host(name) for name in source.hosts()}
    hosts["compute1"] = inventory(TWO, openstack_tls=True, openstack_tls_authority="x").host("compute1")
    with pytest.raises(ValueError, match=r"^openstack_tls_authority is not the same for all hosts; set it in group_vars/all$"):
        variables.certificates_of(hosts)


def said(source):
    problems, warnings = variables.check_inventory(source)
    return [str(problem) for problem in problems], warnings


def test_what_is_missing_is_told_with_the_command():
    [problem] = said(inventory(TWO, openstack_tls=True))[0]
    assert problem == (
        "controller, compute1: openstack_tls_authority: is not set, and openstack_tls is true; run `make secrets "
        "INVENTORY=...`, which makes what is missing, or set your own"
    )
    held = made(TWO)
    without = {**held, "openstack_tls_certificates": {}}
    assert set(said(inventory(TWO, openstack_tls=True, **without))[0]) == {
        f"{host}: openstack_tls_certificates[{host}][{use}]: is not set, and openstack_tls is true; run "
        "`make secrets INVENTORY=...`, which makes what is missing"
        for host, use in (
            ("compute1", "ovn"),
            ("compute1", "qemu"),
            ("controller", "console"),
            ("controller", "ovn"),
            ("controller", "server"),
        )
    }


def test_a_name_that_the_certificate_lacks_is_told():
    held = made(TWO)
    [problem] = said(inventory(TWO, openstack_tls=True, openstack_public_host="cloud.example.org", **held))[0]
    assert problem == (
        "controller: openstack_tls_certificates[controller][server].certificate: does not have cloud.example.org among its names "
        "(CN=controller); add it to the subject's alternative names, as a DNS name or an IP address"
    )


def test_plain_http_to_what_speaks_tls_only_is_refused():
    held = made(TWO)
    for wrong in (
        {"openstack_internal_scheme": "http"},
        {"openstack_public_scheme": "http"},
        {"openstack_auth_url": "http://10.0.0.11:5000/v3"},
        {"openstack_public_compute_url": "http://controller:8774/v2.1"},
        {"openstack_public_image_url": "http://10.0.0.11:9292"},
        {"nova_compute_novncproxy_base_url": "http://10.0.0.11:6080/vnc_lite.html"},
    ):
        [problem] = said(inventory(TWO, openstack_tls=True, **{**held, **wrong}))[0]
        assert "is plain HTTP, and openstack_tls is true" in problem and next(iter(wrong)) in problem
    wrong = {"nova_consoles": ["serial"], "nova_compute_serialproxy_base_url": "ws://10.0.0.11:6083/"}
    [problem] = said(inventory(TWO, openstack_tls=True, **{**held, **wrong}))[0]
    assert problem == (
        "controller, compute1: nova_compute_serialproxy_base_url = ws://10.0.0.11:6083/: is a plain WebSocket, and "
        "openstack_tls is true, with which 10.0.0.11:6083 speaks TLS only; remove it, or write wss"
    )
    for right in (
        {"openstack_public_compute_url": "http://cloud.example.org/v2.1"},
        {"openstack_public_compute_url": "http://10.0.0.11:80/v2.1"},  # of a proxy beside HAProxy
        {"nova_compute_novncproxy_base_url": "https://10.0.0.11:6080/vnc_lite.html"},
    ):
        assert said(inventory(TWO, openstack_tls=True, **{**held, **right}))[0] == []


def test_the_end_of_a_certificate_is_a_warning():
    held = made(TWO)
    problems, warnings = said(inventory(TWO, openstack_tls=True, openstack_tls_warn_days=2000, **held))
    assert problems == []
    assert [warning for warning in warnings if "expires on " in warning]
    assert not [text for text in warnings if "PRIVATE" in text]


def test_a_cloud_with_tls_passes_preflight():
    assert said(with_tls(TWO))[0] == []
    assert said(with_tls(ONE))[0] == []


# Roles whose units run with TLS, and the hosts of TWO that have them.
UNITS = {
    "controller": ["mysql", "rabbitmq", "haproxy", "keystone", "glance", "placement", "nova_controller", "neutron_controller",
                   "ovn_central", "ovn_host", "neutron_ovn"],
    "compute1": ["nova_compute", "ovn_host", "neutron_ovn"],
}  # fmt: skip


def units(source, host):
    """The units of all roles as the module service_units gets them."""
    source = source.host(host)
    files = {entry["path"]: entry for entry in source.files()}
    for role in UNITS[host]:
        own = [str(entry["path"]) for entry in source.find(f"__{role}_files")]
        rows = [{"reads": own, **row} for row in source.find(f"__{role}_units") if row.get("runs", True)]
        read = {path for row in rows for path in row["reads"]}
        needed = [files[path] for path in files if path in read]
        yield from config_files.units_with_digests(rows, needed, read - files.keys())


def test_a_renewal_restarts_nothing():
    """The programs read certificates when they connect, or again when they are told to; a restart would cost requests."""
    source = inventory(TWO, openstack_tls=True)
    held, wanted = variables.certificates_of({name: source.host(name) for name in source.hosts()})
    states = [authorities.complete(held, wanted)[0]]
    states.append(authorities.renew(states[0], wanted, "authority", 30)[0])
    while states[-1].step:
        states.append(authorities.advance(states[-1], wanted)[0])
    reloaded = set()
    for host in UNITS:
        seen = [list(units(inventory(TWO, openstack_tls=True, **state.variables()), host)) for state in states]
        for before, after in itertools.pairwise(seen):
            for old, new in zip(before, after, strict=True):
                changed = {path for path in new["digests"] if new["digests"][path] != old["digests"][path]}
                assert changed <= set(new.get("reloads", ())), new["name"]
                reloaded |= {new["name"]} if changed else set()
    assert reloaded == {"haproxy", "mariadb", "rabbitmq-server", "libvirtd"}


def test_who_reads_certificates_again_is_told_how():
    source = with_tls(TWO)
    files = written(source, "controller")
    # By no certificate: the client would verify the one that is renewed, which may have ended.
    command = "+/usr/bin/mariadb --no-defaults --loose-skip-ssl --user=root --execute='FLUSH SSL'"
    assert f"\nExecReload={command}\n" in files["/etc/systemd/system/mariadb.service.d/reload.conf"]
    assert "'ssl:clear_pem_cache().'\n" in files["/etc/systemd/system/rabbitmq-server.service.d/reload.conf"]
    screens = written(source, "compute1")["/etc/systemd/system/libvirtd.service.d/screens.conf"]
    assert "\nExecReload=-/bin/sh -c 'for guest in $$(virsh " in screens
    assert '{"execute": "display-reload", "arguments": {"type": "vnc", "tls-certs": true}}' in screens
    plain = inventory(TWO)
    assert not [
        path for host in ("controller", "compute1") for path in written(plain, host) if "reload" in path or "screens" in path
    ]


@pytest.mark.parametrize("release", ["zed", "epoxy"])
def test_a_compute_node_trusts_the_authority_before_anything_on_it_asks(release):
    """ovn-controller is the first that does; without that backend it is nova-compute."""
    source = with_tls(TWO, release=release).host("compute1")
    first, other = ("ovn_host", "nova_compute") if source.find("openstack_network_backend") == "ovn" else ("nova_compute", "")
    paths = {role: [entry["path"] for entry in source.find(f"__{role}_files")] for role in ("ovn_host", "nova_compute")}
    assert AUTHORITY in paths[first] and AUTHORITY not in paths.get(other, [])
    assert [entry["path"] for entry in source.files()].count(AUTHORITY) == 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"release": "zed"}, {**dict.fromkeys(PORTS, "10.0.0.11"), 3306: "10.0.0.11", 5671: "10.0.0.11"}),
        ({"release": "epoxy"}, {**dict.fromkeys({*PORTS, 6642}, "10.0.0.11"), 3306: "10.0.0.11", 5671: "10.0.0.11"}),
        ({"openstack_internal_host": "api", "openstack_network_backend": "openvswitch"}, dict.fromkeys(PORTS, "api")),
        ({"openstack_database_host": "10.0.0.9"}, {3306: None}),
        ({"openstack_database_host": "10.0.0.9", "openstack_database_tls": True}, {3306: "10.0.0.9"}),
        ({"nova_controller_novncproxy_port": 6081}, {6080: None, 6081: "10.0.0.11"}),
    ],
)
def test_the_verification_asks_each_server_that_has_tls(given, wanted):
    verify = inventories.variables_of("verify", "vars")
    servers = with_tls(TWO, **given, **verify).host("controller").find("__verify_tls")
    found = {int(server["port"]): str(server["host"]) for server in servers}
    assert {port: found.get(port) for port in wanted} == wanted
    assert len(servers) == len(found) and all(server["name"] for server in servers)
    assert [server["port"] for server in servers if server.get("greets")] == ([3306] if 3306 in found else [])


def test_without_tls_the_verification_asks_no_server():
    verify = inventories.variables_of("verify", "vars")
    assert inventory(TWO, openstack_tls=False, **verify).host("controller").find("__verify_tls") == []
