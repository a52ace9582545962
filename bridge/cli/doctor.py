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

import typer

from bridge.cli.console import print_json, say
from bridge.cli.probes import OPTIONAL, PARTS, REQUIRED, Finding, failure
from bridge.cli.shared_options import JsonOption
from bridge.installation import DISTRIBUTION, program_version, repair_command

__all__ = ["app"]

app = typer.Typer()

_AT_ONCE = 4
_PATIENCE_S = 120.0


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Try every part of the installation once; report what works, what does not, and how to fix it."""
    findings = []
    for finding in _findings():
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.is_needed and not finding.is_good for finding in findings):
        raise typer.Exit(1)


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
    paths = [os.environ.get("PYTHONPATH", ""), str(Path(__file__).resolve().parents[2])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
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
