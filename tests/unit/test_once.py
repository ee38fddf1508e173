"""Answers that are given once (kilonova.config.once)."""

import pytest

from kilonova.config import once


class Lazy(dict):
    """As a container of Ansible's own."""


def counted(remember):
    asked = []

    @remember
    def answer(*data):
        asked.append(data)
        return [*data]

    return answer, asked


@pytest.mark.parametrize("remember", [once.once, once.once_for_objects])
def test_the_same_is_answered_once(remember):
    answer, asked = counted(remember)
    same = {"a": 1}
    assert answer(same, "nova.conf") is answer(same, "".join(["nova", ".conf"]))
    assert answer(same, "neutron.conf") == [same, "neutron.conf"]
    assert answer(same, None) == [same, None]
    assert len(asked) == 3


def test_equal_data_is_the_same_and_another_object_is_not():
    (by_data, _), (by_object, asked) = counted(once.once), counted(once.once_for_objects)
    assert by_data({"a": 1}) is by_data({"a": 1})
    first, second = {"a": 1}, {"a": 1}
    assert by_object(first) is not by_object(second) and len(asked) == 2


def test_an_object_that_is_gone_is_not_taken_for_the_next_one(monkeypatch):
    """Its id is given to another one only when nobody has it any more: here it is kept, and what is forgotten is asked again."""
    monkeypatch.setattr(once, "MOST", 10)
    # An answer that does not have the object itself, which would keep it as well.
    answer = once.once_for_objects(lambda data: data["a"])
    assert [answer({"a": number}) for number in range(1000)] == list(range(1000))


@pytest.mark.parametrize("remember", [once.once, once.once_for_objects])
def test_what_is_forgotten_is_asked_again(remember):
    answer, asked = counted(remember)
    same = {"a": 1}
    answer(same)
    once.forget()
    answer(same)
    assert len(asked) == 2


def test_objects_of_ansibles_types_are_not_kept():
    answer, asked = counted(once.once_for_objects)
    lazy = Lazy(a=1)
    assert answer("nova", lazy) == answer("nova", lazy) and len(asked) == 2


def test_an_error_is_no_answer():
    for remember in (once.once, once.once_for_objects):
        given = iter([ValueError, "right"])

        @remember
        def answer(_data, given=given):
            found = next(given)
            if found is ValueError:
                raise ValueError("not yet")
            return found

        with pytest.raises(ValueError, match="not yet"):
            answer("x")
        assert answer("x") == "right"
