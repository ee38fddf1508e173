"""The script of openstack_bridges, run with commands that keep a small host in files: what it makes, it also takes away."""

import os
import subprocess

import pytest

from kilonova.config.config_files import render

# Bridges are directories of ports, interfaces are directories with `addresses` and `gateway`, all below $HOST.
OVS = r"""#!/bin/sh
echo "ovs-vsctl $*" >> "$HOST/log"
while [ "${1#--}" != "$1" ]; do shift; done
case $1 in
    br-exists) [ -d "$HOST/ovs/$2" ] || exit 2 ;;
    add-br) mkdir -p "$HOST/ovs/$2" "$HOST/net/$2"; touch "$HOST/net/$2/addresses" ;;
    del-br) rm -rf "$HOST/ovs/$2" "$HOST/net/$2" ;;
    list-ports) [ -d "$HOST/ovs/$2" ] && ls "$HOST/ovs/$2" ;;
    add-port) touch "$HOST/ovs/$2/$3" ;;
    del-port) rm -f "$HOST/ovs/$2/$3" "$HOST"/ovs/*/"$2" ;;
    set) [ -z "${4##*=*}" ] && echo "${4#*=}" | tr -d '"' > "$HOST/net/$3/${4%%=*}" ;;
    find) cat "$HOST/lost" 2>/dev/null ;;
esac
"""
IP = r"""#!/bin/sh
echo "ip $*" >> "$HOST/log"
family=4
while [ "${1#-}" != "$1" ]; do [ "$1" != -6 ] || family=6; shift; done
for last; do :; done
case "$1 $2" in
    "link show") [ -d "$HOST/net/$last" ] || exit 1 ;;
    "route show") [ $family = 6 ] || sed -n 's/^/default via /p' "$HOST/net/$last/gateway" 2>/dev/null || true ;;
    "route replace") echo "$5" > "$HOST/net/$last/gateway" ;;
    "route delete") rm -f "$HOST/net/$last/gateway" ;;
    "address flush") : > "$HOST/net/$last/addresses"; rm -f "$HOST/net/$last/gateway" ;;
    "address show") sed 's/^/1: x inet /; s/$/ scope global/' "$HOST/net/$last/addresses" ;;
    "address replace") grep -qxF "$3" "$HOST/net/$last/addresses" || echo "$3" >> "$HOST/net/$last/addresses" ;;
    "address delete") grep -vxF "$3" "$HOST/net/$last/addresses" > "$HOST/t"; mv "$HOST/t" "$HOST/net/$last/addresses" ;;
esac
"""
CAT = r"""#!/bin/sh
case $1 in /sys/class/net/*) exec /bin/cat "$HOST/net/${1#/sys/class/net/}" ;; esac
exec /bin/cat "$@"
"""
SYSCTL = r"""#!/bin/sh
case $1 in --values) cat "$HOST/forward" ;; *) echo "${3#*=}" > "$HOST/forward" ;; esac
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with eth0 (the management address and the default route) and eth1, and `apply(bridges, ip_forward)`."""
    monkeypatch.setenv("HOST", str(tmp_path))
    monkeypatch.setenv("KILONOVA_MADE", str(tmp_path / "kilonova" / "bridges"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    for name, text in (("ovs-vsctl", OVS), ("ip", IP), ("cat", CAT), ("sysctl", SYSCTL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    for number, address in enumerate(("10.0.0.21/24\n", "192.0.2.1/24\n")):
        interface = tmp_path / "net" / f"eth{number}"
        interface.mkdir(parents=True)
        (interface / "addresses").write_text(address)
        (interface / "address").write_text(f"02:00:00:00:00:0{number}\n")
    (tmp_path / "net" / "eth0" / "gateway").write_text("10.0.0.1\n")
    (tmp_path / "forward").write_text("0\n")
    (tmp_path / "ovs").mkdir()

    def apply(*bridges, ip_forward=False, datapath="system"):
        entry = {
            "path": "/x",
            "template": "openstack-bridges.sh.j2",
            "variables": {"bridges": bridges, "datapath": datapath, "ip_forward": ip_forward},
        }
        subprocess.run(["sh", "-c", render(entry)], check=True, capture_output=True, timeout=30)
        return {path.name: sorted(port.name for port in path.iterdir()) for path in (tmp_path / "ovs").iterdir()}

    return tmp_path, apply


def of(place, interface, name="addresses"):
    """What a file of an interface holds."""
    path = place / "net" / interface / name
    return path.read_text().split() if path.exists() else []


FULL = {"name": "br-x", "ports": ["eth1"], "addresses": ["198.51.100.1/24"], "tunnels": ["10.0.1.22", "10.0.1.23"]}


def test_what_is_declared_is_made_and_made_once(host):
    place, apply = host
    assert apply(FULL, ip_forward=True) == {"br-x": ["br-x-1", "br-x-2", "eth1"]}
    made = (place / "kilonova" / "bridges").read_text()
    assert of(place, "br-x") == ["198.51.100.1/24"]
    assert (place / "forward").read_text() == "1\n"
    assert apply(FULL, ip_forward=True) == {"br-x": ["br-x-1", "br-x-2", "eth1"]}
    assert (place / "kilonova" / "bridges").read_text() == made


def test_a_bridge_with_an_address_keeps_that_of_its_port(host):
    place, apply = host
    apply({**FULL, "ports": ["eth1", "eth0"]}, {"name": "br-y"})
    assert of(place, "br-x", "other_config:hwaddr") == ["02:00:00:00:00:01"]
    assert of(place, "br-y", "other_config:hwaddr") == []


def test_ports_of_devices_that_are_gone_are_removed_in_userspace(host):
    place, apply = host
    (place / "ovs" / "br-int").mkdir()
    for name in ("tap1", "tap2", "eth9"):
        (place / "ovs" / "br-int" / name).touch()
    # As ovs-vsctl find prints what could not be opened: an instance's device, and an interface that the operator pulled.
    (place / "lost").write_text("tap1,attached-mac=fa:16:3e:00:00:01 iface-id=43dee824 vm-uuid=9cf04419\neth9,\n")
    assert apply(datapath="system") == {"br-int": ["eth9", "tap1", "tap2"]}
    assert apply(datapath="netdev") == {"br-int": ["eth9", "tap2"]}


@pytest.mark.parametrize(
    ("later", "left"),
    [
        ([], {}),
        ([{**FULL, "tunnels": ["10.0.1.22"]}], {"br-x": ["br-x-1", "eth1"]}),
        ([{**FULL, "tunnels": []}], {"br-x": ["eth1"]}),
        ([{**FULL, "ports": []}], {"br-x": ["br-x-1", "br-x-2"]}),
        ([{"name": "br-y"}], {"br-y": []}),
        ([{"name": "br-y", "ports": ["eth1"]}], {"br-y": ["eth1"]}),
    ],
)
def test_what_is_not_declared_any_more_is_removed(host, later, left):
    _place, apply = host
    apply(FULL)
    assert apply(*later) == left


def test_an_address_and_forwarding_that_are_not_declared_any_more(host):
    place, apply = host
    apply(FULL, ip_forward=True)
    apply({**FULL, "addresses": ["198.51.100.2/24"]})
    assert of(place, "br-x") == ["198.51.100.2/24"]
    assert (place / "forward").read_text() == "0\n"


def test_what_the_operator_has_made_stays(host):
    place, apply = host
    (place / "ovs" / "br-x").mkdir()
    (place / "ovs" / "br-x" / "eth1").touch()
    (place / "net" / "br-x").mkdir()
    (place / "net" / "br-x" / "addresses").write_text("198.51.100.1/24\n")
    (place / "forward").write_text("1\n")
    apply(FULL, ip_forward=True)
    assert apply() == {"br-x": ["eth1"]}
    assert of(place, "br-x") == ["198.51.100.1/24"]
    assert (place / "forward").read_text() == "1\n"


def test_a_bridge_of_ours_stays_while_somebody_uses_it(host):
    place, apply = host
    apply(FULL)
    (place / "ovs" / "br-x" / "vnet7").touch()
    assert apply() == {"br-x": ["vnet7"]}


def test_the_default_route_moves_with_its_address_and_is_never_flushed(host):
    place, apply = host
    apply({"name": "br-x", "ports": ["eth0"], "addresses": ["10.0.0.21/24"]})
    assert of(place, "br-x") == ["10.0.0.21/24"]
    assert of(place, "br-x", "gateway") == ["10.0.0.1"]
    assert of(place, "eth0") == of(place, "eth0", "gateway") == []
    said = (place / "log").read_text()
    assert "ip address flush dev eth0" not in said
    assert said.index("route replace default via 10.0.0.1 dev br-x") < said.index("ip address delete 10.0.0.21/24 dev eth0")


def test_other_ports_lose_their_addresses_as_before(host):
    place, apply = host
    apply(FULL)
    assert of(place, "eth1") == []
    assert of(place, "eth0") == ["10.0.0.21/24"]


def peers(*tunnels):
    """Whom the device of a Linux bridge's tunnels floods to, in a network namespace of its own."""
    scripts = [
        render(
            {
                "path": "/x",
                "template": "openstack-bridges.sh.j2",
                "variables": {"bridges": [{"name": "br-x", "tunnels": one}], "datapath": "linux", "ip_forward": False},
            }
        )
        for one in tunnels
    ]
    show = "bridge fdb show dev br-x-1 | sed --quiet 's/^00:00:00:00:00:00 dst \\([^ ]*\\) .*/\\1/p'"
    steps = "\n".join(f"(\n{script}\n) >/dev/null" for script in scripts)
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", "--mount", "sh", "-euc", f"mount -t sysfs none /sys\n{steps}\n{show}"],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return sorted(done.stdout.split())


needs_namespaces = pytest.mark.skipif(
    subprocess.run(
        ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c", "mount -t sysfs none /sys && bridge fdb"],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        check=False,
    ).returncode
    != 0,
    reason="no network namespaces here",
)


@needs_namespaces
@pytest.mark.parametrize(
    ("tunnels", "right"),
    [
        ([["10.0.1.22"]], ["10.0.1.22"]),
        # The kernel refuses a second device of the same identifier and port.
        ([["10.0.1.22", "10.0.1.23", "10.0.1.24"]], ["10.0.1.22", "10.0.1.23", "10.0.1.24"]),
        ([["10.0.1.22", "10.0.1.23"]] * 2, ["10.0.1.22", "10.0.1.23"]),
        ([["10.0.1.22", "10.0.1.23"], ["10.0.1.23", "10.0.1.24"]], ["10.0.1.23", "10.0.1.24"]),
        ([["fd00::22", "FD00:0::23"]] * 2, ["fd00::22", "fd00::23"]),
    ],
)
def test_a_linux_bridge_reaches_every_peer(tunnels, right, tmp_path, monkeypatch):
    monkeypatch.setenv("KILONOVA_MADE", str(tmp_path / "bridges"))
    assert peers(*tunnels) == right


@pytest.mark.parametrize(("secure", "mode"), [(True, "secure"), ("no", "standalone"), ("false", "standalone"), ("yes", "secure")])
def test_secure_is_read_as_ansible_reads_it(secure, mode):
    variables = {"bridges": [{"name": "br-x", "ports": ["e1"], "secure": secure}], "datapath": "system", "ip_forward": False}
    text = render({"path": "/x", "template": "openstack-bridges.sh.j2", "variables": variables})
    assert f"fail_mode={mode}\n" in text
    assert ("actions=LOCAL" in text) == (mode == "secure")
