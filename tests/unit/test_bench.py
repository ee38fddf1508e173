"""What `make bench` writes into the page: its own part, and nothing else."""

from tools import bench


def test_a_table_has_a_column_for_each_commit():
    columns = {"abc": {"fresh, s": 100.04, "floor, s": 90.0}, "def": {"fresh, s": 120.0}}
    assert bench.table(columns).splitlines() == [
        "| figure | abc | def |",
        "| --- | --- | --- |",
        "| fresh, s | 100 | 120 |",
        "| floor, s | 90 |  |",
    ]


def test_only_its_own_part_of_the_page_is_written(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n")
    for text in ("new", "newer"):
        bench.write(text, page)
    assert page.read_text() == "before\n<!-- bench -->\nnewer\n<!-- end of bench -->\nafter\n"


def test_the_page_has_the_place():
    page = (bench.PROJECT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert page.count("<!-- bench -->\n") == page.count("<!-- end of bench -->\n") == 1
