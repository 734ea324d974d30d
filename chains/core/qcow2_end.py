"""Where a qcow2 image ends, by its reference counts: what a block device must have bytes for.

Facts of the format are from QEMU's docs/interop/qcow2 ("Host cluster management"). `qemu-img check`
calls the same "image-end-offset", for images whose counts are up to date.
"""

from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from chains.core.qcow2_header import MAX_OFFSET, Header
from chains.core.source import Source

# Blocks of counts that are looked at, from the last one down, until one counts something.
TRIES = 4
_OFFSETS = np.uint64(0xFFFF_FFFF_FFFF_FE00)


class ImageEnd(NamedTuple):
    """`offset` is where the image ends, or behind that nothing less is certain; in bytes.

    `digest` tells what the tables held: it changes when the image grows.
    """

    offset: int
    digest: bytes


def image_end(source: Source, header: Header) -> ImageEnd:
    """Read the table of reference counts and its last blocks; raises OSError.

    Lower than the true end at most: counts may be late (a dirty image), blocks may lie beyond the
    end of the source.
    """
    cluster = header.cluster_size
    content = source.pread(header.refcount_clusters * cluster, header.refcount_offset)
    digest = blake2b(content, digest_size=16)
    table = np.frombuffer(content, ">u8", len(content) // 8).astype(np.uint64) & _OFFSETS
    end = header.tables_end
    per_block = cluster * 8 // header.refcount_bits
    used = np.flatnonzero(table)[::-1][:TRIES]
    for number in used.tolist():
        offset = int(table[number])
        if offset % cluster or offset > MAX_OFFSET:
            break  # damaged: what is known so far stays true
        end = max(end, offset + cluster)
        block = source.pread(cluster, offset)
        digest.update(block)
        last = _last_counted(block, header.refcount_bits)
        if last is not None:
            end = max(end, min((number * per_block + last + 1) * cluster, MAX_OFFSET))
            break
    return ImageEnd(end, digest.digest())


def _last_counted(block: bytes, bits: int) -> int | None:
    """The last cluster of a block that is in use; counts of less than a byte begin at its low end."""
    used = np.flatnonzero(np.frombuffer(block, np.uint8))
    if not len(used):
        return None
    last = int(used[-1])
    if bits >= 8:
        return last * 8 // bits
    return last * (8 // bits) + (block[last].bit_length() - 1) // bits
