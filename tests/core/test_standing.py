"""How a domain stands, in words."""

import pytest

from chains.core.standing import details, is_block, overcommit, overcommit_words

TIB = 1024**4


@pytest.mark.parametrize(
    ("virtual", "capacity", "ratio", "words"),
    [
        (32 * TIB, 10 * TIB, 3.2, "guests may come to write 3.2 × what fits"),
        (120 * TIB, 10 * TIB, 12.0, "guests may come to write 12 × what fits"),
        (10 * TIB + 2**35, 10 * TIB, 1.0031, "guests may come to write 1.01 × what fits"),
        (5 * TIB, 10 * TIB, 0.5, "all that guests may come to write fits: 50 % of the domain"),
        (2**30, TIB, 0.001, "all that guests may come to write fits: less than 1 % of the domain"),
        (0, 10 * TIB, 0.0, "all that guests may come to write fits: 0 % of the domain"),
        (5 * TIB, None, None, "not known: the domain has not been scanned"),
        (5 * TIB, 0, None, "not known: the domain has not been scanned"),
        (10**29, TIB, None, "×"),
    ],
)
def test_overcommit(virtual, capacity, ratio, words):
    found = overcommit(virtual, capacity)
    assert found == ratio or (words == "×" and found > 1)
    assert words in overcommit_words(virtual, capacity)


def test_what_a_scan_found_out():
    facts = {
        "version": 5,
        "class": "Data",
        "type": "NFS",
        "role": "Master",
        "description": "x\u202e",
    }
    assert details("ovirt-file", "auto", facts) == ["V5", "Data", "NFS", "Master", "“x\\u202e”"]
    block = {"version": 4, "group": "7f3c", "devices": 1, "name": "fc"}
    assert details("ovirt-block", "auto", block) == ["V4", "group 7f3c", "1 device", "“fc”"]
    assert details("directory", "auto", {"profile": "libvirt"}) == [
        "made by libvirt (found by looking)"
    ]
    assert details("directory", "nova", {"profile": "nova"}) == ["made by nova (as it was set)"]
    assert details("directory", "auto", {"profile": "plain"}) == ["no known maker"]
    assert details("directory", "auto", {}) == details("ovirt-file", "auto", {}) == []
    assert is_block("ovirt-block")
    assert not is_block("directory")
