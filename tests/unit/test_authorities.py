"""The certificates file: what is right stays, what is missing or wrong is made anew, the key is asked for where it is needed."""

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
            assert certificates.check(made.hosts[host][use], made.authority, one.reached_by, one.uses) == []
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


def test_the_file_is_nobody_elses(held, tmp_path):
    path = tmp_path / authorities.FILE
    authorities.write(path, held)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Held.of_variables(json.loads(path.read_text())) == held


def test_when_what_ends(held):
    assert list(authorities.ends(held)) == ["authority", "controller server", "compute1 libvirt"]
    assert authorities.ends(held)["authority"] > authorities.ends(held)["controller server"]


@pytest.mark.parametrize("wrong", [{"openstack_tls_certificates": []}, {"openstack_tls_certificates": {"controller": "x"}}])
def test_what_has_another_form(wrong):
    if wrong["openstack_tls_certificates"] == []:
        assert Held.of_variables(wrong).hosts == {}
    else:
        with pytest.raises(ValueError, match="is not a mapping of hosts"):
            Held.of_variables(wrong)
