"""What the rows of volumes share: requests to the Block Storage API, and what a guest says of its disk."""

from __future__ import annotations

import time

from . import guest
from .engine import Failure

LOOK_AT = ["cinder-volume.log and cinder-scheduler.log of the controller, nova-compute.log of the instance's host"]
# Nova gives a disk its volume's id as the serial number, of which the guest sees the first part.
SERIAL = 20
FIND = 'found=; for one in /sys/block/vd*; do [ "$(cat $one/serial)" = {serial} ] && found=${{one##*/}}; done; [ -n "$found" ] &&'
# What is written: 16 KiB of noise.
WRITE = "head -c 16384 /dev/urandom > /tmp/noise && dd if=/tmp/noise of=/dev/$found bs=1024 conv=fsync 2>/dev/null && sync"
READ = "dd if=/dev/$found bs=1024 count=16 2>/dev/null | md5sum | cut -c1-32"


def ask(cloud, verb: str, path: str, body=None, refused: bool = False, microversion: str = ""):
    """An answer of the Block Storage API; Failure with its words for one that says no, unless the row expects it (`refused`)."""
    more = {"microversion": microversion} if microversion else {}
    answer = getattr(cloud.connection.block_storage, verb)(path, **({} if body is None else {"json": body}), **more)
    if answer.status_code >= 400 and not refused and not (answer.status_code == 404 and verb == "get"):
        raise Failure(f"{verb.upper()} {path}: {answer.status_code} {answer.text[:300]}", look_at=LOOK_AT)
    return answer


def show(c, volume: str) -> dict:
    """A volume; empty when there is none."""
    return ask(c.me, "get", f"/volumes/{volume}").json().get("volume", {})


def is_(c, volume: str, wanted: str) -> bool:
    """Whether a volume has a status; Failure when it is in an error."""
    status = show(c, volume).get("status", "gone")
    if status.startswith("error"):
        raise Failure(f"the volume is in {status}", look_at=LOOK_AT)
    return status == wanted


def until(c, volume: str, wanted: str) -> None:
    """Wait for a status."""
    c.wait(
        f"the volume to be {wanted}",
        lambda: is_(c, volume, wanted),
        said=lambda: show(c, volume).get("status", "gone"),
        every=0.5,
    )


def create(c, kind: str, size: int = 1) -> str:
    """A new volume; returns its id."""
    made = ask(c.me, "post", "/volumes", {"volume": {"size": size, "name": f"{c.name}-{kind}"}}).json()["volume"]["id"]
    until(c, made, "available")
    return made


def attach(c, server: dict, volume: str) -> float:
    """Attach a volume; returns how long it took."""
    start = time.monotonic()
    body = {"volumeAttachment": {"volumeId": volume}}
    c.me.post("compute", f"/servers/{server['id']}/os-volume_attachments", body)
    until(c, volume, "in-use")
    return time.monotonic() - start


def detach(c, server: dict, volume: str) -> None:
    """Detach it. Nova forgets it a moment after it is available, and until then would not attach it again."""
    c.me.delete("compute", f"/servers/{server['id']}/os-volume_attachments/{volume}")
    until(c, volume, "available")

    def attached() -> list:
        found = c.me.get("compute", f"/servers/{server['id']}/os-volume_attachments")["volumeAttachments"]
        return [one for one in found if one["volumeId"] == volume]

    c.wait("Nova to forget the volume", lambda: not attached(), every=0.5)


def delete(c, volume: str) -> None:
    """Delete it."""
    ask(c.me, "delete", f"/volumes/{volume}")
    until(c, volume, "gone")


def has_backups(c) -> bool:
    """Whether a cinder-backup is up."""
    services = ask(c.admin, "get", "/os-services?binary=cinder-backup").json().get("services", [])
    return any(one["state"] == "up" and one["status"] == "enabled" for one in services)


def backup_is(c, backup: str, wanted: str) -> None:
    """Wait until a backup has a status."""

    def status() -> str:
        found = ask(c.me, "get", f"/backups/{backup}").json().get("backup", {})
        if found.get("status") == "error":
            raise Failure(f"the backup is in error: {found.get('fail_reason')}", look_at=["cinder-backup.log"])
        return found.get("status", "gone")

    c.wait(f"the backup to be {wanted}", lambda: status() == wanted, said=status)


# ---------------------------------------------------------------------------------------------------------- in the guest


def can_log_in(c, server: dict) -> bool:
    """Whether rows may look into the guest: a floating address and a login by key."""
    if not (c.p["ssh_user"] and c.key_file):
        return False
    c.float(server)
    c.wait("a login into the guest", lambda: login(c, server, "true").status == 0)
    return True


def login(c, server: dict, command: str):
    """Run a command in the guest."""
    return guest.ssh(c.p["ssh_user"], server["floating"], c.key_file, command)


def in_guest(c, server: dict, command: str, volume: str) -> str:
    """What a command in the guest prints; empty when it fails. `{FIND}` in front of it finds the volume's device."""
    done = login(c, server, command.replace("{serial}", volume[:SERIAL]).replace("{{", "{").replace("}}", "}"))
    return done.output if done.status == 0 else ""


def written(c, server: dict, volume: str) -> str:
    """Have the guest write to the volume; returns the digest of it."""
    c.wait("the guest to see the volume", lambda: in_guest(c, server, f"{FIND} echo $found", volume), 60)
    found = in_guest(c, server, f"{FIND} {WRITE} && {READ}", volume).strip()
    if len(found) != 32:
        raise Failure("the guest cannot write to the volume")
    return found


def must_have(c, server: dict, volume: str, wanted: str, when: str) -> None:
    """The guest reads from the volume what it wrote."""
    seen = {}

    def ask_guest():
        seen["digest"] = in_guest(c, server, f"{FIND} {READ}", volume).strip()
        return seen["digest"]

    c.wait("the guest to read the volume", ask_guest, 120)
    if seen["digest"] != wanted:
        raise Failure(f"the guest does not find on the volume what it wrote, {when}")
