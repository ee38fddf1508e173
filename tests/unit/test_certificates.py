"""Certificates that are made verify by OpenSSL, and each kind of wrong one is told by name."""

import datetime
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from kilonova.run import certificates

NAMES = ["controller", "cloud.example.org", "192.0.2.11", "2001:db8::11"]


@pytest.fixture(scope="module")
def authority():
    return certificates.new_authority("kilonova")


@pytest.fixture(scope="module")
def pair(authority):
    return certificates.issue(authority, "controller", NAMES, ["server"])


def said(pair, authority, names=NAMES, uses=("server",), warn_days=30):
    return [(wrong.part, wrong.what, wrong.level) for wrong in certificates.check(pair, authority, names, uses, warn_days)]


def end(pair):
    return x509.load_pem_x509_certificate(pair.certificate.encode()).not_valid_after_utc


def test_what_is_made_is_right(pair, authority):
    assert said(pair, authority.certificate) == []
    assert "PRIVATE" not in repr(pair)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
@pytest.mark.parametrize("way", [["-verify_hostname", "cloud.example.org"], ["-verify_ip", "2001:db8::11"]])
def test_openssl_agrees(pair, authority, tmp_path, way):
    (tmp_path / "authority").write_text(authority.certificate)
    (tmp_path / "certificate").write_text(pair.certificate)
    argv = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", *way, "-CAfile", tmp_path / "authority"]
    done = subprocess.run([*argv, tmp_path / "certificate"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = ["-verify_hostname", "other.example.org"] if "hostname" in way[0] else ["-verify_ip", "192.0.2.12"]
    done = subprocess.run([*argv, *wrong, tmp_path / "certificate"], capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_a_certificate_ends_with_its_authority():
    short = certificates.new_authority("short", days=10)
    pair = certificates.issue(short, "controller", ["controller"], ["server"])
    assert end(pair) == end(short)


def test_names_that_are_missing(pair, authority):
    names = [*NAMES, "other", "192.0.2.12"]
    assert said(pair, authority.certificate, names) == [
        ("certificate", "does not have other, 192.0.2.12 among its names (CN=controller)", "error")
    ]
    assert said(pair, authority.certificate, ["CLOUD.example.org"]) == []


def test_a_wildcard_stands_for_one_label(authority):
    pair = certificates.issue(authority, "public", ["*.example.org"], ["server"])
    assert said(pair, authority.certificate, ["cloud.example.org"]) == []
    for name in ("a.cloud.example.org", "example.org"):
        assert len(said(pair, authority.certificate, [name])) == 1


def test_what_it_may_be_used_for(authority):
    client = certificates.issue(authority, "compute1", ["compute1"], ["client"])
    assert said(client, authority.certificate, ["compute1"], ["client"]) == []
    assert said(client, authority.certificate, ["compute1"], ["server", "client"]) == [
        ("certificate", "may not be used as that of a server (CN=compute1)", "error")
    ]


def test_a_key_of_another_certificate(pair, authority):
    other = certificates.issue(authority, "controller", NAMES, ["server"])
    mixed = certificates.Pair(pair.certificate, other.key)
    assert said(mixed, authority.certificate) == [("key", "does not belong to the certificate", "error")]


def test_a_key_that_no_service_can_read(pair, authority):
    key = serialization.load_pem_private_key(pair.key.encode(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pass")
    ).decode()
    assert said(certificates.Pair(pair.certificate, encrypted), authority.certificate) == [
        ("key", "is encrypted with a passphrase, which no service could ask for", "error")
    ]
    for text in ("", "nothing", pair.certificate):
        assert said(certificates.Pair(pair.certificate, text), authority.certificate) == [
            ("key", "is not a private key in PEM that can be read", "error")
        ]


def test_what_is_no_certificate(pair, authority):
    assert said(certificates.Pair("x", pair.key), authority.certificate) == [
        ("certificate", "has no certificate in PEM that can be read", "error")
    ]
    assert said(pair, "") == [("authority", "has no certificate in PEM that can be read", "error")]


def at(monkeypatch, days):
    time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    monkeypatch.setattr(certificates, "now", lambda: time)
    return time


def test_time(pair, authority, monkeypatch):
    at(monkeypatch, certificates.DAYS - 10)
    [(part, what, level)] = said(pair, authority.certificate)
    assert (part, level) == ("certificate", "warning")
    assert what.startswith("expires on ")
    assert "in 9 days (CN=controller)" in what
    assert said(pair, authority.certificate, warn_days=5) == []
    at(monkeypatch, certificates.DAYS + 1)
    [(part, what, level)] = said(pair, authority.certificate)
    assert (part, level) == ("certificate", "error")
    assert what.startswith("expired on ")
    at(monkeypatch, -1)
    assert [(part, what.split(" 2")[0]) for part, what, _level in said(pair, authority.certificate)] == [
        ("certificate", "is not valid before"),
        ("authority", "is not valid before"),
    ]


def test_another_authority_of_the_same_name(pair):
    other = certificates.new_authority("kilonova")
    [(part, what, _level)] = said(pair, other.certificate)
    assert part == "certificate"
    assert what == "was not signed by the authority: CN=controller is signed by CN=kilonova"


def test_two_authorities_while_one_takes_the_place_of_the_other(pair, authority):
    other = certificates.new_authority("kilonova")
    assert said(pair, other.certificate + authority.certificate) == []


def made(subject, issuer, key, signer, algorithm=None, ca=False, below=None, signs=None, days=100):
    """A certificate as others make them; `below` is its path length, `signs` whether its key usage allows certificates."""
    time = datetime.datetime.now(datetime.UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
    others = ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"]
    uses = dict.fromkeys(others, False)
    usage = [x509.KeyUsage(digital_signature=True, key_cert_sign=signs, crl_sign=signs, **uses)] if signs is not None else []
    builder = (
        x509.CertificateBuilder(issuer_name=names[1], subject_name=names[0], public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(time - datetime.timedelta(days=10))
        .not_valid_after(time + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=below), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    )
    for one in usage:
        builder = builder.add_extension(one, critical=True)
    return builder.sign(signer, algorithm or hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def text_of(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def test_intermediate_authorities():
    root, between, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    roots = made("root", "root", root, root, ca=True)
    middle = made("between", "root", between, root, ca=True)
    own = made("public", "between", leaf, between)
    key = text_of(leaf)
    assert said(certificates.Pair(own + middle, key), roots, ["public"]) == []
    assert said(certificates.Pair(own, key), roots + middle, ["public"]) == []
    assert said(certificates.Pair(own, key), roots, ["public"]) == [
        ("certificate", "was not signed by the authority: CN=public is signed by CN=between", "error")
    ]
    # One that may not sign.
    no_authority = made("between", "root", between, root)
    assert "was not signed by the authority" in said(certificates.Pair(own + no_authority, key), roots, ["public"])[0][1]
    # The chain brings its own root, which nobody trusts.
    other = made("other", "other", root, root, ca=True)
    assert said(certificates.Pair(own + middle + roots, key), other, ["public"])[0][1] == (
        "leads to CN=root, which is not the authority"
    )


def chain(root=None, middle=None, size=None):
    """Return the certificate of an authority below another one, and that; `root` and `middle` are more arguments for each."""
    keys = [ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())]
    keys.insert(1, rsa.generate_private_key(65537, size) if size else ec.generate_private_key(ec.SECP256R1()))
    roots = made("root", "root", keys[0], keys[0], ca=True, **(root or {}))
    between = made("between", "root", keys[1], keys[0], ca=True, **(middle or {}))
    return certificates.Pair(made("public", "between", keys[2], keys[1]) + between, text_of(keys[2])), roots


@pytest.mark.parametrize(
    ("given", "what", "openssl"),
    [
        ({"root": {"below": 1, "signs": True}, "middle": {"below": 0, "signs": True}}, "", True),
        ({"middle": {"days": -1}}, "expired on ", False),
        ({"root": {"below": 0}}, "is signed by CN=root, which allows 0 authorities below it, and there are 1", False),
        ({"root": {"signs": False}}, "is signed by CN=root, which may not sign certificates", False),
        ({"middle": {"signs": False}}, "is signed by CN=between, which may not sign certificates", False),
        ({"size": 1024}, "has a weak key of 1024 bits (CN=between)", None),
    ],
)
def test_each_certificate_of_a_chain_counts(given, what, openssl, tmp_path):
    pair, authority = chain(**given)
    found = said(pair, authority, ["public"])
    assert [part for part, _what, _level in found] == ["certificate"] * bool(what)
    assert not what or found[0][1].startswith(what)
    if openssl is None or shutil.which("openssl") is None:
        return
    (tmp_path / "authority").write_text(authority)
    (tmp_path / "chain").write_text(pair.certificate)
    argv = ["openssl", "verify", "-CAfile", tmp_path / "authority", "-untrusted", tmp_path / "chain", tmp_path / "chain"]
    assert (subprocess.run(argv, capture_output=True, check=False).returncode == 0) == openssl


def test_a_private_key_belongs_into_no_certificate(pair, authority):
    with_key = certificates.Pair(pair.certificate + pair.key, pair.key)
    for key in (authority.key, text_of(rsa.generate_private_key(65537, 2048))):
        for text in (authority.certificate + key, key + authority.certificate):
            [wrong] = certificates.check(pair, text, NAMES, ["server"], 30)
            assert wrong.part == "authority" and wrong.what == "contains a private key, and every user of the hosts can read it"
            assert [one.what for one in certificates.check_authority(text)] == [wrong.what]
    [wrong] = certificates.check(with_key, authority.certificate, NAMES, ["server"], 30)
    assert (wrong.part, wrong.what) == ("certificate", "contains a private key, and every user of the hosts can read it")


def test_weak_ones():
    root = ec.generate_private_key(ec.SECP256R1())
    roots = made("root", "root", root, root, ca=True)
    weak = rsa.generate_private_key(65537, 1024)
    found = said(certificates.Pair(made("public", "root", weak, root), text_of(weak)), roots, ["public"])
    assert found == [("certificate", "has a weak key of 1024 bits (CN=public)", "error")]


def test_a_signature_with_sha_1():
    """Made by `openssl x509 -req -sha1`; what makes certificates here signs nothing with it."""
    old = (Path(__file__).parent.parent / "data" / "sha1.pem").read_text()
    key = text_of(rsa.generate_private_key(65537, 2048))
    found = said(certificates.Pair(old, key), certificates.new_authority("root").certificate, ["public"])
    assert ("certificate", "is signed with SHA1 (CN=public)", "error") in found
