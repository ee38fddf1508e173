"""A template is compiled once, and what makes another template of the same text is not forgotten."""

import pytest
from jinja2 import Environment, pass_context
from jinja2.nodes import Template

from kilonova.run import templates


class Counting(Environment):
    """Notes what is compiled."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.asked = []


def compile_(self, source, *arguments, **options):
    self.asked.append(source)
    return Environment.compile(self, source, *arguments, **options)


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setattr(Counting, "compile", templates.kept(compile_))
    return Counting()


def test_a_text_is_compiled_once(environment):
    given = [environment.from_string("{{ a }} and {{ b }}").render(a=number, b=2) for number in range(3)]
    assert given == ["0 and 2", "1 and 2", "2 and 2"]
    assert environment.asked == ["{{ a }} and {{ b }}"]
    other = Counting()
    assert other.from_string("{{ a }} and {{ b }}").render(a=1, b=1) == "1 and 1"
    assert other.asked == []


@pytest.mark.parametrize(
    "settings", [{"trim_blocks": True}, {"keep_trailing_newline": True}, {"optimized": False}, {"variable_start_string": "{%%"}]
)
def test_another_setting_is_another_template(environment, settings):
    text = "{% if a %}\n{{ a }}{% endif %}\n"
    environment.from_string(text)
    other = environment.overlay(**settings)
    other.asked = []
    assert other.from_string(text).render(a="x") == Environment(**settings).from_string(text).render(a="x")
    assert other.asked == [text]


def test_a_backslash_and_a_tree_are_compiled_each_time(environment):
    for _ in range(2):
        environment.from_string(r"{{ 'a\tb' }}")
        environment.compile(Template([], lineno=1))
    assert len(environment.asked) == 4


def test_other_text_of_a_wrong_template_is_still_an_error(environment):
    for _ in range(2):
        with pytest.raises(Exception, match="expected token"):
            environment.from_string("{{ a b }}")


def test_ansibles_own_environment_is_set_up_once(monkeypatch):
    monkeypatch.setattr(templates.AnsibleEnvironment, "compile", Environment.compile)
    templates.install()
    first = templates.AnsibleEnvironment.compile
    templates.install()
    assert templates.AnsibleEnvironment.compile is first is not Environment.compile


def test_a_filter_that_comes_later_is_not_forgotten(environment):
    """Its template is compiled without knowing whether it takes the context."""
    text = "{% if known %}{{ 'a' | later }}{% endif %}"
    assert environment.from_string(text).render(known=False) == ""

    @pass_context
    def later(context, value):
        return f"{value}{context['known']}"

    environment.filters["later"] = later
    assert environment.from_string(text).render(known=True) == "aTrue"
