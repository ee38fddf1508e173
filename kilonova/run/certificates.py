"""Certificates of an inventory: an authority, one certificate for each host and use, and what may be wrong with them.

X.509 is the package `cryptography`'s. Keys are of the curve P-256 (NIST SP 800-186), which every program here knows: HAProxy,
MariaDB, Erlang and Open vSwitch by OpenSSL, QEMU and libvirt by GnuTLS. A certificate names all that its host is reached by
(RFC 6125: names and addresses in the subject's alternative names; its common name is for people).
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# How long an authority and its certificates are valid, in days.
AUTHORITY_DAYS, DAYS = 3650, 825
# Clocks of hosts differ; a certificate is valid from a bit before it was made.
BEFORE = datetime.timedelta(hours=1)
# The smallest keys that are not weak (NIST SP 800-57 part 1, table 2: 112 bits of strength).
RSA_BITS, EC_BITS = 2048, 224
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)
_EXTENDED = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, or a chain of them that begins with its own, and its key, in PEM."""

    certificate: str
    key: str = field(repr=False)


def now() -> datetime.datetime:
    """The time, in UTC."""
    return datetime.datetime.now(datetime.UTC)


# --------------------------------------------------------------------------------------------------------------- making


def new_authority(name: str, days: int = AUTHORITY_DAYS) -> Pair:
    """Return a new authority that signs certificates of hosts, and no other authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = (
        _builder(subject, subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
    )
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def issue(authority: Pair, host: str, reached_by: Iterable[str], uses: Sequence[str], days: int = DAYS) -> Pair:
    """Return a certificate for a host: `reached_by` has its names and addresses, `uses` is of "server", "client".

    It ends no later than its authority.
    """
    issuer = _load(authority.certificate)[0]
    signer = _load_key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [_alternative(text) for text in dict.fromkeys(reached_by)]
    builder = (
        _builder(_name(host), issuer.subject, key.public_key(), days, issuer.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # Not critical: QEMU and libvirt refuse a certificate whose critical usage has no encipherment of keys, which
        # keys of elliptic curves cannot have (RFC 8813).
        .add_extension(_usage(signs=False), critical=False)
        .add_extension(x509.ExtendedKeyUsage([_EXTENDED[use] for use in uses]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    return Pair(_pem(builder.sign(signer, hashes.SHA256())), _key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int, latest: datetime.datetime | None = None
) -> x509.CertificateBuilder:
    begin = now().replace(microsecond=0)
    end = begin + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - BEFORE)
        .not_valid_after(min(end, latest) if latest else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    # A common name has 64 characters at most (RFC 5280, appendix A.1).
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _alternative(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text.encode("idna").decode() if not text.isascii() else text)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: PrivateKeyTypes) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


@functools.lru_cache(maxsize=4)  # all hosts have the same authority
def _load(text: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a text in PEM, in its order. Raises ValueError where there is none."""
    return tuple(x509.load_pem_x509_certificates(text.encode()))


def _load_key(text: str) -> PrivateKeyTypes:
    return serialization.load_pem_private_key(text.encode(), password=None)


def ends(text: str) -> datetime.datetime:
    """Return when the certificate ends that a text in PEM begins with, in UTC."""
    return _load(text)[0].not_valid_after_utc


def is_authority_called(text: str, beginning: str) -> bool:
    """Whether the certificate that a text in PEM begins with has signed itself, and a common name that begins so."""
    one = _load(text)[0]
    names = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _is_self_signed(one) and any(str(name.value).startswith(beginning) for name in names)


def shown(text: str) -> str:
    """Return the name of the certificate that a text in PEM begins with."""
    return _shown(_load(text)[0])


def each(text: str) -> list[str]:
    """Return the certificates of a text in PEM, each by itself."""
    return [_pem(certificate) for certificate in _load(text)]


# ------------------------------------------------------------------------------------------------------------- checking


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a certificate or key, and what to do; `part` is certificate, key or authority."""

    part: str
    what: str
    remedy: str
    level: str = "error"


_HAS_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")


def check(pair: Pair, authority: str, reached_by: Iterable[str], uses: Sequence[str], warn_days: int) -> list[Wrong]:
    """Return what is wrong with a host's certificate, its key and the authority (PEM, with intermediates or more than one).

    A key's text is never part of it.
    """
    found: list[Wrong] = []
    chain = _read("certificate", pair.certificate, found)
    trusted = _read("authority", authority, found)
    key = _read_key(pair.key, found)
    for certificate in chain:
        found += _check_one("certificate", certificate, warn_days)
    for certificate in trusted:
        found += _check_one("authority", certificate, warn_days)
    if chain and key is not None and _public(chain[0].public_key()) != _public(key.public_key()):
        found.append(Wrong("key", "does not belong to the certificate", "give the key that the certificate was made for"))
    if chain:
        found += _check_names(chain[0], reached_by)
        found += _check_uses(chain[0], uses)
    if chain and trusted and not any(wrong.part in ("certificate", "authority") for wrong in found if wrong.level == "error"):
        found += _check_chain(chain, trusted)
    return found


def check_authority(authority: str) -> list[Wrong]:
    """Return what is wrong with an authority by itself, as check() does."""
    found: list[Wrong] = []
    for certificate in _read("authority", authority, found):
        found += _check_one("authority", certificate, 0)
    return found


def _read(part: str, text: str, found: list[Wrong]) -> Sequence[x509.Certificate]:
    if _HAS_KEY.search(text):
        what = "contains a private key, and every user of the hosts can read it"
        found.append(Wrong(part, what, "remove the key, and leave the lines from BEGIN CERTIFICATE to END CERTIFICATE"))
        return []
    try:
        return _load(text)
    except (ValueError, UnsupportedAlgorithm):
        begin = "-----BEGIN CERTIFICATE-----"
        found.append(Wrong(part, "has no certificate in PEM that can be read", f"give a file with {begin} in it"))
        return []


def _read_key(text: str, found: list[Wrong]) -> PrivateKeyTypes | None:
    try:
        key = _load_key(text)
    except TypeError:
        remedy = "decrypt it (openssl pkey -in file), and encrypt the file with ansible-vault"
        found.append(Wrong("key", "is encrypted with a passphrase, which no service could ask for", remedy))
        return None
    except (ValueError, UnsupportedAlgorithm):
        found.append(Wrong("key", "is not a private key in PEM that can be read", "give a file with -----BEGIN PRIVATE KEY-----"))
        return None
    return key


def _check_one(part: str, certificate: x509.Certificate, warn_days: int) -> list[Wrong]:
    """What is wrong with a certificate by itself."""
    found, time = [], now()

    def add(what: str, remedy: str, level: str = "error") -> None:
        found.append(Wrong(part, f"{what} ({_shown(certificate)})", remedy, level))

    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends <= time:
        add(f"expired on {ends:%Y-%m-%d}", "renew it")
    elif begins > time:
        add(f"is not valid before {begins:%Y-%m-%d %H:%M} UTC", "wait until then, or set the clock of this machine right")
    elif ends <= time + datetime.timedelta(days=warn_days):
        add(f"expires on {ends:%Y-%m-%d}, in {(ends - time).days} days", "renew it", "warning")
    public = certificate.public_key()
    bits = getattr(public, "key_size", EC_BITS)
    if isinstance(public, (rsa.RSAPublicKey, dsa.DSAPublicKey)) and bits < RSA_BITS:
        add(f"has a weak key of {bits} bits", f"make one of at least {RSA_BITS} bits")
    elif isinstance(public, ec.EllipticCurvePublicKey) and bits < EC_BITS:
        add(f"has a weak key of {bits} bits", f"make one of at least {EC_BITS} bits")
    signed_with = certificate.signature_hash_algorithm
    if isinstance(signed_with, _WEAK_HASHES) and not _is_self_signed(certificate):
        add(f"is signed with {signed_with.name.upper()}", "have it signed with SHA-256")
    return found


def _check_names(certificate: x509.Certificate, reached_by: Iterable[str]) -> list[Wrong]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    addresses = set(names.get_values_for_type(x509.IPAddress))
    hosts = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    missing = []
    for text in dict.fromkeys(reached_by):
        wanted = _alternative(text)
        if isinstance(wanted, x509.IPAddress):
            there = wanted.value in addresses
        else:
            # A wildcard stands for one label (RFC 6125, section 6.4.3).
            name = wanted.value.lower()
            there = name in hosts or f"*.{name.partition('.')[2]}" in hosts
        if not there:
            missing.append(text)
    if not missing:
        return []
    remedy = "add it to the subject's alternative names, as a DNS name or an IP address"
    return [Wrong("certificate", f"does not have {', '.join(missing)} among its names ({_shown(certificate)})", remedy)]


def _check_uses(certificate: x509.Certificate, uses: Sequence[str]) -> list[Wrong]:
    try:
        allowed = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return []  # allowed for everything
    missing = [use for use in uses if _EXTENDED[use] not in allowed and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in allowed]
    if not missing:
        return []
    words = " and ".join(f"{use}Auth" for use in missing)
    return [Wrong("certificate", f"may not be used as that of a {' and '.join(missing)} ({_shown(certificate)})", f"add {words}")]


def _check_chain(chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]) -> list[Wrong]:
    """Follow the signatures from the certificate to one that is trusted and signs itself."""
    known = [*chain[1:], *trusted]
    one, passed = chain[0], []
    if _is_self_signed(one) and one not in trusted and any(other.subject == one.subject for other in trusted):
        what = f"has the same name as its authority, {_shown(one)}, so clients take it for one that signed itself"
        return [Wrong("certificate", what, "give the authority another name")]
    while not _is_self_signed(one):
        passed.append(one)
        signers = [other for other in known if other not in passed and _signed(one, other)]
        # Those that the certificate itself makes do not count among the authorities in between (RFC 5280, section 4.2.1.9).
        above = next((other for other in signers if not (why := _why_not_an_authority(other, len(passed) - 1))), None)
        if above is None and signers:
            return [Wrong("certificate", f"is signed by {_shown(signers[0])}, which {why}", "give another authority")]
        if above is None:
            what = f"was not signed by the authority: {_shown(one)} is signed by {_shown_name(one.issuer)}"
            remedy = "give that authority, with the certificates in between"
            return [Wrong("certificate", what, remedy)]
        one = above
    if one not in trusted:
        remedy = "give the authority that signed it"
        return [Wrong("certificate", f"leads to {_shown(one)}, which is not the authority", remedy)]
    return []


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return bool(issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


def _why_not_an_authority(issuer: x509.Certificate, between: int) -> str:
    """Why no client takes a certificate that this authority signed, with so many authorities in between; empty when all do."""
    most = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if most is not None and between > most:
        return f"allows {most} authorities below it, and there are {between}"
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    return "" if usage.key_cert_sign else "may not sign certificates (its key usage has no keyCertSign)"


def _is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _public(key: object) -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, kind)


def _shown(certificate: x509.Certificate) -> str:
    return _shown_name(certificate.subject)


def _shown_name(name: x509.Name) -> str:
    return name.rfc4514_string() or "without a name"
