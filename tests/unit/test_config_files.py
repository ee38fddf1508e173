"""From data to files: layers, templates, values that a service reads back, masks and digests."""

import json
import re
import shlex
import subprocess
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from oslo_config import cfg

from kilonova.config.catalogue import catalogue
from kilonova.config.config_files import (
    built_in,
    combine_layers,
    digests,
    for_release,
    literal,
    mask,
    options_for_release,
    render,
    role_packages,
    units_with_digests,
    url,
)

# Passwords that broke other installers, each as it is (facts/security.md).
HOSTILE = [
    "p@ss:w/ord%41$x'#\"",
    "'quoted'",
    '"quoted"',
    " lead trail ",
    "a,b[c]?d#e&f=g",
    "{{7*7}}{%x%}",
    "50%",
    "a\\b",
    "ü€😀",
    "-----begin",
    "a: b # c",
    "word " * 40,
]
# What preflight lets through: no line break, no NUL, no backslash before a dollar sign, 16 characters or more.
SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=16).filter(lambda s: "\\$" not in s)
hostile = pytest.mark.parametrize("secret", HOSTILE)


def ini(template=None, **layers):
    """A file of one layer or more."""
    return {"path": "/etc/x.conf", "layers": layers, **({"template": template} if template else {})}


def read_back(text, tmp_path, **options):
    """What oslo.config reads: section -> option from `text`."""
    path = tmp_path / "x.conf"
    path.write_text(text, encoding="utf-8")
    read = cfg.ConfigOpts()
    for section, names in options.items():
        read.register_opts([cfg.StrOpt(name) for name in names], group=None if section == "DEFAULT" else section)
    read([], default_config_files=[str(path)], default_config_dirs=[])
    groups = {section: read if section == "DEFAULT" else read[section] for section in options}
    return {section: {name: groups[section][name] for name in names} for section, names in options.items()}


# ------------------------------------------------------------------------------------------------------------ layers


def test_a_later_layer_wins_and_says_so():
    merged = combine_layers({"guide": {"vnc": {"enabled": True, "a": 1}}, "more": None, "override": {"vnc": {"enabled": False}}})
    assert merged == {"vnc": {"enabled": (False, "override"), "a": (1, "guide")}}


def test_null_leaves_an_option_out_and_a_list_repeats_it():
    text = render(ini(guide={"DEFAULT": {"a": 1, "b": 2, "c": [3, 4]}}, override={"DEFAULT": {"a": None}}))
    assert text.endswith("[DEFAULT]\nb = 2\nc = 3\nc = 4\n")


def test_a_section_without_options_is_not_printed():
    assert "[vnc]" not in render(ini(guide={"vnc": {"a": 1}}, override={"vnc": {"a": None}}))


def test_an_override_is_named_in_the_file():
    text = render(ini(**{"the guide": {"DEFAULT": {"a": 1}}, "overrides of nova_compute_overrides": {"DEFAULT": {"b": 2}}}))
    assert text.endswith("a = 1\n# overrides of nova_compute_overrides\nb = 2\n")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"DEFAULT": "debug=true"}, "override: section [DEFAULT] is str, not a mapping; write e.g. DEFAULT: {debug: true}"),
        ({"vnc": None}, "override: section [vnc] is empty, not a mapping; write e.g. vnc: {debug: true}"),
        (["DEFAULT"], "override: the file is list, not a mapping; write e.g. DEFAULT: {debug: true}"),
    ],
)
def test_a_layer_of_another_shape_is_refused(layer, message):
    with pytest.raises(ValueError, match=f"^{re.escape(f'/etc/x.conf: {message}')}$"):
        render(ini(override=layer))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (ini(guide={"DEFAULT": {"a": "x\ninjected = 1"}}), r"cannot contain '\\n'"),
        (ini("plain.ini.j2", guide={"uwsgi": {"a": "x\ry = 1"}}), "line break or NUL"),
        (ini("plain.ini.j2", guide={"uwsgi": {"a": "x\0"}}), "line break or NUL"),
        (ini(guide={"DEFAULT": {"a": {"b": 1}}}), r"guide: option a of \[DEFAULT\] is a mapping, not a value or a list of them"),
        (ini(guide={"DEFAULT": {"a": [["b"]]}}), "is not a value of an option"),
        (ini("nothing.j2", guide={}), "nothing.j2"),
        ({"path": "/etc/x.conf", "template": "lines.j2", "variables": {}}, "'lines' is undefined"),
    ],
)
def test_data_that_cannot_be_written_names_the_file(entry, message):
    with pytest.raises(ValueError, match=rf"^/etc/x\.conf: .*{message}"):
        render(entry)


def test_plain_files_have_booleans_in_lower_case_and_no_quotes():
    text = render(ini("plain.ini.j2", guide={"uwsgi": {"master": True, "add-header": "Connection: close", "env": ["a", "b"]}}))
    assert text.endswith("[uwsgi]\nmaster = true\nadd-header = Connection: close\nenv = a\nenv = b\n")


# ----------------------------------------------------------------------------------------------------------- secrets


def credentials(secret):
    """A file as the services have it, with the secret raw (doubled $) and in a URL."""
    return ini(
        guide={
            "DEFAULT": {"transport_url": url("rabbit", "10.0.0.11", 5672, "openstack", secret)},
            "database": {"connection": url("mysql+pymysql", "fd00::1", 3306, "nova", secret, "nova")},
            "service_user": {"password": literal(secret), "username": "nova"},
        }
    )


def sent_by_pymysql(password):
    """What MariaDB reads as UTF-8 of what PyMySQL sends (pymysql/connections.py: password.encode("latin1"))."""
    return password.encode("latin-1").decode()


@hostile
def test_oslo_config_reads_back_every_password(tmp_path, secret):
    options = {"DEFAULT": ["transport_url"], "database": ["connection"], "service_user": ["password", "username"]}
    values = read_back(render(credentials(secret)), tmp_path, **options)
    assert values["service_user"] == {"password": secret, "username": "nova"}
    assert unquote(urlsplit(values["DEFAULT"]["transport_url"]).password) == secret
    assert sent_by_pymysql(unquote(urlsplit(values["database"]["connection"]).password)) == secret


@hostile
def test_the_shell_reads_back_every_password(tmp_path, secret):
    script = tmp_path / "admin-openrc"
    variables = {"environment": {"OS_USERNAME": "admin", "OS_PASSWORD": secret}}
    script.write_text(render({"path": str(script), "template": "admin-openrc.j2", "variables": variables}), encoding="utf-8")
    done = subprocess.run(["sh", "-c", f'. {script}; printf %s "$OS_PASSWORD"'], capture_output=True, check=True, env={})
    assert done.stdout.decode() == secret


@given(SECRETS)
@example("0123456789abcdef\x85")
def test_clouds_yaml_is_read_back(secret):
    clouds = {"clouds": {"admin": {"auth": {"username": "admin", "password": secret}, "identity_api_version": 3}}}
    text = render({"path": "/x", "template": "clouds.yaml.j2", "variables": {"clouds": clouds}})
    assert yaml.safe_load(text) == clouds
    assert yaml.safe_load(mask(text))["clouds"]["admin"]["auth"] == {"username": "admin", "password": "(hidden)"}


# SQLAlchemy's own pattern for the parts of a URL (sqlalchemy/engine/url.py), which reads more than urllib would.
SQLALCHEMY = re.compile(
    r"(?P<name>[\w\+]+)://(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:(?:\[(?P<ipv6host>[^/\?]+)\]|(?P<ipv4host>[^/:\?]+))?(?::(?P<port>[^/\?]*))?)?(?:/(?P<database>[^\?]*))?(?:\?(?P<query>.*))?"
)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(
    user=TEXT,
    password=TEXT | st.sampled_from(HOSTILE),
    host=st.sampled_from(["10.0.0.11", "controller", "fd00::11"]),
    scheme=st.sampled_from(["mysql+pymysql", "rabbit"]),
)
def test_a_url_holds_any_user_and_password(user, password, host, scheme):
    made = url(scheme, host, 3306, user, password, "nova_cell0")
    sent = sent_by_pymysql if scheme == "mysql+pymysql" else str
    assert not set(made) & set(" $\"'#\\\n")  # so no file's quoting can change it
    parts = urlsplit(made)
    assert (unquote(parts.username), sent(unquote(parts.password))) == (user, password)
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == (scheme, host, 3306, "/nova_cell0")
    found = SQLALCHEMY.fullmatch(made).groupdict()
    assert (unquote(found["username"]), sent(unquote(found["password"]))) == (user, password)
    assert (found["ipv6host"] or found["ipv4host"], found["port"], found["database"]) == (host, "3306", "nova_cell0")


def files_with(secret):
    """Every kind of file that has secrets."""
    environment = {"OS_PASSWORD": secret, "OS_USERNAME": "admin"}
    return [
        render(credentials(secret)),
        render({"path": "/x", "template": "admin-openrc.j2", "variables": {"environment": environment}}),
        render({"path": "/x", "template": "clouds.yaml.j2", "variables": {"clouds": {"auth": {"password": secret}}}}),
    ]


@given(SECRETS)
def test_no_secret_survives_the_mask(secret):
    texts = files_with(secret)
    # A word that the file has whatever the secret is, such as those of its first line, tells nobody that it is one.
    assume(not any(secret in text for text in files_with("")))
    forms = [secret, literal(secret), url("a", "b", 1, "c", secret).split("://c:")[1].split("@b")[0]]
    for text in texts:
        assert mask(text).count("(hidden)") >= 1
        assert not [form for form in forms if form in mask(text)]


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("memcache_secret_key = abc", "memcache_secret_key = (hidden)"),
        ("  metadata_proxy_shared_secret=abc", "  metadata_proxy_shared_secret=(hidden)"),
        ("# fixed_key = abc", "# fixed_key = (hidden)"),
        ("default_pass = abc", "default_pass = (hidden)"),
        ("admin_token: abc", "admin_token: (hidden)"),
        ("export OS_PASSWORD='a b'", "export OS_PASSWORD=(hidden)"),
        ("backend_argument = url:redis://u:p@w@host:1", "backend_argument = url:redis://u:(hidden)@host:1"),
        ("password = abc\n  def\nuser = x", "password = (hidden)\nuser = x"),
        ("  password:\n    abc\n  user: x", "  password:(hidden)\n  user: x"),
        ("password =\nuser = x", "password =\nuser = x"),
        ("max_connections = 4096\n[token]\nexpiration = 3600", "max_connections = 4096\n[token]\nexpiration = 3600"),
        ("auth_url = http://10.0.0.11:5000/v3", "auth_url = http://10.0.0.11:5000/v3"),
        # What people write by hand, in every form of YAML, JSON and shell.
        ('"password": abc', '"password": (hidden)'),
        ("- password: abc\n  user: x", "- password: (hidden)\n  user: x"),
        ("auth: {password: abc, user: x}", "auth: {password: (hidden)"),
        ("auth: {'password': 'a,}bc', user: x}", "auth: {'password': (hidden), user: x}"),
        ('{"a": [{"password": "a\\"bc", "debug": true}]}', '{"a": [{"password": (hidden), "debug": true}]}'),
        ('"password":\n"abc",\n"user": "x"', '"password":(hidden)\n"user": "x"'),
        ("? password\n: abc\n? user\n: x", "? password(hidden)\n? user\n: x"),
        ("passwords:\n- abc\n- def\nuser: x", "passwords:(hidden)\nuser: x"),
        ("key: |\n  abc\n\n  def\nuser: x", "key: (hidden)\nuser: x"),
        ("password: 'abc\n  def'\nuser: x", "password: (hidden)\nuser: x"),
        ("export OS_PASSWORD='abc\ndef'\nexport A=1", "export OS_PASSWORD=(hidden)\nexport A=1"),
        ("declare -x OS_TOKEN=abc", "declare -x OS_TOKEN=(hidden)"),
        ("ExecStart=/usr/bin/x --os-password abc", "ExecStart=/usr/bin/x --os-password (hidden)"),
        ("ExecStart=/usr/bin/x --os-password=abc", "ExecStart=/usr/bin/x --os-password=(hidden)"),
        ('password = "abc\nuser = x', "password = (hidden)\nuser = x"),
        *(
            (f"{name} = abc", f"{name} = (hidden)")
            for name in (
                "key",
                "apikey",
                "api_key",
                "psk",
                "wpa_psk",
                "os_pwd",
                "rootpw",
                "secret_key",
                "erlang.cookie",
                "SECRETS",
                "private-key",
            )
        ),
        ("url = http://u:p a@s/s@host/x", "url = http://u:(hidden)@host/x"),
        # Ordinary options, and the words of comments.
        *(
            (line, line)
            for line in (
                "keymap = en-us",
                "key_name = x",
                "key_manager = x",
                "[key_manager]",
                "password_length = 12",
                "token_ttl = 3600",
                "bypass = true",
                "compass = north",
                "monkey = 1",
                "rbd_secret_uuid = 0b0b53b5",
                "ssl_key_file = /etc/x",
                "# Sort by the key: value",
                "connection_uri = qemu+ssh://nova@%s/system",
                "max_pool_size = 5",
                "passive = 1",
                "tokenless = 1",
                "memcached_servers = 10.0.0.11:11211,10.0.0.12:11211",
                "allowed_origins = http://a:1, http://b:2",
            )
        ),
    ],
)
def test_the_mask_hides_values_and_nothing_else(line, masked):
    assert mask(line) == masked


LEADS = st.sampled_from(["", "  ", "# ", "- ", "  - - ", "export ", "{", "a: {b: 1, ", '{"x": {', "x --"])
NAMES = st.sampled_from(["password", "OS_PASSWORD", "apikey", "psk", "db_pass", "client_secret", "auth_token", "a.private_key"])


@given(LEADS, NAMES, st.sampled_from(["", '"', "'"]), st.sampled_from([": ", " = ", "=", " : ", ":"]), SECRETS)
def test_no_form_of_an_assignment_shows_its_secret(lead, name, quote, separator, secret):
    """Whatever stands before the name and however the value is written; the lines around stay."""
    word, single = secret.strip(), "'" + secret.replace("'", "''") + "'"
    for value in (secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), single, shlex.quote(secret)):
        text = mask(f"first = 1\n{lead}{quote}{name}{quote}{separator}{value}\nlast = 1")
        assert text.startswith("first = 1\n")
        assert len(word) < 3 or word not in text


@given(
    st.recursive(
        st.just("canary") | st.integers() | st.booleans(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["password", "user", "tokens", "api_key"]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_no_secret_of_any_yaml_or_json_is_shown(data):
    """Where a name says so, all that is below it."""

    def cleared(data, secret=False):
        if isinstance(data, dict):
            return {key: cleared(value, secret or key != "user") for key, value in data.items()}
        if isinstance(data, list):
            return [cleared(value, secret) for value in data]
        return data if secret or data != "canary" else "shown"

    data = cleared({"user": data})
    for text in (
        yaml.safe_dump(data),
        yaml.safe_dump(data, default_flow_style=True, width=float("inf")),
        yaml.safe_dump(data, indent=4),
        json.dumps(data),
        json.dumps(data, indent=2),
    ):
        assert "canary" not in mask(text), text


def test_the_mask_hides_every_secret_option_of_nova_and_few_others():
    """What the catalogue calls a secret, and of 1,000 others those whose names end with the same words."""
    options = [
        option for release in ("zed", "epoxy") for known in catalogue(release).sections.values() for option in known.values()
    ]
    assert len(options) > 1000
    lines = {option: f"{option.dest} = {'true' if option.spec['type'] == 'Boolean' else 'x'}" for option in options}
    hidden = {option.dest: option.secret for option, line in lines.items() if mask(line) != line}
    # A one-time code, and one whose URL loses its password.
    assert {option.dest for option in options if option.secret} - hidden.keys() == {"code", "backend_argument"}
    # Files of keys, and what may be one; `key` and `connection` cannot be told from real ones by their names.
    assert sorted(name for name, is_secret in hidden.items() if not is_secret) == [
        "client_key",
        "idp_otp_key",
        "key",
        "memcache_password",
        "ovsdb_connection",
        "partition_key",
        "ssl_client_key_password",
        "vencrypt_client_key",
    ]


# ---------------------------------------------------------------------------------------------------------- releases


def test_a_table_gives_the_newest_row_that_is_not_newer():
    table = {"zed": "old", "epoxy": "new"}
    assert [for_release(table, name) for name in ("zed", "2024.2", "2025.1", "2026.1")] == ["old", "old", "new", "new"]
    with pytest.raises(ValueError, match=r"^openstack_release 'yoga' is older than every known release: zed, epoxy$"):
        for_release(table, "yoga")


def test_options_of_a_release_are_those_of_its_rows():
    rows = [
        {"options": {"DEFAULT": {"a": 1}}},
        {"since": "zed", "options": {"DEFAULT": {"b": 2}, "api": {"c": 3}}},
        {"until": "yoga", "options": {"DEFAULT": {"a": 0}}},
    ]
    assert options_for_release(rows, "yoga") == {"DEFAULT": {"a": 0}}
    assert options_for_release(rows, "zed") == {"DEFAULT": {"a": 1, "b": 2}, "api": {"c": 3}}


def test_packages_come_once_in_the_roles_order(tmp_path):
    for role, packages in (("glance", ["glance-api", "python3-memcache"]), ("nova", ["nova-api", "python3-memcache"])):
        path = tmp_path / role / "vars" / "main" / "packages.yml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump({f"__{role}_packages": {"zed": packages}}))
    (tmp_path / "neutron_compute").mkdir()
    names = role_packages(["nova", "neutron_compute", "glance"], "zed", tmp_path)
    assert names == ["nova-api", "python3-memcache", "glance-api"]


# ----------------------------------------------------------------------------------------------------------- digests

NOVA = {"path": "/etc/nova/nova.conf", "layers": {"guide": {"DEFAULT": {"my_ip": "10.0.0.11"}, "vnc": {"enabled": True}}}}
PROXY = {"path": "/etc/default/proxy", "template": "lines.j2", "variables": {"lines": ["TYPE=novnc"]}}


def changed(path, **sections):
    """`path` with another value in the sections."""
    return {"path": path, "layers": {"guide": NOVA["layers"]["guide"], "override": sections}}


def test_a_digest_changes_with_its_section_alone():
    before = digests([NOVA, PROXY])
    after = digests([changed("/etc/nova/nova.conf", vnc={"enabled": False}), PROXY])
    assert before["/etc/default/proxy"] == after["/etc/default/proxy"]
    assert list(before["/etc/default/proxy"]) == ["*"]
    old, new = before["/etc/nova/nova.conf"], after["/etc/nova/nova.conf"]
    assert old["DEFAULT"] == new["DEFAULT"]
    assert old["vnc"] != new["vnc"]


def test_the_layer_that_sets_a_value_does_not_count():
    assert digests([NOVA]) == digests([changed("/etc/nova/nova.conf", vnc={"enabled": True})])


def test_a_digest_stays_what_hosts_remember():
    """Another one would restart every service of every deployment."""
    assert digests([NOVA, PROXY]) == {
        "/etc/nova/nova.conf": {"DEFAULT": "fcef7e67aa35d5be6c06b824f10d4aff", "vnc": "580b57215939cab83931e70cf1860c04"},
        "/etc/default/proxy": {"*": "648dc136ddc6145cb581fa5e36ad00f5"},
    }


def test_units_read_what_they_say_except_what_they_ignore():
    units = [
        {"name": "nova-api", "ignores": ["vnc"], "answers": "http://x/", "after": ["y"]},
        {"name": "nova-novncproxy", "reads": ["/etc/default/proxy"]},
        {"name": "libvirtd", "reads": []},
    ]
    api, proxy, libvirtd = units_with_digests(units, [NOVA, PROXY])
    used = {path: [name for name, digest in sections.items() if digest] for path, sections in api["digests"].items()}
    assert used == {"/etc/nova/nova.conf": ["DEFAULT"], "/etc/default/proxy": ["*"]}
    assert api.pop("digests")["/etc/nova/nova.conf"]["vnc"] == ""
    assert api == {"name": "nova-api", "answers": "http://x/", "after": ["y"]}
    assert list(proxy["digests"]) == ["/etc/default/proxy"]
    assert libvirtd["digests"] == {}


def test_a_file_that_a_host_does_not_need_is_read_by_none_of_its_units():
    unit = {"name": "x", "reads": ["/etc/x.conf", "/etc/p.yaml"]}
    (made,) = units_with_digests([unit], [ini(one={"DEFAULT": {"a": 1}})], {"/etc/p.yaml"})
    assert list(made["digests"]) == ["/etc/x.conf"]


def test_a_unit_that_reads_an_unknown_file_is_refused():
    with pytest.raises(ValueError, match=r"^unit a reads /etc/b, which is not among the files /etc/default/proxy$"):
        units_with_digests([{"name": "a", "reads": ["/etc/b"]}], [PROXY])


def test_strings_of_ansible_reach_other_libraries_as_plain_ones():
    """ansible-core 2.18's unsafe strings answer str() with themselves, and PyYAML refuses them."""

    class Unsafe(str):
        def __str__(self):
            return self

    plain = built_in({Unsafe("clouds"): [Unsafe("admin")]})
    assert [type(key) for key in plain] == [str]
    assert type(plain["clouds"][0]) is str


# ------------------------------------------------------------------------------------------------------------ bridges

TUNNEL = {"name": "br-tunnel", "ports": ["eth1"], "addresses": ["10.0.1.11/24"], "secure": True, "datapath": "netdev"}
PROVIDER = {"name": "br-provider", "tunnels": ["10.0.1.21"], "addresses": ["198.51.100.1/24"]}


def bridges(datapath, *declared):
    """The commands of /usr/local/sbin/openstack-bridges."""
    entry = {
        "path": "/x",
        "template": "openstack-bridges.sh.j2",
        "variables": {"bridges": declared, "datapath": datapath, "ip_forward": False},
    }
    made = render(entry).partition("# What is declared.\n")[2]
    return [line for line in made.splitlines() if line and not line.startswith("#")]


def test_a_bridge_for_one_datapath_is_made_there_only():
    assert any("br-tunnel" in line for line in bridges("netdev", TUNNEL))
    assert bridges("system", TUNNEL) == bridges("linux", TUNNEL) == []


def test_bridges_are_of_open_vswitch_or_of_the_kernel():
    assert bridges("system", PROVIDER) == [
        "ovs-vsctl br-exists br-provider || note 'bridge br-provider'",
        "ovs-vsctl --may-exist add-br br-provider -- set bridge br-provider datapath_type=system fail_mode=standalone",
        "note 'tunnel br-provider br-provider-1'",
        "ovs-vsctl --may-exist add-port br-provider br-provider-1 -- set interface br-provider-1 type=vxlan "
        "options:remote_ip=10.0.1.21 options:dst_port=8472",
        "ip link set br-provider up",
        "ip -oneline address show dev br-provider | grep --quiet --fixed-strings ' 198.51.100.1/24 ' "
        "|| note 'address br-provider 198.51.100.1/24'",
        "ip address replace 198.51.100.1/24 dev br-provider",
    ]
    kernel = bridges("linux", PROVIDER)
    assert not any("ovs" in line for line in kernel)
    assert kernel[0] == "if ! ip link show dev br-provider >/dev/null 2>&1; then"
    assert kernel[1:3] == ["    note 'bridge br-provider'", "    ip link add name br-provider type bridge"]
    assert kernel[-1] == "ip address replace 198.51.100.1/24 dev br-provider"


def test_a_chassis_loses_what_it_is_not_told():
    entry = {
        "path": "/x",
        "template": "ovn-chassis.conf.j2",
        "variables": {"external_ids": {"ovn-bridge-mappings": "a:b,c:d", "ovn-cms-options": ""}},
    }
    text = render(entry)
    assert """set Open_vSwitch . 'external-ids:ovn-bridge-mappings="a:b,c:d"' \\\n""" in text
    assert "remove Open_vSwitch . external-ids ovn-cms-options\n" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (True, "1"),
        ("unlimited", '"unlimited"'),
        ('say "x"', "'say \"x\"'"),
        (["a", 'b"'], '[ "a", \'b"\' ]'),
        ([], "[  ]"),
        ("%$#", '"%$#"'),
    ],
)
def test_a_value_of_libvirts_own_files(value, text):
    settings = {"a": None, "name": value}
    entry = {"path": "/etc/libvirt/qemu.conf", "template": "libvirt.conf.j2", "variables": {"settings": settings}}
    assert render(entry).splitlines()[1:] == [f"name = {text}"]


@pytest.mark.parametrize("value", [{"a": 1}, "a\nb", "both ' and \"", 1.5])
def test_a_value_that_libvirts_own_files_cannot_hold(value):
    entry = {"path": "/etc/libvirt/qemu.conf", "template": "libvirt.conf.j2", "variables": {"settings": {"name": value}}}
    with pytest.raises(ValueError, match=r"/etc/libvirt/qemu\.conf"):
        render(entry)


@pytest.mark.parametrize("name", ["user\nroot", "user = x", "Max_core", "", "#user", 5, True])
def test_a_name_of_libvirts_files_is_one(name):
    """libvirt's own names are of small letters; any other could be a line of its own."""
    entry = {"path": "/etc/libvirt/qemu.conf", "template": "libvirt.conf.j2", "variables": {"settings": {name: 1}}}
    with pytest.raises(ValueError, match=r"/etc/libvirt/qemu\.conf: .* is not the name of a setting of libvirt"):
        render(entry)
