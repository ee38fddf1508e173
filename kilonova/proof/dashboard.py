"""The dashboard as a person uses it: a browser logs in, launches an instance, opens its console and its log, and logs out."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kilonova.proof import chromium, console

# The pictures, in their order: name -> what is on it.
PICTURES = {
    "login": "The login page",
    "wizard": "The wizard that launches an instance",
    "instances": "The instance, launched",
    "console": "Its console",
    "log": "Its log",
}
LOGIN = "#id_username"
LOGOUT = 'a[href$="/auth/logout/"]'
# Seconds that a page may take; the machine may be busy with guests.
PATIENCE = 120
# What the page says is wrong.
SAID = "[...document.querySelectorAll('.alert-danger')].map(one => one.innerText.trim()).join(' ').slice(0, 300)"
# Steps of the wizard: title -> what is taken there.
STEPS = {"Source": "image", "Flavor": "flavor", "Networks": "network"}
# Of the wizard's step that is shown, the button of a row with a name; `taken` is whether the row is among those taken.
ROW = """(([name, taken]) => [...document.querySelectorAll(
  `.wizard-steps .step:not(.ng-hide) .transfer-${taken ? 'allocated' : 'available'} tbody tr`)]
  .find(row => [...row.querySelectorAll('td')].some(cell => cell.innerText.trim() === name)))(%s)"""


@dataclass
class Visit:
    """One visit of the dashboard at `url`."""

    url: str
    user: str
    password: str
    server: str
    """Name of the instance that is launched."""
    image: str
    flavor: str
    network: str
    boot: str
    """What the instance's log shows when it has booted, a regular expression of JavaScript; empty: anything."""
    consoles: list[str]
    """Kinds of consoles that the cloud has. Where noVNC is one of them, the dashboard shows that."""
    directory: Path
    """Where the pictures go."""
    certificate_checked: bool = False
    """Whether the caller has checked the certificate, so that the browser need not know who signed it."""
    limit: float = 200
    done: list[str] = field(default_factory=list)
    """What has worked so far, with seconds."""
    moments: dict[str, str] = field(default_factory=dict)
    """When the login and the launch were asked for and answered, in UTC, by this machine's clock."""

    def run(self, do: Callable[[Visit], dict[str, Any]] | None = None) -> dict[str, Any]:
        """Make the visit, or `do` a part of it; returns {status, text} as a row wants it, and what the visit found."""
        if not chromium.find():
            return {"status": "skipped", "text": "the machine that runs Ansible has no chromium"}
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            self.path(name).unlink(missing_ok=True)
        said, found = "", {}
        try:
            with chromium.Browser(width=1280, height=900) as self.page:
                if self.certificate_checked:
                    self.page.take_any_certificate()
                try:
                    found = (do or Visit.visit)(self)
                except chromium.BrowserError:
                    with contextlib.suppress(chromium.BrowserError):
                        said = self.page.evaluate(SAID) or self.page.evaluate("document.title")
                    with contextlib.suppress(chromium.BrowserError):
                        self.page.screenshot(self.directory / "dashboard-failed.png")
                    raise
                blocked = [text for text in self.page.messages if "Content Security Policy" in text]
        except (chromium.BrowserError, OSError) as error:
            after = f", after: {', '.join(self.done)}" if self.done else ""
            return {"status": "failed", "text": f"{error}{after}" + (f"; the page says: {said}" if said else "")}
        if blocked:
            return {"status": "failed", "text": f"the browser refused a part of the page: {blocked[0][:300]}"}
        return {"status": "passed", "text": "; ".join(self.done), **found}

    def path(self, name: str) -> Path:
        """Where a picture is."""
        return self.directory / f"dashboard-{name}.png"

    def visit(self) -> dict[str, Any]:
        """All of it, in order."""
        page = self.page
        self.timed("the login page", lambda: self.go("/", LOGIN, "the login page"))
        page.screenshot(self.path("login"))
        self.log_in(self.password[::-1] + "x")
        page.wait(f"!document.querySelector('{LOGOUT}') && {SAID}", "the refusal of a wrong password", PATIENCE)
        self.done.append("a wrong password is refused")
        self.timed("login", lambda: (self.log_in(self.password), self.there(LOGOUT, "the login to succeed")))
        self.timed("the list of instances", lambda: self.go("/project/instances/", "#instances", "the list of instances"))
        self.launch()
        server_id = self.timed("ACTIVE", self.active)
        page.screenshot(self.path("instances"))
        self.see_console(server_id)
        self.see_log(server_id)
        page.evaluate(f"document.querySelector('{LOGOUT}').click()")
        self.there(LOGIN, "the login page after the logout")
        self.go("/project/instances/", LOGIN, "the login page, as nobody is logged in")
        self.done.append("logged out")
        return {"id": server_id}

    def launch_only(self) -> dict[str, Any]:
        """Log in, launch the instance and log out; returns its id and the moments of both."""
        self.go("/", LOGIN, "the login page")
        self.noted("token_asked")
        self.log_in(self.password)
        self.there(LOGOUT, "the login to succeed")
        self.noted("token_given")
        self.go("/project/instances/", "#instances", "the list of instances")
        self.launch()
        server_id = self.row()[0]
        self.page.screenshot(self.path("instances"))
        self.page.evaluate(f"document.querySelector('{LOGOUT}').click()")
        self.there(LOGIN, "the login page after the logout")
        return {"id": server_id, **self.moments}

    def noted(self, name: str) -> None:
        """Note a moment."""
        self.moments[name] = datetime.now(UTC).isoformat()

    def timed(self, what: str, do: Any) -> Any:
        """Do something, and note how long it took."""
        begun = time.monotonic()
        found = do()
        self.done.append(f"{what} in {time.monotonic() - begun:.1f} s")
        return found

    def go(self, path: str, selector: str, what: str) -> None:
        """Open a page, and wait for a part of it."""
        self.page.open(self.url.rstrip("/") + path, PATIENCE)
        self.there(selector, what)

    def there(self, selector: str, what: str, limit: float = PATIENCE) -> None:
        """Wait for a part of the page; while the page is replaced by another one, there is none."""
        deadline = time.monotonic() + limit
        while True:
            with contextlib.suppress(chromium.BrowserError):
                if self.page.evaluate(f"!!document.querySelector({json.dumps(selector)})"):
                    return
            if time.monotonic() > deadline:
                raise chromium.BrowserError(f"waited {limit:.0f} s for {what}")
            time.sleep(0.1)

    def fill(self, selector: str, text: str) -> None:
        """Type a text into a field."""
        self.page.evaluate(
            "(([selector, text]) => { const field = document.querySelector(selector); field.value = text;"
            "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true})) })"
            f"({json.dumps([selector, text])})"
        )

    def log_in(self, password: str) -> None:
        """Fill in the form, and send it."""
        self.fill(LOGIN, self.user)
        self.fill("#id_password", password)
        # Until another page is there, so that what follows does not look at this one.
        self.page.evaluate("window.before = true; document.querySelector('#loginBtn').click()")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(chromium.BrowserError):
                if self.page.evaluate("!window.before && document.readyState === 'complete'"):
                    return
            time.sleep(0.1)
        raise chromium.BrowserError(f"waited {PATIENCE} s for an answer to the login")

    def launch(self) -> None:
        """Go through the wizard."""
        page = self.page
        page.wait("!!document.querySelector('#instances__action_launch-ng')", "the button that launches an instance", PATIENCE)
        page.evaluate("document.querySelector('#instances__action_launch-ng').click()")
        self.there(".wizard-steps input#name", "the wizard")
        self.fill(".wizard-steps input#name", self.server)
        for title, kind in STEPS.items():
            name = getattr(self, kind)
            step = f"[...document.querySelectorAll('.wizard-nav .nav-item a span')].find(s => s.innerText.trim() === '{title}')"
            page.wait(f"!!{step}", f"the wizard's step {title}", PATIENCE)
            page.evaluate(f"{step}.click()")
            available, taken = (ROW % json.dumps([name, is_taken]) for is_taken in (False, True))
            page.wait(f"!!{available} || !!{taken}", f"the {kind} {name} in the wizard", PATIENCE)
            # What is the only one of its kind, the wizard takes by itself.
            page.evaluate(f"{taken} || {available}.querySelector('button').click()")
            page.wait(f"!!{taken}", f"the wizard to take the {kind} {name}")
        page.screenshot(self.path("wizard"))
        page.wait("!document.querySelector('.modal-footer button.finish').disabled", "the wizard to have all it needs", PATIENCE)
        self.noted("asked")
        page.evaluate("document.querySelector('.modal-footer button.finish').click()")
        page.wait("!document.querySelector('.wizard-steps')", "the wizard to end", 2 * PATIENCE)
        self.noted("answered")

    def active(self) -> str:
        """Wait until the list of instances shows ours as Active; returns its id."""
        deadline = time.monotonic() + self.limit
        while time.monotonic() < deadline:
            found = self.row()
            if "Active" in found:
                return found[0]
            if "Error" in found:
                raise chromium.BrowserError("the instance is in ERROR")
            time.sleep(1)
        raise chromium.BrowserError(f"waited {self.limit:.0f} s for the instance to be Active")

    def row(self) -> list[str]:
        """Return what the list of instances has of ours: its id, and the text of each cell."""
        self.go("/project/instances/", "#instances", "the list of instances")
        found = self.page.evaluate(
            f"""(name => {{ const row = [...document.querySelectorAll('#instances tbody tr[data-object-id]')]
            .find(row => row.innerText.includes(name));
            return row && [row.dataset.objectId, ...[...row.cells].map(cell => cell.innerText.trim())]
            }})({json.dumps(self.server)})"""
        )
        if not found:
            raise chromium.BrowserError(f"the list of instances does not have {self.server}")
        return found

    def see_console(self, server_id: str) -> None:
        """Open the tab with its console, and see its screen there."""
        path = f"/project/instances/{server_id}/?tab=instance_details__console"
        self.go(path, "#console_embed", "the frame with the console")
        if "novnc" not in self.consoles:
            self.done.append("the page of its console")
            return
        frame = urlsplit(self.page.evaluate("document.querySelector('#console_embed').src"))
        address, deadline = f"{frame.scheme}://{frame.netloc}", time.monotonic() + 100
        while True:
            with contextlib.suppress(chromium.BrowserError):  # the frame is not there yet
                if (colors := self.page.evaluate(console.COLORS, address)) > 1:
                    break
            if time.monotonic() > deadline:
                raise chromium.BrowserError(f"waited 100 s for the guest's screen in the frame of {address}")
            time.sleep(0.5)
        self.page.screenshot(self.path("console"))
        self.done.append(f"its console with {colors} colours")

    def see_log(self, server_id: str) -> None:
        """Open the tab with its log, until that shows that it has booted."""
        deadline = time.monotonic() + self.limit
        shown = f"(text => new RegExp({json.dumps(self.boot or '.')}).test(text))(document.querySelector('pre.logs').innerText)"
        while True:
            self.go(f"/project/instances/{server_id}/?tab=instance_details__log", "pre.logs", "its log")
            if self.page.evaluate(shown):
                break
            if time.monotonic() > deadline:
                raise chromium.BrowserError(f"waited {self.limit:.0f} s for the log to show {self.boot!r}")
            time.sleep(2)
        self.page.screenshot(self.path("log"))
        self.done.append("its log shows the boot")
