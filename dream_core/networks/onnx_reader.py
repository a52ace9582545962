"""The tensors of an ONNX file, read from its bytes; its graph is not looked at and nothing in it is run.

An ONNX file is one protobuf message: numbered fields, each a varint, four or eight bytes, or a length and so
many bytes. Of its fields three matter here: the model's graph, the graph's initializers, and of each of them
name, type, shape and values. All else is stepped over.

Values are views of the bytes that were given until they become tensors, and a shape must say exactly as many
values as there are: a file takes as much memory as it is long, whatever it declares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dream_core.errors import WeightsError

__all__ = ["read_floats"]

# Field numbers and types of onnx.proto3.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 4, 8, 9
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_FLOAT32 = 1

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_DIMENSIONS = 8
_MAX_NAME_BYTES = 4096


class _DamagedError(Exception):
    """The bytes are no protobuf message, or not one of ONNX."""


def read_floats(data: bytes, *, max_bytes: int, origin: str) -> dict[str, Tensor]:
    """Read the float32 initializers of an ONNX model, by name; those of other types are left out.

    Args:
        data: The whole file.
        max_bytes: A longer file is refused unread.
        origin: What it should be and how it is had, to end error messages.

    Raises:
        WeightsError: The bytes are cut short, damaged, too many, or no ONNX model with weights in it.

    Source:
        https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3,
        https://protobuf.dev/programming-guides/encoding/
    """
    if len(data) > max_bytes:
        raise WeightsError(f"the file has {len(data)} bytes, more than {max_bytes}; {origin}")
    tensors: dict[str, Tensor] = {}
    try:
        for graph in _messages(memoryview(data), _MODEL_GRAPH):
            for initializer in _messages(graph, _GRAPH_INITIALIZER):
                name, tensor = _read_tensor(initializer)
                if name in tensors:
                    raise _DamagedError("two tensors have one name")
                if tensor is not None:
                    tensors[name] = tensor
    except _DamagedError as error:
        raise WeightsError(f"the file is no complete ONNX model ({error}); {origin}") from None
    if not tensors:
        raise WeightsError(f"the file is no ONNX model with weights in it; {origin}")
    return tensors


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the messages in one field of a message."""
    for number, value in _fields(data):
        if number == wanted:
            yield _as_bytes(value)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of every field: a whole number for a varint, else the bytes."""
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        number, kind = key >> 3, key & 7
        if not number:
            raise _DamagedError("a field has no number")
        if kind == _VARINT:
            whole, position = _read_varint(data, position)
            yield number, whole
            continue
        if kind == _BYTES:
            n_bytes, position = _read_varint(data, position)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            n_bytes = 4 if kind == _FOUR_BYTES else 8
        else:
            raise _DamagedError(f"a field is of unknown kind {kind}")
        if n_bytes > len(data) - position:
            raise _DamagedError("it ends in the middle of a field")
        yield number, data[position : position + n_bytes]
        position += n_bytes


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return a number in seven bits a byte, lowest first, and where it ends."""
    value = 0
    for index, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _DamagedError("it ends in the middle of a number")


def _read_tensor(data: memoryview) -> tuple[str, Tensor | None]:
    """Return an initializer's name and values; None where they are not float32."""
    dims: list[int] = []
    name, kind = "", 0
    raw: memoryview | None = None
    for number, value in _fields(data):
        if number == _TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else _packed(value)
            if len(dims) > _MAX_DIMENSIONS:
                raise _DamagedError(f"a tensor has more than {_MAX_DIMENSIONS} dimensions")
        elif number == _TENSOR_TYPE:
            kind = _as_int(value)
        elif number == _TENSOR_NAME:
            name = _as_name(value)
        elif number in (_TENSOR_RAW, _TENSOR_FLOATS):
            if raw is not None:
                raise _DamagedError("a tensor's values are given twice")
            raw = _as_bytes(value)  # packed floats are laid out like raw ones, little endian
        elif number in (_TENSOR_EXTERNAL, _TENSOR_LOCATION) and value:
            raise _DamagedError("a tensor's values are in another file")
    if kind != _FLOAT32:
        return name, None
    # Dimensions are numbers of any size, but their product is what was given.
    if raw is None or not len(raw) or 4 * math.prod(dims) != len(raw):
        raise _DamagedError(f"a tensor of shape {tuple(dims)} has {len(raw or b'')} bytes")
    return name, torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32)).reshape(dims)


def _packed(data: memoryview) -> list[int]:
    numbers: list[int] = []
    position = 0
    while position < len(data) and len(numbers) <= _MAX_DIMENSIONS:
        number, position = _read_varint(data, position)
        numbers.append(number)
    return numbers


def _as_bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _DamagedError("a number is where bytes should be")
    return value


def _as_int(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _DamagedError("bytes are where a number should be")
    return value


def _as_name(value: int | memoryview) -> str:
    data = _as_bytes(value)
    if len(data) > _MAX_NAME_BYTES:
        raise _DamagedError("a tensor's name is too long")
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise _DamagedError("a tensor's name is no text") from None
