"""Reading as oslo.config reads, and writing so that it reads the same."""

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oslo_config import cfg, iniparser

from kilonova.config import conf, config_files

# whatever a file can hold: no lone surrogates, which have no UTF-8
CHARACTERS = st.characters(exclude_categories=("Cs",))
WRITABLE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r\0"))


def rendered(mapping):
    """The file that a role would declare by the mapping."""
    return config_files.render({"path": "/etc/x.conf", "layers": {"the role": mapping}})


def oslo_sections(path) -> dict[str, dict[str, list[str]]]:
    """Return what oslo.config's own parser reads, with sections as it matches them."""
    normalized: dict = {}
    parser = cfg.ConfigParser(str(path), {})
    parser._add_normalized(normalized)
    parser.parse()
    return normalized


def our_sections(data: bytes) -> dict[str, dict[str, list[str]]]:
    read = conf.read(data)
    out: dict = {section: {} for section, _ in read.headers}
    for item in read.items:
        out[item.section].setdefault(item.name, []).append(item.value)
    return out


def oslo_value(path, text: str) -> str:
    """Return the value of the string option `x` in a file of `text`, as a service would get it."""
    path.write_bytes(text.encode())
    options = cfg.ConfigOpts()
    options.register_opt(cfg.StrOpt("x"))
    options([], project="test", default_config_files=[str(path)], default_config_dirs=[])
    return options.x


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("conf") / "nova.conf"


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "[DEFAULT]", "[default]", "[VNC]", "[vnc]", "[]", "[x", "[a]]", "# note", "; note", "", "   ", "\t",
                "  more", "\tmore", "a = 1", "a=2", "a: 3", "b = 'q'", 'b = "q', "b = \"'\"", "c =", "= 1", ": 1", "d",
                "e = x = y", "\ufeff", "\x0c[DEFAULT]", "a = \x1f", "\xa0a = 1", "f = #no comment", "[a] ", " [a]",
                "g = '", "a=b:c", "a:b=c",
            ]
        ),
        st.text(CHARACTERS, max_size=12),
    ),
    max_size=12,
)  # fmt: skip


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]))
@settings(max_examples=400, deadline=None)
def test_every_file_is_read_or_refused_as_by_oslo_config(path, lines, end):
    data = end.join(lines).encode()
    path.write_bytes(data)
    try:
        expected = oslo_sections(path)
    except iniparser.ParseError:
        with pytest.raises(conf.ConfError, match=r"^line \d+: "):
            conf.read(data)
    else:
        assert our_sections(data) == expected


@given(LINES)
@example(["\r", "[DEFAULT]"])
@settings(max_examples=200, deadline=None)
def test_no_line_is_lost(lines):
    text = "\n".join(lines)
    try:
        read = conf.read(text)
    except conf.ConfError as error:
        assert 1 <= error.line <= len(read_lines(text))
    else:
        # A file whose lines end mostly with both characters keeps that.
        assert read.text().replace("\r\n", "\n") == text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(text):
    return re.split("\r\n|\r|\n", text)


def test_a_file_as_people_write_it():
    read = conf.read(
        b"# first\n[DEFAULT]\nmy_ip = 10.0.0.1\n\n[Vnc]\nenabled=true\n[DEFAULT]\nmy_ip : 10.0.0.2\nlong = a\n  # b\n\tc\n#x=1\n"
    )
    assert [(i.section, i.name, i.value, i.line, i.last) for i in read.items] == [
        ("DEFAULT", "my_ip", "10.0.0.1", 3, 3),
        ("vnc", "enabled", "true", 6, 6),
        ("DEFAULT", "my_ip", "10.0.0.2", 8, 8),
        ("DEFAULT", "long", "a\n# b\nc", 9, 11),
    ]
    assert read.values("DEFAULT", "my_ip") == ["10.0.0.1", "10.0.0.2"]
    assert read.values("VNC", "enabled") == ["true"]


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"\xef\xbb\xbf[DEFAULT]\n", 1, "byte order mark"),
        (b"[DEFAULT]\na = \xe9\n", 2, "0xe9 is not UTF-8"),
        (b"# note\nmy_ip = 1\n[DEFAULT]\n", 2, "before the first section"),
        (b"[DEFAULT]\n\n  more\n", 3, "continues a value"),
        (b"[DEFAULT\n", 1, "must end with"),
        (b"[DEFAULT]\n[]\n", 2, "no name"),
        (b"[DEFAULT]\nmy_ip\n", 2, "it has no = sign"),
        (b"[DEFAULT]\n = 1\n", 2, "continues a value"),
        (b"[DEFAULT]\n= 1\n", 2, "name of the option before the = sign is missing"),
    ],
)
def test_what_oslo_config_refuses_is_refused_with_its_line(data, line, words, path):
    with pytest.raises(conf.ConfError, match=words) as caught:
        conf.read(data)
    assert caught.value.line == line
    path.write_bytes(data)
    with pytest.raises((iniparser.ParseError, UnicodeDecodeError)):
        oslo_sections(path)


def test_line_ends_are_kept():
    assert conf.read("[a]\r\nb = 1\r\n").text() == "[a]\r\nb = 1\r\n"
    assert conf.read("[a]\nb = 1").text() == "[a]\nb = 1"


def test_debians_350_kilobytes_of_defaults_are_fast():
    text = "[DEFAULT]\n" + "".join(f"#\n# Help of option {i} (string value)\n#option_{i} = value\n\n" for i in range(6500))
    assert len(text) > 350_000
    start = time.perf_counter()
    conf.read(text)
    assert time.perf_counter() - start < 0.2


# ------------------------------------------------------------------------------------------------------------ writing


@given(WRITABLE)
@settings(max_examples=400, deadline=None)
def test_any_secret_comes_back(path, secret):
    if r"\$" in secret:
        with pytest.raises(ValueError, match="cannot read"):
            conf.literal(secret)
        return
    assert oslo_value(path, f"[DEFAULT]\nx = {conf.literal(secret)}\n") == secret


@pytest.mark.parametrize(
    "secret", ["", " ", "'", '"', "'a'", '"a"', " a", "a\u2028", "\x85", "$", "$$", "$x", "a\\", "#a", "[a]", "=", "a\x0b"]
)
def test_awkward_secrets_come_back(path, secret):
    assert oslo_value(path, f"[DEFAULT]\nx = {conf.literal(secret)}\n") == secret


@given(st.dictionaries(st.sampled_from("abc"), st.lists(WRITABLE, min_size=1, max_size=3)))
@settings(max_examples=200, deadline=None)
def test_what_is_rendered_is_read_again(path, options):
    data = rendered({"DEFAULT": options, "empty": {}}).encode()
    path.write_bytes(data)
    # A section without options is left out.
    assert our_sections(data) == oslo_sections(path) == ({"DEFAULT": options} if options else {})


@pytest.mark.parametrize("bad", ["a\nb", "a\r", "\0", "\ud800"])
def test_what_cannot_be_written_is_refused_without_showing_it(bad):
    for write in (conf.quote, conf.literal):
        with pytest.raises(ValueError, match="cannot contain") as caught:
            write(f"geheim{bad}")
        assert "geheim" not in str(caught.value)


def test_interpolations_in_data_are_meant():
    assert conf.quote("$my_ip") == "$my_ip"
    assert conf.literal("$my_ip") == "$$my_ip"


def test_rendering_has_lists_booleans_and_no_none():
    mapping = {"DEFAULT": {"a": None, "b": [1, "x"], "c": True, "d": "", "e": [], "f": 1.5, "g": " x "}, "vnc": {}}
    lines = rendered(mapping).partition("[DEFAULT]\n")[2].splitlines()
    assert [line.rstrip() for line in lines if line] == ["b = 1", "b = x", "c = true", "d =", "f = 1.5", 'g = " x "']


@pytest.mark.parametrize("bad", [None, {}, object(), b"x"])
def test_what_is_no_value_is_refused(bad):
    with pytest.raises(TypeError):
        conf.quote(bad)


def test_items_of_a_mapping_are_those_of_its_file():
    mapping = {"DEFAULT": {"a": [1, " x "], "b": "'q'"}, "VNC": {"enabled": False, "none": None}}
    read = [(i.section, i.name, i.value) for i in conf.read(rendered(mapping)).items]
    assert [(i.section, i.name, i.value) for i in conf.items(mapping)] == read
