"""File names for people and for JSON."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.core.names import display, portable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.qcow2", "plain.qcow2"),
        ("два слова.img", "два слова.img"),
        ("rocket \U0001f680.raw", "rocket \U0001f680.raw"),
        ('<b>"{x|y}"</b> & \\', '<b>"{x|y}"</b> & \\'),
        (os.fsdecode(b"caf\xe9.raw"), "caf\\xe9.raw"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m\x7f", "\\x1b[31m\\x7f"),
        ("\x85", "\\u0085"),
        ("evil\u202egpj.raw", "evil\\u202egpj.raw"),
        ("a\u200bb\u2028c\ufeff", "a\\u200bb\\u2028c\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("\u3164", "\\u3164"),
        ("a\u00a0b\u3000c", "a\\u00a0b\\u3000c"),
        ("\u05ff\uffff\ue000\U0010ffff", "\\u05ff\\uffff\\ue000\\U0010ffff"),
        ("a\ufe0f\U000e0100", "a\\ufe0f\\U000e0100"),
        ("\ud800", "\\ud800"),
    ],
)
def test_display(name: str, shown: str) -> None:
    assert display(name) == shown


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a\nb\u202e", "a\nb\u202e"),
        (os.fsdecode(b"caf\xe9\xff"), "caf\\xe9\\xff"),
        ("\ud800x", "\\ud800x"),
    ],
)
def test_portable(name: str, stored: str) -> None:
    assert portable(name) == stored


@given(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=9).map(lambda text: text.encode("utf-8", "replace")),
    )
)
def test_whatever_the_file_system_holds_can_be_shown_and_sent(name: bytes) -> None:
    decoded = os.fsdecode(name)
    assert display(decoded).isprintable()
    display(decoded).encode()
    json.dumps(portable(decoded), ensure_ascii=False).encode()
