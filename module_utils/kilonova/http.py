"""Questions by HTTP, or to a port, inside of the cloud.

No proxy of the login sees one, and whatever is not an answer is said in words.
"""

import http.client
import http.cookiejar
import socket
import ssl
import urllib.error
import urllib.request

from .address import split

# Errors that urllib passes on: no server, not HTTP (a bad status line, a line without end, a body cut short), not a URL.
NO_ANSWER = (OSError, http.client.HTTPException, ValueError)


class NoAnswer(Exception):
    """No server answered, or not by HTTP. `cause` is the error below."""

    def __init__(self, error):
        """Take what urllib raised."""
        self.cause = getattr(error, "reason", error)
        super().__init__(reason(self.cause))


def reason(error):
    """What went wrong, in words; an error of the protocol by its name, because its text may be the peer's."""
    if isinstance(error, http.client.HTTPException):
        return f"what answers speaks no HTTP ({type(error).__name__})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def trusting(cacert):
    """What checks certificates by the authority of a file, or, without one, by the host's own."""
    return ssl.create_default_context(cafile=cacert or None)


def ask(url, timeout=10, data=None, headers=None, context=None, most=1 << 20):
    """(status, body) of any answer, of whose body at most `most` bytes are read. Raises NoAnswer."""
    try:
        handlers = [urllib.request.ProxyHandler({})] + ([urllib.request.HTTPSHandler(context=context)] if context else [])
        request = urllib.request.Request(url, data=data, headers=headers or {})
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as reply:
                return reply.status, reply.read(most)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(most)
    except NO_ANSWER as error:
        raise NoAnswer(error) from error


class Visitor:
    """Who asks a site several times, and keeps the cookies that it gives."""

    def __init__(self, cacert=""):
        """`cacert`: as trusting() takes it."""
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=trusting(cacert)),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )

    def ask(self, url, data=None, headers=None, timeout=30, most=1 << 20):
        """(status, headers, body) of a page; of one that is refused, without its body. Raises NoAnswer."""
        try:
            request = urllib.request.Request(url, data=data, headers=headers or {})
            try:
                with self.opener.open(request, timeout=timeout) as reply:
                    return reply.status, reply.headers, reply.read(most)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.headers, b""
        except NO_ANSWER as error:
            raise NoAnswer(error) from error


def answer(target):
    """None when the target answers, else what happened. Any HTTP status below 500 is an answer."""
    try:
        if target.startswith("http"):
            status = ask(target, most=1)[0]
            return f"HTTP status {status}" if status >= 500 else None
        with socket.create_connection(split(target), timeout=5):
            return None
    except (OSError, NoAnswer, ValueError) as error:  # ValueError: it is neither a URL nor host:port
        return f"no answer: {error}"


def connect(openstack, auth, **options):
    """A connection of openstacksdk that reads no clouds.yaml and no environment, neither logins nor proxies.

    `auth` is a login as kilonova.auth describes it; the authority that it names is the only one that is trusted.
    """
    login = dict(auth)
    options.setdefault("cacert", login.pop("cacert", "") or None)
    connection = openstack.connect(load_yaml_config=False, load_envvars=False, auth=login, **options)
    connection.session.session.trust_env = False
    return connection
