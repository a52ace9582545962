"""`reverie doctor`: what is installed, what is missing, where dreams can run."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec

import typer

from bridge.cli.arguments import JsonOption

__all__ = ["app"]

app = typer.Typer()

_REQUIRED = (
    "reverie-audio",
    "torch",
    "torchaudio",
    "numpy",
    "pedalboard",
    "soundfile",
    "mido",
    "pydantic",
    "soxr",
    "safetensors",
)
_OPTIONAL = {
    "h5py": "importing YAMNet's official weights: pip install 'reverie-audio[yamnet]'",
    "matplotlib": "pictures of envelopes and spectrograms: pip install 'reverie-audio[plot]'",
    "minihost": "plugins that need the song's tempo: pip install 'reverie-audio[host]'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    what: str
    state: str
    is_good: bool
    remedy: str = ""


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what is installed, what is missing and where dreams can run."""
    findings = [*_packages(), *_devices(), *_networks()]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = "ok  " if finding.is_good else "--  "
            typer.echo(f"{mark}{finding.what:<16}{finding.state}")
            if finding.remedy:
                typer.echo(f"    {'':<16}{finding.remedy}")
    if any(not finding.is_good and finding.what in _REQUIRED for finding in findings):
        raise typer.Exit(1)


def _packages() -> list[Finding]:
    findings = [
        Finding(
            what="python",
            state=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            is_good=True,
        )
    ]
    for name in _REQUIRED:
        try:
            findings.append(Finding(what=name, state=metadata.version(name), is_good=True))
        except metadata.PackageNotFoundError:
            remedy = "pip install reverie-audio"
            findings.append(Finding(what=name, state="missing", is_good=False, remedy=remedy))
    for name, remedy in _OPTIONAL.items():
        if find_spec(name) is None:
            findings.append(
                Finding(what=name, state="not installed (optional)", is_good=False, remedy=remedy)
            )
        else:
            findings.append(Finding(what=name, state=metadata.version(name), is_good=True))
    return findings


def _devices() -> list[Finding]:
    import torch

    from dream_core.runtime import list_devices

    cores = os.cpu_count() or 1
    findings = [Finding(what="cpu", state=f"{cores} cores", is_good=True)]
    cuda = [name for name in list_devices() if name != "cpu"]
    findings += [Finding(what=name, state=torch.cuda.get_device_name(name), is_good=True) for name in cuda]
    if not cuda:
        remedy = "dreams run on the CPU; that works, only slower"
        findings.append(Finding(what="cuda", state="no GPU found", is_good=False, remedy=remedy))
    return findings


def _networks() -> list[Finding]:
    from dream_core.networks import is_ready, list_damaged, list_networks

    findings = [
        Finding(what="networks", state=line, is_good=False, remedy="delete the file, install it again")
        for line in list_damaged()
    ]
    for card in list_networks():
        if is_ready(card.name):
            findings.append(Finding(what=card.name, state=f"network, {card.weights} weights", is_good=True))
        else:
            remedy = f"reverie networks get {card.name}"
            findings.append(
                Finding(what=card.name, state="network, weights not installed", is_good=False, remedy=remedy)
            )
    return findings
