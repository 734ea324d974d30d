"""What a libvirt domain's XML says of a VM's disks. The text is hostile: anybody may have written it."""

from typing import NamedTuple
from xml.parsers import expat

from chains.core.errors import StrataError

# libvirt's own limit lies higher, but no description of a VM comes near this one.
MAX_BYTES = 1024**2
MAX_DEPTH = 64
MAX_DISKS = 1024
MAX_NAME = 255  # characters: what a page can show
NOVA = "http://openstack.org/xmlns/libvirt/nova/"
_DISK = ("domain", "devices", "disk")
_WORDS: dict[tuple[str, ...], str] = {("domain", "name"): "name", ("domain", "uuid"): "uuid"}


class DomainDisk(NamedTuple):
    """A disk of a VM: the absolute path of its file, and what the guest's bus calls it ("vda")."""

    source: str
    target: str


class Domain(NamedTuple):
    """A VM. `title` is what OpenStack's people call it, where they do."""

    name: str
    uuid: str
    title: str
    disks: tuple[DomainDisk, ...]


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """What no description of a VM has."""


def parse_domain(data: bytes) -> Domain | None:
    """Read a `<domain>`, or the one in a `<domstatus>`; None for any other document.

    Only disks in files of this host are told; what lies below them in a chain is not. Raises
    StrataError for what is too large, not well-formed, or has a document type (and so entities).
    """
    if len(data) > MAX_BYTES:
        raise StrataError(f"It is larger than {MAX_BYTES:,} bytes.")
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except _Refused as refusal:
        raise StrataError(f"{refusal}.") from refusal
    except (expat.ExpatError, LookupError, ValueError) as error:
        # (Encodings that Python does not know, or can not use here, are a LookupError or ValueError.)
        raise StrataError(f"It is not well-formed XML: {error}.") from error
    return reader.domain()


def _refuse_doctype(*_: object) -> None:
    # Entities are what bombs and foreign files are made of, and they need a document type.
    raise _Refused("It has a document type, which no description of a VM has")


class _Reader:
    """Keeps the few words that are wanted, and nothing of all the others."""

    def __init__(self) -> None:
        self.at: list[str] = []
        self.is_domain = False
        self.texts: dict[str, str] = {}
        self.wanted: str | None = None
        self.disks: list[DomainDisk] = []
        self.source = self.target = ""
        self.is_disk = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.at) >= MAX_DEPTH:
            raise _Refused("Its elements lie deeper in each other than in any description of a VM")
        if not self.at and tag == "domain":
            self.is_domain = True
        if self.at == ["domstatus"] and tag == "domain":
            self.is_domain = True
            self.at.pop()
        self.at.append(tag)
        if not self.is_domain:
            return
        place = tuple(self.at)
        if place == _DISK:
            # (A CD-ROM's image belongs to no VM: many may have it in their drives.)
            self.is_disk = attributes.get("device", "disk") in ("disk", "lun")
            self.source = self.target = ""
        elif place[:3] == _DISK and len(place) == 4:
            if tag == "source":
                self.source = attributes.get("file", "")
            elif tag == "target":
                self.target = attributes.get("dev", "")[:MAX_NAME]
        else:
            self.wanted = _WORDS.get(place) or self._title(place)

    @staticmethod
    def _title(place: tuple[str, ...]) -> str | None:
        is_nova = len(place) == 4 and all(tag.startswith(NOVA) for tag in place[2:])
        if is_nova and place[1] == "metadata" and place[3].endswith(" name"):
            return "title"
        return None

    def text(self, data: str) -> None:
        if self.wanted is not None:
            so_far = self.texts.get(self.wanted, "")
            self.texts[self.wanted] = (so_far + data)[: MAX_NAME * 2]

    def end(self, _: str) -> None:
        if tuple(self.at) == _DISK and self.is_disk and self.source.startswith("/"):
            self.disks.append(DomainDisk(self.source, self.target))
            if len(self.disks) > MAX_DISKS:
                raise _Refused(f"It has more than {MAX_DISKS:,} disks")
        self.wanted = None
        # The outermost element of a domain's status was left out of the path.
        if self.at:
            self.at.pop()

    def domain(self) -> Domain | None:
        if not self.is_domain:
            return None
        name, uuid, title = (
            self.texts.get(key, "").strip()[:MAX_NAME] for key in ("name", "uuid", "title")
        )
        return Domain(name, uuid.lower(), title, tuple(self.disks))
