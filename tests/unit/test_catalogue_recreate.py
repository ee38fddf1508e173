"""The stored catalogue is what the released packages say; and Nova itself agrees with our verdicts.

Needs pip and a package index: about a minute, or seconds with the packages in the cache.
Run with `pytest -m recreate`; left out where no index can be reached.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kilonova.config.catalogue import catalogue, errors, grammar, store, validate
from kilonova.config.catalogue.options import by_hand
from kilonova.config.releases import find

TOOL = Path(__file__).parents[2] / "tools" / "catalogue"

pytestmark = pytest.mark.recreate


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("recreate", TOOL / "recreate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = Path(os.environ.get("KILONOVA_CATALOGUE_CACHE") or tmp_path_factory.mktemp("catalogue"))
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("name", ["ocata", "hibiscus"])
def test_stored_options_are_those_of_the_packages(tool, cache, name):
    release = find(name)
    history, _ = store.read()
    assert store.dump(tool.options(release, cache)) == store.dump(store.at(history, release.nova))


@pytest.mark.parametrize("name", ["zed", "hibiscus"])
def test_stored_options_of_the_other_services_are_those_of_the_packages(tool, cache, name):
    release = find(name)
    parts, _ = store.read_services()
    assert store.dump(tool.services(release, cache)) == store.dump(store.parts_at(parts, release.nova))


def test_the_file_of_the_other_services_is_written_the_same_again(tool, tmp_path):
    parts, packages = store.read_services()
    each = {nova: store.parts_at(parts, nova) for nova in packages}
    again = {part: store.merge({nova: found.get(part, {}) for nova, found in each.items()}) for part in parts}
    store.write_services(again, packages, tmp_path / "services.json")
    assert (tmp_path / "services.json").read_bytes() == store.SERVICES.read_bytes()
    assert packages == {nova: tool.services_of(find(nova)) for nova in range(26, 35)}


def test_the_file_is_written_the_same_again(tool, tmp_path):
    history, packages = store.read()
    again = store.merge({nova: store.at(history, nova) for nova in range(15, 35)})
    store.write(again, packages, tmp_path / "nova.json")
    assert (tmp_path / "nova.json").read_bytes() == store.FILE.read_bytes()
    assert packages == {find(nova).nova: tool.nova_of(find(nova)) for nova in packages}


VALUES = (
    "", "true", "maybe", "0", "-1", "1", "1.5", "70000", "999999999999", "none", "a,b", "a:b", "[1]", "http://h:1/x",
    "::1", "10.0.0.1", "not a host!", "$my_ip", "$nothing", "${my_ip}x", "$$x", r"\$x",
    "${vnc.enabled}", "${nowhere.x}", "x" * 300,
    "CAP_CHOWN", "servers,class:VCPU",
)  # fmt: skip


@pytest.mark.parametrize("name", ["ocata", "hibiscus"])
def test_nova_and_we_agree_about_values(tool, cache, name):
    """Ask Nova's own oslo.config about many values of every option; an option that we refuse it refuses too."""
    release = find(name)
    cases = []
    for section, options in catalogue(release).sections.items():
        # Those that Nova makes of values when it runs, its oslo.config cannot be asked for.
        if section[0] == "{" or section.endswith("*") or section in {row["section"] for row in by_hand()["sections"]}:
            continue
        for number, option in enumerate(options.values()):
            for value in VALUES[number % 3 :: 3]:
                cases.append((section, option.dest, [f"[{section}]", f"{option.dest} = {value}"]))
    base = tool.packages(TOOL / "pins" / "base.txt", cache)
    path = tool.packages(TOOL / "pins" / f"{release.name}.txt", cache)
    env = {"PYTHONPATH": f"{path}{os.pathsep}{base}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "ignore", "-S", str(TOOL / "ask.py")]
    done = subprocess.run(command, input=json.dumps(cases), env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    wrong, known = [], [row for row in by_hand()["values"] if row["level"] == "error"]
    for (section, option, lines), answer in zip(cases, json.loads(done.stdout), strict=True):
        refused = errors(validate("\n".join(lines), release))
        # What Nova parses itself when it starts, oslo.config takes for a text.
        if answer is True and grammar.wrong(catalogue(release).sections[section][option], lines[1].partition(" = ")[2], release):
            continue
        # So it does with names of classes and with numbers that a service refuses when it starts: each row has its source.
        said = [f.message for f in refused]
        if answer is True and any(
            row["section"] == section and option in row["names"] and any(row["reason"] in message for message in said)
            for row in known
        ):
            continue
        if bool(refused) is (answer is True):
            wrong.append((section, option, lines[1], answer, [f.message for f in refused]))
    assert not wrong, f"{len(wrong)} of {len(cases)}: {wrong[:20]}"
