"""Sizes, lengths of time and percentages in both languages."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from chains.words import numbers


@pytest.mark.parametrize(
    ("write", "value", "english", "russian"),
    [
        (numbers.binary, 1_600_000_000, "1.49 GiB", "1,49 ГиБ"),
        (numbers.binary, 0, "0 B", "0 Б"),
        (numbers.binary, None, "–", "–"),
        (numbers.signed_binary, -1024, "−1 KiB", "−1 КиБ"),
        (numbers.position, 166_400 * 1024, "166,400 KiB", "166\xa0400 КиБ"),
        (numbers.rate, 1536, "1.5 KiB/s", "1,5 КиБ/с"),
        (numbers.exactly, 5, "5 bytes", "5 байт"),
        (numbers.percent, 12.34, "12.3 %", "12,3 %"),
        (numbers.duration, 0.2, "< 1 s", "< 1 с"),
        (numbers.duration, 200, "3 min 20 s", "3 мин 20 с"),
        (numbers.duration, 7500, "2 h 5 min", "2 ч 5 мин"),
        (numbers.figure, "30d", "30 d", "30 дн."),
        (numbers.figure, "10.5 GiB", "10.5 GiB", "10,5 ГиБ"),
        (
            numbers.sizes,
            "of 1.5 GiB/s, not 1.5 GiBs",
            "of 1.5 GiB/s, not 1.5 GiBs",
            "of 1,5 ГиБ/с, not 1.5 GiBs",
        ),
    ],
)
def test_figures(write, value, english, russian):
    with translation.override("en"):
        assert write(value) == english
    with translation.override("ru"):
        assert write(value) == russian


@pytest.mark.parametrize(
    ("seconds", "english", "russian"),
    [
        (3, "just now", "только что"),
        (30, "30 s ago", "30 с назад"),
        (300, "5 min ago", "5 мин назад"),
        (7300, "2 h ago", "2 ч назад"),
        (200_000, "2 d ago", "2 дн. назад"),
    ],
)
def test_how_long_ago(seconds, english, russian):
    at = timezone.now() - timedelta(seconds=seconds)
    with translation.override("en"):
        assert numbers.ago(at) == english
    with translation.override("ru"):
        assert numbers.ago(at) == russian
        assert numbers.ago(None) == "никогда"
