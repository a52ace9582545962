"""What a plugin says of its parameters and no host passes on, asked of its module.

pedalboard and minihost show a parameter's title and whether it can be automated. They do not show that it is
a meter, that it chooses a program, or that it tells the host's own block size. The edit controller of the
plugin answers all of it, so it is asked.

A host has loaded the module in this process before, so it is initialised and stays so. Whatever a module
does not answer is left out: the callers have rules for that case.

Source: VST 3 SDK, ``pluginterfaces/vst``: ``ivsteditcontroller.h``, ``ivstcomponent.h``,
``ivsthostapplication.h``.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any, Final

__all__ = ["ControllerFacts", "ParameterFlag", "read_controller"]

_OK: Final = 0
_IS_WINDOWS: Final = os.name == "nt"
_NO_INTERFACE: Final = 0x80004002 - (1 << 32) if _IS_WINDOWS else -1

_INTERFACES: Final = {
    "unknown": (0x00000000, 0x00000000, 0xC0000000, 0x00000046),
    "component": (0xE831FF31, 0xF2D54301, 0x928EBBEE, 0x25697802),
    "controller": (0xDCD7BBE3, 0x7742448D, 0xA874AACC, 0x979C759E),
    "host_application": (0x58E595CC, 0xDB2D4969, 0x8B6AAF8C, 0x36A664E5),
}
_QUERY_INTERFACE, _RELEASE = 0, 2
_CREATE_INSTANCE = 6
_INITIALIZE, _TERMINATE, _CONTROLLER_CLASS = 3, 4, 5
_PARAMETER_COUNT, _PARAMETER_INFO = 8, 9


class ParameterFlag(IntFlag):
    """What a parameter says of itself; only the flags that decide something here."""

    CAN_AUTOMATE = 1 << 0
    READ_ONLY = 1 << 1
    HIDDEN = 1 << 4
    PROGRAM_CHANGE = 1 << 15
    BYPASS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerFacts:
    """What the edit controller of a plugin says of its parameters.

    Args:
        titles: The title of every parameter, in the controller's order, which hosts keep.
        flags: What each is for, in the same order.
    """

    titles: tuple[str, ...]
    flags: tuple[ParameterFlag, ...]


class _ParameterInfo(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint32),
        ("title", ctypes.c_uint16 * 128),
        ("short_title", ctypes.c_uint16 * 128),
        ("units", ctypes.c_uint16 * 128),
        ("steps", ctypes.c_int32),
        ("default", ctypes.c_double),
        ("unit_id", ctypes.c_int32),
        ("flags", ctypes.c_int32),
    )


def read_controller(binary: Path, uid: str) -> ControllerFacts | None:
    """Ask what each parameter of a plugin is for; None where the module does not answer.

    A second instance of the plugin is made for it and let go at once; it never sees a sound.

    Args:
        binary: The module's library, which a host has loaded into this process.
        uid: Which of its plugins.
    """
    with _factory(binary) as factory:
        if not factory:
            return None
        context = _HostContext()
        with _instance(factory, _class_id(uid), "component") as component:
            if not component or _call(component, _INITIALIZE, context.pointer) != _OK:
                return None
            try:
                return _ask_controller(factory, component, context)
            finally:
                _call(component, _TERMINATE)


def _ask_controller(factory: int, component: int, context: _HostContext) -> ControllerFacts | None:
    own_class = (ctypes.c_char * 16)()
    if _call(component, _CONTROLLER_CLASS, own_class) == _OK:
        with _instance(factory, own_class.raw, "controller") as controller:
            if not controller or _call(controller, _INITIALIZE, context.pointer) != _OK:
                return None
            try:
                return _read_parameters(controller)
            finally:
                _call(controller, _TERMINATE)
    with _interface(component, "controller") as controller:
        return _read_parameters(controller) if controller else None


def _read_parameters(controller: int) -> ControllerFacts:
    titles: list[str] = []
    flags: list[ParameterFlag] = []
    for index in range(_call(controller, _PARAMETER_COUNT)):
        info = _ParameterInfo()
        if _call(controller, _PARAMETER_INFO, ctypes.c_int32(index), ctypes.byref(info)) != _OK:
            break
        titles.append(bytes(info.title).decode("utf-16-le", "replace").split("\0")[0].strip())
        flags.append(ParameterFlag(info.flags & sum(ParameterFlag)))
    return ControllerFacts(titles=tuple(titles), flags=tuple(flags))


# Pointers to objects with a table of functions, as COM has them ---------------------------------------------


def _call(pointer: int, slot: int, *arguments: Any) -> int:
    """Call a method by its place in the object's table."""
    table = ctypes.cast(pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents
    address = table[slot]
    if not address:
        return -1
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(address)
    function.argtypes = None  # type: ignore[assignment]  # each argument says its own type
    return int(function(ctypes.c_void_p(pointer), *arguments))


@contextmanager
def _factory(binary: Path) -> Iterator[int]:
    """Yield the module's factory, or 0; it belongs to the module and is given back after use."""
    try:
        get_factory = ctypes.CDLL(str(binary)).GetPluginFactory
    except (OSError, AttributeError):
        yield 0
        return
    get_factory.restype = ctypes.c_void_p
    pointer = int(get_factory() or 0)
    try:
        yield pointer
    finally:
        if pointer:
            _call(pointer, _RELEASE)


@contextmanager
def _instance(factory: int, class_id: bytes, interface: str) -> Iterator[int]:
    made = ctypes.c_void_p()
    result = _call(factory, _CREATE_INSTANCE, class_id, _interface_id(interface), ctypes.byref(made))
    pointer = int(made.value or 0) if result == _OK else 0
    try:
        yield pointer
    finally:
        if pointer:
            _call(pointer, _RELEASE)


@contextmanager
def _interface(pointer: int, interface: str) -> Iterator[int]:
    found = ctypes.c_void_p()
    result = _call(pointer, _QUERY_INTERFACE, _interface_id(interface), ctypes.byref(found))
    other = int(found.value or 0) if result == _OK else 0
    try:
        yield other
    finally:
        if other:
            _call(other, _RELEASE)


def _interface_id(interface: str) -> bytes:
    return _class_id("".join(f"{word:08X}" for word in _INTERFACES[interface]))


def _class_id(uid: str) -> bytes:
    """Return the 16 bytes of an id; on Windows their order is that of a GUID."""
    data = bytes.fromhex(uid)
    if not _IS_WINDOWS:
        return data
    first, second, third = struct.unpack(">IHH", data[:8])
    return struct.pack("<IHH", first, second, third) + data[8:]


class _HostContext:
    """The least host there is: plugins ask their context its name, and some crash where there is none."""

    def __init__(self) -> None:
        count = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)
        query = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        name = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
        create = ctypes.CFUNCTYPE(
            ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
        )
        known = [_interface_id("unknown"), _interface_id("host_application")]

        def answer_query(this: int, wanted: int, found: int) -> int:
            is_known = ctypes.string_at(wanted, 16) in known
            ctypes.c_void_p.from_address(found).value = this if is_known else None
            return _OK if is_known else _NO_INTERFACE

        def answer_name(_: int, text: int) -> int:
            spelled = "Reverie\0".encode("utf-16-le")
            ctypes.memmove(text, spelled, len(spelled))
            return _OK

        # The functions must live as long as whoever may call them.
        self._functions: Sequence[Any] = (
            query(answer_query),
            count(lambda _: 1),
            count(lambda _: 1),
            name(answer_name),
            create(lambda *_: _NO_INTERFACE),
        )
        addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in self._functions]
        self._table = (ctypes.c_void_p * len(addresses))(*addresses)
        self._object = ctypes.c_void_p(ctypes.addressof(self._table))

    @property
    def pointer(self) -> ctypes.c_void_p:
        """What a plugin is given as its host."""
        return ctypes.c_void_p(ctypes.addressof(self._object))
