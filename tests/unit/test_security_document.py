"""docs/security.md lists every check of the Security Guide that molecule runs, every port, and how each path of TLS is tried."""

import ast
import importlib.util
import re

from kilonova.config import declared
from kilonova.config.config_files import ROLES

TREE = ROLES.parent
BEGIN, END = "<!-- checks -->\n", "<!-- end of the checks -->"


def checks():
    """The module of the tests; it needs no cloud to be read."""
    spec = importlib.util.spec_from_file_location("guide_checks", TREE / "molecule/default/tests/test_security_guide.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(module):
    """The list as it must be in the document."""
    lines = ["", "| check | what holds |", "|---|---|"]
    for name, (title, _function) in module.CHECKS.items():
        lines.append(f"| {name} | {title} |")
    return "\n".join([*lines, "", ""])


def ports():
    """The table of ports as it must be in the document."""
    at = {"management": "management", "api": "`openstack_api_addresses`", "loopback": "127.0.0.1", "any": "every"}
    lines = ["", "| port | service | host | address | who must reach it | login |", "|---|---|---|---|---|---|"]
    for row in declared.ports():
        extra = [
            *([f"with {' or '.join(row['backends'])}"] if "backends" in row else []),
            *([f"while {row['sometimes']}"] if "sometimes" in row else []),
        ]
        service = row["service"] + (f"; {', '.join(extra)}" if extra else "")
        port = f"{row['port']}{'/udp' if row.get('kind') == 'udp' else ''}"
        lines.append(f"| {port} | {service} | {row['host']} | {at[row['at']]} | {row['by']} | {row['login']} |")
    return "\n".join([*lines, "", ""])


def test_the_document_lists_the_ports():
    """Those that the tests of a deployed cloud compare with what listens."""
    text = (TREE / "docs/security.md").read_text(encoding="utf-8")
    assert re.search(r"(?s)<!-- ports -->\n(.*?)<!-- end of the ports -->", text)[1] == ports()


def test_the_document_lists_the_checks():
    text = (TREE / "docs/security.md").read_text(encoding="utf-8")
    listed = re.search(f"(?s){re.escape(BEGIN)}(.*?){re.escape(END)}", text)[1]
    assert listed == table(checks())


def test_the_document_says_how_each_path_of_tls_is_tried():
    """By tests that there are, with the cases that they have."""
    text = (TREE / "docs/security.md").read_text(encoding="utf-8")
    head, *rows = re.search(r"(?s)\n(\| path \| how .*?)\n\n", text)[1].splitlines()
    code = (TREE / "tests/trust/test_tls.py").read_text(encoding="utf-8")
    tests = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    cases = {node.name: " ".join(map(ast.unparse, node.decorator_list)) for node in tests}
    assert head.endswith("| tried by |")
    for row in rows[1:]:
        tried = row.rstrip(" |").rpartition("| ")[2]
        if tried != "not at all":
            name, case = re.fullmatch(r"`(\w+)(?:\[(\w+)\])?`", tried).groups()
            assert case is None or f"'{case}'" in cases[name], row
            assert name in cases, row
