"""Telling image formats apart by how their content starts.

The marks are those that QEMU's own probing looks for (block/*.c, the `*_probe` functions), because
what matters is what a tool that probes would take the file for.
"""

QCOW = b"QFI\xfb"
# (offset, mark, name as QEMU calls the format)
_MARKS = (
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0, b"QED\0", "qed"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"Bochs Virtual HD Image", "bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format", "cloop"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
# What people know the formats as, where the name does not say.
_WORDS = {
    "vmdk": "vmdk (VMware)",
    "vhdx": "vhdx (Hyper-V)",
    "vpc": "vpc (VHD, Virtual PC)",
    "qed": "qed (an early QEMU's)",
    "luks": "luks (encrypted)",
    "cloop": "cloop (a compressed loop)",
    "vdi": "vdi (VirtualBox)",
    "qcow": "qcow (version 1)",
    "iso": "an ISO image",
}
# ISO 9660: the first volume descriptor, at sector 16 of 2 KiB (ECMA-119, 8.1).
ISO_OFFSET, ISO_MARK = 0x8001, b"CD001"
# How much of a file `detect` looks at: QEMU probes the first 2 KiB.
PROBE_BYTES = 2048


def detect(head: bytes) -> str | None:
    """Name the image format that content starting with `head` would be probed as; None is raw."""
    if head.startswith(QCOW):
        return "qcow" if head[4:8] == b"\0\0\0\x01" else "qcow2"
    for offset, mark, name in _MARKS:
        if head.startswith(mark, offset):
            return name
    if _is_vmdk_descriptor(head[:PROBE_BYTES]):
        return "vmdk"
    return None


def described(name: str) -> str:
    """Say in words what `detect` named."""
    return _WORDS.get(name, name)


def _is_vmdk_descriptor(head: bytes) -> bool:
    """A text file: comments and blank lines, then `version=1` to `3` (block/vmdk.c, vmdk_probe)."""
    if not head.startswith((b"#", b"version=", b" ", b"\n", b"\r")):
        return False
    for line in head.splitlines():
        text = line.strip(b" \r")
        if text and not text.startswith(b"#"):
            return text in (b"version=1", b"version=2", b"version=3")
    return False
