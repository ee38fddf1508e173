"""Secrets in what programs say: lines of logs, and tracebacks (test_config_files.py has those of files)."""

import time

import pytest
from harness import load

from kilonova.config import catalogue
from kilonova.onhost.masking import HIDDEN, mask, mask_log, without_passwords


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("'X-Subject-Token': 'abcdef0123', 'x': 1", f"'X-Subject-Token': '{HIDDEN}', 'x': 1"),
        ("GET /?a=1&token=3c9e0c2a-x HTTP/1.1", f"GET /?a=1&token={HIDDEN} HTTP/1.1"),
        ("password = hunter2, user=x", f"password = {HIDDEN}, user=x"),
        ('password="hunter2" user=x', f'password="{HIDDEN}" user=x'),
        ("x-instance-id-signature: 0a1b2c3d", f"x-instance-id-signature: {HIDDEN}"),
        # Any password: one with a semicolon, a blank or a brace, too.
        ("OS_PASS={x} a", f"OS_PASS={HIDDEN} a"),
        ("password={abc", f"password={HIDDEN}"),
        ("password = a;b c", f"password = {HIDDEN} c"),
        ('password="a;b"', f'password="{HIDDEN}"'),
        ("password='a b', u=c", f"password='{HIDDEN}', u=c"),
        ("Authorization: Bearer abc.def ghi", f"Authorization: Bearer {HIDDEN} ghi"),
        ("{'Authorization': 'Basic QWxhZGRpbg=='}", f"{{'Authorization': 'Basic {HIDDEN}'}}"),
        # Not what has none in it.
        ("X-Auth-Token: {SHA256}0a1b", "X-Auth-Token: {SHA256}0a1b"),
        ("'token': {'id': 1}", "'token': {'id': 1}"),
        # What follows in the next line is not the value of a word that ends this one.
        ("no token:\nGET /v2.1", "no token:\nGET /v2.1"),
        ("at rabbit://nova:a@b/c@10.0.0.11:5672,nova:d@10.0.0.12:5672/", f"at rabbit://nova:{HIDDEN}@10.0.0.12:5672/"),
        ("http://10.0.0.11:8774/v2.1/servers", "http://10.0.0.11:8774/v2.1/servers"),
    ],
)
def test_of_a_line_of_a_log_only_the_secrets_are_hidden(line, shown):
    assert mask_log(line) == shown
    # What is hidden stays as it is, where a text is shown by way of two hosts.
    assert mask_log(shown) == shown


def test_there_is_one_word_for_what_is_hidden():
    said = [
        mask("password = canary"),
        mask_log("password = canary"),
        without_passwords("a://b:canary@c"),
        catalogue.mask("DEFAULT", "password", "canary"),
        catalogue.mask("DEFAULT", "url", "a://b:canary@c"),
    ]
    assert said == [f"password = {HIDDEN}", f"password = {HIDDEN}", f"a://b:{HIDDEN}@c", HIDDEN, f"a://b:{HIDDEN}@c"]


@pytest.mark.parametrize("text", ["http://a:9292,", "a://u:canary@h,", "://a:"])
def test_many_urls_are_read_once(text):
    began = time.monotonic()
    shown = without_passwords("x://u:canary@h " + text * 20_000)
    assert time.monotonic() - began < 5  # minutes, once
    assert "canary" not in shown


def test_a_traceback_loses_its_password():
    text = "OperationalError at mysql+pymysql://nova:p%40ss@10.0.0.11:3306/nova?charset=utf8"
    assert load("schema_sync").masking.without_passwords(text) == text.replace("p%40ss", "(hidden)")


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "])
@pytest.mark.parametrize("hide", [mask, mask_log])
def test_a_private_key_is_hidden_and_its_certificate_is_not(kind, hide):
    text = (
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        f"-----BEGIN {kind}PRIVATE KEY-----\ncanary1\ncanary2=\n-----END {kind}PRIVATE KEY-----\nx = 1\n"
    )
    assert hide(text) == text.replace("canary1\ncanary2=", HIDDEN)
    assert "canary" not in hide(text.split("-----END " + kind)[0]), "also where its end is missing"
    assert "canary" not in hide('{"x": "' + text.replace("\n", "\\n") + '"}'), "also in one line"


@pytest.mark.parametrize("name", ["pw", "root_pw", "db-pw", "secretkey", "authorization", "admin_creds", "cred"])
def test_short_names_of_secrets(name):
    assert mask(f"{name} = canary") == f"{name} = {HIDDEN}"
    assert mask(f"{name}_policy: shown") == f"{name}_policy: shown"
