"""Management programs of services: several commands for one start of Python."""

import pytest
from harness import Failed, Module, load

MANAGEMENT = """
import os, pathlib, sys
here = pathlib.Path(os.environ["HERE"])
(here / "starts").open("a").write("x")

def main():
    (here / sys.argv[1]).write_text(" ".join([*sys.argv, os.environ["SECRET"], str((here / "first").exists())]))
    if sys.argv[1] == "fails":
        print("at mysql+pymysql://nova:p%40ss@10.0.0.11/nova")
        return 3
"""


@pytest.fixture
def management(run, monkeypatch, tmp_path):
    """A management program; management(waves) runs it as a module would, and returns that program's directory."""
    (tmp_path / "service_manage.py").write_text(MANAGEMENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HERE", str(tmp_path))
    manage = load("nova_databases").manage

    def managed(*waves):
        manage.run(Module({}), ("service-manage", "service_manage"), *waves, secrets={"SECRET": "canary"})
        return tmp_path

    return managed


def test_commands_of_one_program_for_one_start_of_it(management, tmp_path):
    management([["first", "--option"]], [], [["second"], ["third"]])
    assert (tmp_path / "starts").read_text() == "x"
    assert (tmp_path / "first").read_text() == "service-manage first --option canary False"
    assert [(tmp_path / name).read_text() for name in ("second", "third")] == [
        f"service-manage {name} canary True" for name in ("second", "third")
    ]


def test_a_command_that_fails_ends_the_program_and_its_password_is_hidden(management, tmp_path):
    with pytest.raises(Failed, match=r"nova:\(hidden\)@10[^$]*service-manage fails now failed"):
        management([["fails", "now"], ["first"]], [["second"]])
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()
