"""States of VST2 plugins, ``.fxp`` and ``.fxb``, for the VST3 plugins that took their place.

A VST3 plugin that replaces a VST2 one has a class id made of the old four-letter id, and reads the old state
where it stands behind a ``VstW`` header. Nothing says how any other plugin would read it, so for those it is
refused.

Source: Steinberg, "VST 2 to VST 3 compatibility"; VST 2 SDK, ``vstfxstore.h``.
"""

from __future__ import annotations

import struct

from bridge.errors import PluginError
from bridge.hosts.vstpreset import build_vstpreset

__all__ = ["convert_vst2_state", "is_vst2_state"]

_HEAD = struct.Struct(">4si4si4si")
_PROGRAMS, _BANKS = (b"FxCk", b"FPCh"), (b"FxBk", b"FBCh")
_BANK_RESERVED = 124


def is_vst2_state(data: bytes) -> bool:
    """Whether bytes are an ``.fxp`` or ``.fxb``."""
    return data[:4] == b"CcnK"


def convert_vst2_state(data: bytes, uid: str, where: str = "state") -> bytes:
    """Return a VST2 state as the bytes of a ``.vstpreset``.

    Args:
        data: The whole ``.fxp`` or ``.fxb``.
        uid: Class id of the VST3 plugin, 32 hexadecimal digits.
        where: Put at the start of an error.

    Raises:
        PluginError: It is damaged, or the plugin is not the successor of the one that wrote it.
    """
    if len(data) < _HEAD.size:
        raise PluginError(f"{where}: a truncated .fxp or .fxb: {len(data)} bytes")
    _, n_bytes, kind, _, plugin_id, plugin_version = _HEAD.unpack_from(data)
    if kind not in (*_PROGRAMS, *_BANKS) or n_bytes > len(data) - 8:
        raise PluginError(
            f"{where}: a damaged .fxp or .fxb: {kind!r}, {n_bytes} bytes told, {len(data) - 8} there"
        )
    class_id = bytes.fromhex(uid)
    if class_id[:3] != b"VST" or class_id[3:7] != plugin_id:
        raise PluginError(
            f"{where}: a state of the VST2 plugin {plugin_id.decode('latin-1')!r}; this plugin (class {uid}) "
            "is not its successor by its class id, so nothing says how it would read it. Load it in a host "
            "of the VST2 plugin and set the parameters here, or save a .vstpreset"
        )
    bank = _wrap_program(data, plugin_id, plugin_version) if kind == b"FxCk" else data
    return build_vstpreset(uid, {"Comp": struct.pack(">4siii", b"VstW", 8, 1, 0) + bank})


def _wrap_program(program: bytes, plugin_id: bytes, plugin_version: int) -> bytes:
    """Make a bank of one program."""
    body = struct.pack(">ii", 1, 0) + bytes(_BANK_RESERVED) + program
    n_bytes = _HEAD.size - 8 + len(body)
    return _HEAD.pack(b"CcnK", n_bytes, b"FxBk", 2, plugin_id, plugin_version) + body
