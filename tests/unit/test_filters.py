"""The filters as Ansible calls them."""

import importlib.util

import pytest
from ansible.errors import AnsibleFilterError

from kilonova.config.config_files import ROLES

spec = importlib.util.spec_from_file_location("kilonova_filters", ROLES.parent / "filter_plugins" / "kilonova.py")
plugin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plugin)
FILTERS = plugin.FilterModule().filters()


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        (
            "service_url",
            ("nova_api", "mysql+pymysql", "10.0.0.11", 3306, "nova", "p@ss/%"),
            "mysql+pymysql://nova:p%40ss%2F%25@10.0.0.11:3306/nova_api",
        ),
        ("service_url", ("", "rabbit", "fd00::11", "5672", "openstack", "ü"), "rabbit://openstack:%C3%BC@[fd00::11]:5672/"),
        ("literal", ("a$b",), "a$$b"),
        ("literal", ("'quoted'",), "'quoted'"),
        ("release_name", (2025.1,), "epoxy"),
        ("for_release", ({"zed": ["a"]}, "2023.1"), ["a"]),
        ("options_for_release", ([{"since": "zed", "options": {"a": {"b": 1}}}], "zed"), {"a": {"b": 1}}),
        ("role_packages", (["memcached", "openstack_bridges"], "zed"), ["memcached"]),
        (
            "service_roles",
            ({"a": ["mysql", "glance"], "b": ["keystone", "glance"]}, {"a": ["h"], "b": ["h"]}),
            ["glance", "keystone"],
        ),
    ],
)
def test_filters(name, arguments, result):
    assert FILTERS[name](*arguments) == result


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("release_name", ("zad",), "unknown release 'zad'"),
        ("for_release", ({"zed": []}, "yoga"), "'yoga' is older"),
        ("literal", (None,), "empty is not a value of an option"),
        ("literal", ("a\\$b",), "choose another secret"),
    ],
)
def test_wrong_data_is_an_error_that_ansible_prints_with_its_place(name, arguments, message):
    with pytest.raises(AnsibleFilterError, match=message.replace("\\", "\\\\")):
        FILTERS[name](*arguments)
