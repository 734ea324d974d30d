"""The settings of notices: what is taken, and what is refused in one line that shows no secret."""

import pytest

from project import env
from tests.commands.conftest import script

STATES = ("succeeded", "failed", "cancelled", "attention")
NAME = "STRATA_OF_THIS_TEST"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080", "https://hooks.example/a/b?c=d", "http://[::1]:80/",
        "HTTPS://Hooks.Example/",
    ],
)  # fmt: skip
def test_an_address_that_can_be_used(url, monkeypatch):
    monkeypatch.setenv(NAME, f" {url} ")
    assert env.env_url(NAME) == url


@pytest.mark.parametrize(
    "url",
    [
        "hooks.example", "ftp://hooks.example/", "file:///etc/passwd", "https://", "http:///x",
        "https://user:word@hooks.example/", "https://hooks.example:99999/", "http://x:port/",
        "https://hooks.example/a b", "https://hooks.example/\r\nX: y", "https://häuser.example/",
        "https://hooks.example/#part", "javascript:alert(1)", "http://[::1/", "http://x:0/",
    ],
)  # fmt: skip
def test_an_address_that_can_not(url, monkeypatch):
    monkeypatch.setenv(NAME, url)
    with pytest.raises(env.BadSetting) as seen:
        env.env_url(NAME)
    assert "give an address like" in str(seen.value)
    assert "word" not in str(seen.value), "an address may hold a password"


def test_mail_addresses(monkeypatch):
    assert env.env_addresses(NAME) == []
    monkeypatch.setenv(NAME, "ops@example.org, root@localhost ,")
    assert env.env_addresses(NAME) == ["ops@example.org", "root@localhost"]
    with pytest.raises(env.BadSetting, match="give one address"):
        env.env_address(NAME, "")
    for wrong in ("ops", "a@b@c", "Ops <ops@example.org>", "ops@exa\nmple.org", "@x", "x@"):
        monkeypatch.setenv(NAME, wrong)
        with pytest.raises(env.BadSetting, match="comma-separated"):
            env.env_addresses(NAME)


def test_some_of_the_states(monkeypatch):
    assert env.env_some(NAME, STATES) == list(STATES)
    monkeypatch.setenv(NAME, "failed, attention")
    assert env.env_some(NAME, STATES) == ["failed", "attention"]
    monkeypatch.setenv(NAME, "failed,exploded")
    with pytest.raises(env.BadSetting, match=r"exploded.*give some of succeeded"):
        env.env_some(NAME, STATES)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"STRATA_WEBHOOK_URL": "https://x.example/"}, "STRATA_WEBHOOK_URL needs it"),
        (
            {"STRATA_WEBHOOK_URL": "https://x.example/", "STRATA_WEBHOOK_SECRET": "short-secret"},
            "at least 16 characters",
        ),
        ({"STRATA_SMTP_TLS": "perhaps"}, "say no, starttls or tls"),
        ({"STRATA_SMTP_PORT": "70000"}, "from 1 to 65535"),
        ({"STRATA_SMTP_USER": "strata"}, "STRATA_SMTP_USER needs it"),
        ({"STRATA_PUBLIC_URL": "strata.example"}, "give an address"),
        ({"STRATA_NOTIFY_ON": "everything"}, "give some of"),
    ],
)
def test_a_bad_one_is_told_at_start(environment, words):
    done = script("check", **environment)
    assert (done.code, done.out, len(done.err)) == (2, "", 1)
    assert words in done.err[0]
    assert "short-secret" not in done.err[0]
