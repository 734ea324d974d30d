"""What is to be translated in templates, in the Python of the pages and in scripts: found without gettext's tools."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.template.base import Lexer, Token, TokenType
from django.utils.translation import trim_whitespace

# What marks a text, and which of its arguments are texts: context, singular, plural.
_CALLS = {
    "_": (None, 0, None), "gettext": (None, 0, None), "gettext_lazy": (None, 0, None),
    "gettext_noop": (None, 0, None), "ngettext": (None, 0, 1), "ngettext_lazy": (None, 0, 1),
    "pgettext": (0, 1, None), "pgettext_lazy": (0, 1, None), "npgettext": (0, 1, 2),
}  # fmt: skip
_TEXT = r'"(?:[^"\\\n]|\\.)*"'
_IN_SCRIPT = re.compile(rf"\b(n?gettext)\(\s*({_TEXT})\s*(?:,\s*({_TEXT}))?", re.ASCII)

_QUOTED = r"(\"[^\"]*\"|'[^']*')"
_MARKED = re.compile(rf"(?<!\w)_\({_QUOTED}\)")
_TRANSLATE = re.compile(rf"trans(?:late)?\s+{_QUOTED}(?:\s+context\s+{_QUOTED})?")
_CONTEXT = re.compile(rf"\bcontext\s+{_QUOTED}")


@dataclass(frozen=True)
class Message:
    """One text to translate, `plural` for those that count, and where it stands."""

    text: str
    where: str
    plural: str | None = None
    context: str | None = None


def of_python(root: Path) -> Iterator[Message]:
    """The marked texts of all Python of the program."""
    for path in sorted((root / "chains").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                where = f"{path.relative_to(root).as_posix()}:{node.lineno}"
                if name in _CALLS and (found := _called(node, name, where)):
                    yield found


def _called(node: ast.Call, name: str, where: str) -> Message | None:
    texts = [
        part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else None
        for part in node.args
    ]

    def text_at(place: int | None) -> str | None:
        return texts[place] if place is not None and place < len(texts) else None

    context, singular, plural = _CALLS[name]
    text = text_at(singular)
    return Message(text, where, text_at(plural), text_at(context)) if text else None


def of_scripts(root: Path) -> Iterator[Message]:
    """The marked texts of the scripts: plain literals, as gettext's own tools want them."""
    for path in sorted((root / "static" / "js").glob("*.js")):
        source = path.read_text()
        for found in _IN_SCRIPT.finditer(source):
            line = source.count("\n", 0, found.start()) + 1
            plural = found[3] if found[1] == "ngettext" else None
            where = f"{path.relative_to(root).as_posix()}:{line}"
            yield Message(_said(found[2]), where, _said(plural) if plural else None)


def _said(literal: str) -> str:
    return str(ast.literal_eval(literal))


def of_templates(root: Path) -> Iterator[Message]:
    """The marked texts of the templates, read by Django's own lexer."""
    for path in sorted((root / "templates").rglob("*.html")):
        place = path.relative_to(root).as_posix()
        tokens = iter(Lexer(path.read_text()).tokenize())
        for token in tokens:
            if token.token_type not in {TokenType.BLOCK, TokenType.VAR}:
                continue
            where = f"{place}:{token.lineno}"
            yield from (Message(_literal(text), where) for text in _MARKED.findall(token.contents))
            if token.token_type is TokenType.VAR:
                continue
            if found := _TRANSLATE.match(token.contents):
                context = _literal(found[2]) if found[2] else None
                yield Message(_literal(found[1]), where, None, context)
            elif token.contents.split()[0] in {"blocktranslate", "blocktrans"}:
                yield _block(token, tokens, where)


def _literal(quoted: str) -> str:
    # Django doubles the sign, so that a text is never taken for a form.
    return quoted[1:-1].replace("%", "%%")


def _block(opening: Token, tokens: Iterator[Token], where: str) -> Message:
    """A block that is translated, up to its end."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        word = token.contents.split()[0] if token.token_type is TokenType.BLOCK else ""
        if word.startswith("endblocktrans"):
            break
        if word == "plural":
            parts.append([])
        elif token.token_type is TokenType.VAR:
            parts[-1].append(f"%({token.contents})s")
        else:
            parts[-1].append(token.contents.replace("%", "%%"))
    texts = ["".join(part) for part in parts]
    if "trimmed" in opening.contents.split():
        texts = [trim_whitespace(text) for text in texts]
    context = _CONTEXT.search(opening.contents)
    plural = texts[1] if len(texts) > 1 else None
    return Message(texts[0], where, plural, _literal(context[1]) if context else None)
