"""The certificates file: what is right stays, what is missing or wrong is made anew, the key is asked for where it is needed."""

import datetime
import itertools
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


def right(held, wanted=WANTED):
    """Every certificate is one that its host can have, as preflight checks it."""
    return not any(
        certificates.check(held.hosts[host][use], held.authority, one.reached_by, one.uses, 0)
        for host, uses in wanted.items()
        for use, one in uses.items()
    )


def signed_by(held, authority):
    """Whether one authority has signed all certificates of the hosts."""
    return right(Held(authority, "", held.hosts))


def test_a_new_authority_in_three_steps_that_never_leave_a_host_alone(held):
    """What any host has in one step is taken by a host that is a step before or behind it."""
    steps, lines = [again(held)], []
    one, said = authorities.renew(again(held), WANTED, "authority", 30)
    while one.step:
        steps.append(one)
        lines += said
        # A file that comes back goes on, in its own step; asked to renew it, nothing else begins.
        assert authorities.renew(again(one), WANTED, "authority", 30) == (one, [])
        assert authorities.complete(again(one), WANTED) == (one, [])
        assert "PRIVATE" not in repr(one)
        one, said = authorities.advance(again(one), WANTED)
    steps.append(one)
    lines += said
    assert [each.step for each in steps] == ["", "trust", "change", "withdraw", ""]
    assert authorities.advance(one, WANTED) == (one, [])
    for before, after in itertools.pairwise(steps):
        for trusted, shown in ((before, after), (after, before)):
            assert right(Held(trusted.authority, "", shown.hosts)), (before.step, after.step)
    assert signed_by(one, one.authority) and not signed_by(one, held.authority)
    assert one.key != held.key and certificates.each(one.authority) == [one.authority]
    assert lines[:5] == [
        "the authority: new (hosts trust the new authority beside the old one)",
        "the authority: new (hosts get certificates that the new authority signed)",
        "controller: server: renewed",
        "compute1: libvirt: renewed",
        "the old authority: removed (hosts no longer trust the old authority)",
    ]
    assert lines[5].startswith("the renewal is complete; the first to end is ")


def test_what_an_operator_trusts_besides_stays(held):
    other = certificates.new_authority("the SQL database's")
    one, _lines = authorities.renew(Held(held.authority + other.certificate, held.key, held.hosts), WANTED, "authority", 30)
    while one.step:
        one, _lines = authorities.advance(one, WANTED)
    assert certificates.each(one.authority)[1:] == [other.certificate]
    assert signed_by(one, certificates.each(one.authority)[0])


def test_certificates_of_hosts_alone(held):
    one, lines = authorities.renew(again(held), WANTED, "hosts", 30)
    assert (one.step, lines) == ("hosts", ["controller: server: renewed", "compute1: libvirt: renewed"])
    assert (one.authority, one.key) == (held.authority, held.key)
    assert right(one) and not any(one.hosts[host] == held.hosts[host] for host in WANTED)
    assert authorities.advance(one, WANTED)[0] == Held(one.authority, one.key, one.hosts)


def test_only_what_ends_soon(held, monkeypatch):
    assert authorities.renew(again(held), WANTED, "soon", 30) == (held, [])
    assert authorities.why_not(held, 30).startswith(
        "No certificate ends within 30 days: the first to end is controller: server, on "
    )
    short = certificates.issue(
        certificates.Pair(held.authority, held.key), "compute1", ["compute1", "192.0.2.31"], ["server", "client"], 20
    )
    old = Held(held.authority, held.key, {**held.hosts, "compute1": {"libvirt": short}})
    one, lines = authorities.renew(old, WANTED, "soon", 30)
    assert lines == ["compute1: libvirt: renewed"]
    assert one.hosts["controller"] == held.hosts["controller"]
    # Its authority, with all that it signed.
    later = certificates.now() + datetime.timedelta(days=certificates.AUTHORITY_DAYS - 10)
    monkeypatch.setattr(certificates, "now", lambda: later)
    one, lines = authorities.renew(authorities.complete(again(held), WANTED)[0], WANTED, "soon", 30)
    assert one.step == "trust"


def test_an_authority_that_has_ended_is_not_trusted_beside_the_new_one(held, monkeypatch):
    """Preflight would refuse it, and nobody takes what it signed."""
    later = certificates.now() + datetime.timedelta(days=certificates.AUTHORITY_DAYS + 1)
    monkeypatch.setattr(certificates, "now", lambda: later)
    one, lines = authorities.renew(again(held), WANTED, "soon", 30)
    assert one.step == "withdraw" and right(one) and certificates.each(one.authority) == [one.authority]
    assert lines[0] == "the authority: new (hosts no longer trust the old authority)"
    assert authorities.advance(one, WANTED)[0].step == ""


def test_a_renewal_that_cannot_be(held):
    mine = certificates.new_authority("Example Corporation")
    own = authorities.complete(Held(mine.certificate, mine.key), WANTED)[0]
    cases = [
        (Held(), "hosts", "there is nothing to renew: openstack_tls_authority is not set"),
        (own, "authority", r"the authority \(CN=Example Corporation\) was not made here; put its successor beside it"),
        (Held(held.authority, "", held.hosts), "authority", "was not made here"),
        (
            Held(held.authority, "", held.hosts),
            "hosts",
            "openstack_tls_authority_key is not set: who has it makes the certificates",
        ),
        (held, "host", r"certificates_renew \(host\) must be one of soon, hosts, authority$"),
    ]
    for one, what, message in cases:
        with pytest.raises(ValueError, match=message):
            authorities.renew(one, WANTED, what, 30)
    assert authorities.renew(own, WANTED, "hosts", 30)[0].step == "hosts"
    with pytest.raises(ValueError, match=r"openstack_tls_renewal \(trusted\) must be one of trust, change, withdraw, hosts"):
        Held.of_variables({**held.variables(), "openstack_tls_renewal": "trusted"})


def after(monkeypatch, days):
    """The clock goes on."""
    later = certificates.now() + datetime.timedelta(days=days)
    monkeypatch.setattr(certificates, "now", lambda: later)


def test_what_an_operator_trusts_besides_is_never_thrown_away(held, monkeypatch):
    """Not even when the authority that is made here has ended; one of theirs that has ended is named."""
    theirs = certificates.new_authority("the SQL database's", certificates.AUTHORITY_DAYS + 900)
    short = certificates.new_authority("the message queue's", 5)
    with_theirs = Held(held.authority + theirs.certificate, held.key, held.hosts)
    with_both = Held(held.authority + short.certificate + theirs.certificate, held.key, held.hosts)
    mine = certificates.new_authority("Example Corporation")
    own = Held(mine.certificate + short.certificate, "", held.hosts)
    after(monkeypatch, 6)
    for one in (with_both, own):
        for what in ("soon", "hosts", "authority"):
            with pytest.raises(ValueError, match=r"^openstack_tls_authority: CN=the message queue's expired on .*; remove it$"):
                authorities.renew(one, WANTED, what, 30)
    after(monkeypatch, certificates.AUTHORITY_DAYS)
    for what in ("soon", "hosts", "authority"):
        one, _lines = authorities.renew(with_theirs, WANTED, what, 30)
        new, *others = certificates.each(one.authority)
        assert (one.step, others) == ("withdraw", [theirs.certificate]) and signed_by(one, new)


@pytest.mark.parametrize("what", ["soon", "hosts", "authority"])
def test_an_authority_of_an_operators_own_that_has_ended_is_named(what, monkeypatch):
    mine = certificates.new_authority("Example Corporation", 5)
    own = authorities.complete(Held(mine.certificate, mine.key), WANTED)[0]
    after(monkeypatch, 6)
    with pytest.raises(ValueError, match=r"^the authority \(CN=Example Corporation\) was not made here"):
        authorities.renew(own, WANTED, what, 30)


def test_an_authority_of_an_operators_own_that_ends_soon_still_signs():
    mine = certificates.new_authority("Example Corporation", 20)
    own = authorities.complete(Held(mine.certificate, mine.key), WANTED)[0]
    assert authorities.renew(own, WANTED, "hosts", 30)[0].step == "hosts"
    with pytest.raises(ValueError, match="was not made here"):
        authorities.renew(own, WANTED, "soon", 30)


def test_a_key_that_is_not_the_authoritys_makes_nothing(held):
    other = certificates.new_authority("Kilonova other")
    for key in (other.key, "no key", held.key.replace("PRIVATE", "ENCRYPTED PRIVATE")):
        with pytest.raises(ValueError, match="; correct openstack_tls_authority and openstack_tls_authority_key"):
            authorities.renew(Held(held.authority, key, held.hosts), WANTED, "hosts", 30)
    one = authorities.renew(held, WANTED, "authority", 30)[0]
    with pytest.raises(ValueError, match=r"^openstack_tls_authority_key is not a private key"):
        authorities.advance(Held(one.authority, "", one.hosts, one.step), WANTED)
    with pytest.raises(ValueError, match=r"^openstack_tls_authority has no certificate in PEM"):
        authorities.renew(Held("no certificate", held.key, held.hosts), WANTED, "soon", 30)


@pytest.mark.parametrize("step", ["trust", "change"])
def test_the_old_authority_ends_while_the_renewal_is_on_its_way(step, monkeypatch):
    short = certificates.new_authority("Kilonova old", 10)
    one = authorities.renew(authorities.complete(Held(short.certificate, short.key), WANTED)[0], WANTED, "soon", 30)[0]
    if step == "change":
        one = authorities.advance(one, WANTED)[0]
    assert one.step == step
    after(monkeypatch, 11)
    one, lines = authorities.renew(again(one), WANTED, "authority", 30)
    assert one.step == "withdraw" and right(one) and len(certificates.each(one.authority)) == 1 and lines
    assert authorities.renew(again(one), WANTED, "authority", 30) == (one, [])


def test_hosts_that_come_and_go_during_a_renewal(held):
    one = authorities.renew(held, WANTED, "authority", 30)[0]
    alone = {"controller": WANTED["controller"]}
    changed = authorities.advance(one, alone)[0]
    assert set(changed.hosts) == {"controller"}
    # Back again: it gets one that hosts still take in the next step.
    last, lines = authorities.advance(changed, WANTED)
    assert right(last) and "compute1: libvirt: renewed" in lines
    # One that is gone is no reason to go to all hosts.
    gone, lines = authorities.renew(held, alone, "soon", 30)
    assert (gone.step, set(gone.hosts)) == ("", {"controller"})
    assert lines == ["compute1: removed, because it is not in the inventory"]


def test_the_command_says_whether_one_goes_on(held, tmp_path, monkeypatch, capsys):
    path = authorities.file_of(tmp_path, "all")
    (tmp_path / "hosts.yml").write_text("all: {children: {controllers: {hosts: {controller: }}}}\n")
    monkeypatch.setattr("sys.argv", ["authorities", str(tmp_path)])
    assert authorities.main() == 0
    assert capsys.readouterr().out == ""
    authorities.write(path, Held(), authorities.renew(held, WANTED, "authority", 30)[0])
    assert authorities.main() == 0
    assert capsys.readouterr().out == "Renewal of certificates: hosts trust the new authority beside the old one.\n"
    monkeypatch.setattr("sys.argv", ["authorities", str(tmp_path / "hosts.yml")])
    assert authorities.main() == 0
    path.write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    assert authorities.main() == 2
    assert f"{path}: encrypted, " in capsys.readouterr().err


def test_the_file_is_nobody_elses(held, tmp_path):
    path = authorities.file_of(tmp_path, "all")
    authorities.write(path, Held(), held)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Held.of_variables(json.loads(path.read_text())) == held
    assert "certificates.json*" in (path.parent / ".gitignore").read_text().splitlines()
    authorities.write(path, held, Held(held.authority, held.key))
    assert Held.of_variables(json.loads(path.read_text())) == Held(held.authority, held.key)


def test_what_an_operator_has_elsewhere_is_not_written_a_second_time(held, tmp_path):
    path = authorities.file_of(tmp_path, "all")
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
    path = authorities.file_of(tmp_path, "all")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        authorities.write(path, held, held)
    assert path.read_text() == text


@pytest.mark.parametrize("wrong", [["controller"], "controller", {"controller": "x"}])
def test_what_has_another_form(wrong):
    with pytest.raises(ValueError, match="is not a mapping of hosts"):
        Held.of_variables({"openstack_tls_certificates": wrong})
