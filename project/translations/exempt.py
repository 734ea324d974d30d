"""Literals that nobody reads on a page, each kind with its reason; and words that no rule finds."""

import ast
import re
from collections.abc import Mapping

ALSO = (
    # Words that stand alone in a cell or a badge.
    "yes", "no", "unknown", "none", "leaf (LEAF)", "internal (INTERNAL)", "template (SHARED)",
    "sparse", "preallocated", "legal", "illegal", "locked", "ok", "metadata", "engine",
    "written", "removed", "incompatible", "compatible", "autoclear", "email", "webhook", "at once",
    "active", "root", "template", "snapshot", "missing", "outside", "new", "changed", "all",
    "critical", "warning", "info", "guest", "worker",
    # What the system says of a file.
    "Permission denied", "No such file or directory", "Input/output error",
    "No space left on device", "Is a directory", "Not a directory",
    "Too many levels of symbolic links", "Stale file handle", "File name too long",
    "Connection timed out", "Connection refused", "Invalid argument", "Read-only file system",
    "Operation not permitted", "Transport endpoint is not connected", "Host is down",
    "Remote I/O error", "Structure needs cleaning",
    # Texts that are put together step by step.
    "{0} failed (exit code {1:number}): {2}", "all disks {0}", "the chosen disks {0}",
    "named like “{0:name}” and {1}", "deeper than {0:number} layers and {1}",
    "{0:number} internal snapshot(s)", "{0:number} persistent bitmap(s)",
)  # fmt: skip

_TECHNICAL_ARGUMENTS = {
    "help_text": "for those who read the models",
    "related_name": "a name", "name": "a name", "opclasses": "a name", "dtype": "a type",
    "encoding": "a name", "errors": "a name", "mode": "a mode", "key": "a name",
}  # fmt: skip
_TECHNICAL_CALLS = {
    "logger": "the log is English", "re": "a pattern", "struct": "a format", "np": "a type",
    "os": "a path or a flag", "logging": "a name",
}  # fmt: skip
_TECHNICAL_FUNCTIONS = {
    "ValueError": "an error of our own, never shown", "TypeError": "an error of our own, never shown",
    "AssertionError": "an error of our own, never shown", "RuntimeError": "never shown",
    "fromisoformat": "a format", "strftime": "a format", "strptime": "a format",
    "getLogger": "a name", "compile": "a pattern", "split": "a separator", "replace": "a sign",
    "startswith": "what another tool writes", "removeprefix": "what another tool writes",
    "Struct": "a format", "cast": "a type", "TypeVar": "a name",
}  # fmt: skip
_SENTENCE = re.compile(r"[A-Z][a-z]+\.")  # of one word
_SQL = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH RECURSIVE|CREATE|DROP|COPY|LISTEN|ALTER|FROM|SET) "
)
# Whole files of which nothing is read on a page.
_FILES = {
    "chains/inventory/sprawl_sql.py": "SQL, put together from pieces",
    "chains/inventory/sprawl_sums.py": "SQL, put together from pieces",
}
# What is left over: the whole text, or with a star how it begins.
_REASONS = {
    "-c tcp_keepalives*": "options of the database",
    "devices { filter*": "configuration of the tools of LVM",
    "[ \"$PPID\"*": "a shell's own words",
    "sortby name*": "a query to the engine",
    "Is another process using": "what qemu-img writes", "No space left": "what qemu-img writes",
    "text/csv*": "a content type", "report { time*": "configuration of the tools of LVM",
    "{\"*": "JSON", "],*": "JSON", "[Strata]*": "mail is English",
    "This is a test: mail*": "mail is English", "Storage domain": "mail is English",
    "Asked for": "mail is English", "Asked for by": "mail is English", "Read and written": "mail is English",
    "Merge {0}: {1}.": "mail is English",
    "the mail relay took it": "for the command line", "{0} of {1}": "titles, taken apart by scripts",
    "Scan of": "titles, taken apart by scripts", "Block map of": "titles, taken apart by scripts",
    "Check of": "titles, taken apart by scripts", "Undo of a merge": "titles, taken apart by scripts",
    "%Y-%m-%d*": "a format of moments", "to_char(*": "SQL",
}  # fmt: skip


def is_exempt(node: ast.expr, parents: Mapping[ast.AST, ast.AST], where: str) -> bool:
    """Whether nobody reads this on a page; every case has its reason in the tables above."""
    text = _text_of(node)
    if where in _FILES:
        return True
    is_counted = isinstance(node, ast.Call)
    if "/diagrams/" in where and not is_counted and not _is_said(node, parents):
        return True  # DOT, SVG and classes: what is meant for people goes through `say`
    if " " not in text.strip() and not _is_row(node, parents) and not _SENTENCE.fullmatch(text):
        return not isinstance(node, ast.Call)
    if _SQL.match(text) or _has_reason(text.strip()):
        return True
    inner: ast.AST = node
    while (outer := parents.get(inner)) is not None:
        if _stands_technically(inner, outer, where):
            return True
        if isinstance(outer, ast.stmt) and not isinstance(
            outer, ast.Expr | ast.Return | ast.Assign
        ):
            break
        inner = outer
    return False


def _text_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = [
        part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{0}"
        for part in getattr(node, "values", [])
    ]
    return "".join(parts) or ast.unparse(node)


def _has_reason(text: str) -> bool:
    return text in _REASONS or any(
        text.startswith(start[:-1]) for start in _REASONS if start.endswith("*")
    )


def _is_said(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    outer = parents.get(node)
    while outer is not None and not isinstance(outer, ast.stmt):
        if isinstance(outer, ast.Call) and getattr(outer.func, "id", "") == "say":
            return True
        outer = parents.get(outer)
    return False


def _is_row(node: ast.expr, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """A name of a fact, or of who tells it: one word, but on the page."""
    call = parents.get(node)
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        and call.func.attr == "row" and node in call.args[:2]
    )  # fmt: skip


def _stands_technically(inner: ast.AST, outer: ast.AST, where: str) -> bool:
    if isinstance(outer, ast.Expr):
        return isinstance(inner, ast.Constant)  # what describes the code
    if isinstance(outer, ast.keyword):
        return outer.arg in _TECHNICAL_ARGUMENTS
    if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
        # A type, or how a row names itself in the administration.
        return inner is outer.returns or outer.name == "__str__"
    if isinstance(outer, ast.arg | ast.AnnAssign | ast.Subscript):
        return inner is getattr(outer, "annotation", None) or inner is getattr(outer, "slice", None)
    return isinstance(outer, ast.Call) and _is_technical(outer, where)


def _is_technical(call: ast.Call, where: str) -> bool:
    if getattr(getattr(call.func, "value", None), "id", "") in _TECHNICAL_CALLS:
        return True
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in _TECHNICAL_FUNCTIONS
