"""A scan lists what loads, blocks what does not, with the reason, and remembers both."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.vst3 import EFFECT, INSTRUMENT, PAIR, child_process_ids, misbehaving_copy, needs_plugins

from bridge.errors import PluginError
from bridge.hosts.blocklist import read_blocklist, write_blocklist
from bridge.hosts.installed_plugins import BlockedPluginError, find_plugin
from bridge.hosts.plugin_cache import PluginCache, PluginEntry, ScannedBundle
from bridge.hosts.plugin_scan import find_bundles, scan
from bridge.processors.vst3 import VST3

pytestmark = needs_plugins


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache" / "plugins.json"
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(path))
    return path


def fill(folder: Path, n_good: int, n_crash: int, n_hang: int) -> None:
    for i in range(n_good):
        misbehaving_copy(folder / f"vendor {i % 3}", f"Good {i}")
    for i in range(n_crash):
        misbehaving_copy(folder, f"Crash {i}", load="crash")
    for i in range(n_hang):
        misbehaving_copy(folder / "deep" / "er", f"Hang {i}", load="hang")


def check_scan(folder: Path, n_good: int, n_crash: int, n_hang: int) -> None:
    before = child_process_ids()
    result = scan([folder], timeout_s=3.0)
    reasons = [reason for _, _, reason in result.blocked()]
    assert len(list(result.plugins())) == n_good
    assert sum("crash while it was loaded (SIGSEGV)" in reason for reason in reasons) == n_crash
    assert sum("hang while it was loaded" in reason for reason in reasons) == n_hang
    assert len(reasons) == n_crash + n_hang
    assert child_process_ids() == before


@pytest.mark.slow
def test_a_scan_lists_the_good_and_blocks_the_bad(tmp_path: Path, cache: Path) -> None:
    """Among 10 good bundles 3 that crash and 2 that hang are blocked, and the scan goes on.

    More of them than are loaded at once, so that some begin after every kind has ended.
    """
    fill(tmp_path / "plugins", 10, 3, 2)
    check_scan(tmp_path / "plugins", 10, 3, 2)
    assert len(list(PluginCache.read().plugins())) == 10


def test_a_scan_is_remembered_until_a_binary_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has not changed is not loaded again; a new time alone changes nothing."""
    bundle = misbehaving_copy(tmp_path / "plugins", "Good")
    binary = next(bundle.glob("Contents/*/*.so"))
    first = scan([tmp_path / "plugins"])

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the bundle was loaded again")

    monkeypatch.setattr("bridge.hosts.plugin_scan.describe_bundle", load)
    assert scan([tmp_path / "plugins"]).bundles == first.bundles

    os.utime(binary, ns=(1, 1))
    touched = scan([tmp_path / "plugins"]).bundles[str(bundle)]
    assert (touched.mtime_ns, touched.plugins) == (1, first.bundles[str(bundle)].plugins)

    binary.write_bytes(b"no library any more")
    assert "not a program library" in scan([tmp_path / "plugins"]).bundles[str(bundle)].blocked


def test_blocked_bundles_are_tried_again_when_asked(tmp_path: Path, cache: Path) -> None:
    """A blocked bundle stays blocked until its binary changes or a retry is asked for."""
    bundle = misbehaving_copy(tmp_path / "plugins", "Bad", load="crash")
    assert scan([bundle]).bundles[str(bundle)].blocked
    (bundle / "Contents" / "Resources" / "conformance.txt").unlink()
    assert scan([bundle]).bundles[str(bundle)].blocked
    assert not scan([bundle], retry_blocked=True).bundles[str(bundle)].blocked


def test_what_is_gone_is_forgotten_and_elsewhere_kept(tmp_path: Path, cache: Path) -> None:
    """A scan of one folder forgets what has left it and keeps what lies in others."""
    cache.parent.mkdir()
    kept = ScannedBundle(path="/elsewhere/A.vst3", blocked="why not")
    gone = ScannedBundle(path=str(tmp_path / "plugins" / "B.vst3"), blocked="why not")
    PluginCache(cache, {bundle.path: bundle for bundle in (kept, gone)}).write()
    (tmp_path / "plugins").mkdir()
    assert set(scan([tmp_path / "plugins"]).bundles) == {kept.path}


def test_several_plugins_of_a_bundle_are_listed_each(cache: Path) -> None:
    """A bundle with two plugins gives two entries, found by their own names."""
    result = scan([PAIR])
    assert [plugin.name for _, plugin in result.plugins()] == [
        "Conformance Effect B",
        "Conformance Instrument B",
    ]
    assert find_plugin("conformance instrument b") == (PAIR, "Conformance Instrument B")
    with VST3("Conformance Instrument B") as vst3:
        assert vst3.is_instrument


def test_plugins_are_found_by_name(tmp_path: Path, cache: Path) -> None:
    """A name is found in any case; a wrong one is told the nearest, an unscanned one what to do."""
    with pytest.raises(PluginError, match="reverie plugins scan"):
        find_plugin("Conformance Effect")
    scan([EFFECT, INSTRUMENT])
    assert find_plugin("conformance EFFECT") == (EFFECT, None)
    with pytest.raises(PluginError, match="did you mean 'Conformance Effect'"):
        find_plugin("Conformanse Effect")
    assert find_plugin(str(EFFECT), "x") == (EFFECT, "x")


def test_a_file_that_is_no_bundle_is_not_taken_for_a_name(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the folder one works in is judged as a file, unless a plugin has its name."""
    monkeypatch.chdir(tmp_path)
    Path("song.wav").write_bytes(b"RIFF")
    Path("Conformance Effect").mkdir()
    scan([EFFECT])
    with pytest.raises(PluginError, match=r"song\.wav: not a VST3 plugin"):
        VST3("song.wav")
    assert find_plugin("Conformance Effect") == (EFFECT, None)


def test_a_blocked_plugin_says_why(tmp_path: Path, cache: Path) -> None:
    """Asking for a blocked plugin by name repeats the reason."""
    scan([misbehaving_copy(tmp_path, "Bad", load="crash")])
    with pytest.raises(PluginError, match="blocked since its last scan: crash while it was loaded"):
        find_plugin("bad")


def test_two_of_one_name_are_used_with_a_warning(tmp_path: Path, cache: Path) -> None:
    """Where two bundles hold a plugin of one name the first is used; both and how to choose are said."""
    entry = PluginEntry(
        name="Twin",
        vendor="V",
        version="1",
        uid="",
        category="",
        is_instrument=False,
        n_parameters=1,
        backend="pedalboard",
    )
    first = ScannedBundle(path="/p/A.vst3", plugins=(entry,))
    second = ScannedBundle(path="/p/B.vst3", plugins=(replace(entry, version="2"),))
    known = PluginCache(cache, {bundle.path: bundle for bundle in (first, second)})
    with pytest.warns(UserWarning, match=r"A\.vst3 \(1 by V\) is used, not .*B\.vst3 \(2 by V\).*block PATH"):
        assert find_plugin("twin", cache=known) == (Path("/p/A.vst3"), None)
    write_blocklist(("/p/A.vst3",))
    assert find_plugin("twin", cache=known) == (Path("/p/B.vst3"), None)


def test_links_are_followed_once(tmp_path: Path) -> None:
    """A bundle and a link to it are one; folders that are links are not entered, so no circle is."""
    bundle = misbehaving_copy(tmp_path / "plugins", "Good")
    (tmp_path / "plugins" / "Link.vst3").symlink_to(bundle)
    (tmp_path / "plugins" / "circle").symlink_to(tmp_path / "plugins")
    assert len(find_bundles([tmp_path / "plugins"])) == 1


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"format": 99}', '{"format": 1, "bundles": []}', '{"format": 2, "bundles": [{"path": 1}]}'],
)
def test_a_damaged_cache_is_empty(cache: Path, content: str) -> None:
    """A cache that cannot be read counts as empty: the next scan makes it anew."""
    cache.parent.mkdir()
    cache.write_text(content)
    assert not PluginCache.read().bundles


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, cache: Path) -> None:
    """A misspelt folder is an error, not an empty scan."""
    with pytest.raises(PluginError, match="no such folder"):
        scan([tmp_path / "absent"])
    assert not cache.exists()


def test_the_cache_is_json_that_a_program_may_read(cache: Path) -> None:
    """The cache names format, path, hash and plugins."""
    scan([EFFECT])
    data = json.loads(cache.read_text())
    (bundle,) = data["bundles"]
    assert data["format"] == 2
    assert bundle["plugins"][0]["uid"] == "52564346584546464543540000000001"
    assert len(bundle["sha256"]) == 64


def test_what_the_user_has_blocked_stays_so_over_scans(cache: Path) -> None:
    """A blocked plugin is refused by name and by path, whatever a scan says, until it is unblocked."""
    write_blocklist(("Conformance Effect",))
    scan([EFFECT], retry_blocked=True)
    for named in ("conformance effect", str(EFFECT)):
        with pytest.raises(BlockedPluginError, match="reverie plugins unblock"):
            find_plugin(named)
    write_blocklist((str(EFFECT),))
    with pytest.raises(BlockedPluginError, match="you have blocked"):
        VST3(EFFECT)
    assert read_blocklist() == (str(EFFECT),)
    write_blocklist(())
    assert find_plugin("conformance effect") == (EFFECT, None)


def test_a_list_of_blocked_plugins_that_cannot_be_read_blocks_all(cache: Path) -> None:
    """Nobody is told that a plugin is free where the list cannot say so."""
    cache.parent.mkdir()
    (cache.parent / "blocked-plugins.txt").write_bytes(b"caf\xe9")
    with pytest.raises(PluginError, match="the list of blocked plugins cannot be read"):
        find_plugin(str(EFFECT))
