"""Ask the dashboard as a browser would, with the standard library alone."""

from __future__ import annotations

import re
import time
import urllib.parse

from ..http import NoAnswer, Visitor

LOGIN = "/auth/login/"
# A form that it gives, which the login page has.
FORM = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"(?=[\s\S]*name="password")')
# Headers of every page, as far as a word of each.
HEADERS = {"Content-Security-Policy": "default-src 'self'", "X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "nosniff"}


class Wrong(Exception):
    """The dashboard is not as it must be."""


class Dashboard:
    """A dashboard, and the cookies that it has given."""

    def __init__(self, url: str, cacert: str = ""):
        """Ask nothing yet."""
        self.url, self.visitor = url.rstrip("/"), Visitor(cacert)

    def ask(self, path: str, form: dict | None = None, **headers: str):
        """(status, headers, text) of a page."""
        data = urllib.parse.urlencode(form).encode() if form else None
        # Django wants to know which page sent a form.
        named = {"Referer": self.url + path, **headers}
        try:
            status, said, body = self.visitor.ask(self.url + path, data, named)
        except NoAnswer as error:
            raise Wrong(f"{self.url}{path}: {error}") from None
        return status, said, body.decode("utf-8", "replace")

    def cookie(self, name: str):
        """A cookie; None without it."""
        return next((one for one in self.visitor.cookies if one.name == name), None)

    def look(self, user: str) -> str:
        """See that the login page is safe, and that nobody gets in who must not; returns what was seen."""
        self.ask(LOGIN)
        begun = time.monotonic()
        status, headers, text = self.ask(LOGIN)
        seconds = time.monotonic() - begun
        token = FORM.search(text)
        if status != 200 or not token:
            raise Wrong(f"the login page answers with status {status}" + ("" if token else ", and has no form"))
        lacking = [name for name, word in HEADERS.items() if word not in (headers.get(name) or "")]
        if lacking:
            raise Wrong(f"the login page has no right {', '.join(lacking)}")
        if self.url.startswith("https:") and not self.cookie("csrftoken").secure:
            raise Wrong("its cookie csrftoken would go over plain HTTP")
        form = {"csrfmiddlewaretoken": token[1], "username": user, "password": "not-the-password", "region": "default"}
        for status, _headers, text in (self.ask(LOGIN, form), self.ask("/project/instances/")):
            if status != 200 or not FORM.search(text):
                raise Wrong(f"a wrong password is not refused: status {status}")
        status = self.ask(LOGIN, Host="elsewhere.invalid")[0]
        if status != 400:
            raise Wrong(f"a request that names another host is not refused: status {status}")
        return f"login page in {seconds:.2f} s; a wrong password and another host's name are refused"
