"""Torch's own files of weights, read from bytes: checked before Torch sees them, never as code.

``torch.load(weights_only=True)`` runs no code, but believes what a file says of its sizes: a few bytes can
ask for a terabyte. So the pickles in a file are first looked through, instruction by instruction, without
doing what they say. A plain state dict needs few kinds of instructions, a handful of names and no more
numbers than it holds weights; a file that asks for anything else is refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dream_core.errors import WeightsError

__all__ = ["check_state", "load_state", "read_state"]

_MAX_PICKLE_BYTES = 1 << 20
_MAX_INSTRUCTIONS = 1 << 17
_MAX_MEMO = 1 << 17
# A file of old is five pickles (a magic number, a version, the machine's sizes, the tensors, the storages'
# names), then the numbers.
_N_OLD_PICKLES = 5
_MAGIC = 0x1950A86A20F9469CFC6C

_INSTRUCTIONS = frozenset(
    [
        "PROTO",
        "STOP",
        "MARK",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINUNICODE",
        "EMPTY_DICT",
        "EMPTY_LIST",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "APPEND",
        "APPENDS",
        "SETITEM",
        "SETITEMS",
        "BINPUT",
        "LONG_BINPUT",
        "BINGET",
        "LONG_BINGET",
        "GLOBAL",
        "REDUCE",
        "BUILD",
        "BINPERSID",
    ]
)
_NAMES = frozenset(
    {"collections OrderedDict"}
    | {f"torch._utils _rebuild_{kind}" for kind in ("tensor", "tensor_v2", "parameter")}
    | {f"torch {kind}Storage" for kind in ("Half", "Float", "Double", "Long", "Int")}
)


class _NotPlainError(Exception):
    """The file holds something besides tensors."""


class _DamagedError(Exception):
    """The file cannot be what it says it is."""


def read_state(
    blobs: Sequence[bytes], shapes: Mapping[str, tuple[int, ...]], network: str, package: str
) -> dict[str, Tensor]:
    """Read a state dict from the bytes of one Torch file, and check that it is a network's.

    Args:
        blobs: One file's bytes.
        shapes: Every tensor the network needs, by its published name; batch norm's counters are passed over.
        network: The network's name, for messages.
        package: The package that holds the right file, for messages.

    Returns:
        The tensors in ``shapes``, in its order, contiguous.

    Raises:
        WeightsError: There is not one file; or it is damaged, of another kind, holds more than plain tensors,
            or the weights of another network.
    """
    ending = f"; get the file of {package}: reverie networks get {network}"
    if len(blobs) != 1:
        raise WeightsError(f"{network}: {len(blobs)} files were given, its weights are one{ending}")
    return check_state(load_state(blobs[0], f"{network}'s weights", ending), shapes, network, ending)


def check_state(
    state: Mapping[str, object],
    shapes: Mapping[str, tuple[int, ...]],
    network: str,
    ending: str,
    is_needless: Callable[[str], bool] = lambda _name: False,
) -> dict[str, Tensor]:
    """Check that a state dict is a network's; batch norm's counters are passed over.

    Args:
        state: The state dict.
        shapes: Every tensor the network needs, by name.
        network: The network's name, for messages.
        ending: What to do about it, the end of each message.
        is_needless: Says which other names are passed over.

    Returns:
        The tensors in ``shapes``, in its order, contiguous.

    Raises:
        WeightsError: It is another network's, or holds other things than finite numbers.
    """
    needless = {name for name in state if name.endswith(".num_batches_tracked") or is_needless(name)}
    if missing := [name for name in shapes if name not in state]:
        raise WeightsError(
            f"{network}'s weights: the file lacks {missing[0]!r} and {len(missing) - 1} more of "
            f"{len(shapes)} tensors; it is of another network{ending}"
        )
    if extra := [name for name in state if name not in shapes and name not in needless]:
        raise WeightsError(
            f"{network}'s weights: the file holds {extra[0][:40]!r}, which the network does not have; "
            f"it is of another network{ending}"
        )
    return {name: _checked(name, state[name], shapes[name], network, ending) for name in shapes}


def load_state(data: bytes, what: str, ending: str) -> Mapping[str, object]:
    """Read a state dict from the bytes of a Torch file; nothing in it is run.

    Args:
        data: The file.
        what: What it is to hold, the beginning of each message.
        ending: What to do about it, the end of each message.

    Raises:
        WeightsError: It is damaged, of another kind, or holds more than plain tensors.
    """
    try:
        _look_through(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Torch warns of a file that it then refuses
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (_NotPlainError, pickle.UnpicklingError):
        raise WeightsError(
            f"{what}: the file holds Python objects besides tensors, which could run code; it was not "
            f"opened{ending}"
        ) from None
    except Exception as error:  # damage can show as any error at all within Torch's readers
        raise WeightsError(
            f"{what}: this is not a complete Torch file ({_first_line(error)}){ending}"
        ) from None
    if not isinstance(state, Mapping):
        raise WeightsError(f"{what}: the file holds a {type(state).__name__}, not a state dict{ending}")
    if not all(isinstance(name, str) for name in state):
        raise WeightsError(f"{what}: the file holds tensors without names{ending}")
    return state


def _checked(name: str, value: object, shape: tuple[int, ...], network: str, ending: str) -> Tensor:
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.device.type != "cpu":
        raise WeightsError(f"{network}'s weights: {name!r} is no plain tensor{ending}")
    if tuple(value.shape) != shape:
        raise WeightsError(
            f"{network}'s weights: {name!r} has shape {tuple(value.shape)}, {network} needs {shape}; it is "
            f"of another network{ending}"
        )
    if not value.is_floating_point():
        raise WeightsError(
            f"{network}'s weights: {name!r} holds {value.dtype}; weights are floating-point numbers{ending}"
        )
    if not torch.isfinite(value).all() or (name.endswith("running_var") and (value < 0).any()):
        raise WeightsError(
            f"{network}'s weights: {name!r} holds impossible values; the file is damaged{ending}"
        )
    return value.detach().contiguous()


def _look_through(data: bytes) -> None:
    """Refuse a file that asks for more than it holds, without doing what it says."""
    if data.startswith(b"PK"):
        _look_through_pickle(io.BytesIO(_archived_pickle(data)), len(data), 1)
    elif data.startswith(b"\x80"):
        _look_through_pickle(io.BytesIO(data), len(data), _N_OLD_PICKLES)
    else:
        raise _DamagedError("it begins like a file of another kind; was a web page saved in its place?")


def _archived_pickle(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise _DamagedError("it is compressed, which Torch's files are not")
        if sum(member.file_size for member in members) > len(data):
            raise _DamagedError("its parts are larger than the whole")
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE_BYTES:
            raise _DamagedError("it holds no list of tensors")
        return archive.read(pickles[0])


def _look_through_pickle(file: io.BytesIO, n_bytes: int, n_pickles: int) -> None:
    n_instructions, total, is_number = 0, 0, False
    for _ in range(n_pickles):
        for instruction, argument, place in pickletools.genops(file):
            n_instructions += 1
            if n_instructions > _MAX_INSTRUCTIONS or (place or 0) > _MAX_PICKLE_BYTES:
                raise _DamagedError("its list of tensors does not end")
            name = instruction.name
            if name not in _INSTRUCTIONS:
                raise _NotPlainError
            if name == "GLOBAL" and argument not in _NAMES:
                raise _NotPlainError
            if name.endswith("BINPUT") and (is_number or int(argument or 0) > _MAX_MEMO):
                raise _NotPlainError  # a number kept for later would not be counted when it is used
            is_number = name.startswith(("BININT", "LONG1"))
            if is_number and argument != _MAGIC:
                # Sizes of storages and of tensors; an honest file holds at least two bytes for each.
                total += abs(int(argument or 0))
                if total > n_bytes + _MAX_PICKLE_BYTES:
                    raise _DamagedError("its tensors are larger than the file")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
