"""The rows: a tenant's day, one function each. The docstrings are the titles in the report."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import shutil
import time

from ..masking import mask_log
from . import guest, trust, volumes
from .cloud import ApiError, Cloud
from .dashboard import Dashboard, Wrong
from .engine import Failure, Row, Skip
from .tenant import residue, volume_service
from .text import metadata

ROWS: list[Row] = []


def row(needs: str = "", after: str = "", always: bool = False):
    """Register a function as the row of its name."""

    def register(function):
        ROWS.append(
            Row(
                function.__name__.removesuffix("_row"),
                function.__doc__.rstrip("."),
                function,
                tuple(needs.split()),
                tuple(after.split()),
                always,
            )
        )
        return function

    return register


# -- the rows --------------------------------------------------------------------------------------------------------


@row()
def tls(c):
    """Every server has a certificate of the authority, for its name, that has not ended."""
    if not c.p["tls"]:
        raise Skip("openstack_tls is false")
    wrong = [why for why in (trust.doubts(server, c.p["cacert"]) for server in c.p["tls"]) if why]
    if wrong:
        raise Failure("; ".join(wrong), look_at=["`make plan`, which compares certificates, and docs/security.md, TLS"])
    return f"{len(c.p['tls'])} servers"


@row()
def services(c):
    """Every compute service and network agent is up."""
    down = []
    services = c.admin.get("compute", "/os-services")["services"]
    for item in services:
        if item["status"] == "enabled" and item["state"] != "up":
            down.append(f"{item['binary']} on {item['host']} is down, last heard of at {item['updated_at']}")
    c.computes = [
        item["host"]
        for item in services
        if item["binary"] == "nova-compute" and (item["status"], item["state"]) == ("enabled", "up")
    ]
    agents = c.admin.get("network", "/agents")["agents"]
    for item in agents:
        if item["admin_state_up"] and not item["alive"]:
            down.append(f"{item['binary']} on {item['host']} is not alive, last heard of at {item['heartbeat_timestamp']}")
    if not c.computes:
        down.append("no nova-compute is enabled and up")
    if down:
        raise Failure(
            "; ".join(down),
            look_at=[f"systemctl status {line.split(' on ')[0]}, on {line.split(' ')[2]}" for line in down if " on " in line],
        )
    return f"{len(services)} compute services, {len(agents)} network agents"


@row()
def project(c):
    """A project, a user and flavors of its own."""
    c.auth = {**c.p["auth"], **c.tenant.create(c.p["limit"], c.p["role"])}
    c.me = Cloud(c.auth, c.p["region"], c.calls, c.p["cacert"])
    c.tenant.flavor("small", c.p["flavor"])
    return c.name


@row(needs="project")
def token(c):
    """The Identity service gives a token and a catalogue."""
    c.me.warm_up()
    session = c.me.connection.session
    access = session.auth.get_access(session)
    types = sorted({entry["type"] for entry in access.service_catalog.catalog})
    missing = [name for name in ("compute", "image", "network", "placement") if name not in types]
    if missing:
        raise Failure(f"the catalogue lacks {', '.join(missing)}; it has {', '.join(types)}")
    return f"catalogue: {', '.join(types)}"


@row(needs="token")
def image(c):
    """The image list shows the image, and its data matches its checksum."""
    images = c.me.get("image", "/images?limit=200")["images"]
    found = [item for item in images if item["name"] == c.p["image"]] or [item for item in images if item["id"] == c.p["image"]]
    if not found:
        names = ", ".join(sorted(item["name"] or item["id"] for item in images)) or "no image"
        raise Failure(f"no image {c.p['image']}; there is {names}", look_at=["variable verify_image, or upload the image"])
    c.image = item = found[0]
    if item["status"] != "active":
        raise Failure(f"image {item['name']} is {item['status']}")
    if item["size"] > c.p["image_check_limit"] * 1024 * 1024:
        return f"{item['name']}, {item['size']} bytes; not read, it is larger than {c.p['image_check_limit']} MiB"
    algorithm = item.get("os_hash_algo") or "md5"
    digest, size = hashlib.new(algorithm, usedforsecurity=False), 0
    response = c.me.get("image", f"/images/{item['id']}/file", raw=True, stream=True)
    for chunk in response.iter_content(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    if digest.hexdigest() != (item.get("os_hash_value") or item["checksum"]):
        raise Failure(
            f"image {item['name']}: checksum mismatch: the {algorithm} of the stored data is not the one of its upload"
            f" ({size} of {item['size']} bytes read)"
        )
    return f"{len(images)} images; {item['name']}: {size} bytes, {algorithm} matches"


@row(needs="token")
def network(c):
    """A network, a subnet, a router to the outside and a security group."""
    me, name = c.me, c.name
    outside = me.get("network", "/networks?router:external=true")["networks"]
    wanted = [item for item in outside if c.p["external_network"] in ("", item["name"], item["id"])]
    if not wanted:
        names = ", ".join(item["name"] for item in outside) or "none"
        raise Failure(f"no external network {c.p['external_network']}: the tenant sees {names}")
    c.made["external"] = wanted[0]["id"]
    c.made["network"] = me.post("network", "/networks", {"network": {"name": name}})["network"]["id"]
    subnet = {"name": name, "network_id": c.made["network"], "ip_version": 4, "cidr": c.p["subnet"]}
    subnet = me.post("network", "/subnets", {"subnet": subnet})["subnet"]
    router = {"name": name, "external_gateway_info": {"network_id": c.made["external"]}}
    router = me.post("network", "/routers", {"router": router})["router"]
    me.call("network", "PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    c.made["second_network"] = me.post("network", "/networks", {"network": {"name": f"{name}-second"}})["network"]["id"]
    second = {
        "name": f"{name}-second",
        "network_id": c.made["second_network"],
        "ip_version": 4,
        "cidr": c.p["second_subnet"],
        "gateway_ip": None,
    }
    me.post("network", "/subnets", {"subnet": second})
    group = me.post("network", "/security-groups", {"security_group": {"name": name}})["security_group"]
    c.made["security_group"] = name
    for protocol, port in (("icmp", None), ("tcp", 22), ("tcp", c.p["port"])):
        rule = {
            "security_group_id": group["id"],
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": protocol,
            "port_range_min": port,
            "port_range_max": port,
        }
        me.post("network", "/security-group-rules", {"security_group_rule": rule})
    return f"{c.p['subnet']}, router to {wanted[0]['name']}"


@row(needs="token")
def keypair(c):
    """A key pair."""
    # Nova makes the pair up to microversion 2.91: so no tool for keys is needed here.
    pair = c.me.post("compute", "/os-keypairs", {"keypair": {"name": c.name, "type": "ssh"}})["keypair"]
    c.key_file = os.path.join(c.p["directory"], "key")
    with open(os.open(c.key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(pair["private_key"])
    c.made["keypair"] = c.name
    return pair["fingerprint"]


@row(needs="image network")
def quota(c):
    """What goes beyond the quota is refused, and the message names the quota."""
    limits = c.me.get("compute", "/limits")["limits"]["absolute"]
    allowed = limits["maxTotalInstances"]
    if allowed < 0 or allowed > 100:
        raise Skip(f"the quota of instances is {allowed}: too many to ask for more")
    body = {
        "name": f"{c.name}-quota",
        "imageRef": c.image["id"],
        "flavorRef": c.tenant.flavors["small"],
        "networks": [{"uuid": c.made["network"]}],
        "min_count": allowed + 1,
        "max_count": allowed + 1,
    }
    try:
        c.me.post("compute", "/servers", {"server": body})
    except ApiError as error:
        if error.status == 403 and "quota exceeded" in error.message.lower():
            return error.message
        raise
    raise Failure(f"{allowed + 1} instances were accepted although the quota is {allowed}")


@row(needs="image network", after="keypair")
def boot(c):
    """Nova takes the request for an instance."""
    return c.create_server("one", c.image["id"], [{"uuid": c.made["network"]}])


@row(needs="boot")
def active(c):
    """The instance is ACTIVE."""
    server = c.servers["one"]
    c._local.server = server["id"]
    return up(c, server)


def up(c, server: dict) -> str:
    """Wait until a server is ACTIVE, and keep its address."""
    shown = c.until(server["id"], "ACTIVE")
    server["address"] = next((item["addr"] for addresses in shown["addresses"].values() for item in addresses), "")
    return f"on {c.host_of(server['id'])}, {server['address']}"


@row(needs="active")
def lease(c):
    """The guest says on its console that DHCP gave it its address."""
    server = c.use("one")
    c.shown(server, c.p["console"]["lease"].replace("{address}", re.escape(server["address"])), "the lease")
    return server["address"]


@row(needs="active")
def metadata_row(c):
    """The guest got its own metadata."""
    server = c.use("one")
    c.shown(server, c.p["console"]["metadata"], "the metadata")
    said = metadata(c.console(server["id"]))
    if said and (said.get("uuid"), said.get("meta", {}).get("kilonova-verify")) != (server["id"], c.secret):
        raise Failure(f"the metadata on the console is that of another instance: {said.get('uuid')}")
    return f"uuid {said['uuid']}, and the key that the run set" if said else "the guest found it"


@row(needs="metadata")
def user_data(c):
    """The guest ran its user data."""
    server = c.use("one")
    c.shown(server, f"KILONOVA-VERIFY user_data {c.secret}", "what user data writes")
    return "its script wrote to the console"


@row(needs="active")
def console(c):
    """Console output, whole and the last lines of it."""
    server = c.use("one")
    c.booted(server)
    text = c.console(server["id"])
    tail = c.console(server["id"], 3)
    if not tail or len(tail.splitlines()) > 4:
        raise Failure(f"asked for 3 lines of the console, got {len(tail.splitlines())}")
    return f"{len(text.splitlines())} lines"


@row(needs="active", after="lease")
def ping(c):
    """A ping through the floating address is answered."""
    server = c.use("one")
    address = c.float(server)
    # The first packets may wait for the router's ARP.
    took = c.wait(f"an answer to a ping of the floating address {address}", lambda: guest.ping(address))
    return f"{address}, {took * 1000:.1f} ms"


@row(needs="active", after="ping console")
def http(c):
    """The guest answers HTTP through the floating address."""
    server = c.use("one")
    c.float(server)
    return c.answers(server)


@row(needs="active keypair", after="ping console")
def ssh(c):
    """Login with the key pair."""
    if not c.p["ssh_user"]:
        raise Skip("no verify_ssh_user: the guest has no ssh")
    if not shutil.which("ssh"):
        raise Skip("this host has no ssh client")
    server, last = c.use("one"), {}
    address = c.float(server)

    def ask():
        done = guest.ssh(c.p["ssh_user"], address, c.key_file, "hostname")
        last["said"] = done.errors.strip()[-200:]
        return done.output.strip() if done.status == 0 else None

    return f"{c.p['ssh_user']}@{address}: {c.wait(f'a login at {address}', ask, said=lambda: last['said'])}"


@row(needs="image network", after="active")
def neighbour(c):
    """A second instance is ACTIVE beside the first."""
    c.create_server("two", c.image["id"], [{"uuid": c.made["network"]}])
    where = up(c, c.servers["two"])
    c.booted(c.servers["two"])
    return where


@row(needs="ssh neighbour")
def east_west(c):
    """The two reach each other over the tenant's network."""
    address = c.servers["two"]["address"]
    command = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {c.p['port']}"
    server, last = c.use("one"), {}

    def ask():
        done = guest.ssh(c.p["ssh_user"], server["floating"], c.key_file, command)
        last["said"] = (done.output + done.errors).strip()[-200:]
        return done.output if done.status == 0 and " 200 " in done.output.split("\n")[0] else None

    text = c.wait(f"an answer of {address} to its neighbour", ask, 60, said=lambda: last.get("said"))
    return text.strip().splitlines()[-1]


@row(needs="image network keypair", after="neighbour")
def server_group(c):
    """A server group with anti-affinity keeps its members apart."""
    group = {"name": c.name, "policy": "anti-affinity"}
    group = c.me.post("compute", "/os-server-groups", {"server_group": group})["server_group"]
    first = c.create_server("group-one", c.image["id"], [{"uuid": c.made["network"]}], hints={"group": group["id"]})
    c.until(first, "ACTIVE")
    members = c.me.get("compute", f"/os-server-groups/{group['id']}")["server_group"]["members"]
    if members != [first]:
        raise Failure(f"the group's members are {members}, not {[first]}")
    second = c.create_server("group-two", c.image["id"], [{"uuid": c.made["network"]}], hints={"group": group["id"]})
    if len(c.computes) == 1:
        c.until(second, "ERROR", idle=False)
        fault = c.show(second).get("fault", {}).get("message", "")
        if "No valid host" not in fault:
            raise Failure(f"the second member failed, but not for want of another host: {fault}")
        detail = f"with one compute node the second member is refused: {fault}"
    else:
        c.until(second, "ACTIVE")
        hosts = [c.host_of(first), c.host_of(second)]
        if hosts[0] == hosts[1]:
            raise Failure(f"both members are on {hosts[0]}")
        detail = f"members on {' and '.join(hosts)}"
    for server in (first, second):
        c.me.delete("compute", f"/servers/{server}")
    return detail


# One server, one thing at a time: each of these waits for the one before, whatever became of it.


def reach(c, server: dict, *steps: tuple[dict, str]) -> dict:
    """Take a server through actions, each to the state that it leads to. Returns how Nova shows it at the end."""
    shown = {}
    for action, status in steps:
        c.action(server["id"], action)
        shown = c.until(server["id"], status)
    return shown


def boots(c, *steps: tuple[dict, str]) -> tuple[dict, dict]:
    """Take the first server through actions that end with a boot, until it answers. Returns it, and how Nova shows it."""
    server = c.use("one")
    c.mark(server)
    shown = reach(c, server, *steps)
    c.booted(server)
    c.answers(server)
    return server, shown


@row(needs="active", after="http ssh east_west lease user_data")
def soft_reboot(c):
    """Soft reboot: the guest shuts itself down and starts again."""
    server = c.use("one")
    # Before that, nobody in the guest listens to its power button.
    c.booted(server)
    c.mark(server)
    start = time.monotonic()
    c.action(server["id"], {"reboot": {"type": "SOFT"}})
    c.until(server["id"], "ACTIVE")
    took = time.monotonic() - start
    c.booted(server)
    c.answers(server)
    if took > c.p["soft_reboot_limit"]:
        raise Failure(
            f"the guest did not shut itself down in {took:.0f} s: Nova rebooted it by force",
            look_at=["the guest: its power button needs the drivers button and evdev and an acpid"],
        )
    return f"ACTIVE after {took:.1f} s, then booted"


@row(needs="active", after="soft_reboot")
def hard_reboot(c):
    """Hard reboot: power off and on."""
    boots(c, ({"reboot": {"type": "HARD"}}, "ACTIVE"))
    return "booted, and answers"


@row(needs="active", after="hard_reboot")
def stop_start(c):
    """Stop and start."""
    boots(c, ({"os-stop": None}, "SHUTOFF"), ({"os-start": None}, "ACTIVE"))
    return "SHUTOFF, then booted, and answers"


@row(needs="active", after="stop_start")
def pause(c):
    """Pause and unpause."""
    server = c.use("one")
    reach(c, server, ({"pause": None}, "PAUSED"))
    silent = not server.get("floating") or guest.ping(server["floating"], 1.5) is None
    reach(c, server, ({"unpause": None}, "ACTIVE"))
    if not silent:
        raise Failure("a paused instance answers a ping")
    c.answers(server)
    return "silent while PAUSED, answers again"


@row(needs="active", after="pause")
def suspend(c):
    """Suspend to disk and resume."""
    server = c.use("one")
    try:
        reach(c, server, ({"suspend": None}, "SUSPENDED"))
    except Failure:
        events = json.dumps(c.explain(server["id"]).get("actions", []))
        if re.search(r"not supported|unsupported|cannot suspend", events, re.I):
            raise Skip("the hypervisor cannot suspend") from None
        raise
    reach(c, server, ({"resume": None}, "ACTIVE"))
    c.answers(server)
    return "its memory came back: it answers without a boot"


@row(needs="active", after="suspend console")
def rebuild(c):
    """Rebuild with the same address and id."""
    server, shown = boots(c, ({"rebuild": {"imageRef": c.image["id"]}}, "ACTIVE"))
    addresses = [item["addr"] for items in shown["addresses"].values() for item in items]
    if server["address"] not in addresses:
        raise Failure(f"its address was {server['address']} and is {', '.join(addresses)}")
    return f"booted from {c.image['name']} again, still {server['address']}"


# The second server.


@row(needs="neighbour")
def novnc_page(c):
    """Nova gives a console address, and the noVNC page is there."""
    offered(c, "novnc")
    c.servers["two"]["console_url"] = url = console_url(c, c.use("two"))
    return console_page(c, url, "noVNC", "vnc")


@row(needs="novnc_page")
def novnc_rfb(c):
    """A WebSocket to the console leads to the guest's screen."""
    return console_login(c, c.servers["two"]["console_url"])


def offered(c, kind: str) -> None:
    """Skip the row where the cloud has no consoles of this kind."""
    if kind not in c.p["consoles"]:
        raise Skip(f"nova_consoles has no {kind}")


def console_url(c, server: dict, protocol: str = "vnc", kind: str = "novnc") -> str:
    """Return where a guest's console is, by default the page of noVNC; Nova gives a token with it, for some minutes."""
    body = {"remote_console": {"protocol": protocol, "type": kind}}
    return c.me.post("compute", f"/servers/{server['id']}/remote-consoles", body)["remote_console"]["url"]


def console_page(c, url: str, name: str, word: str) -> str:
    """Return the URL without its token, if there is a page with this word."""
    status, text = guest.http(url, cacert=c.p["cacert"])
    if status != 200 or word not in text.lower():
        raise Failure(f"the {name} page {mask_log(url)} answers {status}: {text[:200]}")
    return mask_log(url)


def console_login(c, url: str) -> str:
    """Return the version of the guest's VNC server, which lets us in."""
    try:
        return guest.vnc_login(url, c.p["cacert"])
    except OSError as error:
        raise Failure(f"noVNC websocket: {error}", look_at=["nova-novncproxy.log on the controller"]) from error


@row(needs="novnc_rfb")
def novnc_picture(c):
    """A browser shows the guest's screen."""
    if not c.p["picture"]:
        raise Skip("no browser was looked for (verify_picture)")
    url = console_url(c, c.use("two"))
    # The browser does not know the authorities of the file; by them, the row before has checked the certificate.
    asked = {"url": url, "name": f"{c.name}-two", "certificate_checked": bool(c.p["cacert"])}
    said = browsed(c, "console", asked, c.p["picture_limit"])
    if said["status"] != "passed":
        raise Failure(
            f"noVNC in a browser: {said['text']}",
            look_at=["novncproxy_base_url must be reachable from the machine that runs Ansible"],
        )
    return said["text"]


def browsed(c, what: str, asked: dict, limit: int) -> dict:
    """Let the machine that runs Ansible do something with a browser (action_plugins/verify_watch.py); returns what it says."""
    answer = os.path.join(c.p["directory"], f"{what}.json")
    c.picture = {"what": what, "asked": asked}
    c.publish()

    def ask():
        try:
            with open(answer) as stream:
                return json.load(stream)
        except (OSError, ValueError):
            return None

    try:
        said = c.wait("the machine that runs Ansible to use its browser", ask, limit)
    finally:
        c.picture = None
    if said["status"] == "skipped":
        raise Skip(said["text"])
    return said


@row(needs="neighbour", after="novnc_picture")
def spice_page(c):
    """Nova gives a SPICE console's address, and the page is there."""
    offered(c, "spice")
    c.servers["two"]["spice_url"] = url = console_url(c, c.use("two"), "spice", "spice-html5")
    return console_page(c, url, "SPICE", "spice")


@row(needs="spice_page")
def spice_link(c):
    """A WebSocket through the SPICE proxy leads to the guest's SPICE server."""
    try:
        return guest.spice_login(c.servers["two"]["spice_url"], c.p["cacert"])
    except OSError as error:
        raise Failure(f"SPICE websocket: {error}", look_at=["nova-spicehtml5proxy.log on the controller"]) from error


@row(needs="neighbour", after="spice_link")
def serial_console(c):
    """A command that is typed at the guest's serial console is answered."""
    offered(c, "serial")
    server = c.use("two")
    c.booted(server)
    command, pattern = c.p["serial"].get("command"), c.p["serial"].get("answer")
    if not command:
        raise Skip("the guest has no shell at its serial port (verify_serial)")
    try:
        return guest.serial_answer(console_url(c, server, "serial", "serial"), command, pattern, c.p["cacert"])
    except OSError as error:
        raise Failure(f"serial console: {error}", look_at=["nova-serialproxy.log on the controller"]) from error


@row(needs="neighbour", after="serial_console")
def interface(c):
    """Attach an interface while it runs, and detach it."""
    server = c.use("two")
    # What is on the console now is old, but its last boot is not to be waited for again.
    seen = len(c.console(server["id"]))
    body = {"interfaceAttachment": {"net_id": c.made["second_network"]}}
    port = c.me.post("compute", f"/servers/{server['id']}/os-interface", body)["interfaceAttachment"]
    address = port["fixed_ips"][0]["ip_address"]
    c.wait("the new port to be ACTIVE", lambda: c.me.get("network", f"/ports/{port['port_id']}")["port"]["status"] == "ACTIVE")
    pattern = c.p["console"]["new_interface"].replace("{address}", re.escape(address))
    if pattern:
        c.wait(
            f"the guest to use {address} (pattern {pattern!r})", lambda: re.search(pattern, c.console(server["id"])[seen:]), 90
        )
    c.me.delete("compute", f"/servers/{server['id']}/os-interface/{port['port_id']}")

    def gone():
        attached = c.me.get("compute", f"/servers/{server['id']}/os-interface")["interfaceAttachments"]
        ports = c.me.get("network", f"/ports?id={port['port_id']}")["ports"]
        return port["port_id"] not in [item["port_id"] for item in attached] and not ports

    c.wait("the port to be gone", gone)
    return f"{address} attached" + (" and used by the guest" if pattern else "") + ", then gone"


@row(needs="neighbour", after="interface")
def snapshot(c):
    """A snapshot becomes an active image."""
    server = c.use("two")
    answer = c.action(server["id"], {"createImage": {"name": f"{c.name}-snapshot"}})
    image_id = answer["image_id"]
    seen = {}

    def ask():
        image = c.me.get("image", f"/images/{image_id}", ok=(404,)) or {"status": "gone"}
        seen["status"] = image["status"]
        if image["status"] in ("killed", "deleted", "gone"):
            raise Failure(f"the snapshot's image is {image['status']}")
        return image if image["status"] == "active" else None

    image = c.wait("the snapshot to be active", ask, said=lambda: seen.get("status"))
    c.until(server["id"], "ACTIVE")
    c.made["snapshot"] = image_id
    return f"{image['size']} bytes, {image['disk_format']}"


@row(needs="snapshot")
def boot_snapshot(c):
    """An instance boots from the snapshot."""
    server_id = c.create_server("from-snapshot", c.made["snapshot"], [{"uuid": c.made["network"]}])
    c.until(server_id, "ACTIVE")
    c.booted(c.servers["from-snapshot"])
    return f"on {c.host_of(server_id)}"


@row(needs="neighbour", after="snapshot")
def volume(c):
    """A volume is attached, seen and written by the guest, detached and attached again with what was written."""
    if not volume_service(c.me):
        raise Skip("the catalogue has no volume service")
    server, made = c.use("two"), volumes.create(c, "data")
    c.made["volume"] = made
    took = volumes.attach(c, server, made)
    login = volumes.can_log_in(c, server)
    written = volumes.written(c, server, made) if login else ""
    volumes.detach(c, server, made)
    volumes.attach(c, server, made)
    if login:
        volumes.must_have(c, server, made, written, "after it was detached and attached again")
        c.made["written"] = written
    return f"attached in {took:.1f} s" + (
        "; the guest finds what it wrote" if login else "; no login into the guest to look there"
    )


@row(needs="volume")
def volume_extend(c):
    """A volume grows while it is attached, and keeps its data over that and a reboot."""
    server, made = c.use("two"), c.made["volume"]
    volumes.ask(c.me, "post", f"/volumes/{made}/action", {"os-extend": {"new_size": 2}}, microversion="3.42")
    c.wait("the volume to have 2 GiB", lambda: volumes.show(c, made).get("size") == 2 and volumes.is_(c, made, "in-use"))
    if "written" not in c.made:
        return "2 GiB; no login into the guest to look there"
    sectors = 2 * 2**30 // 512
    c.wait(
        "the guest to see 2 GiB",
        lambda: volumes.in_guest(c, server, f"{volumes.FIND} cat /sys/block/$found/size", made).strip() == str(sectors),
    )
    volumes.must_have(c, server, made, c.made["written"], "after it was extended")
    c.mark(server)
    reach(c, server, ({"reboot": {"type": "HARD"}}, "ACTIVE"))
    c.booted(server)
    volumes.must_have(c, server, made, c.made["written"], "after a reboot")
    return "the guest sees 2 GiB, and what it wrote, also after a reboot"


@row(needs="volume", after="volume_extend")
def volume_token(c):
    """Without Nova's token, nobody detaches a volume from an instance that uses it (CVE-2023-2088)."""
    made = c.made["volume"]
    (attachment,) = volumes.show(c, made)["attachments"]
    for what, verb, path, body in (
        ("os-detach", "post", f"/volumes/{made}/action", {"os-detach": {"attachment_id": attachment["attachment_id"]}}),
        ("os-terminate_connection", "post", f"/volumes/{made}/action", {"os-terminate_connection": {"connector": {}}}),
        ("the attachment's deletion", "delete", f"/attachments/{attachment['attachment_id']}", None),
    ):
        status = volumes.ask(c.admin, verb, path, body, refused=True, microversion="3.44").status_code
        if status != 409:
            raise Failure(f"{what} by an administrator was answered with {status}, not 409")
    if not volumes.is_(c, made, "in-use"):
        raise Failure("the volume is not in use any more")
    return "three ways, each refused with 409, to an administrator"


@row(needs="volume", after="volume_token")
def volume_backup(c):
    """A volume is backed up, restored into another one, and the guest finds its data there."""
    server, made = c.use("two"), c.made["volume"]
    volumes.detach(c, server, made)
    if not volumes.has_backups(c):
        raise Skip("no cinder-backup is up")
    backup = volumes.ask(c.me, "post", "/backups", {"backup": {"volume_id": made, "name": c.name}}).json()["backup"]["id"]
    volumes.backup_is(c, backup, "available")
    restored = volumes.ask(c.me, "post", f"/backups/{backup}/restore", {"restore": {}}).json()["restore"]["volume_id"]
    volumes.backup_is(c, backup, "available")
    c.wait("the restored volume to be available", lambda: volumes.is_(c, restored, "available"))
    if "written" in c.made:
        volumes.attach(c, server, restored)
        volumes.must_have(c, server, restored, c.made["written"], "in the restored volume")
        volumes.detach(c, server, restored)
    volumes.ask(c.me, "delete", f"/backups/{backup}")
    volumes.backup_is(c, backup, "gone")
    volumes.delete(c, restored)
    return "restored" + (", with what the guest wrote" if "written" in c.made else "")


@row(needs="volume", after="volume_backup")
def volume_delete(c):
    """A deleted volume is gone."""
    volumes.delete(c, c.made["volume"])
    return "detached and deleted"


@row(needs="volume image network", after="volume_delete boot_snapshot")
def boot_volume(c):
    """An instance boots from a volume that is made of the image."""
    disk = {"uuid": c.image["id"], "source_type": "image", "destination_type": "volume", "volume_size": 1, "boot_index": 0}
    mapping = [{**disk, "delete_on_termination": True}]
    start = time.monotonic()
    server_id = c.create_server("from-volume", None, [{"uuid": c.made["network"]}], block_device_mapping_v2=mapping)
    c.until(server_id, "ACTIVE")
    took = time.monotonic() - start
    c.booted(c.servers["from-volume"])
    (attached,) = c.me.get("compute", f"/servers/{server_id}/os-volume_attachments")["volumeAttachments"]
    c.me.delete("compute", f"/servers/{server_id}")
    c.wait("its volume to be gone with it", lambda: volumes.is_(c, attached["volumeId"], "gone"))
    return f"ACTIVE after {took:.1f} s, booted, and its volume went with it"


@row(needs="neighbour services", after="boot_volume boot_snapshot")
def resize(c):
    """Resize to a larger flavor and confirm."""
    if len(c.computes) == 1 and not same_host_allowed(c.p["nova_conf"]):
        raise Skip("one compute node, and nova.conf does not allow_resize_to_same_host")
    server = c.use("two")
    before = c.host_of(server["id"])
    c.mark(server)
    flavor = c.tenant.flavor("large", {**c.p["flavor"], **c.p["larger"]})
    reach(c, server, ({"resize": {"flavorRef": flavor}}, "VERIFY_RESIZE"))
    return confirm(c, server, before)


def confirm(c, server: dict, before: str) -> str:
    """Confirm a resize or a cold migration, and see the guest up on its host."""
    reach(c, server, ({"confirmResize": None}, "ACTIVE"))
    after, lost = c.host_of(server["id"]), ""
    if "serial" in c.p["consoles"] and after == before and not has_serial_port(c, server):
        # Nova believes that the ports of the guest before are still there. The console log goes with them.
        reach(c, server, ({"reboot": {"type": "HARD"}}, "ACTIVE"))
        server["before"], lost = "", "; it had no serial port, as after any resize on one host, until a hard reboot"
    c.booted(server)
    return f"from {before} to {after}, confirmed, booted{screen_answers(c, server)}{lost}"


def has_serial_port(c, server: dict) -> bool:
    """Whether Nova has a console log of the guest, and so a serial port."""
    try:
        c.console(server["id"])
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


def screen_answers(c, server: dict) -> str:
    """What can be said of the guest's screen: that it answers, or nothing where the cloud has no noVNC."""
    if "novnc" not in c.p["consoles"]:
        return ""
    console_login(c, console_url(c, server))
    return ", its console answers"


@row(needs="neighbour services", after="resize")
def migrate(c):
    """Cold migration to another compute node."""
    if len(c.computes) < 2:
        raise Skip("there is one compute node")
    server = c.use("two")
    before = c.host_of(server["id"])
    c.mark(server)
    c.admin.post("compute", f"/servers/{server['id']}/action", {"migrate": None})
    c.until(server["id"], "VERIFY_RESIZE")
    if c.host_of(server["id"]) == before:
        raise Failure(f"it is still on {before}")
    return confirm(c, server, before)


@row(needs="neighbour services", after="migrate")
def live_migrate(c):
    """Live migration to another compute node."""
    if len(c.computes) < 2:
        raise Skip("there is one compute node")
    server = c.use("two")
    c.float(server)
    c.answers(server)
    before = c.host_of(server["id"])
    c.admin.post("compute", f"/servers/{server['id']}/action", {"os-migrateLive": {"host": None, "block_migration": "auto"}})
    c.until(server["id"], "ACTIVE")
    after = c.host_of(server["id"])
    if after == before:
        raise Failure(
            f"it is still on {before}",
            look_at=["libvirt and [libvirt] live_migration_* on both nodes, TCP 16509 and 49152-49215 between them"],
        )
    c.answers(server)
    return f"from {before} to {after}, and it answers{screen_answers(c, server)}"


# The dashboard.


@row(needs="project")
def dashboard(c):
    """The dashboard's login page is safe, and lets nobody in with a wrong password."""
    if not c.p["dashboard"]:
        raise Skip("the group dashboards has no hosts")
    try:
        return Dashboard(c.p["dashboard"], c.p["cacert"]).look(c.name)
    except Wrong as error:
        raise Failure(f"{c.p['dashboard']}: {error}", look_at=["`journalctl --unit horizon`, and haproxy's log"]) from error


@row(needs="dashboard image network", after="live_migrate")
def dashboard_visit(c):
    """In a browser: log in, launch an instance, see its console and its log, log out."""
    if not c.p["picture"]:
        raise Skip("no browser was looked for (verify_picture)")
    name = f"{c.name}-dashboard"
    asked = {
        "url": c.p["dashboard"],
        "user": c.auth["username"],
        "password": c.auth["password"],
        "server": name,
        "image": c.image["name"] or c.image["id"],
        "flavor": f"{c.name}-small",
        "network": c.name,
        "boot": c.p["console"]["boot"],
        "consoles": c.p["consoles"],
        "certificate_checked": bool(c.p["cacert"]),
    }
    said = browsed(c, "dashboard", asked, 2 * c.p["timeout"])
    if said["status"] != "passed":
        raise Failure(said["text"], look_at=["`journalctl --unit horizon`", "dashboard-failed.png in the report's directory"])
    c.servers["dashboard"] = {"id": said["id"]}
    return said["text"]


@row(needs="boot", after=" ".join(item.name for item in ROWS))
def delete(c):
    """Deleted instances are gone."""
    mine = c.me.get("compute", "/servers")["servers"]
    for server in mine:
        c.me.delete("compute", f"/servers/{server['id']}")
    seen = {}

    def ask():
        seen["left"] = c.me.get("compute", "/servers/detail")["servers"]
        return not seen["left"]

    c.wait("the instances to be gone", ask, said=lambda: ", ".join(f"{item['name']} {item['status']}" for item in seen["left"]))
    return f"{len(mine)} instances"


@row(needs="delete")
def nothing_left(c):
    """Nothing is left in Nova, Neutron and Placement."""
    ids = [server["id"] for server in c.servers.values()]
    seen = {}

    def ask():
        seen["left"] = residue(c.admin, c.tenant.project_id, ids)
        return not seen["left"]

    # Ports and allocations go a moment after the server does.
    c.wait("everything of the instances to be gone", ask, 30, said=lambda: "; ".join(seen["left"]))
    return f"{len(ids)} instances asked for"


def same_host_allowed(path: str) -> bool:
    """Whether nova.conf lets a resize stay on its host."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read(path)
        return parser.getboolean("DEFAULT", "allow_resize_to_same_host", fallback=False)
    except (configparser.Error, ValueError):
        return False
