"""Torch's files from strangers: whatever they hold, the answer is tensors or one line."""

from __future__ import annotations

import io
import pickle
import random
import tracemalloc
import zipfile
from typing import Any

import pytest
import torch

from dream_core.errors import WeightsError
from dream_core.networks.torch_files import read_state

SHAPES = {"a.weight": (4, 3), "a.bias": (4,), "n.running_var": (4,)}


def state() -> dict[str, torch.Tensor]:
    return {
        "a.weight": torch.arange(12.0).view(3, 4).T,  # not contiguous, as some published ones are
        "a.bias": torch.ones(4),
        "n.running_var": torch.ones(4),
        "n.num_batches_tracked": torch.tensor(7),
    }


def saved(value: object, is_zip: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=is_zip)
    return file.getvalue()


def read(data: bytes) -> dict[str, torch.Tensor]:
    return read_state([data], SHAPES, "net", "package 1.0")


def refusal(data: bytes) -> str:
    with pytest.raises(WeightsError) as refused:
        read(data)
    message = str(refused.value)
    assert "\n" not in message
    assert message.endswith("; get the file of package 1.0: reverie networks get net")
    return message


@pytest.mark.parametrize("is_zip", [True, False])
def test_tensors_are_read_as_they_were_saved(is_zip: bool) -> None:
    tensors = read(saved(state(), is_zip))

    assert list(tensors) == list(SHAPES)
    assert all(torch.equal(tensors[name], state()[name]) for name in SHAPES)
    assert all(tensor.is_contiguous() for tensor in tensors.values())


@pytest.mark.parametrize("is_zip", [True, False])
def test_every_cut_is_refused(is_zip: bool) -> None:
    whole = saved(state(), is_zip)
    for length in [*range(0, len(whole), 17), len(whole) - 1]:
        refusal(whole[:length])


@pytest.mark.parametrize("is_zip", [True, False])
def test_any_damage_gives_tensors_or_one_line(is_zip: bool) -> None:
    whole = saved(state(), is_zip)
    chance = random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        refused, tensors = "", {}
        try:
            tensors = read(bytes(damaged))
        except WeightsError as error:
            refused = str(error)
        if refused:
            assert len(refused.splitlines()) == 1
        else:
            assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == SHAPES


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"PK", b"\x80\x02", b"\x80", b"<html>"])
def test_noise_is_refused(start: bytes) -> None:
    refusal(start + random.Random(1).randbytes(5000))
    refusal(start)


class _Caller:
    """What runs when it is unpickled by a careless reader."""

    def __reduce__(self) -> Any:
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_is_refused_and_never_run(is_zip: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert "could run code" in refusal(saved(state() | {"a.bias": _Caller()}, is_zip))
    assert "could run code" in refusal(pickle.dumps(_Caller(), 2))
    refusal(pickle.dumps(_Caller(), 5))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_is_not_a_plain_tensor_is_refused(is_zip: bool) -> None:
    refusal(saved(state() | {"a.bias": bytearray(4)}, is_zip))
    refusal(saved(state() | {"a.bias": torch.ones(4).to_sparse()}, is_zip))
    refusal(saved(state() | {"a.bias": torch.ones(4, device="meta")}, is_zip))
    assert "is no plain tensor" in refusal(saved(state() | {"a.bias": 3}, is_zip))
    assert "holds torch.int64" in refusal(saved(state() | {"a.bias": torch.ones(4).long()}, is_zip))
    assert "holds a list" in refusal(saved([1, 2], is_zip))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_parameter_is_read_as_the_tensor_it_is(is_zip: bool) -> None:
    """Files of old hold parameters."""
    given = state() | {"a.bias": torch.nn.Parameter(torch.arange(4.0))}
    found = read_state([saved(given, is_zip)], SHAPES, "net", "package 1.0")["a.bias"]

    assert type(found) is torch.Tensor
    assert found.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_impossible_values_are_refused() -> None:
    for name, value in (("a.bias", torch.nan), ("a.weight", torch.inf), ("n.running_var", -1.0)):
        assert "impossible values" in refusal(saved(state() | {name: torch.full(SHAPES[name], value)}))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_size_that_is_not_in_the_file_takes_no_memory(is_zip: bool) -> None:
    whole = saved({"a.bias": torch.zeros(0x012345)}, is_zip)
    size = (0x012345).to_bytes(4, "little")
    pickled = b"J" + size
    assert pickled in whole
    huge = whole.replace(pickled, b"J" + (0x7FFFFFFF).to_bytes(4, "little"))
    if is_zip:  # the sums that zip keeps of its parts are right
        file = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(file, "w") as new:
            for member in old.infolist():
                data = old.read(member)
                new.writestr(member.filename, data.replace(pickled, b"J" + b"\xff\xff\xff\x7f"))
        huge = file.getvalue()

    assert "larger than the file" in refusal(huge)


def test_a_squeezed_archive_is_not_unpacked() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(64 << 20))
    tracemalloc.start()
    try:
        assert "compressed" in refusal(file.getvalue())
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_endless_list_is_given_up() -> None:
    assert "does not end" in refusal(b"\x80\x02" + b"]" * (4 << 20))
    huge_memo = b"\x80\x02]r" + (0xFFFFFFF0).to_bytes(4, "little") + b"."
    refusal(huge_memo)
