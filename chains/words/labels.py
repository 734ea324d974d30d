"""The words of states, steps, roles and verdicts, in the reader's language."""

from collections.abc import Callable, Mapping

from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_noop, ngettext

from chains.core.states import UNDO
from chains.core.witnesses import ENGINE, HEADER, METADATA, OWNERS, TAGS

_STATES = {
    "queued": gettext_noop("queued"), "running": gettext_noop("running"),
    "succeeded": gettext_noop("succeeded"), "failed": gettext_noop("failed"),
    "cancelled": gettext_noop("cancelled"), "attention": gettext_noop("needs attention"),
    "waiting": gettext_noop("waiting"), "done": gettext_noop("done"),
}  # fmt: skip
_STEP_NAMES = {
    "preflight": gettext_noop("preflight"), "copy": gettext_noop("copy"),
    "verify": gettext_noop("verify"), "switch": gettext_noop("switch"),
    "remove": gettext_noop("remove"),
}  # fmt: skip
_STEPS = {
    "preflight": gettext_noop("Check that the chain is still as planned"),
    "copy": gettext_noop("Copy the data to where it will stay"),
    "verify": gettext_noop("Compare old and new, byte for byte"),
    "switch": gettext_noop("Put the joined volume in the place of the old ones"),
    "remove": gettext_noop("Remove the volumes that nothing reads any more"),
}
_UNDO_STEPS = {
    "preflight": gettext_noop("Check that all is where the merge left it"),
    "switch": gettext_noop("Give the old layers their names, and put the overlays onto them"),
    "remove": gettext_noop("Let the joined volume go"),
}
_ROLES = {
    "active": gettext_noop("active"), "root": gettext_noop("root"),
    "template": gettext_noop("template"), "snapshot": gettext_noop("snapshot"),
    "missing": gettext_noop("missing"), "outside": gettext_noop("outside"),
}  # fmt: skip
_VERIFICATIONS = {
    "moved": gettext_noop("the moved bytes"),
    "content": gettext_noop("the moved bytes, and every guest’s whole view"),
    "none": gettext_noop("none: sizes only"),
}
_VERDICTS = {
    "merge": gettext_noop("not started"), "nothing": gettext_noop("nothing to do"),
    "reading": gettext_noop("being read"), "after": gettext_noop("after another"),
    "refused": gettext_noop("refused"),
}  # fmt: skip
_WITNESSES = {
    HEADER: gettext_noop("what QEMU reads"), METADATA: gettext_noop("what oVirt believes"),
    TAGS: gettext_noop("what vdsm finds volumes by"), ENGINE: gettext_noop("what oVirt runs VMs by"),
    OWNERS: gettext_noop("what its VM is started with"),
}  # fmt: skip
_CANCELS = {
    "convert": gettext_noop("The new volume is thrown away, and the chain stays as it was."),
    "commit": gettext_noop("Every guest reads as before, but base has taken in what was copied so far: the restore points of base and of all below top are spoiled."),
    "rebase": gettext_noop("Every guest reads as before; top may have grown by what was copied so far."),
    "undo": gettext_noop("The joined volume stays, and the old layers are kept as before."),
}  # fmt: skip
_CHOICES = {
    "critical": gettext_noop("critical"), "warning": gettext_noop("warning"),
    "info": gettext_noop("info"), "any": gettext_noop("any"), "yes": gettext_noop("yes"),
    "no": gettext_noop("no"), "unknown": gettext_noop("unknown"), "open": gettext_noop("open"),
    "acknowledged": gettext_noop("acknowledged"), "resolved": gettext_noop("resolved"),
    "all": gettext_noop("all"), "auditor": gettext_noop("auditor"),
    "operator": gettext_noop("operator"), "admin": gettext_noop("admin"),
    "scan": gettext_noop("scan"), "block map": gettext_noop("block map"),
    "check": gettext_noop("check"), "directory of images": gettext_noop("directory of images"),
    "oVirt file domain": gettext_noop("oVirt file domain"),
    "oVirt block domain": gettext_noop("oVirt block domain"),
}  # fmt: skip


def _say(words: Mapping[str, str], name: str, otherwise: str | None = None) -> str:
    known = words.get(name)
    return gettext(known) if known else name if otherwise is None else otherwise


def state(name: str) -> str:
    """A state of a merge, of a step or of a scan."""
    return _say(_STATES, name)


def step_name(name: str) -> str:
    """What a step of a merge is called."""
    return _say(_STEP_NAMES, name)


def step(name: str, strategy: str) -> str:
    """What a step of a merge does, or of an undo."""
    return _say(_UNDO_STEPS if strategy == UNDO else _STEPS, name)


def role(name: str) -> str:
    """What a volume is in its chain."""
    return _say(_ROLES, name)


def verification(way: str) -> str:
    """How a merge is proven."""
    return _say(_VERIFICATIONS, way)


def verdict(name: str) -> str:
    """What becomes of a disk in a batch."""
    return _say(_VERDICTS, name)


def witness(name: str) -> str:
    """Who goes by what a witness says; "" for one that is not known."""
    return _say(_WITNESSES, name, "")


def cancelling(strategy: str, *, copied_aside: bool) -> str:
    """What a cancelled merge leaves: said before, and left exactly so."""
    if copied_aside:
        return gettext("What was written comes back from its copy, and the chain stays as it was.")
    return _say(_CANCELS, strategy, "")


def choice(name: str) -> str:
    """A choice of a filter, a role, a kind of domain or of scan."""
    return _say(_CHOICES, name)


# Functions, so that the plural of the reader's language is found when the number is known.
_COUNTED: dict[str, Callable[[int], str]] = {
    "disk": lambda n: ngettext("%(n)s disk", "%(n)s disks", n),
    "volume": lambda n: ngettext("%(n)s volume", "%(n)s volumes", n),
    "finding": lambda n: ngettext("%(n)s finding", "%(n)s findings", n),
    "merge": lambda n: ngettext("%(n)s merge", "%(n)s merges", n),
    "scan": lambda n: ngettext("%(n)s scan", "%(n)s scans", n),
    "batch": lambda n: ngettext("%(n)s batch", "%(n)s batches", n),
    "record": lambda n: ngettext("%(n)s record", "%(n)s records", n),
}


def counted(count: int, kind: str, more: bool) -> str:
    """How many rows of a kind a list has: ``1,204 disks``, ``more than 1,000 disks``."""
    words = _COUNTED[kind](count) % {"n": number_format(count, force_grouping=True)}
    return gettext("more than %(counted)s") % {"counted": words} if more else words
