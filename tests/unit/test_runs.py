"""What a run says of its changes and of those who did not finish."""

from kilonova.run.changes import SHOWN, Change, Failure, items, plan, unfinished


def test_items_of_results():
    assert items({"changed": False, "actions": ["create x"]}) == []
    assert items({"changed": True, "actions": ["create x", "write /etc/x"]}) == ["create x", "write /etc/x"]
    assert items({"changed": True, "path": "/etc/x"}) == ["change"]


def test_a_plan_counts_packages_and_lists_everything_else():
    changes = [Change("c", "Install", f"install p{number} 1") for number in range(SHOWN + 1)]
    changes += [Change("c", "Write", "write /etc/x"), Change("d", "Install", "install p1 1"), Change("d", "Remove", "change")]
    assert plan(changes) == [
        f"c: install {SHOWN + 1} packages: what the release needs, and what that depends on",
        "c: write /etc/x",
        "d: install p1 1",
        "d: Remove",
    ]
    numbers = range(SHOWN + 1)
    many = [Change("c", "Install", f"{verb} p{number} 1") for number in numbers for verb in ("install", "upgrade", "remove")]
    lines = plan(many)
    assert lines[:2] == [
        f"c: install {SHOWN + 1} packages: what the release needs, and what that depends on",
        f"c: upgrade {SHOWN + 1} packages to newer versions, which the above depends on",
    ]
    assert lines[2:] == [f"c: remove p{number} 1" for number in numbers]
    assert plan([]) == ["Nothing would be changed on any host."]


def test_who_did_not_finish_and_how_to_go_on():
    assert unfinished([Failure("compute2", "Facts", "unreachable"), Failure("compute3", "Write", "failed")], "ansible x.yml") == [
        "compute2 could not be reached at: Facts",
        "compute3 failed at: Write",
        "Run again, with the options of this run: ansible x.yml --limit localhost,controllers,compute2,compute3",
    ]


def test_everybody_runs_again_when_the_controller_failed():
    failures = [Failure("controller", "Write", "failed", needed=True), Failure("compute3", "Write", "failed")]
    assert unfinished(failures, "ansible x.yml")[-1] == "Run again, with the options of this run: ansible x.yml"
