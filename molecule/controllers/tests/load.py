"""Users of a cloud, each of whom does one thing again and again, and notes how it went. Bounded: they end with the test."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# Between two requests of a user, and until an instance runs, or is gone: seconds.
PAUSE, LIVES = 1, 120


@dataclass(frozen=True)
class Request:
    """One request of a user, in seconds of the monotonic clock."""

    user: str
    begun: float
    ended: float
    error: str


class Load:
    """Users who work while a test goes on: `with Load(connect) as load: ...`.

    `connect` opens a connection of its own for each of them, with openstacksdk's defaults.
    """

    def __init__(self, connect: Callable):
        self.connect, self.requests, self.ports = connect, [], {}
        self._end = threading.Event()
        cloud = connect()
        self._network = cloud.network.find_network("selfservice", ignore_missing=False).id
        self._image = cloud.image.find_image("tiny", ignore_missing=False).id
        self._flavor = cloud.compute.find_flavor("m1.tiny", ignore_missing=False).id
        users = {
            "token": lambda cloud: self._token(cloud),
            "servers": lambda cloud: list(cloud.compute.servers(details=False)),
            "networks": lambda cloud: list(cloud.network.networks()),
            "images": lambda cloud: list(cloud.image.images()),
            "port": self._port,
            "instance": self._instance,
        }
        self._threads = [threading.Thread(target=self._live, args=user, daemon=True) for user in users.items()]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(120)

    def _live(self, user: str, act: Callable) -> None:
        cloud = self.connect()
        while not self._end.is_set():
            begun, error = time.monotonic(), ""
            try:
                act(cloud)
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"[:300]
            self.requests.append(Request(user, begun, time.monotonic(), error))
            self._end.wait(PAUSE)

    @staticmethod
    def _token(cloud) -> None:
        cloud.session.invalidate()
        cloud.session.get_token()

    def _port(self, cloud) -> None:
        # What was confirmed must still be there at the end.
        port = cloud.network.create_port(network_id=self._network, name="load")
        self.ports[port.id] = port.mac_address

    def _instance(self, cloud) -> None:
        # Whole: without an address, so that it needs the Compute service alone.
        server = cloud.compute.create_server(name="load", image_id=self._image, flavor_id=self._flavor, networks="none")
        try:
            cloud.compute.wait_for_server(server, wait=LIVES)
        finally:
            cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, wait=LIVES)

    def failed(self) -> list[Request]:
        """The requests that failed."""
        return [one for one in list(self.requests) if one.error]

    def gap(self, user: str) -> tuple[float, float]:
        """The longest time in which no request of a user succeeded, in seconds, and when it began."""
        ends = [one.ended for one in list(self.requests) if one.user == user and not one.error]
        ends = [min(one.begun for one in self.requests), *sorted(ends), max(one.ended for one in self.requests)]
        return max((later - earlier, earlier) for earlier, later in itertools.pairwise(ends))

    def said(self) -> str:
        """The whole in one line."""
        users = sorted({one.user for one in self.requests})
        first = min(one.begun for one in self.requests)
        longest = {user: self.gap(user) for user in users}
        gaps = ", ".join(f"{user} {length:.1f} s (at {began - first:.0f})" for user, (length, began) in longest.items())
        return f"{len(self.requests)} requests, {len(self.failed())} failed; longest without an answer: {gaps}"

    def wrong(self) -> list[str]:
        """Instances in ERROR, with what they say. All that users left are deleted."""
        cloud, found = self.connect(), []
        for one in cloud.compute.servers(name="^load$"):
            if one.status == "ERROR":
                found.append(f"{one.id} {(one.fault or {}).get('message', '')}")
            cloud.compute.delete_server(one)
            cloud.compute.wait_for_delete(one, wait=LIVES)
        return found

    def lost(self) -> list[str]:
        """Ports that were confirmed and are not there; the others are deleted."""
        cloud = self.connect()
        there = {port.id: port.mac_address for port in cloud.network.ports(name="load")}
        for port in there:
            cloud.network.delete_port(port)
        return sorted(port for port, address in self.ports.items() if there.get(port) != address)
