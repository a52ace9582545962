"""One bundle is listed without being made, loaded through either host, and judged plugin by plugin."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.vst3 import EFFECT, PACKAGES, PAIR, misbehaving_copy, needs_packages, needs_plugins

from bridge.errors import PluginError
from bridge.hosts import scan_bundle
from bridge.hosts.bundle import check_bundle, find_binary
from bridge.hosts.elf_needs import LibraryNeeds, glibc_here, read_needs
from bridge.hosts.plugin_cache import PluginCache
from bridge.hosts.plugin_scan import scan
from bridge.hosts.scan_bundle import describe_bundle

pytestmark = needs_plugins


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache" / "plugins.json"
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(path))
    return path


def test_of_several_plugins_only_the_one_that_crashes_is_blocked(tmp_path: Path) -> None:
    """The other is listed, with the host that makes one plugin without the other."""
    pytest.importorskip("minihost")
    bundle = misbehaving_copy(tmp_path, "Pair", PAIR, load="crash", plugin="Effect")
    bad, good = describe_bundle(bundle, timeout_s=20.0)
    assert (bad.name, bad.blocked) == ("Conformance Effect B", "crash while it was loaded (SIGSEGV)")
    assert (good.name, good.blocked, good.backend) == ("Conformance Instrument B", "", "minihost")
    assert (good.is_instrument, good.n_parameters) == (True, 5)

    known = scan([bundle])
    assert [plugin.name for _, plugin in known.plugins()] == ["Conformance Instrument B"]
    assert [(name, reason) for _, name, reason in known.blocked()] == [(bad.name, bad.blocked)]


@pytest.mark.parametrize("fault", ["crash", "hang"])
def test_what_one_host_cannot_load_the_other_does(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host that works is remembered; a hang is waited for briefly while there is another."""
    pytest.importorskip("minihost")
    monkeypatch.setattr(scan_bundle, "_BRIEF_S", 3.0)
    bundle = misbehaving_copy(tmp_path, "Odd", load=fault, **{"in": "pedalboard"})
    scan([bundle], timeout_s=600.0)
    entry = PluginCache.read().entry(bundle)
    assert entry is not None
    assert (entry.backend, entry.blocked, entry.uid) == ("minihost", "", "52564346584546464543540000000001")


def test_one_that_waits_for_ever_is_not_waited_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both hosts hang without computing, more time would not help: only the brief limit is named."""
    monkeypatch.setattr(scan_bundle, "_BRIEF_S", 2.0)
    bundle = misbehaving_copy(tmp_path, "Stuck", load="hang")
    (entry,) = describe_bundle(bundle, timeout_s=600.0 if scan_bundle.has_minihost() else 2.0)
    assert entry.blocked == "hang while it was loaded (no answer within 2 s, killed)"


def test_a_host_that_is_asked_for_is_taken() -> None:
    """Asking for another host loads a bundle again that has not changed."""
    pytest.importorskip("minihost")
    told = [
        scan([EFFECT], hosts=hosts).entry(EFFECT)
        for hosts in ("minihost", "pedalboard")  # type: ignore[arg-type]
    ]
    assert [entry and entry.backend for entry in told] == ["minihost", "pedalboard"]


def test_a_display_is_named_where_one_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash without a display, of a plugin linked to one's libraries, says how to try with one."""
    bundle = misbehaving_copy(tmp_path, "Seen", load="crash")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(scan_bundle, "read_needs", lambda _: LibraryNeeds(("libX11.so.6",)))
    (entry,) = describe_bundle(bundle, hosts="pedalboard")
    assert "uses libX11.so.6 and there is no display here" in entry.blocked
    monkeypatch.setenv("DISPLAY", ":0")
    (entry,) = describe_bundle(bundle, hosts="pedalboard")
    assert entry.blocked == "crash while it was loaded (SIGSEGV)"


def test_needs_are_those_another_reader_finds() -> None:
    """Libraries and lowest C library are what objdump prints of the same file."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    for binary in (find_binary(EFFECT), Path(sys.executable).resolve()):
        text = subprocess.run(["objdump", "-p", binary], capture_output=True, text=True, check=True).stdout
        needs = read_needs(binary)
        assert needs.libraries == tuple(re.findall(r"NEEDED\s+(\S+)", text))
        versions = re.findall(r"\bGLIBC_([\d.]+)", text)
        assert needs.glibc == max(tuple(int(part) for part in one.split(".")) for one in versions)


@pytest.mark.skipif(not glibc_here(), reason="this system has no GNU C library")
def test_a_bundle_for_a_newer_linux_says_which(tmp_path: Path) -> None:
    """Before it is loaded: the C library it wants, and the one that is here."""
    bundle = misbehaving_copy(tmp_path, "Newer")
    binary = find_binary(bundle)
    data = binary.read_bytes()
    wanted = re.search(rb"GLIBC_2\.\d\d\0", data)
    assert wanted is not None
    binary.write_bytes(data.replace(wanted[0], b"GLIBC_9.99\0"))
    here = ".".join(map(str, glibc_here()))
    with pytest.raises(PluginError, match=rf"wants the system library glibc 9\.99 or later.*has {here}"):
        check_bundle(bundle)
    assert "glibc 9.99" in scan([bundle]).bundles[str(bundle)].blocked


def test_damaged_libraries_need_nothing(tmp_path: Path) -> None:
    """A cut or scrambled file is not an error here: loading it will say what is wrong."""
    data = find_binary(EFFECT).read_bytes()
    path = tmp_path / "cut.so"
    for length in (0, 5, 63, 64, 1000, len(data) // 2):
        path.write_bytes(data[:length])
        assert read_needs(path) == LibraryNeeds()
    path.write_bytes(data[:40] + b"\xff" * 24 + data[64:])
    assert read_needs(path) == LibraryNeeds()


class TestOfOthers:
    """Plugins from Debian's packages."""

    pytestmark = needs_packages

    def test_they_are_listed_as_they_are(self) -> None:
        """Names, vendors, parameters and the host of two of them; one that wants a library names it."""
        places = [PACKAGES / f"{name}.vst3" for name in ("DragonflyPlateReverb", "ZamComp", "ZamVerb")]
        known = scan(places)
        told = [(one.name, one.vendor, one.is_instrument, one.backend) for _, one in known.plugins()]
        assert told[:2] == [
            ("Dragonfly Plate Reverb", "Michael Willis", False, "pedalboard"),
            ("ZamComp", "Damien Zammit", False, "pedalboard"),
        ]
        verb = known.bundles[str(places[2])]
        assert not verb.blocked or "needs the library libzita-convolver.so.4, which is not" in verb.blocked
