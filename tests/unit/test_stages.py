"""Where the time of a run went: what the callback writes, and how the report draws it."""

import json

import jsonschema
import pytest
from harness import ansible_playbook

from kilonova.config.config_files import ROLES
from kilonova.proof import report
from kilonova.run import stages

SCHEMA = ROLES.parent / "docs" / "report.schema.json"

PLAYS = [("Check", 100.0), ("Identity", 101.5), ("Nothing to do", 104.0), ("Compute", 104.0)]
TASKS = [("look", 100.1), ("bootstrap", 101.5), ("start", 103.25), ("launch", 104.0)]


@pytest.fixture
def spent():
    return stages.spent(PLAYS, TASKS, 110.0)


def test_a_task_belongs_to_the_play_that_it_began_in(spent):
    assert [(one["name"], one["started"], one["seconds"]) for one in spent] == [
        ("Check", 0.0, 1.5),
        ("Identity", 1.5, 2.5),
        ("Nothing to do", 4.0, 0.0),
        ("Compute", 4.0, 6.0),
    ]
    assert [[(task["name"], task["seconds"]) for task in one["tasks"]] for one in spent] == [
        [("look", 1.4)],
        [("bootstrap", 1.75), ("start", 0.75)],
        [],
        [("launch", 6.0)],
    ]


def test_a_run_without_a_play_has_no_stage():
    assert stages.spent([], [], 1.0) == []


def test_bars_are_as_long_as_their_tasks(spent):
    drawn = report.timeline({"seconds": 10.0, "stages": spent})
    per_second = report.BARS / 10
    for row, stage in zip(drawn["rows"], spent, strict=True):
        assert row["x"] == pytest.approx(report.NAMES + per_second * stage["started"], abs=0.1)
        assert row["long"] == pytest.approx(per_second * stage["seconds"], abs=0.1)
        assert sum(bar["long"] for bar in row["bars"]) <= row["long"] + 0.2
    assert [row["y"] for row in drawn["rows"]] == sorted({row["y"] for row in drawn["rows"]})
    assert [tick["text"] for tick in drawn["ticks"]] == ["0", "1 s", *(f"{number} s" for number in range(2, 11))]
    assert [task["name"] for task in drawn["rows"][1]["longest"]] == ["bootstrap", "start"]


@pytest.mark.parametrize(
    ("seconds", "last"), [(0.0, "0"), (1.0, "1 s"), (95.0, "90 s"), (290.0, "4.5 min"), (40_000.0, "660 min")]
)
def test_the_axis_has_few_lines_for_any_length(seconds, last):
    ticks = report.timeline({"seconds": seconds, "stages": stages.spent([("a", 0.0)], [], seconds)})["ticks"]
    assert len(ticks) <= 13 and ticks[-1]["text"] == last


def test_nothing_is_drawn_of_a_run_without_stages():
    assert report.timeline({"seconds": 1.0, "stages": []}) is None


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(stages.ELSEWHERE, str(tmp_path / "file" / "report"))
    stages.write({})


def test_an_installation_writes_it_and_others_do_not(tmp_path, monkeypatch):
    monkeypatch.setenv(stages.ELSEWHERE, str(tmp_path / "report"))
    plays = [{"name": "Page", "hosts": "all", "tasks": [{"name": "Say", "debug": {"msg": "x"}}]}]
    ansible_playbook(tmp_path, plays, ("one",))
    refused = [{"name": "Page", "hosts": "all", "tasks": [{"fail": {"msg": "x"}}]}, *plays]
    ansible_playbook(tmp_path, refused, ("one",), name="site.yml")
    assert not (tmp_path / "report").exists()
    ansible_playbook(tmp_path, plays, ("one",), ["--check"], name="site.yml")
    run = json.loads((tmp_path / "report" / "run.json").read_text())
    assert run["check"] is True and run["playbook"] == "site.yml" and run["changes"] == run["failed"] == 0
    assert [(stage["name"], [task["name"] for task in stage["tasks"]]) for stage in run["stages"]] == [("Page", ["Say"])]
    jsonschema.validate(run, {**json.loads(SCHEMA.read_text()), "$ref": "#/$defs/run", "required": [], "properties": {}})
