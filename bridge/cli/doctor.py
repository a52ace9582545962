"""`reverie doctor`: what works, what does not and how it is mended, where dreams can run."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Annotated

import typer

from bridge.cli.console import note, print_json, say
from bridge.cli.probes import OPTIONAL, PARTS, REQUIRED, Finding, failure
from bridge.cli.shared_options import JsonOption
from bridge.installation import DISTRIBUTION, program_version, repair_command, safe_search_path

__all__ = ["app"]

app = typer.Typer()

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
    names = [*REQUIRED, *OPTIONAL, *PARTS]
    while names:
        yield from _from_one_process(names)


def _from_one_process(names: list[str]) -> Iterator[Finding]:
    """Try things in turn in one process, until one breaks; take those that are answered from the list.

    Loading Torch takes longer than all the rest, so what works shares a process. What breaks has the last
    word only where it was the first: in a process of its own nothing but itself can be to blame.
    """
    # -P: what lies in the folder one happens to be in is not imported.
    command = [sys.executable, "-P", "-m", "bridge.cli.probes", *names]
    environment = os.environ | {"PYTHONPATH": safe_search_path()}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        encoding="utf-8",
        errors="replace",
    ) as process:
        lines: Queue[str] = Queue()
        reader = Thread(target=_pass_on, args=(process, lines), daemon=True)
        reader.start()
        try:
            is_first = True
            while names:
                line = lines.get(timeout=_PATIENCE_S)
                answer = _read_answer(names[0], line) if line else ([], True)
                if answer is None:
                    continue  # something that a package prints when it is loaded
                findings, is_broken = answer
                if is_broken and not is_first:
                    return
                if not line:
                    findings = [failure(names[0], _ending(process.wait(timeout=_PATIENCE_S)))]
                del names[0]
                yield from findings
                if is_broken:
                    return
                is_first = False
        except (Empty, subprocess.TimeoutExpired):
            if is_first:
                yield failure(names.pop(0), f"gives no answer within {_PATIENCE_S:g} s")
        finally:
            process.kill()
            reader.join(timeout=_PATIENCE_S)


def _pass_on(process: subprocess.Popen[str], lines: Queue[str]) -> None:
    """Put every line that a process prints into a queue, and an empty one when it has ended."""
    for line in process.stdout or ():
        lines.put(line)
    lines.put("")


def _read_answer(name: str, line: str) -> tuple[list[Finding], bool] | None:
    """Read what a process of probes says of one of them, and whether it broke; other lines are None."""
    try:
        said = json.loads(line)
        if said["name"] != name:
            return None
        return [Finding(**found) for found in said["findings"]], said["is_broken"]
    except (ValueError, TypeError, KeyError):
        return None


def _ending(code: int) -> str:
    if code < 0:
        return f"crashes its process ({signal.Signals(-code).name})"
    return f"ends with exit code {code}"
