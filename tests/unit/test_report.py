"""The report: what is read, the layout of the diagram, and that nothing which was said on a host becomes markup."""

import json
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from kilonova.proof import report

PROJECT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = PROJECT / "roles/report/templates/index.html.j2"
DATA = PROJECT / "tests/data/report"
SCHEMA = json.loads((PROJECT / "docs/report.schema.json").read_text())
# One dark pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


class Page(HTMLParser):
    """Elements, ids and addresses of a page, and whether its elements are closed in order."""

    VOID = ("meta", "link", "img", "br", "path", "line", "rect", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [values[name] for name in ("href", "src") if values.get(name)]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture
def directory(tmp_path):
    for path in DATA.glob("*.json"):
        shutil.copy(path, tmp_path)
    (tmp_path / "console.png").write_bytes(PIXEL)
    return tmp_path


def page(directory):
    return report.write(directory, TEMPLATE).read_text()


def test_the_data_are_as_the_schema_says(directory):
    whole = report.collect(directory, datetime(2026, 11, 21, tzinfo=UTC))
    jsonschema.validate(whole, SCHEMA)
    assert whole["generated"] == "2026-11-21T00:00:00+00:00"
    assert whole["console"] == {
        "file": "console.png",
        "text": "the screen of kilonova-verify-0a1b2c3d-two, 720 x 400, 2 colours",
        "width": 1,
        "height": 1,
    }


def test_the_page_is_whole(directory):
    text = page(directory)
    parsed = Page(text)
    assert parsed.open == []
    assert len(set(parsed.ids)) == len(parsed.ids)
    anchors = [link[1:] for link in parsed.links if link.startswith("#")]
    assert anchors and set(anchors) <= set(parsed.ids)
    for part in ("A tenant&#39;s day", "A tenant's day"):
        if part in text:
            break
    else:
        pytest.fail("the rows are missing")
    assert json.loads((directory / "report.json").read_text())["schema"] == 1


def test_the_page_asks_nobody(directory):
    parsed = Page(page(directory))
    assert [link for link in parsed.links if not link.startswith(("#", "data:"))] == []
    assert "script" not in parsed.tags


def test_what_a_host_says_is_no_markup(directory):
    text = page(directory)
    assert "<script>alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.parametrize("parts", [[], ["verify"], ["trace"], ["tempest"], ["guide"], ["trace", "tempest"]])
def test_parts_that_are_not_there_are_left_out(tmp_path, parts):
    for part in parts:
        shutil.copy(DATA / f"{part}.json", tmp_path)
    parsed = Page(page(tmp_path))
    sections = {"verify": "verification", "trace": "launch", "tempest": "tempest", "guide": "guide"}
    assert {sections[part] for part in parts} <= set(parsed.ids)
    assert not {name for part, name in sections.items() if part not in parts} & set(parsed.ids)
    jsonschema.validate(json.loads((tmp_path / "report.json").read_text()), SCHEMA)


def test_the_ends_of_certificates(directory):
    text = page(directory)
    rows = [row for row in text.split("<tr>") if "/etc/haproxy/openstack.pem" in row or "/etc/pki/qemu/server-cert.pem" in row]
    assert ["2029-02-27" in rows[0], "passed" in rows[0], "CN=controller" in rows[0]] == [True] * 3
    assert ["2026-12-01" in rows[1], "skipped" in rows[1], ">compute1<" in rows[1]] == [True] * 3


def test_a_certificate_ends_soon_when_the_inventory_says_so(directory):
    verify = json.loads((directory / "verify.json").read_text())
    verify["warn_days"] = 2000
    (directory / "verify.json").write_text(json.dumps(verify))
    [row] = [row for row in page(directory).split("<tr>") if "/etc/haproxy/openstack.pem" in row]
    assert "skipped" in row and "passed" not in row


@pytest.mark.parametrize(("scheme", "times"), [("http", 1), ("https", 0)])
def test_a_cloud_without_tls_is_told(directory, scheme, times):
    verify = json.loads((directory / "verify.json").read_text())
    for endpoint in verify["cloud"]["endpoints"]:
        endpoint["public"] = endpoint["public"].replace("http", scheme)
    (directory / "verify.json").write_text(json.dumps(verify))
    assert page(directory).count("openstack_tls is false") == times


def test_a_picture_of_another_run_is_not_shown(directory):
    verify = json.loads((directory / "verify.json").read_text())
    verify["rows"] = [row for row in verify["rows"] if row["name"] != "novnc_picture"]
    (directory / "verify.json").write_text(json.dumps(verify))
    assert report.collect(directory)["console"] is None


@pytest.mark.parametrize(
    ("counts", "stopped", "tempest", "status"),
    [
        ({"passed": 3, "failed": 0, "skipped": 1}, False, None, "passed"),
        ({"passed": 3, "failed": 2, "skipped": 1}, False, None, "failed"),
        ({"passed": 3, "failed": 0, "skipped": 1}, True, None, "failed"),
        ({"passed": 3, "failed": 0, "skipped": 1}, False, {"failed": 1}, "failed"),
    ],
)
def test_the_verdict(counts, stopped, tempest, status):
    verify = {"counts": counts, "stopped": stopped, "seconds": 100}
    assert report.verdict({"verify": verify, "tempest": tempest})["status"] == status
    assert report.verdict({"verify": None, "tempest": tempest})["status"] == "unknown"


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (9.5, "9.5 s"), (61.2, "61 s"), (185, "3 min 5 s")])
def test_durations(seconds, words):
    assert report.duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(None, "0 bytes"), (512, "512 bytes"), (15597568, "14.9 MiB"), (1 << 40, "1.0 TiB")]
)
def test_sizes(number, words):
    assert report.size(number) == words


def test_moments_of_every_form():
    assert report.moment("2026-11-21T00:00:01Z") == report.moment("2026-11-21 00:00:01") == report.moment(1795219201)
    assert report.moment("") is report.moment(None) is None


def test_the_diagram_stays_within_its_edges():
    trace = json.loads((DATA / "trace.json").read_text())
    launch = report.launch(trace)
    assert [flow["name"] for flow in launch["flows"]] == ["today", "guide"]
    for flow in launch["flows"]:
        below = 0
        for arrow in flow["arrows"]:
            # Each step is below the one before, label and all.
            assert arrow.y - flow["line"] * len(arrow.label) > below
            below = arrow.y
            assert max(arrow.x1, arrow.x2) < flow["width"]
            assert arrow.y < flow["height"]


def test_steps_that_were_not_seen_keep_their_place():
    steps = [
        {"step": 1, "title": "one", "from": "a", "to": "b", "time": "2026-11-21T00:00:01Z"},
        {"step": 2, "title": "two", "from": "b", "to": "b", "time": ""},
        {"step": 3, "title": "three", "service": "c", "from": None, "to": None, "time": "2026-11-21T00:00:02.5Z"},
        {"step": 4, "title": "four", "from": "c", "to": "c", "time": "", "state": "replaced"},
        {"step": 5, "title": "five", "from": "c", "to": "c", "time": "", "state": "absent"},
    ]
    flow = report.sequence(steps, "2026-11-21T00:00:00Z")
    assert [step["offset"] for step in flow["steps"]] == ["+1.00 s", "not seen", "+2.50 s", "replaced", "no need"]
    assert [arrow.time for arrow in flow["arrows"]] == [step["offset"] for step in flow["steps"]]
    assert [arrow.seen for arrow in flow["arrows"]] == [True, False, True, False, False]
    assert [who["name"] for who in flow["participants"]] == ["a", "b", "c"]
    assert (flow["seen"], flow["total"], flow["span"]) == (2, 5, "1.5 s")


def test_a_launch_without_steps_is_none():
    assert report.launch({"instance": "x", "steps": []}) is None


def test_what_is_no_png_is_refused():
    with pytest.raises(ValueError, match="not a PNG"):
        report.png_size(b"GIF89a")


def test_a_coarse_time_is_never_before_the_step_before_it():
    times = [
        "2026-11-25T19:20:40.921000+00:00",
        "2026-11-25T19:20:40+00:00",
        "",
        "2026-11-25T19:20:44.826000+00:00",
        "2026-11-25T19:20:43+00:00",
        "2026-11-25T19:20:48+00:00",
        "2026-11-25T19:20:47.500000+00:00",
    ]
    seconds = [time and round(time - report.moment(times[0]), 3) for time in report.forwards(times)]
    # What is exact stays as it is.
    assert seconds == [0.0, 0.0, None, 3.905, 3.905, 7.079, 6.579]
