"""A bundle of many plugins that shows only one of them, without a copy of its binary.

One host opens only the first plugin that a bundle lists, and asks ``moduleinfo.json`` first which there are.
So any plugin of a bundle can be opened through a folder that links to the bundle's own and lists just that
one; the other plugins are not even made, which for a bundle of hundreds saves many seconds a load.

Source: Steinberg, "VST Module Info" (``Contents/Resources/moduleinfo.json``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from bridge.errors import PluginError
from bridge.hosts.plugin_cache import default_cache_path
from bridge.hosts.plugin_factory import PluginClass

__all__ = ["narrow_bundle"]

_MODULE_INFO: Final = "moduleinfo.json"


def narrow_bundle(path: Path, plugin: PluginClass) -> Path:
    """Return a bundle that links to another and lists only one of its plugins.

    It is made once, beside the plugin cache, and kept.

    Args:
        path: The bundle with many plugins.
        plugin: The one to list.

    Raises:
        PluginError: It cannot be written.
    """
    path = path.resolve()
    info = _module_info(path, plugin)
    key = hashlib.sha256(f"{path}\n{info}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    folder = default_cache_path().parent / "bundles" / key
    if not folder.exists():
        try:
            _build(path, info, folder)
        except OSError as error:
            raise PluginError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return folder / path.name


def _build(path: Path, info: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part"))
    try:
        contents = part / path.name / "Contents"
        (contents / "Resources").mkdir(parents=True)
        for place, there in (
            (contents, path / "Contents"),
            (contents / "Resources", path / "Contents/Resources"),
        ):
            for child in there.iterdir() if there.is_dir() else ():
                if child.name not in ("Resources", _MODULE_INFO):
                    (place / child.name).symlink_to(child)
        (contents / "Resources" / _MODULE_INFO).write_text(info, encoding="utf-8")
        with suppress(OSError):  # another process has made it meanwhile
            part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _module_info(path: Path, plugin: PluginClass) -> str:
    listed = {
        "CID": plugin.uid,
        "Category": "Audio Module Class",
        "Name": plugin.name,
        "Vendor": plugin.vendor,
        "Version": plugin.version,
        "SDKVersion": plugin.sdk_version,
        "Sub Categories": plugin.category.split("|"),
        "Class Flags": 0,
        "Cardinality": 0x7FFFFFFF,
        "Snapshots": [],
    }
    flags = {"Unicode": True, "Classes Discardable": False, "Component Non Discardable": False}
    maker = {"Vendor": plugin.vendor, "URL": "", "E-Mail": "", "Flags": flags}
    info = {"Name": path.stem, "Version": plugin.version, "Factory Info": maker, "Classes": [listed]}
    return json.dumps(info, indent=1, ensure_ascii=False)
