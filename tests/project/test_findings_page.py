"""docs/findings.md against the code: every code once, with a severity that its rule really gives."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings

from chains.core.findings import Code, Severity

PAGE = Path(settings.BASE_DIR) / "docs" / "findings.md"
ROW = re.compile(r"^\| `([a-z-]+)` \| ([a-z, ]+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
RULE = re.compile(r"`([\w/]+\.py): (\w+)`")
ROWS = {code: rest for code, *rest in ROW.findall(PAGE.read_text())}


def source_of(path, name):
    """The text of a function, wherever in its file it stands."""
    text = (Path(settings.BASE_DIR) / "chains" / path).read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_source_segment(text, node)
    return None


def test_every_code_has_one_row_and_no_other_has():
    listed = Counter(code for code, *_ in ROW.findall(PAGE.read_text()))
    assert {code.value for code in Code} - set(listed) == set(), "docs/findings.md lacks these"
    assert set(listed) - {code.value for code in Code} == set(), "no rule finds these any more"
    assert set(listed.values()) == {1}


@pytest.mark.parametrize("code", sorted(ROWS))
def test_a_row_says_what_its_rule_does(code):
    severities, meaning, remedy, rules = ROWS[code]
    said = set(severities.split(", "))
    assert said <= {severity.value for severity in Severity}
    assert meaning.strip().endswith(".")
    assert remedy.strip()
    named = RULE.findall(rules)
    assert named, rules
    given = set()
    for path, name in named:
        source = source_of(path, name)
        assert source is not None, f"{path} has no {name}"
        assert f"Code.{Code(code).name}" in source, f"{name} does not find {code}"
        # Helpers of a rule are named after the severity that they give: critical(…), _info(…).
        given |= set(re.findall(r"(critical|warning|info)\(", source))
    assert said <= given, f"the rules give {given}"
