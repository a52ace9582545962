"""Which plugins a bundle holds, asked of the bundle itself: no host, and no plugin is made.

A VST3 library offers one function that lists its classes: names, class ids, versions. Hosts make every plugin
once to list them, which takes a bundle of hundreds many seconds each time one of them is loaded, and one of
them does not tell class ids at all. Reading the list takes milliseconds.

Loading a library runs code of others: only a child process calls this. Linux only, where the class ids' bytes
are in reading order.

Source: Steinberg VST3 SDK, ``pluginterfaces/base/ipluginbase.h``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.errors import PluginError

__all__ = ["PluginClass", "read_factory"]

_AUDIO_CLASS: Final = "Audio Module Class"
_IID_FACTORY_2: Final = bytes.fromhex("0007B650F24B4C0BA464EDB9F00B2ABB")
_IID_FACTORY_3: Final = bytes.fromhex("4555A2ABC1234E579B12291036878931")
_RELEASE, _FACTORY_INFO, _COUNT, _CLASS_INFO, _CLASS_INFO_2, _CLASS_INFO_UNICODE = 2, 3, 4, 5, 7, 8
"""Places in the table of functions; 0 is queryInterface."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginClass:
    """One plugin, as its bundle lists it.

    Args:
        name: Its name.
        uid: Class id of its processor, 32 hexadecimal digits.
        vendor: Who made it.
        version: Its version, as it spells it.
        category: ``Fx``, ``Instrument|Synth`` and the like; empty where the bundle is of an old kind.
        sdk_version: Which SDK it was built with.
    """

    name: str
    uid: str
    vendor: str
    version: str
    category: str
    sdk_version: str


class _FactoryInfo(ctypes.Structure):
    _fields_ = (
        ("vendor", ctypes.c_char * 64),
        ("url", ctypes.c_char * 256),
        ("email", ctypes.c_char * 128),
        ("flags", ctypes.c_int32),
    )


class _ClassInfo(ctypes.Structure):
    _fields_ = (
        ("cid", ctypes.c_ubyte * 16),
        ("cardinality", ctypes.c_int32),
        ("category", ctypes.c_char * 32),
        ("name", ctypes.c_char * 64),
    )


class _ClassInfo2(ctypes.Structure):
    _fields_ = (
        *_ClassInfo._fields_,
        ("flags", ctypes.c_uint32),
        ("sub_categories", ctypes.c_char * 128),
        ("vendor", ctypes.c_char * 64),
        ("version", ctypes.c_char * 64),
        ("sdk_version", ctypes.c_char * 64),
    )


class _ClassInfoUnicode(ctypes.Structure):
    _fields_ = (
        ("cid", ctypes.c_ubyte * 16),
        ("cardinality", ctypes.c_int32),
        ("category", ctypes.c_char * 32),
        ("name", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_uint32),
        ("sub_categories", ctypes.c_char * 128),
        ("vendor", ctypes.c_ubyte * 128),
        ("version", ctypes.c_ubyte * 128),
        ("sdk_version", ctypes.c_ubyte * 128),
    )


def read_factory(binary: Path) -> tuple[PluginClass, ...]:
    """List the plugins in a library; its code runs in this process.

    Args:
        binary: The shared library inside the bundle, as `bridge.hosts.bundle.check_bundle` finds it.

    Raises:
        PluginError: The library cannot be loaded, or is no VST3 plugin.
    """
    try:
        library = ctypes.CDLL(str(binary))
    except OSError as error:
        raise PluginError(_explain(binary, str(error))) from error
    try:
        entry, get_factory = library.ModuleEntry, library.GetPluginFactory
    except AttributeError:
        raise PluginError(f"{binary.name}: not a VST3 plugin: it offers no plugin factory") from None
    entry.argtypes, entry.restype = [ctypes.c_void_p], ctypes.c_bool
    get_factory.argtypes, get_factory.restype = [], ctypes.c_void_p
    if not entry(library._handle) or not (pointer := get_factory()):
        raise PluginError(f"{binary.name}: the plugin refuses to start")
    factory = _Object(pointer)
    info = _FactoryInfo()
    factory.call(_FACTORY_INFO, ctypes.byref(info))
    return tuple(_read_classes(factory, _text(info.vendor)))


def _read_classes(factory: _Object, vendor: str) -> Iterator[PluginClass]:
    second, third = factory.query(_IID_FACTORY_2), factory.query(_IID_FACTORY_3)
    for index in range(factory.call(_COUNT)):
        plain, rich, unicode = _ClassInfo(), _ClassInfo2(), _ClassInfoUnicode()
        factory.call(_CLASS_INFO, index, ctypes.byref(plain))
        if second is not None:
            second.call(_CLASS_INFO_2, index, ctypes.byref(rich))
        if third is not None:
            third.call(_CLASS_INFO_UNICODE, index, ctypes.byref(unicode))
        # One with a name that is not ASCII answers the last question only.
        if _AUDIO_CLASS not in (_text(plain.category), _text(unicode.category)):
            continue
        yield PluginClass(
            name=_wide(unicode.name) or _text(rich.name) or _text(plain.name),
            uid=bytes(plain.cid if any(plain.cid) else unicode.cid).hex().upper(),
            vendor=_wide(unicode.vendor) or _text(rich.vendor) or vendor,
            version=_wide(unicode.version) or _text(rich.version),
            category=_text(unicode.sub_categories) or _text(rich.sub_categories),
            sdk_version=_wide(unicode.sdk_version) or _text(rich.sdk_version),
        )
    for other in (second, third):
        if other is not None:
            other.call(_RELEASE)


class _Object:
    """One of the library's objects: a pointer to a table of functions, each of which takes that pointer."""

    def __init__(self, pointer: int) -> None:
        self._pointer = ctypes.c_void_p(pointer)
        self._table = ctypes.cast(pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents

    def call(self, place: int, *arguments: object) -> int:
        kinds = (ctypes.c_int32 if isinstance(each, int) else ctypes.c_void_p for each in arguments)
        function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *kinds)(self._table[place] or 0)
        return int(function(self._pointer, *arguments))

    def query(self, iid: bytes) -> _Object | None:
        found = ctypes.c_void_p()
        self.call(0, iid, ctypes.byref(found))
        return None if not found.value else _Object(found.value)


def _explain(binary: Path, text: str) -> str:
    bundle = next((path.name for path in binary.parents if path.suffix.lower() == ".vst3"), binary.name)
    library, _, reason = text.partition(": ")
    if "cannot open shared object file" in reason and library != str(binary):
        return f"{bundle}: needs the library {library}, which is not installed"
    return f"{bundle}: no plugin in it loads: {text.removeprefix(f'{binary}: ')}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _wide(raw: ctypes.Array[ctypes.c_ubyte]) -> str:
    """Read UTF-16 up to its zero, in the order of bytes that gives letters: some write the wrong one."""
    data = bytes(raw)
    order = "utf-16-be" if data[0] == 0 and data[1] != 0 else "utf-16-le"
    return data.decode(order, "replace").partition("\0")[0]
