"""What a page may not hold under a Content-Security-Policy without 'unsafe-inline'."""

import re
from html.parser import HTMLParser

ADDRESSES = {"href", "src", "action", "formaction", "poster", "data", "srcset", "xlink:href"}
SAFE_SRC = re.compile(r"/(?:static|words)/[\w./-]+\.js")
OUTSIDE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
VOID = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
}  # fmt: skip


class Page(HTMLParser):
    """Reads a page; `wrong` says what is executable, styled in place, or from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.attributes: list[str] = []
        self.feed(html)
        self.close()
        if self.open:
            self.wrong.append(f"not closed: {self.open}")

    @property
    def text(self) -> str:
        return "\n".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._look(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self._look(tag, attrs)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] in {"script", "style"} and data.strip():
            self.wrong.append(f"inline {self.open[-1]}: {data.strip()[:60]}")
        self.words.append(data)

    def _look(self, tag, attrs):
        found = dict(attrs)
        if tag == "script" and not SAFE_SRC.fullmatch(found.get("src") or ""):
            self.wrong.append(f"script {found}")
        if tag in {"style", "iframe", "object", "embed", "base", "foreignobject"}:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            self.attributes.append(value or "")
            if name == "style" or name.startswith("on"):
                self.wrong.append(f"<{tag} {name}={value}>")
            if name in ADDRESSES:
                self.links.append(value or "")
                bare = "".join((value or "").split())
                if OUTSIDE.match(bare) or re.match(r"[a-z][a-z0-9+.-]*:", bare, re.IGNORECASE):
                    self.wrong.append(f"<{tag} {name}={value}> leads elsewhere")
