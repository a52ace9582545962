"""TensorFlow's checkpoints are read from their bytes, and whatever is wrong with them is said in one line."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from helpers.checkpoints import HEADER, block, checkpoint, entry, table, varint

from dream_core.errors import WeightsError
from dream_core.networks.tf_checkpoint import read_checkpoint

ARRAYS = {
    "dense/kernel": np.arange(6, dtype=np.float32).reshape(3, 2),
    "dense/kernel/Adam": np.full((3, 2), 9, np.float32),
    "dense/bias": np.array([0.5, -0.5], np.float32),
    "step": np.array(7, np.float32),
}
SHAPES = {"dense/kernel": (3, 2), "dense/bias": (2,), "step": ()}


def read(index: bytes, data: bytes) -> dict[str, torch.Tensor]:
    return read_checkpoint(index, data, SHAPES, "the checkpoint")


def one(name: str = "dense/bias", value: bytes = entry((2,), 0, 8)) -> bytes:
    return table([block([HEADER, (name.encode(), value)])])


def test_what_was_written_is_read_and_no_more() -> None:
    tensors = read(*checkpoint(ARRAYS))

    assert tensors.keys() == SHAPES.keys()
    assert all(np.array_equal(tensor.numpy(), ARRAYS[name]) for name, tensor in tensors.items())


def test_an_index_cut_short_anywhere_is_refused() -> None:
    index, data = checkpoint(ARRAYS)

    for length in range(len(index)):
        with pytest.raises(WeightsError, match="the checkpoint"):
            read(index[:length], data)


def test_data_cut_short_is_refused() -> None:
    index, data = checkpoint(ARRAYS)

    with pytest.raises(WeightsError, match="cut short"):
        read(index, data[:-1])


def test_changed_bytes_are_refused_or_change_values_alone() -> None:
    """Nothing but a line of an error, and never another shape."""
    index, data = checkpoint(ARRAYS)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        changed = bytearray(index)
        for at in rng.integers(len(index), size=rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        try:
            tensors = read(bytes(changed), data)
        except WeightsError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == SHAPES


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (b"", "has 0 bytes"),
        (bytes(2 << 20), "has 2097152 bytes"),
        (bytes(100), "does not end as one"),
        (table([block([HEADER])], kind=1), "compressed"),
        (table([block([(b"", b"\x08\x02")])]), "several files"),
        (table([block([(b"", b"\x08\x01\x10\x01")])]), "big-endian"),
        (one(value=entry((2,), 0, 8, shard=1)), "another file"),
        (one(value=b"\x12\xff\xff\xff\xff\x7f"), "cut short"),
        (one(value=b"\x08" + b"\xff" * 12), "too long"),
        (one(value=b"\x0b"), "cut short"),
        (one(name="x" * 300), "does not fit"),
        (table([varint(1) + varint(1) + varint(0) + b"k" + bytes(8)]), "does not fit"),
        (one(), "no tensor 'dense/kernel'"),
        (one("dense/kernel", entry((2, 3), 0, 24)), r"shape \(2, 3\)"),
        (one("dense/kernel", entry((3, 2), 0, 24, dtype=2)), "type 2"),
        (one("dense/kernel", entry((3, 2), 0, 48)), "cut short"),
        (one("dense/kernel", entry((3, 2), 1 << 60, 24)), "cut short"),
        (one("dense/kernel", entry((1 << 62, 1 << 62), 0, 24)), "shape"),
    ],
)
def test_what_is_wrong_is_said(index: bytes, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        read(index, bytes(64))


def test_an_index_that_names_one_block_again_and_again_takes_no_time_and_no_memory() -> None:
    inner = block([(b"a" * 200 + bytes([n % 100]), b"") for n in range(20_000)])
    handles = [(b"%08d" % n, varint(0) + varint(len(inner))) for n in range(20_000)]
    top = block(handles)
    head = inner + bytes(5)
    footer = varint(0) + varint(8) + varint(len(head)) + varint(len(top))
    index = head + top + bytes(5) + footer.ljust(40, b"\0") + table([])[-8:]
    tracemalloc.start()
    start = time.process_time()

    with pytest.raises(WeightsError, match="overlap"):
        read(index, b"")

    took_s, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took_s < 5.0
    assert peak < 64 << 20
