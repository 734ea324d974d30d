"""The sprawl report: its page, its files, its paper, its dates."""

import pytest

from tests.web.markup import Page


@pytest.mark.parametrize("by", ["datacenter", "domain", "vm", "disk"])
@pytest.mark.parametrize("more", ["", "&as_of=2099-01-01", "&as_of=2001-01-01&with=2099-01-01", "&sort=oldest_snapshot", "&breaches=1&q=x&snapshots=2&older=3d&days=7"])
def test_the_page_in_every_way(by, more, domain, browser):
    client = browser("auditor")
    for form in ("", "&format=print"):
        answer = client.get(f"/sprawl/?by={by}{more}{form}")
        assert answer.status_code == 200
        text = answer.getvalue().decode() if answer.streaming else answer.text
        assert Page(text).wrong == []
