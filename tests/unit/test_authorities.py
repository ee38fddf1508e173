"""The certificates file: what is right stays, what is missing or wrong is made anew, the key is asked for where it is needed."""

import datetime
import json
import stat

import pytest

from kilonova.run import authorities, certificates
from kilonova.run.authorities import Held, Wanted

WANTED = {
    "controller": {"server": Wanted(["controller", "192.0.2.11"], ["server"])},
    "compute1": {"libvirt": Wanted(["compute1", "192.0.2.31"], ["server", "client"])},
}


@pytest.fixture(scope="module")
def held():
    return authorities.complete(Held(), WANTED)[0]


def again(held):
    """As it comes back from the file."""
    return Held.of_variables(json.loads(json.dumps(held.variables())))


def test_the_first_time_everything_is_made():
    made, lines = authorities.complete(Held(), WANTED)
    assert lines == [
        "the authority: new",
        "controller: server: made, because there was none",
        "compute1: libvirt: made, because there was none",
    ]
    for host, uses in WANTED.items():
        for use, one in uses.items():
            assert certificates.check(made.hosts[host][use], made.authority, one.reached_by, one.uses, 30) == []
    assert "PRIVATE" not in repr(made)


def test_what_is_right_stays(held):
    assert authorities.complete(again(held), WANTED) == (held, [])


def test_a_new_host_and_one_that_is_gone(held):
    wanted = {"controller": WANTED["controller"], "compute2": WANTED["compute1"]}
    found, lines = authorities.complete(again(held), wanted)
    assert lines == ["compute2: libvirt: made, because there was none", "compute1: removed, because it is not in the inventory"]
    assert found.hosts["controller"] == held.hosts["controller"]
    assert list(found.hosts) == ["controller", "compute2"]


def test_a_host_that_is_reached_by_another_address(held):
    wanted = {**WANTED, "controller": {"server": Wanted(["controller", "192.0.2.12"], ["server"])}}
    found, lines = authorities.complete(again(held), wanted)
    why = "the certificate does not have 192.0.2.12 among its names (CN=controller)"
    assert lines == [f"controller: server: made, because {why}"]
    assert found.hosts["compute1"] == held.hosts["compute1"]


def test_an_authority_whose_key_is_kept_elsewhere(held):
    without = Held(held.authority, "", held.hosts)
    assert authorities.complete(without, WANTED)[1] == []
    more = {**WANTED, "compute2": WANTED["compute1"]}
    with pytest.raises(ValueError, match=r"^compute2: its certificate for libvirt has to be made \(there was none\), and "):
        authorities.complete(without, more)


def test_an_authority_that_cannot_sign(held, monkeypatch):
    """Otherwise each run would make the same certificates again."""
    other = certificates.new_authority("other")
    mixed = Held(held.authority, other.key, {})
    with pytest.raises(
        ValueError, match=r"^controller: no certificate for server can be made: .* was not signed by the authority"
    ):
        authorities.complete(mixed, WANTED)
    later = certificates.now() + datetime.timedelta(days=certificates.AUTHORITY_DAYS + 1)
    monkeypatch.setattr(certificates, "now", lambda: later)
    with pytest.raises(ValueError, match=r"the authority expired on .*; correct openstack_tls_authority and "):
        authorities.complete(again(held), WANTED)


def test_the_file_is_nobody_elses(held, tmp_path):
    path = tmp_path / authorities.FILE
    authorities.write(path, Held(), held)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Held.of_variables(json.loads(path.read_text())) == held
    assert "certificates.json*" in (path.parent / ".gitignore").read_text().splitlines()
    authorities.write(path, held, Held(held.authority, held.key))
    assert Held.of_variables(json.loads(path.read_text())) == Held(held.authority, held.key)


def test_what_an_operator_has_elsewhere_is_not_written_a_second_time(held, tmp_path):
    path = tmp_path / authorities.FILE
    with pytest.raises(ValueError, match=r"^openstack_tls_authority, .* is set elsewhere in the inventory, not in "):
        authorities.write(path, held, held)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "is encrypted; decrypt it"),
        ("a: b\n", "is not a JSON mapping"),
        ("[]", "is not a JSON"),
    ],
)
def test_a_file_that_cannot_be_added_to_stays(held, tmp_path, text, message):
    path = tmp_path / authorities.FILE
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        authorities.write(path, held, held)
    assert path.read_text() == text


@pytest.mark.parametrize("wrong", [["controller"], "controller", {"controller": "x"}])
def test_what_has_another_form(wrong):
    with pytest.raises(ValueError, match="is not a mapping of hosts"):
        Held.of_variables({"openstack_tls_certificates": wrong})
