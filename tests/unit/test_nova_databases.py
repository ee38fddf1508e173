"""Nova's databases and its cells."""

from unittest.mock import MagicMock

import pytest
from harness import load

NETLOC = "{scheme}://{username}:{password}@{hostname}:{port}"
RIGHT = {
    "cell0": ("00000000-0000-0000-0000-000000000000", "cell0", "none:///", NETLOC + "/nova_cell0?{query}", 0),
    "cell1": ("u1", "cell1", NETLOC + "/{path}?{query}", NETLOC + "/nova?{query}", 0),
}


@pytest.mark.parametrize(
    ("rows", "actions"),
    [
        ([], ["map cell0", "create cell1"]),
        (list(RIGHT.values()), []),
        ([RIGHT["cell0"], (*RIGHT["cell1"][:2], "rabbit://old", *RIGHT["cell1"][3:])], ["correct the mapping of cell1"]),
        ([(*RIGHT["cell0"][:3], "mysql://old", 0), RIGHT["cell1"]], ["correct the mapping of cell0"]),
        # The guide's create_cell without --name, and one of another name.
        (
            [RIGHT["cell0"], ("u1", None, "rabbit://x", "mysql+pymysql://nova:p@192.0.2.1/nova", 0)],
            ["correct the mapping of the cell without a name, u1"],
        ),
        ([RIGHT["cell0"], ("u1", "main", *RIGHT["cell1"][2:])], []),
        (
            [RIGHT["cell0"], ("u1", "main", "rabbit://x", "mysql+pymysql://nova:p%40@localhost:3306/nova?charset=utf8", 0)],
            ["correct the mapping of main"],
        ),
        # The database has moved, and a cell with a database of another host is somebody's own.
        (
            [RIGHT["cell0"], ("u1", "cell1", "rabbit://x", "mysql+pymysql://nova:p@192.0.2.77/nova", 0)],
            ["correct the mapping of cell1"],
        ),
        ([RIGHT["cell0"], RIGHT["cell1"], ("u2", "cell2", "rabbit://x", "mysql+pymysql://nova:p@192.0.2.77/nova", 0)], []),
        ([RIGHT["cell0"], RIGHT["cell1"], ("u2", "cell2", "rabbit://x", NETLOC + "/nova_cell2?{query}", 0)], []),
    ],
)
def test_cells_are_mapped_by_templates(rows, actions):
    code = load("nova_databases")
    commands = code.cell_commands(rows, "192.0.2.1", "192.0.2.1")
    assert list(commands) == actions
    assert code.doubles(rows, "192.0.2.1") == []
    assert not [word for words in commands.values() for word in words if "mysql" in word or "rabbit" in word]


@pytest.mark.parametrize(
    "double",
    [
        ("u2", None, "rabbit://x", "mysql+pymysql://nova:p@192.0.2.1/nova", 0),
        ("u2", "cell2", "rabbit://x", NETLOC + "/nova?{query}", 0),
        ("u2", "cell1", "rabbit://x", "mysql+pymysql://other:p%2F@192.0.2.1:3306/nova?charset=utf8", 1),
    ],
)
def test_two_cells_of_one_database_are_refused(double):
    problems = load("nova_databases").doubles([*RIGHT.values(), double], "192.0.2.1")
    assert len(problems) == 1
    assert f"the database nova: u1 (cell1), u2 ({double[1] or 'without a name'})" in problems[0]
    assert "p@" not in problems[0] and "delete_cell --cell_uuid UUID" in problems[0]


def test_a_second_cell0_is_refused():
    rows = [*RIGHT.values(), ("u2", "grave", "none:///", NETLOC + "/nova_cell0?{query}", 0)]
    assert "the database nova_cell0: 00000000" in load("nova_databases").doubles(rows, "192.0.2.1")[0]


@pytest.mark.parametrize(
    ("host", "queue_host", "database", "queue"),
    [
        ("10.0.0.11", "10.0.0.11", "@{hostname}:", "@{hostname}:"),
        ("fd00::11", "fd00::11", "@[{hostname}]:", "@[{hostname}]:"),
        ("db.example.org", "fd00::11", "@{hostname}:", "@[{hostname}]:"),
        ("fd00::11", "mq", "@[{hostname}]:", "@{hostname}:"),
    ],
)
def test_templates_have_the_brackets_that_nova_takes_away(host, queue_host, database, queue):
    """Nova fills in `urlparse(url).hostname`."""
    commands = load("nova_databases").cell_commands([], host, queue_host)
    transport, connection = (
        commands["create cell1"][commands["create cell1"].index(option) + 1]
        for option in ("--transport-url", "--database_connection")
    )
    assert database in connection
    assert queue in transport
    assert database in commands["map cell0"][-1]
    rows = [("00000000-0000-0000-0000-000000000000", "cell0", "none:///", commands["map cell0"][-1], 0)]
    rows.append(("u1", "cell1", transport, connection, 0))
    assert load("nova_databases").cell_commands(rows, host, queue_host) == {}
    filled = connection.replace("{hostname}", "fd00::11").replace("{port}", "3306").replace("{scheme}", "mysql+pymysql")
    assert ("[fd00::11]:3306" in filled) == (":" in host)


@pytest.fixture
def nova(run, monkeypatch, tmp_path):
    """nova(): a run of nova_databases; nova.revisions: database -> revision (None: no schema); nova.waves: what was run."""
    code = load("nova_databases")
    revisions, rows, waves = dict.fromkeys(("nova_api", "nova", "nova_cell0")), [], []
    for name in ("api", "main"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.py").write_text("revision = '1'\n")
    server = MagicMock()
    server.cursor.return_value.__enter__.return_value.fetchall.side_effect = lambda: rows
    # The databases' locks, and where and when the mark is made.
    server.cursor.return_value.__enter__.return_value.fetchone.return_value = (1, 1000)
    monkeypatch.setattr(code.schema, "MARKS", str(tmp_path / "marks"))
    monkeypatch.setattr(code.database, "connect", lambda _module: server)
    monkeypatch.setattr(code.schema, "applied", lambda _cursor, name: {revisions[name]} - {None})
    monkeypatch.setattr(code.schema, "tables", lambda _cursor, name: ["cell_mappings"] if revisions[name] else [])

    def manage(_module, _program, *commands, user):
        assert user == "nova"
        waves.append(commands)
        revisions.update(dict.fromkeys(revisions, "1"))
        rows[:] = RIGHT.values()

    monkeypatch.setattr(code.manage, "run", manage)

    def populated(check_mode=False):
        where = {"host": "192.0.2.1", "queue_host": "192.0.2.1"}
        return run(code, check_mode, api_migrations=str(tmp_path / "api"), migrations=str(tmp_path / "main"), **where)

    populated.revisions, populated.rows, populated.waves = revisions, rows, waves
    return populated


def test_novas_databases_are_populated_in_the_guides_order(nova):
    everything = [
        "populate nova_api (at no revision)",
        "map cell0",
        "create cell1",
        "populate nova (at no revision)",
        "populate nova_cell0 (at no revision)",
    ]
    assert nova(check_mode=True)["actions"] == everything
    assert nova.waves == []
    assert nova()["actions"] == everything
    [(api, cells, main)] = nova.waves
    assert (api, [words[:2] for words in cells], main) == (
        [["api_db", "sync"]],
        [["cell_v2", "map_cell0"], ["cell_v2", "create_cell"]],
        [["db", "sync"]],
    )
    assert nova()["actions"] == []
    assert len(nova.waves) == 1


def test_only_what_nova_lacks_is_done(nova):
    """As after a run that was killed when cell1 was created."""
    nova.revisions["nova_api"] = "1"
    nova.rows[:] = RIGHT.values()
    assert nova()["actions"] == ["populate nova (at no revision)", "populate nova_cell0 (at no revision)"]
    assert nova.waves == [([], [], [["db", "sync"]])]
