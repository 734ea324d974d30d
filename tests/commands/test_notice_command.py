"""test_notice, as an operator calls it who has just set the channels up."""

import json

import pytest

from tests import receivers
from tests.commands.conftest import Done, script

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def call(**environment: str) -> Done:
    return script("test_notice", DATABASE_URL=NOWHERE, **environment)


def test_every_channel_is_tried():
    with receivers.hooked() as hook, receivers.relayed() as (relay, port):
        web = {"STRATA_WEBHOOK_URL": hook.url, "STRATA_WEBHOOK_SECRET": receivers.SECRET}
        mail = {
            "STRATA_NOTIFY_EMAIL": "ops@example.org,night@example.org",
            "STRATA_EMAIL_FROM": "strata@example.org",
            "STRATA_SMTP_HOST": "127.0.0.1", "STRATA_SMTP_PORT": str(port),
        }  # fmt: skip
        both = call(**web, **mail)
        hook.answers = [403]
        one = call(**web, **mail)
    assert both == (
        0,
        "webhook: sent, it answered 200 OK\nemail: sent, the mail relay took it\n",
        [],
    )
    assert one.code == 1
    assert one.out.startswith("webhook: failed, it answered 403 Forbidden\nemail: sent")
    (_, headers, body), _ = hook.heard
    assert receivers.signed(headers, body)
    assert headers["X-Strata-Event"] == "test"
    told = json.loads(body)
    assert (told["version"], told["id"], told["event"], told["merge"]) == (1, 0, "test", None)
    assert relay.mails[0]["Subject"] == "[Strata] test"
    assert relay.mails[0]["From"] == "strata@example.org"
    assert relay.recipients[0] == ["ops@example.org", "night@example.org"]


def test_nobody_there():
    port = str(receivers.free_port())
    done = call(STRATA_NOTIFY_EMAIL="ops@example.org", STRATA_SMTP_PORT=port)
    assert done == (1, "email: failed, Connection refused\n", [])


@pytest.mark.parametrize("on", ["", "failed"])
def test_no_channel(on):
    done = call(STRATA_NOTIFY_ON=on)
    assert (done.code, done.out, len(done.err)) == (2, "", 1)
    assert "no channel is configured" in done.err[0]
