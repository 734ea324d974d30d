"""What the drawings of forests and chains share: when they wait, their files, the ways to change them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.http import HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chains.diagrams.render import RenderBusyError, RenderError, digest, render_file
from chains.web import pictures
from chains.words.prose import prose

# More nodes than this are not drawn while a page waits for them: it says so, and fetches the picture.
AT_ONCE = 150
FILES = {"svg": "image/svg+xml", "png": "image/png", "dot": "text/vnd.graphviz; charset=utf-8"}


@dataclass(frozen=True)
class Drawing:
    """A diagram in a page: `parts` stand side by side, or `waits` is the address that draws them.

    `version` names the content: a page that is brought up to date sees by it whether that changed.
    """

    parts: Sequence[SafeString] = ()
    waits: str = ""
    version: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def drawing(
    sources: Sequence[str],
    title: str,
    nodes: int,
    *,
    own: str,
    words: Mapping[str, str],
    wait: bool,
) -> Drawing:
    """A diagram of so many nodes; `own` is the address of its own page, `words` the query of it.

    Where it may `wait`, a large one that nobody has drawn yet is left to that page.
    """
    query = f"?{urlencode(words)}" if words else ""
    files = {kind: f"{own.removesuffix('/')}.{kind}{query}" for kind in FILES}
    version = digest(chr(0).join(sources))[:16]
    if not sources:
        return Drawing(files=files)
    known = pictures.kept(sources, title)
    if known is None and wait and nodes > AT_ONCE:
        return Drawing((), f"{own}{query}", version, files)
    return Drawing(known or pictures.many(sources, title), "", version, files)


def drawing_file(source: str, kind: str, *, name: str, title: str) -> HttpResponse:
    """A diagram to be saved; `name` is ours, nothing of it from storage."""
    try:
        content = render_file(source, kind, title=title)
    except RenderError as error:
        status = 503 if isinstance(error, RenderBusyError) else 422
        return HttpResponse(
            f"{prose(str(error))}\n", status=status, content_type="text/plain; charset=utf-8"
        )
    answer = HttpResponse(content, content_type=FILES[kind])
    answer["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    answer["Cache-Control"] = "no-store"
    return answer


def age(days: int) -> str:
    """How long ago a layer was written, no finer than a day: the drawing is kept as long as that."""
    if days < 1:
        return _("written today")
    if days < 60:
        return ngettext("written %(days)d day ago", "written %(days)d days ago", days) % {
            "days": days
        }
    months = days // 30
    return ngettext(
        "written %(months)d month ago", "written %(months)d months ago", months
    ) % {"months": months}  # fmt: skip
