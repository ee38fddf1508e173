"""The roles as data: specs that fit defaults, tables of contents, names that stay in their room, no secret with a default."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from kilonova.config import config_files, declared, overrides
from kilonova.config.config_files import ROLES, TEMPLATES, role_packages
from kilonova.config.releases import RELEASES
from kilonova.run import authorities

TREE = ROLES.parent


class Loader(yaml.SafeLoader):
    """YAML as Ansible has it: a tag is read as the value that it marks."""


Loader.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))


def load(path: Path):
    """The data of a YAML file; None when there is none."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader) if path.exists() else None


SHARED = load(ROLES / "openstack" / "vars" / "main" / "main.yml")
NAMES = sorted({path.parts[-3] for path in ROLES.glob("*/*/*.yml")})
SPECS = {name: (load(ROLES / name / "meta" / "argument_specs.yml") or {}).get("argument_specs", {}) for name in NAMES}
DEFAULTS = {name: load(ROLES / name / "defaults" / "main.yml") or {} for name in NAMES}
SERVICES = list(dict.fromkeys(name for names in SHARED["openstack_group_roles"].values() for name in names))
TASK_FILES = [path for name in NAMES for path in sorted((ROLES / name / "tasks").glob("*.yml"))]
# What `make secrets` writes.
CERTIFICATES = set(authorities.VARIABLES)
# The guide's order: prerequisites, install, configure, populate, finalize.
HEADINGS = ["service_database", "openstack_packages", "kvm_probe", "config_files", "schema_sync", "nova_databases"]
KEYWORDS = ("name", "register", "when", "loop", "loop_control", "vars", "run_once", "block")

each_role = pytest.mark.parametrize("role", NAMES)
each_service = pytest.mark.parametrize("role", SERVICES)
each_task_file = pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(ROLES)))


def options(role):
    """Every argument of a role with its attributes, of all entry points."""
    return {name: attributes for entry in SPECS[role].values() for name, attributes in entry["options"].items()}


def tasks(data):
    """Every task of a task file or playbook, those of blocks and plays too."""
    for item in data or []:
        yield item
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks(item.get(key))


def is_template(value):
    """Whether Jinja makes the value at run time."""
    return "{{" in json.dumps(value)


# -------------------------------------------------------------------------------------------------------------- specs


@each_role
def test_every_default_is_in_the_spec_and_every_option_has_a_default(role):
    optional = {name for name, attributes in options(role).items() if not attributes.get("required")}
    assert optional - {*declared.secrets(), *SHARED["openstack_foreign_secrets"], *CERTIFICATES} == set(DEFAULTS[role])


@each_role
def test_the_spec_repeats_the_literal_defaults(role):
    said = {name: attributes["default"] for name, attributes in options(role).items() if "default" in attributes}
    literal = {name: value for name, value in DEFAULTS[role].items() if not is_template(value)}
    assert {name: value for name, value in said.items() if not is_template(value)} == literal


def described(where, arguments):
    """Complain about arguments without a type or a description, those of their structures too."""
    for name, attributes in arguments.items():
        place = f"{where}.{name}"
        assert attributes.get("type"), place
        assert "elements" in attributes or attributes["type"] != "list", place
        assert str(attributes.get("description", "")).endswith((".", "]")), place
        described(place, attributes.get("options", {}))


@each_role
def test_every_argument_has_type_and_description(role):
    assert SPECS[role]
    for name, entry in SPECS[role].items():
        assert entry.get("short_description"), name
        assert entry.get("description"), name
        assert (ROLES / role / "tasks" / f"{name}.yml").exists(), name
        described(name, entry["options"])


@each_role
def test_no_entry_point_that_others_call_is_without_a_spec(role):
    called = "".join(path.read_text() for path in [*TREE.glob("playbooks/*.yml"), *TASK_FILES])
    used = set(re.findall(rf"name: {role}\n\s+tasks_from: (\w+)", called))
    assert used <= set(SPECS[role])


@each_role
def test_no_default_is_dead(role):
    readers = "*" if role == "openstack" else role  # shared ones are for all roles
    files = [
        *TREE.glob("action_plugins/*.py"),
        *ROLES.glob(f"{readers}/tasks/*.yml"),
        *ROLES.glob(f"{readers}/vars/**/*.yml"),
        *TREE.glob("playbooks/*.yml"),
        *TREE.glob("kilonova/run/*.py"),  # preflight
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in files) + json.dumps(list(DEFAULTS[role].values()))
    read = set(overrides.variables_of(role)) & set(overrides.files_of())  # by the actions, for the files of the role
    assert not [name for name in DEFAULTS[role] if name not in read and not re.search(rf"\b{name}\b", text)]


def test_inventories_set_variables_that_a_role_knows():
    known = {name for role in NAMES for name in options(role)}
    for path in TREE.glob("inventories/**/*.yml"):
        text = path.read_text(encoding="utf-8")
        if text.startswith("plugin:") or "\nplugin:" in text:
            continue
        names = set(re.findall(r"^\s*([a-z]\w*_\w+):", text, re.MULTILINE))
        # a name that the inventory gives to a part of others
        own = {name for name in names if re.search(rf"{{{{[^}}]*\b{name}\b", text)}
        unknown = {name for name in names - own - known if not name.startswith("ansible_")}
        assert not unknown, path


# ------------------------------------------------------------------------------------------------------------ secrets


def test_secrets_have_no_default_and_are_hidden():
    secrets = declared.secrets()
    hidden = {name: attributes for name, attributes in options("openstack").items() if attributes.get("no_log")}
    assert set(hidden) == {*secrets, *SHARED["openstack_foreign_secrets"], *CERTIFICATES, "openstack_ceph"} - {
        authorities.AUTHORITY,
        authorities.PEERS,
        authorities.STEP,
    }
    for name, attributes in hidden.items():
        assert "default" not in attributes
        if name in secrets and re.fullmatch("[A-Z_]+", secrets[name]):
            assert attributes["description"].startswith(f"{secrets[name]}, ")
    data = [*TREE.glob("roles/*/defaults/**/*.yml"), *TREE.glob("roles/*/vars/**/*.yml"), *TREE.glob("inventories/**/*.yml")]
    for path in data:
        if path.name != "secrets.yml":
            text = path.read_text(encoding="utf-8")
            # A declaration has the guide's name for it, and no value.
            assert not re.search(rf"^\s*({'|'.join(secrets)}):(?! [A-Z_]+$| key of)", text, re.MULTILINE), path


def test_arguments_that_hold_a_password_are_hidden():
    found = []

    def look(where, arguments):
        for name, attributes in arguments.items():
            if re.search(r"(pass|password|secret)$", name) and not attributes.get("no_log"):
                found.append(f"{where}.{name}")
            look(f"{where}.{name}", attributes.get("options", {}))

    for role in NAMES:
        look(role, options(role))
    assert not found


# -------------------------------------------------------------------------------------------------------------- rooms


@each_service
def test_a_service_is_one_page(role):
    """Open the guide's page and the role side by side: headings are named tasks that call modules, or another page."""
    page = load(ROLES / role / "tasks" / "main.yml")
    called = [next(key for key in task if key not in KEYWORDS) for task in page]
    assert all(task.get("name") for task in page)
    assert len(page) > 1
    order = list(dict.fromkeys(module for module in called if module in HEADINGS))
    assert order == sorted(order, key=HEADINGS.index)
    entry_points = set(SPECS[role]) - {"main"}
    pages = {path.stem for path in TASK_FILES if path.parts[-3] == role} - {"main"} - entry_points
    imported = [task["ansible.builtin.import_tasks"] for task in page if "ansible.builtin.import_tasks" in task]
    assert sorted(imported) == sorted(f"{name}.yml" for name in pages)
    # Whether a host must be asked is the action's to know.
    assert not re.search(r"openstack_host\b(?!_)", json.dumps(page))


@each_task_file
def test_no_file_only_imports(path):
    found = load(path)
    assert len(found) > 1 or not any("import" in key for task in found for key in task), path


def test_no_role_has_the_name_of_a_module():
    modules = {path.stem for path in (TREE / "library").glob("*.py")}
    assert modules & set(NAMES) == {"keystone_endpoints", "launch_instance"}


@each_role
def test_a_role_reads_no_internal_variable_of_another(role):
    for path in (ROLES / role).rglob("*.yml"):
        for name in set(re.findall(r"(?<![\w.])__([a-z]\w*)", path.read_text(encoding="utf-8"))):
            owner = max((other for other in NAMES if name.startswith(f"{other}_")), key=len, default=None)
            assert owner == role, f"{path}: __{name}"


@pytest.mark.parametrize("role", sorted(path.parts[-4] for path in ROLES.glob("*/vars/main/packages.yml")))
def test_packages_are_there_for_every_release_that_can_be_deployed(role):
    for release in SHARED["openstack_distributions"]:
        names = role_packages([role], release)
        assert names
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in names)


def test_every_template_that_is_named_exists_and_every_one_is_used_and_has_a_name_of_its_own():
    files = [*TREE.glob("roles/**/*.yml"), *TREE.glob("playbooks/*.yml"), TREE / "kilonova/config/listening.py"]
    named = set(re.findall(r"\b([\w.-]+\.j2)\b", "".join(path.read_text(encoding="utf-8") for path in files)))
    found = [path.name for path in [*TEMPLATES.glob("*.j2"), *ROLES.glob("*/templates/*.j2")]]
    assert sorted(found) == sorted({*named, config_files.USUAL_TEMPLATE, config_files.SECTION_TEMPLATE})


# -------------------------------------------------------------------------------------------------------------- tasks

VERSIONS = {release.name for release in RELEASES} | {release.number for release in RELEASES if release.number}
SYSTEMS = {"bullseye", "bookworm", "trixie", "forky", "sid", "jammy", "noble"}


@each_task_file
def test_no_task_names_a_release_or_a_distribution(path):
    words = set(re.findall(r"[\w.]+", json.dumps(load(path)).lower()))
    assert not words & (VERSIONS | SYSTEMS)


@each_task_file
def test_a_task_file_is_one_heading(path):
    assert len(path.read_text().splitlines()) <= 80


# Ansible makes sets of what these are given: the order of the result, and so a file that is made of it, differs from run to run.
WITHOUT_ORDER = re.compile(r"\|\s*(difference|intersect|union|symmetric_difference)\(")
YAML_FILES = [path for part in ("roles", "playbooks", "inventories") for path in (TREE / part).rglob("*.yml")]


def test_no_list_has_an_order_by_chance():
    found = [
        f"{path.relative_to(TREE)}: {match.group(1)}" for path in YAML_FILES for match in WITHOUT_ORDER.finditer(path.read_text())
    ]
    assert len(YAML_FILES) > 100 and found == []


# What tasks with `changed_when: false` do. Each was looked at and only reads; another one wants a look of its own.
READING = {
    ("ansible.builtin.command", "dpkg-query"),
    ("ansible.builtin.command", "print("),
    ("ansible.builtin.command", "is-active"),
    ("ansible.builtin.async_status", "jid"),
}


@pytest.mark.parametrize("path", [*TASK_FILES, *TREE.glob("playbooks/*.yml")], ids=lambda path: str(path.relative_to(TREE)))
def test_tasks_report_honestly(path):
    for task in tasks(load(path)):
        assert "ignore_errors" not in task, task["name"]
        if task.get("changed_when") is False:
            known = [part for module, part in READING if part in json.dumps(task.get(module))]
            assert known, f"{task['name']}: does it only read?"


def written_files(data):
    """Every file that variables describe for config_files."""
    if isinstance(data, dict):
        if "path" in data and "layers" in data:
            yield data
        for value in data.values():
            yield from written_files(value)
    elif isinstance(data, list):
        for value in data:
            yield from written_files(value)


@each_service
def test_a_file_belongs_to_whom_its_directory_belongs(role):
    """config_rights gives all of the directory to them: a file that says something else would be changed by every run."""
    for path in sorted((ROLES / role / "vars").rglob("*.yml")):
        for file in written_files(load(path)):
            for declaration in declared.services().values():
                directory = declaration["service"].get("directory")
                if directory and file["path"].startswith(directory["path"] + "/"):
                    there = (file.get("owner", "root"), file.get("group", "root"), file.get("mode", "0644"))
                    assert there == (directory["owner"], directory["group"], "0640"), file["path"]


def unit_names(data):
    """The names of the units in a variable, however deep."""
    if isinstance(data, dict):
        return [data["name"]] if "name" in data else unit_names(list(data.values()))
    return [name for item in data for name in unit_names(item)] if isinstance(data, list) else []


@each_service
def test_every_unit_is_one_that_the_host_tells_of(role):
    """What is not told counts as not enabled, and a mask as none."""
    data = {name: value for path in ROLES.glob(f"{role}/vars/**/*.yml") for name, value in load(path).items()}
    names = [name for variable, value in data.items() if variable.endswith("_units") for name in unit_names(value)]
    assert names or role == "neutron_compute"
    declarations = declared.services().values()
    patterns = [pattern for declaration in declarations for pattern in declaration["service"]["units"]]
    patterns += SHARED["openstack_backend_units"] + SHARED["openstack_host_units"]
    assert not [name for name in names if not any(fnmatch(f"{name}.service", pattern) for pattern in patterns)]


def test_facts_of_actions_are_read_where_they_are():
    """ansible.cfg does not inject them: by their bare names they would be undefined, or a default, without a word."""
    text = "".join(path.read_text(encoding="utf-8") for part in ("tasks", "vars") for path in ROLES.glob(f"*/{part}/**/*.yml"))
    actions = "".join(path.read_text(encoding="utf-8") for path in TREE.glob("action_plugins/*.py"))
    given = re.findall(r"""ansible_facts"?\]? ?= ?({.*})""", actions)
    assert len(given) == actions.count("ansible_facts") > 0
    facts = re.findall(r'"(\w+)":', "".join(given))
    for name in facts:
        assert re.search(rf"(?<=ansible_facts\.){name}\b", text), f"no role reads ansible_facts.{name}"
        assert not re.search(rf"(?<!ansible_facts\.)\b{name}\b", text), f"{name}: read it as ansible_facts.{name}"
