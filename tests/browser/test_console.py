"""The picture of a console, by a real browser."""

import socketserver

import pytest

from kilonova.proof import chromium, console

pytestmark = pytest.mark.skipif(not chromium.find(), reason="no chromium on this machine (apt-get install chromium)")

SCREEN = b"""<title>noVNC</title><div id=status>Connected</div><canvas width=720 height=400></canvas>
<script>const screen = document.querySelector("canvas").getContext("2d"); screen.fillStyle = "red";
screen.fillRect(0, 0, 300, 200)</script>"""


class Page(socketserver.StreamRequestHandler):
    """A page with a screen on it."""

    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + SCREEN)


def test_the_screen_over_tls_needs_somebody_who_checked_the_certificate(over_tls, tmp_path):
    url, _cacert = over_tls(Page)
    refused = console.picture(url, tmp_path / "screen.png", "guest")
    assert (refused["status"], "CERT" in refused["text"]) == ("failed", True)
    taken = console.picture(url, tmp_path / "screen.png", "guest", certificate_checked=True)
    assert taken == {"status": "passed", "text": "the screen of guest, 720 x 400, 2 colours"}
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
