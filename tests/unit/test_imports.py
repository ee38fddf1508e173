"""What mitogen sends to hosts."""

import ast
import subprocess
import sys

import pytest
from harness import ROLES

from kilonova.run import imports

PACKAGE = "ansible.module_utils.kilonova"
UTILS = ROLES.parent / "module_utils" / "kilonova"


@pytest.mark.parametrize(
    ("module", "written", "named"),
    [
        ("command", (1, "", ("lock",)), "lock"),
        ("rights", (1, "", ("files", "unit_state")), "unit_state"),
        ("command", (1, "address", ("host_port",)), "address"),
        ("verify", (1, "", ("rows",)), "verify.rows"),  # a package
        ("verify.rows", (2, "", ("command",)), "command"),
        ("verify.rows", (2, "address", ("split",)), "address"),
    ],
)
def test_relative_imports_are_named_in_full(module, written, named):
    assert f"{PACKAGE}.{named}" in set(imports.relative(f"{PACKAGE}.{module}", [written], "ansible.module_utils"))


def test_packages_are_named_before_what_is_in_them():
    """Ansible's own modules import relatively, too, and what a package would name need not exist."""
    found = list(imports.relative("ansible.module_utils.basic", [(1, "common.text", ("x",))], "ansible.module_utils"))
    for name in found:
        parent = name.rpartition(".")[0]
        assert parent in ("ansible.module_utils", "ansible.module_utils.basic") or parent in found[: found.index(name)]
    assert {"ansible.module_utils.common", "ansible.module_utils.common.text"} <= set(found)


def test_absolute_imports_and_what_is_elsewhere_are_not():
    found = imports.relative(f"{PACKAGE}.command", [(0, "os", ()), (4, "", ("x",)), (9, "", ("x",))], "ansible.module_utils")
    assert list(found) == []


def needs(name):
    """Modules of the package that one imports relatively."""
    tree = ast.parse((UTILS / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module.partition(".")[0]] if node.module else [leaf.name for leaf in node.names]


def test_mitogen_finds_all_that_a_module_needs():
    """With mitogen as it is, in a process of its own."""
    pytest.importorskip("ansible_mitogen", reason="mitogen is optional: requirements/mitogen.txt")
    program = (
        "import sys; from ansible import constants; constants.DEFAULT_STRATEGY = 'mitogen_linear'\n"
        "from kilonova.run import imports; imports.install(); imports.install()\n"
        "from ansible_mitogen import module_finder\n"
        "for name, _path, _package in module_finder.scan('host_facts', 'library/host_facts.py', ['module_utils']): print(name)"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROLES.parent, capture_output=True, text=True, check=True).stdout
    found = {name.removeprefix(f"{PACKAGE}.") for name in said.split() if name.startswith(f"{PACKAGE}.")}
    assert {"command", "lock", "files", "unit_state"} <= found
    assert {other for name in found if (UTILS / f"{name}.py").exists() for other in needs(name)} <= found
