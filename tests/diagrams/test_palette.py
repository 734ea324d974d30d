"""The colours: one list for Python and for the style sheet, and apart for every eye."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from chains.diagrams import palette
from chains.diagrams.palette import (
    DARK_ON,
    HEAT,
    PALETTE,
    PATTERNS,
    colour_class,
    heat_class,
    heat_level,
    heat_words,
    pattern_of,
)

READS_CSS = (Path(__file__).parents[2] / "static/css/reads.css").read_text(encoding="utf-8")
CSS = (Path(__file__).parents[2] / "static/css/diagrams.css").read_text(encoding="utf-8")

# How the eye without one kind of cone mixes linear red, green and blue (Machado et al. 2009).
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}  # fmt: skip


def properties(block: str) -> dict[str, str]:
    return dict(re.findall(r"--(dg-[a-z0-9-]+):\s*(#[0-9a-f]{6});", block))


def blocks() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    light = re.search(r":root \{(.*?)\}", CSS, re.DOTALL)
    dark = re.search(r':root\[data-theme="dark"\] \{(.*?)\}', CSS, re.DOTALL)
    media = re.search(r':root:not\(\[data-theme="light"\]\) \{(.*?)\}', CSS, re.DOTALL)
    assert light
    assert dark
    assert media
    return properties(light[1]), properties(dark[1]), properties(media[1])


def hues(theme: dict[str, str]) -> list[str]:
    return [theme[f"dg-hue-{i}"] for i in range(len(PALETTE))]


def lightness_and_colour(hue: str, eye: str) -> tuple[float, float, float]:
    """CIE L*a*b* of a colour as an eye sees it."""
    parts = [int(hue[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    r, g, b = (
        min(1, max(0, sum(m * v for m, v in zip(row, linear, strict=True)))) for row in EYES[eye]
    )
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: str, two: str, eye: str) -> float:
    pairs = zip(lightness_and_colour(one, eye), lightness_and_colour(two, eye), strict=True)
    return float(sum((a - b) ** 2 for a, b in pairs) ** 0.5)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_dark_theme_is_the_same_by_choice_and_by_system() -> None:
    light, dark, media = blocks()
    assert dark == media
    assert light.keys() == dark.keys()


def test_python_and_the_style_sheet_agree() -> None:
    light = blocks()[0]
    assert hues(light) == list(PALETTE)
    for name in ("INK", "MUTED", "SURFACE", "LINE", "ARROW", "INFO", "WARNING", "CRITICAL"):
        assert light[f"dg-{name.lower()}"] == getattr(palette, name)


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", [0, 1])
def test_layers_are_told_apart(theme: int, eye: str) -> None:
    colours = hues(blocks()[theme])
    for i, colour in enumerate(colours):
        assert distance(colour, colours[(i + 1) % len(colours)], eye) > 20
    for one, two in combinations(colours, 2):
        assert distance(one, two, eye) > 15


@pytest.mark.parametrize("theme", [0, 1])
def test_text_can_be_read(theme: int) -> None:
    colours = blocks()[theme]
    for text in ("ink", "muted", "info", "warning", "critical", "new", "removed", "accent"):
        assert contrast(colours[f"dg-{text}"], colours["dg-surface"]) >= 4.5
    assert contrast(colours["dg-new"], colours["dg-new-soft"]) >= 4.5
    assert contrast(colours["dg-removed"], colours["dg-removed-soft"]) >= 4.5
    assert contrast(colours["dg-muted"], colours["dg-removed-soft"]) >= 4.5
    assert contrast(colours["dg-muted"], colours["dg-accent-soft"]) >= 4.5


def heats() -> tuple[list[str], list[str]]:
    pairs = re.findall(r"--dg-heat-\d: light-dark\((#\w{6}), (#\w{6})\)", READS_CSS)
    return [light for light, _ in pairs], [dark for _, dark in pairs]


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", [0, 1])
def test_more_hops_are_further_from_the_paper_for_every_eye(theme: int, eye: str) -> None:
    colours = heats()[theme]
    assert len(colours) == len(HEAT)
    light = [lightness_and_colour(colour, eye)[0] for colour in colours]
    assert light == sorted(light, reverse=theme == 0)
    for one, two in pairwise(colours):
        assert distance(one, two, eye) > 10


def test_python_and_the_style_sheet_agree_on_heat() -> None:
    assert heats()[0] == list(HEAT)
    for i in range(len(HEAT)):
        assert f".dg-heat-{i} " in READS_CSS


@pytest.mark.parametrize("theme", [0, 1])
def test_a_pattern_is_seen_on_its_hue(theme: int) -> None:
    """What a pattern is drawn with differs from what it is drawn on, for people who see no hues."""
    cut = blocks()[theme]["dg-cut"]
    over = dict.fromkeys([f"dg-layer-{i}" for i in range(len(PALETTE))], cut)
    for names, light, dark in re.findall(
        r"((?:\.dg-(?:layer|heat)-\d,? ?)+)\{ --dg-over: light-dark\((#\w+), (#\w+)\); \}",
        READS_CSS,
    ):
        colour = (light, dark)[theme]
        over |= dict.fromkeys(re.findall(r"dg-\w+-\d", names), colour)
        if theme == 0:
            assert all(
                (name in DARK_ON) == (colour != "#ffffff")
                for name in re.findall(r"dg-\w+-\d", names)
            )
    hue = {f"dg-layer-{i}": colour for i, colour in enumerate(hues(blocks()[theme]))}
    hue |= {f"dg-heat-{i}": colour for i, colour in enumerate(heats()[theme])}
    assert over.keys() == hue.keys()
    for name, colour in hue.items():
        assert contrast(colour, over[name]) >= 3, name


def test_neighbours_differ_in_hue_and_pattern_and_the_57th_begins_again() -> None:
    assert len({colour_class(i) for i in range(56)}) == 56
    assert colour_class(56) == colour_class(0) == "dg-layer-0"
    assert colour_class(9) == "dg-layer-1 dg-dots"
    for i in range(56):
        assert colour_class(i).split()[0] != colour_class(i + 1).split()[0]
        assert pattern_of(i) != pattern_of(i + 1)


def test_hops_have_levels() -> None:
    levels = [heat_level(hops) for hops in (0, 0.2, 1, 1.5, 2, 3, 4, 5, 8, 9, 900)]
    assert levels == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [heat_words(level) for level in range(6)] == ["0", "1", "2", "3–4", "5–8", "9 +"]
    assert len({heat_class(level) for level in range(6)}) == 6
    assert len({pattern_of(level) for level in range(6)}) == 6


def test_sentinel_colours_are_distinct() -> None:
    texts = list(palette.TEXT_CLASSES)
    assert len(texts) == len(set(texts)) == 7


def test_every_class_of_a_drawing_is_in_the_style_sheet() -> None:
    for i in range(len(PALETTE)):
        assert f".dg-layer-{i} " in CSS
    for name in (
        "dg-box", "dg-answer", "dg-held", "dg-frame", "dg-empty", "dg-nobody", "dg-hatch-line",
        "dg-halo", "dg-fold", "dg-mark-removed",
        "dg-mark-new", "dg-mark-changed", "dg-read", "dg-name", "dg-role", "dg-muted", "dg-faint",
    ):  # fmt: skip
        assert re.search(rf"\.{name}\b", CSS), name
    for name in ("dg-pattern-line", "dg-pattern-dot", "dg-pattern-ring", "dg-here", "dg-read-here"):
        assert re.search(rf"\.{name}\b", READS_CSS), name
    for pattern in filter(None, PATTERNS):
        assert f".dg-swatch.dg-{pattern} " in READS_CSS, pattern
