"""What holds for every module: documentation, arguments, locks, Python."""

import re

import pytest
import yaml
from harness import LIBRARY, argument_spec, load

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself
NAMES = sorted(path.stem for path in LIBRARY.glob("*.py"))


def facts(options):
    """What documentation and argument_spec both say of each option."""
    keys = ("type", "elements", "required", "default", "choices")
    return {name: {key: said[key] for key in keys if said.get(key) not in (None, False)} for name, said in options.items()}


@pytest.mark.parametrize("name", NAMES)
def test_documentation_lists_exactly_the_arguments(name, monkeypatch):
    said = yaml.safe_load(load(name).DOCUMENTATION)
    assert said["module"] == name
    assert {"short_description", "description"} <= set(said)
    assert facts(said.get("options", {})) == facts(argument_spec(name, monkeypatch))
    # ansible-doc refuses a module with an option that is not described.
    assert not [option for option, text in said.get("options", {}).items() if not text.get("description")]


def test_the_keys_of_a_unit_are_documented_as_they_are(monkeypatch):
    said = yaml.safe_load(load("service_units").DOCUMENTATION)["options"]["units"]["suboptions"]
    assert facts(said) == facts(argument_spec("service_units", monkeypatch)["units"]["options"])
    assert all(text["description"] for text in said.values())


@pytest.mark.parametrize("name", NAMES)
def test_passwords_are_hidden_from_logs(name, monkeypatch):
    def look(options):
        for option, said in options.items():
            assert said.get("no_log") or not re.search("pass|secret", option), option
            look(said.get("options") or {})

    look(argument_spec(name, monkeypatch))
