"""What a template gave is given again for the same variables, and for no others."""

import pytest
from ansible.parsing.dataloader import DataLoader
from harness import ansible_playbook

from kilonova.run import rendered

engine = pytest.importorskip("ansible._internal._templating._engine")
TRUSTED = pytest.importorskip("ansible.template").trust_as_template


@pytest.fixture
def computed(monkeypatch):
    """The texts of the templates that Ansible computes."""
    texts = []
    compile_template = engine.TemplateEngine._compile_template
    compile_template = getattr(compile_template, "__wrapped__", compile_template)

    def noting(self, template, options):
        texts.append(str(template))
        return compile_template(self, template, options)

    monkeypatch.setattr(engine.TemplateEngine, "_compile_template", rendered.remembering(noting))
    monkeypatch.setattr(rendered._jinja_bits.AnsibleContext, "resolve_or_missing", rendered._resolve_or_missing)
    monkeypatch.setattr(rendered, "_KNOWN", {})
    return texts


def trusted(variables):
    return {name: TRUSTED(value) if isinstance(value, str) else value for name, value in variables.items()}


def template(text, variables):
    return engine.TemplateEngine(loader=DataLoader(), variables=variables).template(TRUSTED(text))


def test_a_variable_is_computed_once_for_the_same_variables(computed):
    variables = trusted({"a": "{{ b }}/{{ c }}", "b": "{{ d | upper }}", "c": "{{ d }}{{ b }}", "d": "x"})
    assert template("{{ a }}", variables) == "X/xX"
    assert computed.count("{{ d | upper }}") == 1
    assert template("{{ a }}{{ c }}", {**variables, "e": 1}) == "X/xXxX"
    assert computed.count("{{ b }}/{{ c }}") == 1


def test_another_variable_deep_within_makes_another_result(computed):
    variables = trusted({"a": "{{ b }}", "b": "{{ c | default('none') }}"})
    assert template("{{ a }}", variables) == "none"
    assert template("{{ a }}", trusted({"c": "1"}) | variables) == "1"
    assert template("{{ a }}", trusted({"c": "2"}) | variables) == "2"
    assert template("{{ a }}", variables) == "none"
    assert computed.count("{{ b }}") == 3


def test_what_is_not_a_text_or_a_number_is_computed_each_time(computed):
    variables = trusted({"a": "{{ b + [1] }}", "b": [1]})
    first = template("{{ a }}", variables)
    first.append(2)
    assert template("{{ a }}", variables) == [1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1000000000 | random }}",
        "{{ now() }}",
        "{{ lookup('password', '/dev/null') }}",
        "{{ query('env', lookup('password', '/dev/null')) | length }}",
        "{{ vars['b'] }}",
        "{% for one in [1] %}{{ one }}{% endfor %}",
        "{{ '' is exists }}",
        "{{ b.count('x') }}",
    ],
)
def test_what_more_than_variables_goes_into_is_computed_each_time(computed, text):
    variables = {**trusted({"a": text, "b": "x"}), "vars": {"b": "x"}}
    for _ in range(2):
        template("{{ a }}", variables)
    assert computed.count(text) == 2 and computed.count("{{ a }}") == 2


def test_variables_of_the_environment_are_constant(computed, monkeypatch):
    monkeypatch.setenv("KILONOVA_X", "1")
    text = "{{ lookup('env', 'KILONOVA_X') not in ['', '0'] }}"
    assert [template("{{ a }}", trusted({"a": text})) for _ in range(2)] == [True, True]
    assert computed.count(text) == 1


def test_an_error_is_said_each_time(computed):
    for _ in range(2):
        with pytest.raises(Exception, match="'nothing' is undefined"):
            template("{{ a }}", trusted({"a": "{{ nothing }}"}))


def test_other_hosts_variables_count_until_a_task_says_something(computed, monkeypatch):
    hosts = {"other": trusted({"x": "1"})}
    monkeypatch.setattr("ansible.vars.hostvars.HostVars.__getitem__", rendered._once_unchanged(rendered.HostVars.__getitem__))

    class Manager:
        def get_vars(self, host, include_hostvars):
            return dict(hosts[host])

    class Inventory:
        def get_host(self, name):
            return name

    hostvars = rendered.HostVars(Inventory(), Manager(), DataLoader())
    variables = {**trusted({"a": "{{ hostvars['other'].x }}"}), "hostvars": hostvars}
    with rendered.unchanged():
        assert template("{{ a }}", variables) == "1"
        assert template("{{ a }}", variables) == "1"
        assert computed.count("{{ hostvars['other'].x }}") == 1
        hosts["other"] = trusted({"x": "2"})
        rendered.changed()
        assert template("{{ a }}", variables) == "2"
    hosts["other"] = trusted({"x": "3"})
    assert template("{{ a }}", variables) == "3"
    hosts["other"] = trusted({"x": "4"})
    assert template("{{ a }}", variables) == "4"


PLAY = [
    {"set_fact": {"made": "{{ inventory_hostname }} {{ turn | default(1) }}"}},
    {"debug": {"msg": "{{ others }}"}},
    {"set_fact": {"turn": 2}, "when": "inventory_hostname == 'two'"},
    {"set_fact": {"made": "{{ inventory_hostname }} {{ turn | default(1) }}"}},
    {"debug": {"msg": "{{ others }}"}},
    {"debug": {"msg": "{{ item }} {{ twice }}"}, "loop": [1, 2], "vars": {"twice": "{{ item * 2 }}"}},
    {"command": "echo {{ item }} {{ twice }}", "loop": [1, 2], "vars": {"twice": "{{ item * 3 }}"}},
    {"command": "echo {{ others }}", "register": "said"},
    {"debug": {"msg": "{{ words }}"}, "vars": {"words": "{{ said.stdout }}"}},
]


def test_a_run_says_the_same(tmp_path):
    variables = {"others": "{{ hostvars.one.made }}, {{ hostvars.two.made }}"}
    said = [
        ansible_playbook(tmp_path, [{"hosts": "all", "vars": variables, "tasks": PLAY}], ("one", "two"), callbacks=callbacks)[1]
        for callbacks in (True, False)
    ]
    lines = [[line for line in text.splitlines() if '"msg"' in line or "item=" in line] for text in said]
    assert sorted(lines[0]) == sorted(lines[1]) and len(lines[0]) == 18
    assert '"msg": "one 1, two 2"' in said[0]
