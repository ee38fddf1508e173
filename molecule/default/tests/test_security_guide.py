"""The checks of the OpenStack Security Guide that apply, and ours for what it has none: each holds.

Ids are the guide's for Identity, Compute, Image and Networking; those of the database, messages, the cache and the notes (OSSN,
CVE) are ours. A check returns what is wrong, one line each.
"""

from __future__ import annotations

import ipaddress
import json
import re

import pytest

from kilonova.config import conf

CHECKS = {}
CONTROLLER_FILES = {
    "keystone": "/etc/keystone/keystone.conf",
    "glance": "/etc/glance/glance-api.conf",
    "nova": "/etc/nova/nova.conf",
    "placement": "/etc/placement/placement.conf",
    "neutron": "/etc/neutron/neutron.conf",
    "cinder": "/etc/cinder/cinder.conf",
}


def check(name, title):
    """Register a check."""

    def register(function):
        assert name not in CHECKS
        CHECKS[name] = (title, function)
        return function

    return register


class Site:
    """Both hosts."""

    def __init__(self, controller, compute, get, addresses):
        self.hosts = {"controller": controller, "compute1": compute}
        self.get, self.addresses = get, addresses
        self._files = {}

    def run(self, host, command):
        """Output of a command."""
        return self.hosts[host].check_output(command)

    def option(self, host, path, section, name):
        """Last value of an option; None when it is not set."""
        if (host, path) not in self._files:
            self._files[host, path] = conf.read(self.run(host, f"cat {path}"))
        values = self._files[host, path].values(section, name)
        return values[-1] if values else None

    def settings(self):
        """Settings of the dashboard; they are read once."""
        if not hasattr(self, "_settings"):
            names = "ALLOWED_HOSTS CSRF_COOKIE_SECURE DISALLOW_IFRAME_EMBED ENFORCE_PASSWORD_CHECK SECURE_PROXY_SSL_HEADER"
            names += " SESSION_COOKIE_HTTPONLY SESSION_COOKIE_SECURE SESSION_ENGINE"
            said = self.hosts["controller"].check_output("python3 -W ignore -c %s " + names, SETTINGS)
            self._settings = json.loads(said.splitlines()[-1])
        return self._settings

    def listening(self, host, kind):
        """Addresses and ports that somebody listens on."""
        return {line.split()[3] for line in self.run(host, f"ss --{kind} --listening --numeric --no-header").splitlines()}

    def loose(self, host, directory, owner, group, wanted):
        """Files below a directory with another owner (`own`) or a wider mode (`mode`)."""
        found = []
        listing = self.run(host, f"find {directory} ! -type l -printf '%y %u:%g %m %p\\n' 2>/dev/null || true")
        for line in listing.splitlines():
            kind, rights, mode, path = line.split(" ", 3)
            private = not int(mode, 8) & 0o077
            if wanted == "own" and rights != f"{owner}:{group}" and not private:
                found.append(f"{host}: {path} is {rights}, not {owner}:{group}")
            if wanted == "mode" and int(mode, 8) & ~(0o750 if kind == "d" else 0o640):
                found.append(f"{host}: {path} is {mode}")
        assert listing, f"{directory} is not there"
        return found

    def needs_volumes(self):
        """End here where the cloud has no Block Storage service."""
        if not self.hosts["controller"].file(CONTROLLER_FILES["cinder"]).exists:
            pytest.skip("there is no Block Storage service")

    def sql(self, statement):
        """Rows of a statement."""
        output = self.run("controller", f'mariadb --batch --skip-column-names -e "{statement}"')
        return [line.split("\t") for line in output.splitlines()]


@pytest.fixture(scope="module")
def site(controller, compute1, get, addresses):
    """Both hosts."""
    return Site(controller, compute1, get, addresses)


# -------------------------------------------------------------------------------------------------------------- Identity


@check("Identity-01", "Configuration of the Identity service belongs to keystone")
def _(site):
    return site.loose("controller", "/etc/keystone", "keystone", "keystone", "own")


@check("Identity-02", "Nobody else may read it, and keys are their owner's alone")
def _(site):
    found = site.loose("controller", "/etc/keystone", "keystone", "keystone", "mode")
    for directory in ("fernet-keys", "credential-keys"):
        wide = site.run("controller", f"find /etc/keystone/{directory} -perm /077 -printf '%p %m\\n'")
        found += [f"controller: {line}" for line in wide.splitlines()]
    return found


@check("Identity-03", "The Identity service is reached over TLS")
def _(site):
    url = site.option("controller", CONTROLLER_FILES["nova"], "keystone_authtoken", "auth_url")
    return [] if url.startswith("https:") else [f"controller: auth_url = {url}"]


@check("Identity-05", "The maximum size of a request is 114688 bytes or less")
def _(site):
    size = site.option("controller", CONTROLLER_FILES["keystone"], "oslo_middleware", "max_request_body_size")
    return [] if int(size or 114688) <= 114688 else [f"controller: max_request_body_size = {size}"]


@check("Identity-06", "There is no admin_token")
def _(site):
    value = site.option("controller", CONTROLLER_FILES["keystone"], "DEFAULT", "admin_token")
    return ["controller: admin_token is set"] if value else []


@check("Identity-07", "Errors say no more than they must (insecure_debug)")
def _(site):
    value = site.option("controller", CONTROLLER_FILES["keystone"], "DEFAULT", "insecure_debug")
    return [] if (value or "false").lower() == "false" else [f"controller: insecure_debug = {value}"]


@check("Identity-08", "Tokens are Fernet tokens")
def _(site):
    value = site.option("controller", CONTROLLER_FILES["keystone"], "token", "provider")
    return [] if value == "fernet" else [f"controller: [token] provider = {value}"]


# --------------------------------------------------------------------------------------------- Compute, Image, Networking


@check("Compute-01", "Configuration of the Compute service belongs to root and the group nova")
def _(site):
    return [line for host in site.hosts for line in site.loose(host, "/etc/nova", "root", "nova", "own")]


@check("Compute-02", "Nobody else may read it")
def _(site):
    return [line for host in site.hosts for line in site.loose(host, "/etc/nova", "root", "nova", "mode")]


@check("Image-01", "Configuration of the Image service belongs to root and the group glance")
def _(site):
    return site.loose("controller", "/etc/glance", "root", "glance", "own")


@check("Image-02", "Nobody else may read it")
def _(site):
    return site.loose("controller", "/etc/glance", "root", "glance", "mode")


@check("Networking-01", "Configuration of the Networking service belongs to root and the group neutron")
def _(site):
    return [line for host in site.hosts for line in site.loose(host, "/etc/neutron", "root", "neutron", "own")]


@check("Networking-02", "Nobody else may read it")
def _(site):
    return [line for host in site.hosts for line in site.loose(host, "/etc/neutron", "root", "neutron", "mode")]


@check("Placement-01", "Configuration of the Placement service belongs to root and placement, and nobody else may read it")
def _(site):
    return [line for what in ("own", "mode") for line in site.loose("controller", "/etc/placement", "root", "placement", what)]


def _asks_keystone(site, service, path, section="DEFAULT"):
    """No answer without a token, and no other way to authenticate."""
    strategy = site.option("controller", CONTROLLER_FILES[service], section, "auth_strategy")
    found = [f"controller: auth_strategy = {strategy}"] if strategy not in (None, "keystone") else []
    status = site.get(f"https://{site.addresses['controller']}{path}")[0]
    return found + ([f"controller: {path} answers with {status} where there is no token"] if status != 401 else [])


@check("Compute-03", "The Compute API asks the Identity service, and answers nobody without a token")
def _(site):
    return _asks_keystone(site, "nova", ":8774/v2.1/servers", "api")


@check("Image-03", "The Image API asks the Identity service, and answers nobody without a token")
def _(site):
    flavor = site.option("controller", CONTROLLER_FILES["glance"], "paste_deploy", "flavor")
    found = _asks_keystone(site, "glance", ":9292/v2/images")
    return found + ([] if flavor == "keystone" else [f"controller: flavor = {flavor}"])


@check("Networking-03", "The Networking API asks the Identity service, and answers nobody without a token")
def _(site):
    return _asks_keystone(site, "neutron", ":9696/v2.0/networks")


def _identity_by_tls(site, service):
    """Tokens are checked by TLS, with the certificate looked at."""
    path, found = CONTROLLER_FILES[service], []
    for name in ("www_authenticate_uri", "auth_url"):
        value = site.option("controller", path, "keystone_authtoken", name)
        if not (value or "").startswith("https:"):
            found.append(f"controller: {path} {name} = {value}")
    insecure = site.option("controller", path, "keystone_authtoken", "insecure")
    return found + ([f"controller: {path} insecure = {insecure}"] if (insecure or "false").lower() != "false" else [])


@check("Compute-04", "The Compute service checks tokens over TLS")
def _(site):
    return _identity_by_tls(site, "nova")


@check("Image-04", "The Image service checks tokens over TLS")
def _(site):
    return _identity_by_tls(site, "glance")


@check("Networking-04", "The Networking service checks tokens over TLS")
def _(site):
    return _identity_by_tls(site, "neutron")


@check("Compute-05", "The Compute service gets images over TLS")
def _(site):
    rows = site.sql("SELECT url FROM keystone.endpoint JOIN keystone.service ON service_id = service.id WHERE type = 'image'")
    return [f"controller: the Image service is at {url}" for (url,) in rows if not url.startswith("https:")]


@check("Image-05", "Version 1 of the Image API, which copies from any port, is not available")
def _(site):
    status = site.get(f"https://{site.addresses['controller']}:9292/v1/images")[0]
    # 300: the list of versions, of which it is none.
    return [] if status in (300, 404) else [f"controller: /v1 answers with {status}"]


@check("Networking-05", "The Networking API is reached over TLS")
def _(site):
    rows = site.sql("SELECT url FROM keystone.endpoint JOIN keystone.service ON service_id = service.id WHERE type = 'network'")
    return [f"controller: the Networking service is at {url}" for (url,) in rows if not url.startswith("https:")]


# ------------------------------------------------------------------------------------------- database, messages and cache


def _elsewhere(site, port, kind="tcp"):
    """Where a port is open that is not the management address or this host."""
    found = [entry for entry in site.listening("controller", kind) if entry.rpartition(":")[2] == str(port)]
    right = f"{site.addresses['controller']}:{port}"
    return [f"controller: {entry} is open" for entry in found if entry != right and not _is_local(entry)]


def _is_local(entry):
    address = entry.rpartition(":")[0].strip("[]").partition("%")[0]
    return address not in ("*", "") and ipaddress.ip_address(address).is_loopback


@check("Database-01", "The database listens on the management address only")
def _(site):
    return _elsewhere(site, 3306)


@check("Database-02", "Every account is limited to a host, and has a name and a password")
def _(site):
    rows = site.sql("SELECT user, host, plugin, authentication_string FROM mysql.user")
    system = ("root", "mysql", "mariadb.sys")
    found = [f"controller: account '{user}'@'{host}'" for user, host, *_rest in rows if not user or "%" in host]
    empty = [user for user, _host, _kind, stored in rows if user not in system and not stored]
    return found + [f"controller: {user} has no password" for user in empty]


@check("Database-03", "An account may use only its own databases, and cannot pass on rights")
def _(site):
    own = {
        "keystone": {"keystone"},
        "glance": {"glance"},
        "placement": {"placement"},
        "neutron": {"neutron"},
        "nova": {"nova", "nova_api", "nova_cell0"},
    }
    found = []
    for user, host in site.sql("SELECT user, host FROM mysql.user WHERE user NOT IN ('root', 'mysql', 'mariadb.sys')"):
        for (grant,) in site.sql(f"SHOW GRANTS FOR '{user}'@'{host}'"):
            match = re.search(r" ON (\S+) TO ", grant)
            database = match[1].replace("\\", "").strip("`").split("`")[0]
            right = grant.startswith("GRANT USAGE ON *.*") or database in own.get(user, ())
            if not right or "GRANT OPTION" in grant:
                found.append(f"controller: {user}@{host} has more than its own: {match[0]}")
    return found


@check("Database-04", "A compute node knows no password of the database")
def _(site):
    text = site.run("compute1", "grep --recursive --files-with-matches 'mysql+pymysql' /etc || true")
    return [f"compute1: {path}" for path in text.split()]


@check("Database-05", "Connections to the database are encrypted")
def _(site):
    value = site.sql("SELECT @@require_secure_transport")[0][0]
    return [] if value == "1" else ["controller: require_secure_transport is off"]


@check("Messaging-01", "RabbitMQ has no account guest, and its account is not an administrator")
def _(site):
    lines = site.run("controller", "rabbitmqctl --quiet list_users").splitlines()[1:]
    return [f"controller: account {line!r}" for line in lines if line.startswith("guest") or not line.endswith("[]")]


@check("Messaging-02", "RabbitMQ listens for clients on the management address only, and for Erlang's nodes on loopback only")
def _(site):
    erlang = [entry for entry in site.listening("controller", "tcp") if entry.rpartition(":")[2] in ("4369", "25672")]
    return (
        _elsewhere(site, 5671)
        + _elsewhere(site, 5672)
        + [f"controller: {entry} is open" for entry in erlang if not _is_local(entry)]
    )


@check("Messaging-03", "Only RabbitMQ can read Erlang's cookie")
def _(site):
    rights = site.run("controller", "stat --format '%U:%G %a' /var/lib/rabbitmq/.erlang.cookie")
    return [] if rights.strip() == "rabbitmq:rabbitmq 400" else [f"controller: the cookie is {rights}"]


@check("Messaging-04", "Messages are encrypted on their way")
def _(site):
    value = site.option("controller", CONTROLLER_FILES["nova"], "oslo_messaging_rabbit", "ssl")
    return [] if value == "true" else [f"controller: [oslo_messaging_rabbit] ssl = {value}"]


@check("Cache-01", "Memcached, whose readers unpickle what is in it, listens on the loopback interface only, and on no UDP port")
def _(site):
    udp = [entry for entry in site.listening("controller", "udp") if entry.endswith(":11211")]
    tcp = [entry for entry in site.listening("controller", "tcp") if entry.endswith(":11211")]
    assert tcp
    open_to_others = [f"controller: {entry} is open" for entry in tcp if not _is_local(entry)]
    return open_to_others + [f"controller: UDP {entry}" for entry in udp]


@check("Cache-03", "No service reads a cache of another host, and a compute node none at all")
def _(site):
    found = []
    for host in site.hosts:
        listed = site.run(host, "grep --recursive --no-messages -E '^memcached?_servers' /etc/*/*.conf /etc/*/*.ini || true")
        for line in listed.splitlines():
            path, _colon, option = line.partition(":")
            if host != "controller" or option.partition("=")[2].strip() != "127.0.0.1:11211":
                found.append(f"{host}: {path} has {option}")
    return found


@check("Cache-02", "Tokens in the cache are encrypted")
def _(site):
    found = []
    for name in ("glance", "nova", "placement", "neutron"):
        strategy = site.option("controller", CONTROLLER_FILES[name], "keystone_authtoken", "memcache_security_strategy")
        key = site.option("controller", CONTROLLER_FILES[name], "keystone_authtoken", "memcache_secret_key")
        if strategy != "ENCRYPT" or not key:
            found.append(f"controller: {name} has memcache_security_strategy = {strategy}")
    return found


# ------------------------------------------------------------------------------------------------------------- Dashboard

DASHBOARD = "/etc/openstack-dashboard"
# Settings as Django has them when it has read all files, and HORIZON_CONFIG's.
SETTINGS = """
import json, logging, os, sys
logging.disable(logging.CRITICAL)
os.environ["DJANGO_SETTINGS_MODULE"] = "openstack_dashboard.settings"
from django.conf import settings
names = sys.argv[1:]
print(json.dumps({name: getattr(settings, name, None) for name in names} | {"HORIZON_CONFIG": {
    name: value for name, value in settings.HORIZON_CONFIG.items() if "password" in name}}))
"""


def setting(name, wanted):
    """A check of one setting."""

    def look(site):
        value = site.settings().get(name)
        return [] if value == wanted else [f"controller: {name} = {value}"]

    return look


def option(name, wanted):
    """The same of what HORIZON_CONFIG has."""

    def look(site):
        value = site.settings()["HORIZON_CONFIG"].get(name)
        return [] if value == wanted else [f"controller: HORIZON_CONFIG {name} = {value}"]

    return look


@check("Dashboard-01", "Configuration of the dashboard belongs to root and horizon")
def _(site):
    return site.loose("controller", DASHBOARD, "root", "horizon", "own")


@check("Dashboard-02", "Nobody else may read it, and only root may change it")
def _(site):
    # Debian's own files there may be executed, which nobody does.
    wide = site.run("controller", f"find {DASHBOARD} ! -type l -perm /027 -printf '%p %m\\n'")
    return [f"controller: {line}" for line in wide.splitlines()]


check("Dashboard-03", "No other site may show it in a frame (DISALLOW_IFRAME_EMBED)")(setting("DISALLOW_IFRAME_EMBED", True))
check("Dashboard-04", "The cookie of its forms goes by TLS only (CSRF_COOKIE_SECURE)")(setting("CSRF_COOKIE_SECURE", True))
check("Dashboard-05", "The cookie of a session goes by TLS only (SESSION_COOKIE_SECURE)")(setting("SESSION_COOKIE_SECURE", True))
check("Dashboard-06", "Scripts cannot read it (SESSION_COOKIE_HTTPONLY)")(setting("SESSION_COOKIE_HTTPONLY", True))
check("Dashboard-07", "Browsers do not fill in passwords (password_autocomplete)")(option("password_autocomplete", "off"))
check("Dashboard-08", "Passwords are not shown (disable_password_reveal)")(option("disable_password_reveal", True))
check("Dashboard-09", "An administrator who sets a password gives the own one too (ENFORCE_PASSWORD_CHECK)")(
    setting("ENFORCE_PASSWORD_CHECK", True)
)


@check("Dashboard-10", "Passwords that it takes have twelve characters or more (password_validator)")
def _(site):
    pattern = site.settings()["HORIZON_CONFIG"].get("password_validator", {}).get("regex", "")
    return [] if not re.fullmatch(pattern, "x" * 11) and re.fullmatch(pattern, "x" * 12) else [f"controller: {pattern!r}"]


check("Dashboard-11", "It knows from the proxy that a request came by TLS (SECURE_PROXY_SSL_HEADER)")(
    setting("SECURE_PROXY_SSL_HEADER", ["HTTP_X_FORWARDED_PROTO", "https"])
)


@check("Dashboard-12", "It answers under its own names only, with a Content-Security-Policy, and keeps tokens out of the browser")
def _(site):
    found = [] if site.settings()["SESSION_ENGINE"] == "django.contrib.sessions.backends.cache" else ["sessions are elsewhere"]
    found += ["a name with * is allowed"] if "*" in "".join(site.settings()["ALLOWED_HOSTS"]) else []
    url = f"https://{site.addresses['controller']}/auth/login/"
    program = (
        "import ssl,sys,urllib.request,urllib.error\n"
        "known=ssl.create_default_context(cafile='/etc/ssl/certs/openstack-authority.pem')\n"
        "ask=urllib.request.Request(sys.argv[1],headers={'Host':sys.argv[2]} if sys.argv[2:] else {})\n"
        "try: print(urllib.request.urlopen(ask,context=known).headers)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    headers = site.hosts["controller"].check_output("python3 -c %s %s", program, url)
    for word in (
        "Content-Security-Policy: default-src 'self';",
        "Strict-Transport-Security: ",
        "X-Content-Type-Options: nosniff",
    ):
        found += [] if word.lower() in headers.lower() else [f"no {word}"]
    status = site.hosts["controller"].check_output("python3 -c %s %s %s", program, url, "elsewhere.invalid").strip()
    return found + ([] if status == "400" else [f"another host's name is answered with {status}"])


# ----------------------------------------------------------------------------------------------------------------- notes


@check("Block-01", "Configuration of the Block Storage service belongs to root and the group cinder")
def _(site):
    site.needs_volumes()
    return site.loose("controller", "/etc/cinder", "root", "cinder", "own")


@check("Block-02", "Nobody else may read it")
def _(site):
    site.needs_volumes()
    return site.loose("controller", "/etc/cinder", "root", "cinder", "mode")


@check("Block-03", "The Block Storage API asks the Identity service, and answers nobody without a token")
def _(site):
    site.needs_volumes()
    return _asks_keystone(site, "cinder", ":8776/v3/volumes")


@check("Block-04", "The Block Storage service checks tokens over TLS")
def _(site):
    site.needs_volumes()
    return _identity_by_tls(site, "cinder")


def _cinder_asks(site, section, names):
    """Values that are not as they must be, of cinder.conf: name -> how a right one begins, or that it is not set."""
    found = []
    for name, begins in names.items():
        value = site.option("controller", CONTROLLER_FILES["cinder"], section, name)
        if not (value or "").lower().startswith(begins) or (not begins and (value or "false").lower() != "false"):
            found.append(f"controller: [{section}] {name} = {value}")
    return found


@check("Block-05", "The Block Storage service asks Compute over TLS")
def _(site):
    site.needs_volumes()
    return _cinder_asks(site, "nova", {"auth_url": "https:", "insecure": ""})


@check("Block-06", "The Block Storage service gets images over TLS")
def _(site):
    site.needs_volumes()
    return _cinder_asks(site, "DEFAULT", {"glance_api_servers": "https:", "glance_api_insecure": ""})


@check("Block-07", "No volume is a file on a network file system")
def _(site):
    site.needs_volumes()
    drivers = site.run("controller", f"grep ^volume_driver {CONTROLLER_FILES['cinder']}").splitlines()
    return [f"controller: {line}" for line in drivers if re.search("nfs|smb|gpfs|quobyte|remotefs", line.lower())]


@check("Block-08", "The maximum size of a request to the Block Storage API is 114688 bytes or less")
def _(site):
    site.needs_volumes()
    value = site.option("controller", CONTROLLER_FILES["cinder"], "oslo_middleware", "max_request_body_size")
    return [] if int(value or 114688) <= 114688 else [f"controller: max_request_body_size = {value}"]


@check("CVE-2023-2088", "Service tokens are sent and required (OSSN-0092)")
def _(site):
    found = []
    for name in ("glance", "nova", "placement", "neutron"):
        value = site.option("controller", CONTROLLER_FILES[name], "keystone_authtoken", "service_token_roles_required")
        if (value or "").lower() != "true":
            found.append(f"controller: {name} has service_token_roles_required = {value}")
    if site.hosts["controller"].file(CONTROLLER_FILES["cinder"]).exists:
        required = ("keystone_authtoken", "service_token_roles_required"), ("service_user", "send_service_user_token")
        for section, name in required:
            value = site.option("controller", CONTROLLER_FILES["cinder"], section, name)
            found += [] if (value or "").lower() == "true" else [f"controller: cinder has {name} = {value}"]
    for host in site.hosts:
        value = site.option(host, "/etc/nova/nova.conf", "service_user", "send_service_user_token")
        if (value or "").lower() != "true":
            found.append(f"{host}: send_service_user_token = {value}")
    return found


@check("OSSN-0007", "libvirt listens on no network; guests move by SSH")
def _(site):
    found = [entry for entry in site.listening("compute1", "tcp") if entry.rpartition(":")[2] in ("16509", "16514")]
    return [f"compute1: libvirt is open at {entry}" for entry in found]


@check("OSSN-0090", "Locations of images are not shown")
def _(site):
    value = site.option("controller", CONTROLLER_FILES["glance"], "DEFAULT", "show_multiple_locations")
    return [] if (value or "false").lower() == "false" else [f"controller: show_multiple_locations = {value}"]


@check("OSSN-0101", "Consoles are opened by pages of this cloud only")
def _(site):
    value = site.option("controller", CONTROLLER_FILES["nova"], "console", "allowed_origins")
    return [] if not value else [f"controller: allowed_origins = {value}"]


# -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS, ids=lambda name: name)
def test_check(name, site):
    """It holds."""
    if name.startswith("Dashboard-") and not site.hosts["controller"].file(DASHBOARD).exists:
        pytest.skip("this cloud has no dashboard")
    found = CHECKS[name][1](site)
    assert not found, "\n".join(found)
