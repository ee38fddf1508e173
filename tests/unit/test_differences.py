"""The table of releases: read from data, and on the page as the data has it."""

import pytest

from kilonova.config import differences
from kilonova.config.config_files import ROLES
from kilonova.config.releases import RELEASES


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (
            {"ocata": "a", "zed": True, "epoxy": None},
            [("x", "until Yoga", "a"), ("x", "Zed to 2024.2 Dalmatian", "true"), ("x", "from 2025.1 Epoxy on", "left out")],
        ),
        (
            {"zed": ["a"], "epoxy": ["a"], "gazpacho": []},
            [("x", "Zed to 2025.2 Flamingo", "a"), ("x", "from 2026.1 Gazpacho on", "none")],
        ),
        (
            [
                {"until": "zed", "options": {"api": {"a": 1}}},
                {"since": "pike", "until": "pike", "options": {"api": {"b": "c" * 199}}},
            ],
            [("x [api] a", "until Zed", "1"), ("x [api] b", "Pike", "c" * 150 + "…")],
        ),
        # What is not a table of releases.
        ({"zed": "a"}, []),
        ({"zed": "a", "all": "b"}, []),
        ([{"name": "zed"}], []),
        ("zed", []),
    ],
)
def test_a_variable_that_differs(value, rows):
    assert list(differences.of_variable("x", value)) == rows


def test_the_page_has_what_the_data_has():
    text = differences.PAGE.read_text(encoding="utf-8")
    assert differences.page(text) == text, "run `python -m kilonova.config.differences`"


def test_the_page_names_every_release_that_can_be_installed():
    text = differences.PAGE.read_text(encoding="utf-8")
    shared = differences.yaml.safe_load((ROLES / "openstack" / "vars" / "main" / "main.yml").read_text())
    for release in RELEASES:
        assert (f"\n| {release.title} | Debian " in text) is (release.name in shared["openstack_distributions"])
