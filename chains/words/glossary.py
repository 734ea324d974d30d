"""The words of Strata, each in one line: what “?” opens beside a term, and the page of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Term:
    """One word; `key` stands in templates and in addresses."""

    key: str
    name: Any
    words: Any


@dataclass(frozen=True)
class Chapter:
    """Words that belong together."""

    name: Any
    terms: Sequence[Term]


CHAPTERS = (
    Chapter(_("Where things are"), (
        Term("domain", _("storage domain"), _("A place that holds disks: a directory, an oVirt file domain, or an oVirt volume group.")),
        Term("storage-host", _("storage host"), _("The machine whose workers reach a storage domain, and do all work on it.")),
        Term("worker", _("worker"), _("A process on a storage host. Only workers touch storage; the pages read the database.")),
        Term("scan", _("scan"), _("A worker reads the headers of all volumes of a domain, and brings the inventory up to date. It changes nothing on storage.")),
        Term("fingerprint", _("fingerprint"), _("What tells a file from any other, and from itself before a change: device, inode, size and times. What was read of a file holds for as long as its fingerprint does.")),
        Term("witness", _("witness"), _("Somebody who says something of a volume: its header, the metadata beside it, the tags of its logical volume, an engine. Where they contradict one another, the page shows them side by side.")),
    )),
    Chapter(_("What a disk is made of"), (
        Term("disk", _("disk"), _("The drive that a guest sees: what its chain of layers shows together.")),
        Term("volume", _("volume"), _("One stored file, or one logical volume.")),
        Term("layer", _("layer"), _("A volume’s place in a chain.")),
        Term("chain", _("chain"), _("The layers of a disk from its root to its active layer, written root ← … ← active. The arrow reads “is the backing file of”.")),
        Term("root-layer", _("root layer"), _("The lowest layer, which has no backing file; raw or qcow2.")),
        Term("overlay", _("overlay"), _("A layer that lies over its backing file, and holds what was written since; always qcow2.")),
        Term("backing-file", _("backing file"), _("The volume below an overlay: what the overlay does not hold is read from there.")),
        Term("active-layer", _("active layer"), _("The highest layer, the one that a guest writes.")),
        Term("snapshot", _("snapshot"), _("A point in time, not a file: the frozen content of a layer that has an overlay.")),
        Term("restore-point", _("restore point"), _("A state of the disk that a layer holds and to which one could go back. A merge takes those between base and top away.")),
        Term("template", _("template"), _("A frozen layer with many overlays: what several disks share.")),
        Term("preview", _("preview"), _("A second overlay on an older snapshot, to look at it; ended by keep or undo.")),
        Term("role", _("role of a layer"), _("What a layer is by its place: root, snapshot, template or active.")),
    )),
    Chapter(_("How much there is"), (
        Term("virtual-size", _("virtual size"), _("What the guest sees: the size that it was promised.")),
        Term("on-disk", _("on disk"), _("What the file system, or the volume group, really gave.")),
        Term("file-size", _("file size"), _("How long the file is. Its holes count, although they take no space.")),
        Term("allocated", _("allocated"), _("What a layer holds; of a logical volume, what it was given.")),
        Term("image-end", _("image end"), _("Where the image inside a logical volume ends: what lies behind is given and not used.")),
        Term("over-commit", _("over-commit"), _("All virtual sizes of a domain against its capacity: above 1 the guests were promised more than there is.")),
        Term("capacity", _("capacity"), _("What the file system or volume group below a domain can hold in all.")),
    )),
    Chapter(_("How a read goes"), (
        Term("redirected-read", _("redirected read"), _("A read of a block that the active layer does not hold: a layer further down answers it.")),
        Term("hops", _("hops"), _("How many layers down the answer to a read lies; 0 when the active layer answers itself.")),
        Term("holds", _("holds"), _("The bytes of which a layer has a copy, as data or as zeroes, whether or not a guest can see them.")),
        Term("answers", _("answers"), _("The bytes of the disk that the guest reads from this layer.")),
        Term("shadowed", _("shadowed"), _("Held by a layer, but hidden by the overlays above: dead weight, which a merge wins back.")),
        Term("unanswered", _("answered by no layer"), _("Blocks that no layer holds: they read as zeroes.")),
        Term("block-map", _("block map"), _("Which layer answers each block of a disk; read by a worker, and kept until a layer changes.")),
        Term("extent", _("extent"), _("A run of blocks of one kind: data, zero, or unallocated, which means that the read goes on to the backing file.")),
        Term("cluster", _("cluster"), _("The unit in which qcow2 gives space, 64 KiB unless told otherwise: a volume holds a cluster whole, or not at all.")),
        Term("subclusters", _("sub-clusters"), _("With extended L2 entries each cluster is divided in 32, and each part is held or not: a small write copies less.")),
        Term("l2-tables", _("L2 tables"), _("The tables that say where the clusters of a layer are. QEMU keeps up to 32 MiB of them in memory; beyond that, a read often costs one more.")),
    )),
    Chapter(_("What a header says"), (
        Term("header", _("header"), _("The beginning of a qcow2 volume: its version, its size, its backing file, its features. Strata reads it before any tool opens the file.")),
        Term("reference-counts", _("reference counts"), _("How often each cluster of the file is used; lazy ones are written late, and made anew after a crash.")),
        Term("data-file", _("data file"), _("A file beside a qcow2 volume that holds its data, while the volume holds only the tables. Strata merges no chain with one.")),
        Term("internal-snapshot", _("internal snapshot"), _("A snapshot inside one qcow2 file. It is no layer: Strata lists it, and does not merge it.")),
        Term("bitmap", _("bitmap"), _("A list of the blocks that were written since some moment, kept in the volume for incremental backups.")),
        Term("leaked-clusters", _("leaked clusters"), _("Clusters of the file that are given and that nothing uses: they waste space, and endanger nothing.")),
        Term("in-use", _("in use"), _("Another process has the volume open, most likely a running guest: Strata does not merge it.")),
    )),
    Chapter(_("How layers are joined"), (
        Term("merge", _("merge"), _("Joining the layers from base to top into one, whose content is top’s: how a snapshot is removed.")),
        Term("base", _("base"), _("The lowest layer that a merge joins.")),
        Term("top", _("top"), _("The highest layer that a merge joins; what it shows is what the joined layer shows.")),
        Term("strategy", _("strategy"), _("How a merge joins layers: commit, rebase or convert. Each copies other bytes, and has another risk.")),
        Term("commit", _("commit"), _("The data of the layers above base are written down into base, in place.")),
        Term("rebase", _("rebase"), _("What lies below top, and top does not hold, is copied up into top, in place.")),
        Term("convert", _("convert"), _("What base … top show is copied into a new volume; the old ones are only read.")),
        Term("needed-meanwhile", _("needed meanwhile"), _("The space that a merge needs beside the old layers, at its peak.")),
        Term("won", _("won at the end"), _("The space that a merge gives back, once the old layers are removed and nothing of them is kept aside.")),
        Term("by-reference", _("copies by reference"), _("The file system lets two files share blocks (XFS, btrfs): the copy takes no time and no space.")),
        Term("verification", _("verification"), _("The proof that the joined layer reads like the old ones, before anything is removed.")),
        Term("kept-aside", _("kept aside"), _("Old layers are not deleted at once but kept for a time, so that the merge can be undone.")),
        Term("undo", _("undo"), _("Taking a merge back: the old layers return from where they were kept aside.")),
        Term("scope", _("scope"), _("A wish instead of base and top: the whole chain, everything older than an age, or at most so many layers.")),
        Term("batch", _("batch"), _("Many merges of one domain that were planned and asked for as one.")),
        Term("queue", _("queue"), _("The merges of a domain that wait for their turn, for a maintenance window, or for somebody who resumes it.")),
        Term("refusal", _("refusal"), _("A merge that can not be done safely now is refused, with the reason and what would help.")),
    )),
    Chapter(_("What is wrong"), (
        Term("finding", _("finding"), _("One thing wrong or wasteful, with its evidence and its remedy. It goes by itself when a scan no longer finds it.")),
        Term("severity", _("severity"), _("Critical: a disk can not be read, or is in danger. Warning: something that should not stay. Info: worth knowing.")),
        Term("acknowledged", _("acknowledged"), _("Somebody has seen the finding and says why it may stay, until a day: so long it is not counted.")),
        Term("threshold", _("threshold"), _("From where on something is a finding: so many layers, so old a snapshot, so little free space.")),
        Term("needs-attention", _("needs attention"), _("A merge that stopped half-way: every guest reads right; somebody reads the message, mends what it says, and resumes.")),
    )),
)  # fmt: skip
TERMS = {term.key: term for chapter in CHAPTERS for term in chapter.terms}
