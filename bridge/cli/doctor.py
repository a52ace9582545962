"""`reverie doctor`: what works, what does not and how it is mended, where dreams can run."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.console import note, print_json, say
from bridge.cli.probes import OPTIONAL, PARTS, REQUIRED, Finding, failure
from bridge.cli.shared_options import JsonOption
from bridge.installation import DISTRIBUTION, program_version, repair_command, safe_search_path

__all__ = ["app"]

app = typer.Typer()

_AT_ONCE = 4
_PATIENCE_S = 120.0


@app.command()
def doctor(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]...", help="For --clean; this folder by default.")
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what killed renders have left in folders and below.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Try every part of the installation once; report what works, what does not, and how to fix it."""
    if clean:
        _clean(folders or [Path()], as_json)
        return
    if folders:
        raise typer.BadParameter("folders are for --clean: reverie doctor --clean FOLDER")
    findings = []
    for finding in _findings():
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.is_needed and not finding.is_good for finding in findings):
        raise typer.Exit(1)


def _clean(folders: list[Path], as_json: bool) -> None:
    """Remove the hidden folders of processes that have ended; those of running ones stay."""
    from bridge.errors import OutputError
    from bridge.files import list_leftovers, remove_leftovers

    removed, kept = list[str](), list[str]()
    for top in folders:
        if not top.is_dir():
            raise OutputError(f"{top}: no such folder; name one that was rendered into")
        for folder, _, _ in os.walk(top):
            removed += map(str, remove_leftovers(Path(folder)))
            kept += map(str, list_leftovers(Path(folder)))
    if as_json:
        print_json({"removed": removed, "not_removed": kept})
        return
    for path in removed:
        say(f"removed {path}")
    for path in kept:
        note(f"reverie: {path}: cannot be removed; remove it by hand")
    if not removed and not kept:
        say(f"nothing is left behind in {', '.join(map(str, folders))}")


def _print(finding: Finding) -> None:
    mark = "ok  " if finding.is_good else ("!!  " if finding.is_needed else "--  ")
    say(f"{mark}{finding.what:<16}{finding.state}")
    if finding.remedy:
        say(f"    {'':<16}{finding.remedy}")


def _findings() -> Iterator[Finding]:
    state = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(what="python", state=state, is_good=True)
    version, is_installed = program_version(), program_version()[0].isdigit()
    remedy = "" if is_installed else repair_command(DISTRIBUTION)
    yield Finding(
        what=DISTRIBUTION, state=version, is_good=is_installed, remedy=remedy, is_needed=not is_installed
    )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for found in pool.map(_probe, [*REQUIRED, *OPTIONAL, *PARTS]):
            yield from found


def _probe(name: str) -> list[Finding]:
    """Try one thing in a process of its own: what does not fit may take that down, and doctor goes on."""
    # -P: what lies in the folder one happens to be in is not imported.
    command = [sys.executable, "-P", "-m", "bridge.cli.probes", name]
    environment = os.environ | {"PYTHONPATH": safe_search_path()}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
        return [Finding(**found) for found in json.loads(done.stdout.splitlines()[-1])]
    except subprocess.TimeoutExpired:
        how = f"gives no answer within {_PATIENCE_S:g} s"
    except (IndexError, ValueError, TypeError):
        how = f"ends with exit code {done.returncode}"
        if done.returncode < 0:
            how = f"crashes its process ({signal.Signals(-done.returncode).name})"
    return [failure(name, how)]
