"""What a host knows of a verification: certificates and their ends."""

import datetime

import pytest
from harness import load

from kilonova.run import certificates


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Files that the installer wrote, by name."""
    code = load("verify_host")
    paths = {}

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        paths[name] = str(path)

    write.paths, write.code = paths, code
    monkeypatch.setattr(code.unit_state, "load_files", lambda: list(paths.values()))
    return write


def test_the_ends_of_the_certificates_among_the_files_that_were_written(known):
    authority = certificates.new_authority("Kilonova")
    pair = certificates.issue(authority, "controller", ["controller"], ["server"], 100)
    known("nova.conf", "[DEFAULT]\n")
    known("key.pem", pair.key)
    known("haproxy.pem", pair.key + pair.certificate)
    known("authority.pem", "# trusted\n" + authority.certificate)
    known("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    known("begun.pem", "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n")
    known.paths["gone.pem"] = "/nonexistent/gone.pem"
    found = {row["path"]: row for row in known.code.certificates()}
    assert set(found) == {known.paths["haproxy.pem"], known.paths["authority.pem"]}
    for name, text, subject in (
        ("haproxy.pem", pair.certificate, "controller"),
        ("authority.pem", authority.certificate, "Kilonova"),
    ):
        row = found[known.paths[name]]
        assert row["name"] == f"CN={subject}"
        assert datetime.datetime.fromtimestamp(row["ends"], datetime.UTC) == certificates.ends(text)


def test_months_are_english_in_any_language(known):
    for number, month in enumerate(known.code.MONTHS, start=1):
        moment = datetime.datetime(2027, number, 3, 4, 5, 6, tzinfo=datetime.UTC)
        assert known.code.seconds(f"{month}  3 04:05:06 2027 GMT") == moment.timestamp()


def test_a_host_without_openssl_names_none(known, monkeypatch):
    known("authority.pem", certificates.new_authority("Kilonova").certificate)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert known.code.certificates() == []
