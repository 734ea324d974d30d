"""oVirt's file domains, made by the real tools in the formats that vdsm writes.

The writers of those formats stand here, and nowhere in `chains`, which only reads. Nothing of pytest
is used: what shows Strata to people can make domains with it too. Sources of the formats: vdsm,
lib/vdsm/storage/{volumemetadata,fileSD,sd,persistent}.py.
"""

import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

BLANK = "00000000-0000-0000-0000-000000000000"
ISO_IMAGE = "11111111-1111-1111-1111-111111111111"
MIB = 1024**2
CREATED = 1582196150
# What vdsm's own tests hold, with the checksum that vdsm computed.
SAMPLE_DOMAIN = b"""\
ALIGNMENT=1048576
BLOCK_SIZE=512
CLASS=Data
DESCRIPTION=storage domain
IOOPTIMEOUTSEC=10
LEASERETRIES=3
LEASETIMESEC=60
LOCKPOLICY=
LOCKRENEWALINTERVALSEC=5
POOL_UUID=
REMOTE_PATH=server:/path
ROLE=Regular
SDUUID=275766cb-c7d8-43d6-a663-4e52160de620
TYPE=LOCALFS
VERSION=5
_SHA_CKSUM=9336f77705ff9e3d5faf65c4d0dc818a29de458d
"""


def uuid5(name: str) -> str:
    """A uuid that is the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def described(alias: str, description: str = "") -> str:
    """What an engine writes as DESCRIPTION: what is not ASCII as hex of UTF-16LE, told by `Enc`."""
    fields, coded = {}, 0
    for bit, (key, text) in enumerate((("DiskAlias", alias), ("DiskDescription", description))):
        if text.isascii():
            fields[key] = text
        else:
            fields[key] = text.encode("utf-16-le").hex()
            coded |= 1 << bit
    if coded:
        fields["Enc"] = str(coded)
    return json.dumps(fields, separators=(",", ":"))


def volume_record(keys: Mapping[str, object]) -> bytes:
    """The text of a `.meta` file, or of a slot before its padding."""
    return "".join([*(f"{key}={keys[key]}\n" for key in sorted(keys)), "EOF\n"]).encode()


def volume_keys(version: int, capacity: int, **keys: object) -> dict[str, object]:
    """The keys that a domain of that version has for one volume; `keys` replaces some of them."""
    found: dict[str, object] = {
        "CTIME": CREATED, "DESCRIPTION": "", "DISKTYPE": "DATA", "DOMAIN": BLANK, "FORMAT": "COW",
        "GEN": 0, "IMAGE": BLANK, "LEGALITY": "LEGAL", "PUUID": BLANK, "TYPE": "SPARSE",
        "VOLTYPE": "LEAF",
    }  # fmt: skip
    if version >= 5:
        found |= {"CAP": capacity, "SEQ": 1}
    else:
        found |= {"SIZE": capacity // 512, "MTIME": 0, "DISKTYPE": "2"}
    if version <= 3:
        del found["GEN"]
        found["POOL_UUID"] = ""
    return found | keys


def domain_record(keys: Mapping[str, object]) -> bytes:
    """The text of `dom_md/metadata`, sealed."""
    lines = sorted(f"{key}={value}" for key, value in keys.items())
    text = "".join(lines).encode("ascii", "xmlcharrefreplace")
    seal = hashlib.sha1(text, usedforsecurity=False)
    return "".join(f"{line}\n" for line in [*lines, f"_SHA_CKSUM={seal.hexdigest()}"]).encode()


def domain_keys(version: int, sd_uuid: str, **keys: object) -> dict[str, object]:
    """The keys that a domain of that version has; `keys` replaces some of them."""
    found: dict[str, object] = {
        "CLASS": "Data", "DESCRIPTION": "lab", "IOOPTIMEOUTSEC": 10, "LEASERETRIES": 3,
        "LEASETIMESEC": 60, "LOCKPOLICY": "", "LOCKRENEWALINTERVALSEC": 5,
        "POOL_UUID": "3b9ff9b1-4d5c-44a8-ae8e-3e8a0a4b1d0f", "REMOTE_PATH": "srv:/exp/data",
        "ROLE": "Regular", "SDUUID": sd_uuid, "TYPE": "NFS", "VERSION": version,
    }  # fmt: skip
    if version >= 5:
        found |= {"ALIGNMENT": MIB, "BLOCK_SIZE": 512}
    return found | keys


@dataclass(frozen=True)
class Volume:
    """One volume that was made; `keys` are those of its record."""

    root: Path
    image: str
    uuid: str
    keys: Mapping[str, object]

    @property
    def name(self) -> str:
        """Relative to the domain, as Strata names it."""
        return f"images/{self.image}/{self.uuid}"

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / self.name

    @property
    def meta(self) -> Path:
        """Its record."""
        return self.path.with_name(f"{self.uuid}.meta")

    @property
    def qemu_format(self) -> str:
        """What qemu-img calls its format."""
        return "raw" if self.keys["FORMAT"] == "RAW" else "qcow2"

    def write(self, **changes: object) -> "Volume":
        """Write the record as vdsm does, a new file over the old one; a key of None goes."""
        keys = {key: value for key, value in {**self.keys, **changes}.items() if value is not None}
        new = self.meta.with_name(f"{self.meta.name}.new")
        new.write_bytes(volume_record(keys))
        new.rename(self.meta)
        return replace(self, keys=keys)


class Domain:
    """A file domain below `mount`, to which volumes are added; sizes in bytes."""

    def __init__(self, mount: Path, version: int = 5, sd_uuid: str = "", **keys: object) -> None:
        """Make the directories, and the special volumes of that version. `keys`: of dom_md/metadata."""
        self.version = version
        self._count = 0
        self.uuid = sd_uuid or str(uuid.uuid5(uuid.NAMESPACE_URL, f"domain-{version}"))
        self.root = mount / self.uuid
        for folder in ("dom_md", "images", "master/vms", "master/tasks"):
            (self.root / folder).mkdir(parents=True)
        special = ["ids", "inbox", "outbox", "leases", *(["xleases"] if version >= 4 else [])]
        for name in special:
            with (self.root / "dom_md" / name).open("xb") as file:
                file.truncate(16 * MIB if name.endswith("box") else 0)
        self.metadata = self.root / "dom_md" / "metadata"
        self.seal(**keys)

    def seal(self, **keys: object) -> None:
        """Write dom_md/metadata anew, with the right checksum."""
        self.metadata.write_bytes(domain_record(domain_keys(self.version, self.uuid, **keys)))

    def new_uuid(self) -> str:
        """The next of a series that is the same each time."""
        self._count += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.uuid}/{self._count}"))

    def volume(
        self, size: int = 4 * MIB, *commands: str, image: str = "", parent: Volume | None = None,
        image_format: str = "COW", **keys: object,
    ) -> Volume:  # fmt: skip
        """Add one volume: a root layer, or an overlay that makes its LEAF `parent` INTERNAL."""
        image = image or (parent.image if parent else self.new_uuid())
        said = volume_keys(
            self.version, size, DOMAIN=self.uuid, IMAGE=image, FORMAT=image_format,
            PUUID=parent.uuid if parent else BLANK, CTIME=CREATED + self._count,
        )  # fmt: skip
        made = Volume(self.root, image, self.new_uuid(), said | keys)
        made.path.parent.mkdir(exist_ok=True)
        create = ["qemu-img", "create", "-q", "-f", made.qemu_format]
        if parent:
            create += ["-u", "-b", parent.uuid, "-F", parent.qemu_format]
        _run(made.path.parent, *create, made.uuid, str(size))
        made.path.chmod(0o660)
        if commands:
            each = [word for command in commands for word in ("-c", command)]
            _run(made.path.parent, "qemu-io", "-f", made.qemu_format, *each, made.uuid)
        if self.version >= 3:
            made.path.with_name(f"{made.uuid}.lease").write_bytes(bytes(MIB))
        if parent and parent.keys["VOLTYPE"] == "LEAF":
            parent.write(VOLTYPE="INTERNAL")
        return made.write()

    def disk(
        self, alias: str, depth: int = 3, size: int = 4 * MIB, raw: bool = True
    ) -> list[Volume]:
        """Add a disk with snapshots, data in each layer; root layer first."""
        layers: list[Volume] = []
        for number in range(depth):
            last = layers[-1] if layers else None
            layers.append(self.volume(
                size, f"write -P {number + 1} {number * 256}k 512k", parent=last,
                image_format="RAW" if raw and not last else "COW",
                DESCRIPTION=described(alias) if number == depth - 1 else "", SEQ=number + 1,
            ))  # fmt: skip
        frozen = [replace(of, keys={**of.keys, "VOLTYPE": "INTERNAL"}) for of in layers[:-1]]
        return [*frozen, layers[-1]]

    def template(self, alias: str, size: int = 4 * MIB, image_format: str = "COW") -> Volume:
        """Add a template."""
        return self.volume(
            size, "write -P 90 0 1M", image_format=image_format, VOLTYPE="SHARED",
            DESCRIPTION=described(alias),
        )  # fmt: skip

    def linked(self, template: Volume, image: str = "") -> Volume:
        """Hard-link a template, with all that belongs to it, into an image of a VM's disk."""
        copy = replace(template, image=image or self.new_uuid())
        copy.path.parent.mkdir(exist_ok=True)
        for end in ("", ".meta", ".lease"):
            source = template.path.with_name(template.uuid + end)
            if source.exists():
                os.link(source, copy.path.with_name(source.name))
        return copy

    def from_template(self, template: Volume, alias: str) -> Volume:
        """Add a thin disk over a template."""
        size = int(str(template.keys.get("CAP") or int(str(template.keys["SIZE"])) * 512))
        return self.volume(
            size, "write -P 91 1M 64k", parent=self.linked(template),
            DESCRIPTION=described(alias),
        )  # fmt: skip

    def remove_image(self, volume: Volume) -> Path:
        """Rename the image's directory, as vdsm does before it removes what it holds."""
        gone = volume.path.parent.with_name(f"_remove_me_{volume.image}")
        return volume.path.parent.rename(gone)

    def iso(self, name: str = "install.iso") -> Path:
        """Add a file to the image of an ISO domain."""
        folder = self.root / "images" / ISO_IMAGE
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(bytes(64 * 1024))
        return folder / name


@dataclass(frozen=True)
class Lab:
    """A domain with one of everything, and what it is made of."""

    domain: Domain
    chain: list[Volume]  # root first, the LEAF last
    template: Volume
    clones: tuple[Volume, Volume]
    previewed: list[Volume]  # root, the active layer before, the preview
    illegal: Volume
    removed: Volume  # where it was


def lab(mount: Path, version: int = 5) -> Lab:
    """Make a domain as one looks that has been in use for a while."""
    domain = Domain(mount, version)
    chain = domain.disk("web_Disk1")
    template = domain.template("golden")
    clones = (domain.from_template(template, "desk1"), domain.from_template(template, "desk2"))
    root, active = domain.disk("db_Disk1", 2, raw=False)
    preview = domain.volume(parent=root, DESCRIPTION=described("db_Disk1"))
    illegal = domain.volume(image_format="RAW", LEGALITY="ILLEGAL")
    removed = domain.volume()
    domain.remove_image(removed)
    domain.iso()
    # What is left when a host dies while it writes.
    chain[0].path.with_name(f"{chain[0].uuid}.meta.new").write_bytes(b"CAP=")
    domain.metadata.with_name("metadata.new").write_bytes(b"")
    return Lab(domain, chain, template, clones, [root, active, preview], illegal, removed)


def _run(where: Path, *argv: str) -> None:
    done = subprocess.run(argv, cwd=where, check=True, capture_output=True)
    assert b"error" not in done.stdout.lower() + done.stderr.lower(), done
