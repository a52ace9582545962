"""`reverie plugins scan, list, block, unblock`: which plugins are there, and which are not to be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.cli.console import note, print_json, print_table, say

if TYPE_CHECKING:
    from bridge.hosts.plugin_cache import ScannedBundle

__all__ = ["COMMANDS"]

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Blockable = Annotated[str, typer.Argument(help="A plugin's name, or the path of a bundle.")]


def scan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders or bundles; the system's own plugin folders by default."),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1.0, help="Seconds one plugin may take to load.")
    ] = 30.0,
    retry_blocked: Annotated[
        bool, typer.Option("--retry-blocked", help="Retry plugins that crashed or hung before.")
    ] = False,
    backend: Annotated[
        Literal["auto", "pedalboard", "minihost"],
        typer.Option(
            "--backend", help="Which host loads them; auto tries both and remembers which one does."
        ),
    ] = "auto",
    as_json: _Json = False,
) -> None:
    """Load every plugin once, in a process of its own, and remember what it is or why it is blocked."""
    from bridge.hosts.plugin_scan import scan as scan_plugins

    seen: list[ScannedBundle] = []

    def report(bundle: ScannedBundle, n_done: int, n_bundles: int) -> None:
        seen.append(bundle)
        note(f"[{n_done}/{n_bundles}] {bundle.path}: {_summary(bundle)}")

    cache = scan_plugins(
        paths or None, timeout_s=timeout_s, retry_blocked=retry_blocked, hosts=backend, on_bundle=report
    )
    if as_json:
        print_json([dataclasses.asdict(bundle) for bundle in seen])
        return
    if not seen:
        from bridge.hosts.bundle import standard_folders

        places = ", ".join(str(path) for path in paths or standard_folders())
        note(f"no VST3 plugin (NAME.vst3) in {places}; to look elsewhere run: reverie plugins scan FOLDER")
    n_plugins = sum(not plugin.blocked for bundle in seen for plugin in bundle.plugins)
    n_blocked = sum(bool(bundle.blocked) or any(p.blocked for p in bundle.plugins) for bundle in seen)
    say(f"{n_plugins} plugins in {len(seen)} bundles, {n_blocked} blocked; kept in {cache.path}")


def _summary(bundle: ScannedBundle) -> str:
    if bundle.blocked:
        return f"blocked: {bundle.blocked}"
    good = [plugin for plugin in bundle.plugins if not plugin.blocked]
    names = [plugin.name for plugin in good]
    told = ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:6])} and {len(names) - 6} more"
    others = sorted({plugin.backend for plugin in good} - {"pedalboard"})
    told += "".join(f" (in {backend})" for backend in others)
    return told + "".join(f"; {p.name} blocked: {p.blocked}" for p in bundle.plugins if p.blocked)


def list_plugins(
    show_blocked: Annotated[
        bool, typer.Option("--blocked", help="List blocked plugins, and why they are blocked.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """List the plugins the last scans have found."""
    from bridge.hosts.blocklist import is_blocked, read_blocklist
    from bridge.hosts.plugin_cache import PluginCache

    cache, blocklist = PluginCache.read(), read_blocklist()
    if show_blocked:
        rows = [
            {"path": bundle.path, "plugin": name, "reason": reason}
            for bundle, name, reason in cache.blocked()
        ]
        again = "reverie plugins unblock"
        rows += [{"path": "", "plugin": line, "reason": f"by you; {again} {line!r}"} for line in blocklist]
        if as_json:
            print_json(rows)
        elif rows:
            cells = [[row["path"] or row["plugin"], row["plugin"] if row["path"] else ""] for row in rows]
            print_table(["blocked bundle", "plugin"], cells, details=[row["reason"] for row in rows])
        else:
            note("no plugin is blocked; `reverie plugins list` shows those that can be used")
        return
    found = [
        (bundle, plugin)
        for bundle, plugin in cache.plugins()
        if not is_blocked(blocklist, Path(bundle.path), plugin.name)
    ]
    if as_json:
        print_json([{**dataclasses.asdict(plugin), "path": bundle.path} for bundle, plugin in found])
        return
    if not found:
        note("no plugin is known; to look for plugins run: reverie plugins scan [FOLDER]")
        return
    rows_of_text = [
        (
            plugin.name,
            plugin.vendor,
            plugin.version,
            plugin.category,
            "" if plugin.n_parameters is None else plugin.n_parameters,
            plugin.backend,
        )
        for _, plugin in found
    ]
    paths = [bundle.path for bundle, _ in found]
    headings = ("name", "vendor", "version", "category", "parameters", "host")
    print_table(headings, rows_of_text, details=paths)


def block(plugin: _Blockable) -> None:
    """Block a plugin for good: renders, lists and commands go on as if it were not installed."""
    from bridge.errors import PluginError, nearest_names
    from bridge.hosts.blocklist import default_blocklist_path, read_blocklist, write_blocklist
    from bridge.hosts.plugin_cache import PluginCache

    path, cache = Path(plugin).absolute(), PluginCache.read()
    names = {
        entry.name.casefold(): entry.name for bundle in cache.bundles.values() for entry in bundle.plugins
    }
    names |= {Path(bundle).stem.casefold(): Path(bundle).stem for bundle in cache.bundles}
    if plugin.lower().endswith(".vst3") and path.exists():
        line = str(path)
    elif plugin.casefold() in names:
        line = names[plugin.casefold()]
    else:
        hint = nearest_names(plugin, list(names.values())) if names else "no plugin has been scanned"
        raise PluginError(f"no plugin {plugin!r} is known; {hint}. A bundle's path can be blocked unscanned")
    blocked = read_blocklist()
    if line not in blocked:
        write_blocklist((*blocked, line))
    say(f"{line}: blocked; kept in {default_blocklist_path()}")


def unblock(plugin: _Blockable) -> None:
    """Use a plugin again that `reverie plugins block` has blocked."""
    from bridge.errors import PluginError
    from bridge.hosts.blocklist import read_blocklist, write_blocklist

    blocked = read_blocklist()
    wanted = {plugin.casefold(), str(Path(plugin).absolute()).casefold()}
    kept = tuple(line for line in blocked if line.casefold() not in wanted)
    if kept == blocked:
        held = ", ".join(blocked) or "nothing"
        raise PluginError(
            f"{plugin}: you have not blocked it (blocked: {held}). What a scan has blocked is tried again "
            "by: reverie plugins scan --retry-blocked"
        )
    write_blocklist(kept)
    say(f"{plugin}: no longer blocked")


COMMANDS: dict[str, Callable[..., None]] = {
    "scan": scan,
    "list": list_plugins,
    "block": block,
    "unblock": unblock,
}
