"""Compute nodes are mapped to their cell."""

import pytest
import yaml
from harness import Failed, load

from kilonova.config.config_files import ROLES


def test_hosts_are_mapped_once(run, monkeypatch):
    code, mapped = load("nova_hosts"), [("a",)]
    answers = {"nova_api.host_mappings": lambda: mapped, "nova.compute_nodes": lambda: [("a",), ("b",)]}
    monkeypatch.setattr(code, "query", lambda _module, statement: next(f() for table, f in answers.items() if table in statement))
    monkeypatch.setattr(code, "nova_manage", lambda *_arguments: mapped.append(("b",)))
    assert run(code, hosts=["a", "b"])["actions"] == ["map b to cell1"]
    assert run(code, hosts=["a", "b"])["actions"] == []


def test_a_mapping_that_somebody_deleted_is_made_again(run, monkeypatch):
    code, mapped, calls = load("nova_hosts"), [], []
    tables = {"nova_api.host_mappings": mapped, "nova.compute_nodes": [("a",)]}
    monkeypatch.setattr(code, "query", lambda _module, statement: next(tables[name] for name in tables if name in statement))

    def nova_manage(_module, *arguments):
        calls.append(arguments)
        if "--by-service" in arguments:
            mapped.append(("a",))

    monkeypatch.setattr(code, "nova_manage", nova_manage)
    assert run(code, hosts=["a"])["actions"] == ["map a to cell1"]
    assert calls == [("discover_hosts",), ("discover_hosts", "--by-service")]


def test_a_host_that_does_not_report_is_named(run, monkeypatch):
    code = load("nova_hosts")
    monkeypatch.setattr(code, "query", lambda *_arguments: [])
    with pytest.raises(Failed, match="no report from nova-compute on b within 0 s"):
        run(code, hosts=["b"], timeout=0)


def test_the_controller_maps_a_new_compute_node_also_when_limit_leaves_it_out():
    (play,) = yaml.safe_load((ROLES.parent / "playbooks" / "verify_operation.yml").read_text())
    (task,) = [
        task for task in play["tasks"] if task.get("ansible.builtin.import_role", {}).get("tasks_from") == "discover_hosts"
    ]
    assert task["delegate_to"] == "{{ openstack_first_controller }}"
    assert task["run_once"] is True
    assert "group_names" not in task["when"]
    assert "inventory_hostname" not in task["when"]
