"""Which columns, how many rows, in which order: from the address, and from the last visit."""

import re

import pytest

from chains.models import Volume
from tests.web import samples


def headings(text: str, region: str) -> list[str]:
    table = text[text.index(f'id="{region}"') :]
    head = table[table.index("<thead>") : table.index("</thead>")]
    head = re.sub("<button.*", "</th>", head.replace("</th>", "</th>\n"))  # what “?” tells
    found = (re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<th.*?</th>", head, re.DOTALL))
    return [" ".join(text.split()) for text in found]


def test_the_columns_of_the_address_are_shown_and_remembered(domain, browser):
    client = browser("auditor")
    url = f"/domains/{domain.pk}/"
    assert "Layers" in headings(client.get(url).text, "disks")
    chosen = client.get(f"{url}?columns=path&columns=on_disk")
    assert headings(chosen.text, "disks")[1:-1] == ["Name", "On disk", "Active layer"]
    assert headings(client.get(url).text, "disks")[1:-1] == ["Name", "On disk", "Active layer"]
    none = client.get(f"{url}?columns=")
    assert headings(none.text, "disks")[1:-1] == ["Name"]
    assert "httponly" in str(none.cookies["strata-table-disks"]).lower()


def test_order_and_rows_are_remembered_and_stand_in_the_links(domain, browser):
    samples.more_rows(domain, 60)
    client = browser("auditor")
    url = f"/domains/{domain.pk}/volumes/"
    first = client.get(f"{url}?rows=25&sort=-on_disk").text
    assert first.count("<tr>") == 26
    again = client.get(url).text
    assert again.count("<tr>") == 26
    assert 'aria-sort="descending"' in again
    (following,) = re.findall(r'rel="next" href="([^"]+)"', again)
    assert "sort=-on_disk" in following
    assert "rows=25" in following
    sizes = [v.on_disk for v in Volume.objects.filter(domain=domain).order_by("-on_disk", "-id")]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    "cookie",
    ["rows=abc&sort=zz&columns=<script>", "=&=&&", "x" * 5000, "rows=999999", "columns=%00%ff"],
)
def test_a_cookie_is_not_trusted(cookie, domain, browser):
    client = browser("auditor")
    client.cookies["strata-table-disks"] = cookie
    response = client.get(f"/domains/{domain.pk}/")
    assert response.status_code == 200
    assert "<script>" not in response.text


def test_volumes_are_sorted_by_each_column(domain, browser):
    samples.more_rows(domain, 30)
    client = browser("auditor")
    for word in ("path", "on_disk", "modified"):
        for sign in ("", "-"):
            page = client.get(f"/domains/{domain.pk}/volumes/?sort={sign}{word}&rows=200").text
            shown = [
                int(pk)
                for pk in re.findall(r'href="/volumes/(\d+)/">', page.partition("<tbody>")[2])
            ]
            found = Volume.objects.filter(domain=domain).order_by(f"{sign}{word}", f"{sign}id")
            names = [pk for pk in shown if pk in set(found.values_list("pk", flat=True))]
            assert list(dict.fromkeys(names))[:5] == list(found.values_list("pk", flat=True)[:5])
