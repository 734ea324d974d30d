"""Chains of a thousand layers, made without a tool: one header, copied, with other names in it."""

import resource
import struct
from pathlib import Path

import numpy as np
import pytest

from chains.core.chain import read_chain
from chains.core.links import MAX_DEPTH
from chains.core.reads import entries
from tests.core.images import KIB, normal, qcow2, qemu_map, read_map
from tests.core.measured import assert_cheap

CLUSTER = 4 * KIB
SIZE = 4 * CLUSTER * MAX_DEPTH


def stack(folder: Path, layers: int) -> Path:
    """Layer n holds data in cluster n, its neighbour in n+1 too; reads of the rest fall through."""
    plain = qcow2(folder / "0.qcow2", SIZE, cluster_size=CLUSTER, refcount_bits=16)
    header = bytearray(plain.read_bytes())
    l1 = struct.unpack_from(">Q", header, 40)[0]
    per_table = CLUSTER // 8
    for number in range(layers):
        content = header.copy()
        if number:
            name = f"{number - 1}.qcow2".encode()
            content[8:20] = struct.pack(">QI", 3000, len(name))
            content[3000 : 3000 + len(name)] = name
            content[112:136] = struct.pack(">II8sQ", 0xE2792ACA, 5, b"qcow2", 0)
        tables: dict[int, np.ndarray] = {}
        data = -(-len(content) // CLUSTER) * CLUSTER + 3 * CLUSTER
        for cluster in (number, number + 1, 2 * MAX_DEPTH + number):
            table = tables.setdefault(cluster // per_table, np.zeros(per_table, ">u8"))
            kind = 1 if cluster == number + 1 and number % 3 == 0 else data | 1 << 63
            table[cluster % per_table] = kind
        content = content.ljust(data - 3 * CLUSTER, b"\0")
        for place, (index, table) in enumerate(tables.items()):
            struct.pack_into(">Q", content, l1 + 8 * index, len(content) | 1 << 63)
            content += table.tobytes()
            assert place < 3
        (folder / f"{number}.qcow2").write_bytes(content.ljust(data + CLUSTER, b"\7"))
    return folder / f"{layers - 1}.qcow2"


def test_a_thousand_layers(tmp_path: Path) -> None:
    top = stack(tmp_path, MAX_DEPTH + 1)
    assert_cheap(tmp_path, {"999.qcow2": "fine", top.name: "too-deep"})
    found = read_map(tmp_path / "999.qcow2")
    assert found.depth_count == MAX_DEPTH
    # Cluster n is held by the layers n and n-1, the upper of which answers.
    first = {
        int(at) // CLUSTER: int(owner) for at, owner in zip(found.starts, found.owners, strict=True)
    }
    assert [first[n] for n in range(MAX_DEPTH)] == [MAX_DEPTH - 1 - n for n in range(MAX_DEPTH)]
    chain = read_chain(str(tmp_path), top.name)
    assert len(chain.layers) == MAX_DEPTH
    assert [str(f.code) for f in chain.findings] == ["too-deep"]


@pytest.mark.parametrize("layers", [60, pytest.param(MAX_DEPTH, marks=pytest.mark.slow)])
def test_qemu_maps_them_the_same(tmp_path: Path, layers: int) -> None:
    top = stack(tmp_path, layers)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * layers + 64
    assert hard == resource.RLIM_INFINITY or hard >= needed, "qemu-img opens every layer"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        theirs = qemu_map(top)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert normal(list(entries(read_map(top)))) == theirs
