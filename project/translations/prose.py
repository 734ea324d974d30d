"""The sentences of the lower parts, found by reading their code: texts that are made in English and stored so.

An f-string becomes a form with numbered places: `{0}` for a text that may be prose itself, `{0:name}`
for a name from storage, `{0:size}`, `{0:number}` and `{0:time}` for figures, `{0:count}` for the
number that chooses between singular and plural. Where a piece is one of several literals, each gives
a form of its own.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from project.translations.exempt import ALSO, is_exempt
from project.translations.messages import Message

PARTS = (
    "core",
    "storage",
    "inventory",
    "merges",
    "qemu",
    "models",
    "lessons",
    "diagrams",
    "tasks.py",
)
_NAMES = {"display", "shown", "basename", "fsdecode"}
_SIZES = {"binary", "position"}
_TIMES = {"span", "_ago"}
_NUMBERS = {"len", "int", "round", "sum", "_times"}
_COUNTED = {"_counted", "count"}
_MOST_FORMS = 24
_EDGE = re.compile(r"^(?:[:;,.] +| +)|\s+$")


@dataclass(frozen=True)
class Place:
    """A place in a form: what stands there, and of which kind it is."""

    kind: str
    source: str


Piece = str | Place
Form = tuple[Piece, ...]


@dataclass(frozen=True)
class Found:
    """One form, with the test that chose it between two, if there was one."""

    form: Form
    one: tuple[str, bool] | None = None  # the number that was compared with 1, and whether it was


def sentences(root: Path) -> Iterator[Message]:
    """Every text of these parts that a person may read."""
    for part in PARTS:
        place = root / "chains" / part
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            where = path.relative_to(root).as_posix()
            yield from of_source(path.read_text(), where)
    yield from (Message(text, "project/translations/exempt.py") for text in ALSO)


def of_source(source: str, where: str) -> Iterator[Message]:
    """The texts of one file."""
    tree = ast.parse(source)
    reader = _Reader(tree)
    for node in reader.texts():
        if not is_exempt(node, reader.parents, where):
            yield from _messages(reader.forms(node), f"{where}:{getattr(node, 'lineno', 0)}")


def _messages(found: list[Found], where: str) -> Iterator[Message]:
    """Forms as messages; two that differ by a number only are singular and plural of one."""
    pairs: dict[str, dict[bool, Form]] = {}
    for one in found:
        if one.one is not None and len(found) == 2 and _counts(one):
            pairs.setdefault(one.one[0], {})[one.one[1]] = _counting(one)
        elif text := written(one.form):
            yield Message(text, where)
    for pair in pairs.values():
        texts = {is_one: written(form) for is_one, form in pair.items()}
        if texts.get(True) and texts.get(False):
            yield Message(texts[True], where, texts[False])


def _counts(found: Found) -> bool:
    assert found.one is not None
    return any(isinstance(piece, Place) and piece.source == found.one[0] for piece in found.form)


def _counting(found: Found) -> Form:
    assert found.one is not None
    source = found.one[0]
    return tuple(
        replace(piece, kind="count")
        if isinstance(piece, Place) and piece.source == source
        else piece
        for piece in found.form
    )


def written(form: Form) -> str:
    """A form as it stands in the catalogue; "" where it says nothing by itself."""
    texts, number, known = [], 0, dict[str, int]()
    for at, piece in enumerate(form):
        if isinstance(piece, str):
            texts.append(piece.replace("{", "{{").replace("}", "}}"))
            continue
        if piece.kind != "count" or piece.source not in known:
            known[piece.source] = number
            number += 1
        kind = piece.kind or ("name" if _is_quoted(form, at) else "")
        texts.append(f"{{{known[piece.source]}{':' if kind else ''}{kind}}}")
    text = _EDGE.sub("", _EDGE.sub("", "".join(texts)))
    return text if re.search(r"[A-Za-z]{2}", re.sub(r"\{[^}]*\}", "", text)) else ""


def _is_quoted(form: Form, at: int) -> bool:
    """Whether quotation marks stand around: then it is a name, whatever it looks like."""
    around = form[at - 1] if at else "", form[at + 1] if at + 1 < len(form) else ""
    return all(isinstance(piece, str) for piece in around) and (
        str(around[0]).endswith("“") and str(around[1]).startswith("”")
    )


class _Reader:
    """The literals of a file, and what is known of the names in them."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents: dict[ast.AST, ast.AST] = {}
        for parent in ast.walk(tree):
            for child in ast.iter_child_nodes(parent):
                self.parents[child] = parent
        self.inlined: set[ast.AST] = set()

    def texts(self) -> Iterator[ast.expr]:
        """The outermost expressions that make a text."""
        found = [node for node in ast.walk(self.tree) if self._is_text(node)]
        for node in found:
            if isinstance(node, ast.expr) and not self._is_part(node):
                yield node

    def _is_text(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Call):
            return _function(node) in _COUNTED and len(node.args) == 2
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.Add) and any(map(_is_literal, (node.left, node.right)))
        return _is_literal(node)

    def _is_part(self, node: ast.AST) -> bool:
        """Whether it is a piece of a greater text: of an f-string as such, or of a sum."""
        parent = self.parents.get(node)
        if isinstance(parent, ast.JoinedStr | ast.FormattedValue):
            return isinstance(node, ast.Constant | ast.JoinedStr) and (
                isinstance(parent, ast.JoinedStr) or node is parent.format_spec
            )
        if isinstance(parent, ast.BinOp):
            return self._is_text(parent)
        return isinstance(parent, ast.Call) and _function(parent) in _COUNTED

    def forms(self, node: ast.expr) -> list[Found]:
        """All that the expression may come to, as far as its code tells."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [Found(_plain(node.value))]
        if isinstance(node, ast.JoinedStr):
            return _joined([self._piece(part) for part in node.values])
        if isinstance(node, ast.BinOp) and self._is_text(node):
            return _joined([self.forms(node.left), self.forms(node.right)])
        if isinstance(node, ast.IfExp):
            return self._chosen(node)
        if _function(node) in _COUNTED and isinstance(node, ast.Call) and len(node.args) == 2:
            return _counted(node)
        value = self._assigned(node) if isinstance(node, ast.Name) else None
        return [_hole(node)] if value is None else self.forms(value)

    def _chosen(self, node: ast.IfExp) -> list[Found]:
        """Either of two; those that a comparison with 1 chooses between remember it."""
        one = _compared_with_one(node.test)
        then, other = self.forms(node.body), self.forms(node.orelse)
        if one and all(isinstance(piece, str) for f in (*then, *other) for piece in f.form):
            then = [replace(found, one=(one, True)) for found in then]
            other = [replace(found, one=(one, False)) for found in other]
        return then + other

    def _piece(self, part: ast.expr) -> list[Found]:
        if not isinstance(part, ast.FormattedValue):
            return self.forms(part)
        found = self.forms(part.value)
        if part.format_spec is not None and len(found) == 1:
            return [_hole(part.value, "number" if _is_number(part.format_spec) else "")]
        return found

    def _assigned(self, name: ast.Name) -> ast.expr | None:
        """The one literal, or choice between literals, that a name of the function stands for."""
        scope: ast.AST | None = name
        while scope is not None and not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            scope = self.parents.get(scope)
        if scope is None:
            return None
        values = []
        for node in ast.walk(scope):
            if isinstance(node, ast.AugAssign) and _names(node.target, name.id):
                return None
            if isinstance(node, ast.For | ast.comprehension) and _names(node.target, name.id):
                return None
            if isinstance(node, ast.Assign) and any(_names(t, name.id) for t in node.targets):
                values.append(node.value)
        if len(values) != 1:
            return None
        value = values[0]
        chosen = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
        return value if all(_is_literal(one) for one in chosen) else None


def _plain(text: str) -> Form:
    """A literal; one that is a form itself (`{}`) has places too."""
    parts = text.split("{}")
    places = [Place("", f"{{}} {number}") for number in range(len(parts) - 1)]
    return (parts[0], *(piece for pair in zip(places, parts[1:], strict=True) for piece in pair))


def _names(target: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(target))


def _is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    return isinstance(node, ast.JoinedStr)


def _function(node: ast.expr) -> str:
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _hole(node: ast.expr, kind: str = "") -> Found:
    name = _function(node)
    for names, known in (
        (_NAMES, "name"),
        (_SIZES, "size"),
        (_TIMES, "time"),
        (_NUMBERS, "number"),
    ):
        kind = kind or (known if name in names else "")
    if isinstance(node, ast.Attribute) and node.attr in {"pk", "id"}:
        kind = kind or "number"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Mod | ast.Mult):
        kind = kind or "number"
    return Found((Place(kind, ast.unparse(node)),))


def _is_number(spec: ast.expr) -> bool:
    text = "".join(
        str(part.value) if isinstance(part, ast.Constant) else ""
        for part in getattr(spec, "values", [])
    )
    return bool(re.fullmatch(r"[,\d.]*[dfn,]?", text))


def _compared_with_one(test: ast.expr) -> str:
    """What is compared with 1; "" for another test."""
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq):
        return ""
    right = test.comparators[0]
    return ast.unparse(test.left) if isinstance(right, ast.Constant) and right.value == 1 else ""


def _counted(node: ast.Call) -> list[Found]:
    """`_counted(number, "thing")` writes `1 thing`, `2 things`."""
    number, noun = node.args
    source = ast.unparse(number)
    if not isinstance(noun, ast.Constant):
        return [Found((Place("", ast.unparse(node)),))]
    return [
        Found((Place("count", source), f" {noun.value!s}"), (source, True)),
        Found((Place("count", source), f" {noun.value!s}s"), (source, False)),
    ]


def _joined(pieces: list[list[Found]]) -> list[Found]:
    """Every combination of what the pieces may be; those that one number chooses go together."""
    found = []
    for chosen in product(*pieces):
        tests = dict[str, bool]()
        if any(tests.setdefault(one.one[0], one.one[1]) != one.one[1] for one in chosen if one.one):
            continue
        form = tuple(piece for one in chosen for piece in one.form)
        found.append(Found(form, next(iter(tests.items())) if len(tests) == 1 else None))
        if len(found) > _MOST_FORMS:
            raise ValueError(f"too many forms: {form}")
    return found
