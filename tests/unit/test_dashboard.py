"""Horizon's settings are Python that says what the inventory says; sessions are read only if it has written them itself."""

import pickle
import re
import types

import pytest

from kilonova.config import addresses, config_files, declared, generate, inventories
from kilonova.run import preflight, variables

GROUPS = {"controllers": ["c"], "computes": ["n"], "dashboards": ["c"]}
HOSTILE = "p@ss:w/ord%41$x'#\"& \\ {not a template} ü"
SETTINGS = "/etc/openstack-dashboard/local_settings.d/_1000_kilonova.py"
SEALED = "/etc/openstack-dashboard/local_settings.d/_1001_kilonova_sealed_cache.py"
PLAIN = {**generate.placeholders(), "openstack_tls": False}


def host(groups=GROUPS, **given):
    """The controller."""
    addresses_ = {"c": "10.0.0.11", "n": "10.0.0.31"}
    hosts = {name: {**PLAIN, "openstack_management_address": address, **given} for name, address in addresses_.items()}
    return inventories.Inventory(hosts, groups).host("c")


def text(path, **given):
    """What is in one of the controller's files."""
    return config_files.render(next(entry for entry in host(**given).files() if entry["path"] == path))


def settings(**given):
    """What Horizon has when it has read our file, after settings of its own."""
    scope = {"HORIZON_CONFIG": {"user_home": "here"}, "OPENSTACK_NEUTRON_NETWORK": {"enable_router": True}}
    exec(text(SETTINGS, **given), scope)
    return scope


# ------------------------------------------------------------------------------------------------------------ settings


def test_without_the_group_there_is_nothing_of_it():
    groups = {**GROUPS, "dashboards": []}
    for found in (host(groups), host({name: GROUPS[name] for name in ("controllers", "computes")})):
        assert "horizon" not in found.roles()
        assert not [entry["path"] for entry in found.files() if "dashboard" in entry["path"] or "443" in entry["path"]]
        assert 443 in found.find("openstack_ports_unused")


def test_settings_are_what_the_inventory_says():
    found = settings(openstack_horizon_secret_key=inventories.Literal(HOSTILE), nova_consoles=["serial"])
    assert found["SECRET_KEY"] == HOSTILE
    assert found["ALLOWED_HOSTS"] == ["10.0.0.11"] and found["OPENSTACK_KEYSTONE_URL"] == "http://10.0.0.11:5000/v3"
    assert found["CACHES"]["default"]["LOCATION"] == ["127.0.0.1:11211"] and found["CONSOLE_TYPE"] == "SERIAL"
    assert found["HORIZON_CONFIG"]["user_home"] == "here" and found["HORIZON_CONFIG"]["password_autocomplete"] == "off"
    assert not {"SESSION_COOKIE_SECURE", "SECURE_PROXY_SSL_HEADER", "OPENSTACK_SSL_CACERT"} & found.keys()


@pytest.mark.parametrize(
    ("consoles", "kind"), [(["novnc"], "VNC"), (["spice"], "SPICE"), (["serial", "novnc"], "AUTO"), ([], "")]
)
def test_the_console_is_one_that_the_cloud_has(consoles, kind):
    assert settings(nova_consoles=consoles)["CONSOLE_TYPE"] == kind


def test_behind_tls_cookies_are_for_tls():
    found = settings(openstack_public_scheme="https")
    assert found["SESSION_COOKIE_SECURE"] is found["CSRF_COOKIE_SECURE"] is True
    assert found["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert "Strict-Transport-Security" in text("/etc/openstack-dashboard/horizon-uwsgi.ini", openstack_public_scheme="https")
    assert "Strict-Transport-Security" not in text("/etc/openstack-dashboard/horizon-uwsgi.ini")


def test_overrides_set_settings_and_parts_of_them():
    mine = {
        "DEFAULT": {"SESSION_TIMEOUT": 60, "DISALLOW_IFRAME_EMBED": None, "AVAILABLE_THEMES": [["a", "b", "c"]]},
        "OPENSTACK_NEUTRON_NETWORK": {"supported_vnic_types": ["*"], "enable_router": False},
    }
    found = settings(horizon_overrides={"_1000_kilonova.py": mine})
    assert found["SESSION_TIMEOUT"] == 60 and found["AVAILABLE_THEMES"] == [["a", "b", "c"]]
    assert "DISALLOW_IFRAME_EMBED" not in found
    assert found["OPENSTACK_NEUTRON_NETWORK"] == {"enable_router": False, "supported_vnic_types": ["*"]}
    shown = text(SETTINGS, horizon_overrides={"_1000_kilonova.py": mine})
    assert "# overrides of horizon_overrides\nSESSION_TIMEOUT = 60\n" in shown


def test_the_key_is_hidden_in_what_is_shown():
    shown = config_files.mask(text(SETTINGS, openstack_horizon_secret_key="a-key-of-this-test"))
    assert "a-key-of-this-test" not in shown and "SECRET_KEY = (hidden)" in shown


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), {"a": float("inf")}])
def test_what_python_would_not_read_is_refused(value):
    entry = {"path": SETTINGS, "template": "horizon_settings.py.j2", "layers": {"x": {"DEFAULT": {"A": value}}}}
    with pytest.raises(ValueError, match=r"option A of \[DEFAULT\] is "):
        config_files.render(entry)


# ------------------------------------------------------------------------------------------------------------ sessions


def sealed(key="one key", backend="django.core.cache.backends.memcached.PyMemcacheCache"):
    """What the second file makes of settings."""
    scope = {"SECRET_KEY": key, "CACHES": {"default": {"BACKEND": backend}}}
    exec(text(SEALED), scope)
    return scope["CACHES"]["default"].get("OPTIONS", {}).get("serde")


class Evil:
    """What runs something when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('it was run')",)


def test_a_session_is_read_again():
    value = {"token": types.SimpleNamespace(id="x"), "n": 3}
    data, flags = sealed().serialize("a key", value)
    assert sealed().deserialize(b"a key", data, flags) == value


def test_what_others_have_written_is_not_unpickled():
    data, flags = sealed().serialize("a key", {"user": "me"})
    evil = pickle.dumps(Evil())
    assert sealed().deserialize("a key", evil, 1) is None
    assert sealed().deserialize("a key", data[:32] + evil, flags) is None
    assert sealed().deserialize("another key", data, flags) is None, "a session of another user"
    assert sealed("a new key").deserialize("a key", data, flags) is None, "sessions end when the key is rotated"
    assert sealed().deserialize("a key", b"", flags) is None


def test_another_cache_is_left_alone():
    assert sealed(backend="django.core.cache.backends.redis.RedisCache") is None


# ------------------------------------------------------------------------------------------------------------- headers


def test_a_page_may_show_the_consoles_that_the_cloud_has():
    def policy(**given):
        return re.search("Content-Security-Policy: (.*)", text("/etc/openstack-dashboard/horizon-uwsgi.ini", **given))[1]

    assert "frame-src 'self' http://10.0.0.11:6080;" in policy() and "connect-src 'self';" in policy()
    every = policy(nova_consoles=["novnc", "spice", "serial"], nova_compute_novncproxy_base_url="https://vnc.example.org/x?y")
    assert "frame-src 'self' https://vnc.example.org http://10.0.0.11:6082;" in every
    assert "connect-src 'self' ws://10.0.0.11:6083;" in every


def test_sources_of_content():
    urls = ["https://a:1/b", "https://a:1/c", "https://[fd00::1]:6080/x", "wss://b.example.org/"]
    assert addresses.content_sources(urls) == "'self' https://a:1 https://*:6080 wss://b.example.org"
    assert addresses.content_sources([]) == "'self'"


# --------------------------------------------------------------------------------------------------------------- ports


def test_its_port():
    assert variables.units(host())["horizon"] == ("10.0.0.11", 80)
    assert variables.units(host(openstack_tls=True))["horizon"] == ("127.0.0.1", 443)
    assert variables.units(host(horizon_port=8443))["horizon"] == ("10.0.0.11", 8443)
    unit = "/etc/systemd/system/horizon.service"
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in text(unit)
    assert "AmbientCapabilities" not in text(unit, horizon_port=8443)
    [row] = declared.declarations()["horizon"]["ports"]
    assert row["proxied"] and row["port"] == 443


def test_haproxy_leads_to_it():
    ways = variables.ways(host(openstack_tls=True))
    assert ("dashboard", "10.0.0.11", 443) in ways
    assert ("dashboard", "10.0.0.11", 8443) in variables.ways(host(openstack_tls=True, horizon_port=8443))
    assert variables.ways(host()) == []
    without = host({**GROUPS, "dashboards": []}, openstack_tls=True)
    assert "dashboard" not in [service for service, _address, _port in variables.ways(without)]


def listener(address, unit):
    """A program that has port 443."""
    return {"listening": [{"address": address, "port": 443, "unit": unit, "name": "nginx", "pid": 7}]}


@pytest.mark.parametrize(
    ("address", "unit", "count"),
    [
        ("10.0.0.11", "nginx.service", 1),
        ("10.0.0.11", "haproxy.service", 0),
        ("10.0.0.11", "horizon.service", 0),  # before TLS
        ("192.0.2.1", "nginx.service", 0),
        ("*", "nginx.service", 0),  # check_units says it
    ],
)
def test_a_port_that_haproxy_needs(address, unit, count):
    ways, units = [("dashboard", "10.0.0.11", 443)], {"horizon": ("127.0.0.1", 443), "haproxy": ("127.0.0.1", 1936)}
    found = [str(problem) for problem in preflight.check_ways("c", listener(address, unit), ways, units)]
    wanted = "c: port = 443: is needed by haproxy (dashboard) and in use by nginx (PID 7, nginx.service); "
    assert found == [wanted + "stop it, or give it another port"] * count
