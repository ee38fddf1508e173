"""Reach a guest and its console from this host with the standard library alone: ICMP, HTTP, ssh, WebSocket, RFB."""

from __future__ import annotations

import base64
import os
import re
import socket
import struct
import time
from urllib.parse import unquote, urlsplit

from ..command import Done, run
from ..http import NoAnswer, ask, trusting


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ping(address: str, timeout: float = 2.0) -> float | None:
    """Seconds that an ICMP echo took, or None. By a raw socket, because not every controller has a ping."""
    number = os.getpid() & 0xFFFF
    body = os.urandom(16)
    packet = struct.pack("!BBHHH", 8, 0, checksum(struct.pack("!BBHHH", 8, 0, 0, number, 1) + body), number, 1) + body
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
        start = time.monotonic()
        try:
            link.sendto(packet, (address, 0))
            while (left := start + timeout - time.monotonic()) > 0:
                link.settimeout(left)
                reply, sender = link.recvfrom(1500)
                if sender[0] == address and reply[(reply[0] & 15) * 4 :][:1] == b"\0" and reply.endswith(body):
                    return time.monotonic() - start
        except OSError:
            return None
    return None


def http(url: str, timeout: float = 5.0, cacert: str = "") -> tuple[int, str]:
    """Status and text of a page; status 0 with the error's text where nobody answers."""
    try:
        status, body = ask(url, timeout, context=trusting(cacert), most=65536)
    except NoAnswer as error:
        return 0, str(error)
    return status, body.decode("utf-8", "replace") if status < 400 else f"HTTP status {status}"


def ssh(user: str, address: str, key: str, command: str, timeout: int = 60) -> Done:
    """Log in with a private key's file and run a command. The host key is new: the guest was made just now."""
    options = ("BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    options += ("LogLevel=ERROR", "ConnectTimeout=10")
    argv = ["ssh", "-i", key, *[word for option in options for word in ("-o", option)], f"{user}@{address}", command]
    return run(*argv, timeout=timeout, apart=True)


class WebSocketError(OSError):
    """The other side does not speak as RFC 6455 says."""


class WebSocket:
    """A WebSocket (RFC 6455) by the URL of a guest's console, such as http://controller:6080/vnc_lite.html?path=%3Ftoken%3D…

    Raises OSError for whatever goes wrong.
    """

    def __init__(self, url: str, timeout: float = 15.0, cacert: str = ""):
        """Connect."""
        parts = urlsplit(url)
        path = next((unquote(item[5:]) for item in parts.query.split("&") if item.startswith("path=")), "")
        path = path or "?" + parts.query
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        port = parts.port or (443 if scheme == "https" else 80)
        host = parts.hostname + (f":{parts.port}" if parts.port else "")
        lines = [
            f"GET /{path.lstrip('/')} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: binary",
            f"Origin: {scheme}://{host}",
            "",
            "",
        ]
        self._received = b""
        self._link = socket.create_connection((parts.hostname, port), timeout=timeout)
        try:
            if scheme == "https":
                self._link = trusting(cacert).wrap_socket(self._link, server_hostname=parts.hostname)
            self._link.sendall("\r\n".join(lines).encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += _more(self._link)
            head, _mark, self._frames = answer.partition(b"\r\n\r\n")
            status = head.split(b"\r\n")[0].decode("latin-1")
            if " 101 " not in status + " ":
                raise WebSocketError(f"the console proxy answered {status!r} instead of switching to a WebSocket")
        except OSError:
            self._link.close()
            raise

    def __enter__(self) -> WebSocket:
        """For `with`."""
        return self

    def __exit__(self, *_error) -> None:
        """Hang up."""
        self._link.close()

    def receive(self, count: int) -> bytes:
        """Return so many bytes of what the other side says."""
        while len(self._received) < count:
            self._read()
        data, self._received = self._received[:count], self._received[count:]
        return data

    def receive_until(self, pattern: bytes, timeout: float) -> re.Match[bytes]:
        """Return where a regular expression is found in what the other side says, and leave what follows."""
        end = time.monotonic() + timeout
        while not (found := re.search(pattern, self._received)):
            self._link.settimeout(max(end - time.monotonic(), 0.001))
            self._read()
        self._received = self._received[found.end() :]
        return found

    def _read(self) -> None:
        """Read a frame, or as much of it as is there."""
        frame, self._frames = frame_of(self._frames)
        if frame is None:
            self._frames += _more(self._link)
            return
        opcode, payload = frame
        if opcode == 8:
            reason = payload[2:].decode("utf-8", "replace")
            raise WebSocketError(f"the console proxy closed the WebSocket: {reason or 'no reason given'}")
        self._received += payload if opcode in (0, 1, 2) else b""

    def send(self, data: bytes) -> None:
        """Say up to 125 bytes in one frame, masked as a client's must be; with zeros, because this is no browser."""
        self._link.sendall(bytes([0x82, 0x80 | len(data), 0, 0, 0, 0]) + data)


def vnc_login(url: str, cacert: str = "") -> str:
    """Log in to the VNC server behind a console's URL; returns its version."""
    with WebSocket(url, cacert=cacert) as link:
        return log_in(link)


def log_in(link: WebSocket) -> str:
    """Log in to a VNC server, as a browser does (RFC 6143); returns its version.

    The console proxy says the server's version first, and connects to its screen in earnest only when a client has answered.
    """
    version = link.receive(12)
    if not version.startswith(b"RFB 003."):
        raise WebSocketError(f"no RFB greeting but {version!r}")
    link.send(b"RFB 003.008\n")
    kinds = link.receive(link.receive(1)[0])
    if b"\1" not in kinds:
        raise WebSocketError(f"the guest's screen wants a login of the kinds {list(kinds)}, and not none (1)")
    link.send(b"\1")
    if result := int.from_bytes(link.receive(4), "big"):
        raise WebSocketError(f"the guest's screen refuses the login with {result}")
    return version.decode("latin-1").strip()


def spice_login(url: str, cacert: str = "") -> str:
    """Begin to talk to the SPICE server behind a console's URL, as a browser does; returns its version.

    The client says first which of the server's channels it wants (SpiceLinkMess, of the main channel, without capabilities);
    the server answers with a key for the login (SpiceLinkReply).
    """
    with WebSocket(url, cacert=cacert) as link:
        body = struct.pack("<IBBIII", 0, 1, 0, 0, 0, 18)
        link.send(struct.pack("<4sIII", b"REDQ", 2, 2, len(body)) + body)
        magic, major, minor, size = struct.unpack("<4sIII", link.receive(16))
        if magic != b"REDQ":
            raise WebSocketError(f"no SPICE server but one that says {magic!r}")
        (error,) = struct.unpack("<I", link.receive(size)[:4])
        if error:
            raise WebSocketError(f"the guest's screen refuses the link with {error}")
        return f"SPICE {major}.{minor}"


def serial_answer(url: str, command: str, pattern: str, cacert: str = "", timeout: float = 30.0) -> str:
    """Type a command at a guest's serial console; returns what the pattern's first group finds in what the guest then says.

    A guest that runs nothing at its serial port answers nothing: OSError.
    """
    with WebSocket(url, cacert=cacert) as link:
        link.send(f"\r{command}\r".encode())
        return link.receive_until(pattern.encode(), timeout)[1].decode("utf-8", "replace")


def _more(link) -> bytes:
    data = link.recv(4096)
    if not data:
        raise WebSocketError("the console proxy closed the connection")
    return data


def frame_of(buffer: bytes) -> tuple[tuple[int, bytes] | None, bytes]:
    """Take one frame of a server (never masked) off a buffer: ((opcode, payload) or None, the rest)."""
    if len(buffer) < 2:
        return None, buffer
    length, start = buffer[1] & 127, 2
    if length >= 126:
        start = 4 if length == 126 else 10
        length = int.from_bytes(buffer[2:start], "big")
    if len(buffer) < start or len(buffer) < start + length:
        return None, buffer
    return (buffer[0] & 15, buffer[start : start + length]), buffer[start + length :]
