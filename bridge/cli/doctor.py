"""`reverie doctor`: what works, what does not and how it is mended, where dreams can run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata

import typer

from bridge.cli.arguments import JsonOption
from bridge.cli.probes import (
    DISTRIBUTION,
    OPTIONAL,
    REQUIRED,
    Finding,
    probe_optional,
    probe_plugin,
    probe_required,
)

__all__ = ["app"]

app = typer.Typer()


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Use every part of the installation once; say what works, what does not, and how that is mended."""
    findings = list(_findings())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = "ok  " if finding.is_good else ("!!  " if finding.is_needed else "--  ")
            typer.echo(f"{mark}{finding.what:<16}{finding.state}")
            if finding.remedy:
                typer.echo(f"    {'':<16}{finding.remedy}")
    if any(finding.is_needed and not finding.is_good for finding in findings):
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    yield _python()
    yield _reverie()
    required = [probe_required(name) for name in REQUIRED]
    yield from required
    yield from (probe_optional(name) for name in OPTIONAL)
    broken = {finding.what for finding in required if finding.is_needed and not finding.is_good}
    if broken & {"numpy", "torch", "torchaudio", "safetensors"}:
        yield Finding(what="networks", state="cannot be looked at before the above is mended", is_good=False)
    else:
        yield from _devices()
        yield from _networks()
    if broken & {"numpy", "pedalboard", "pydantic"}:
        yield Finding(what="plugins", state="cannot be looked at before the above is mended", is_good=False)
    else:
        yield probe_plugin()


def _python() -> Finding:
    state = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding(what="python", state=state, is_good=True)


def _reverie() -> Finding:
    try:
        return Finding(what=DISTRIBUTION, state=metadata.version(DISTRIBUTION), is_good=True)
    except metadata.PackageNotFoundError:
        remedy = "in the folder of pyproject.toml: python -m pip install --editable ."
        return Finding(
            what=DISTRIBUTION,
            state="run without being installed",
            is_good=False,
            remedy=remedy,
            is_needed=True,
        )


def _devices() -> Iterator[Finding]:
    import torch

    from dream_core.runtime import list_devices

    yield Finding(what="cpu", state=f"{os.cpu_count() or 1} cores", is_good=True)
    cuda = [name for name in list_devices() if name != "cpu"]
    for name in cuda:
        yield Finding(what=name, state=torch.cuda.get_device_name(name), is_good=True)
    if not cuda:
        remedy = "dreams run on the CPU; that works, only slower"
        yield Finding(what="cuda", state="no GPU found", is_good=False, remedy=remedy)


def _networks() -> Iterator[Finding]:
    from dream_core.errors import DreamError
    from dream_core.networks import is_ready, list_damaged, list_networks, load_network

    for line in list_damaged():
        yield Finding(what="networks", state=line, is_good=False, remedy="delete the file, install it again")
    for card in list_networks():
        if is_ready(card.name):
            try:
                load_network(card.name)
            except DreamError as error:
                yield Finding(what=card.name, state=f"network, does not load: {error}", is_good=False)
            else:
                yield Finding(what=card.name, state=f"network, {card.weights} weights, loads", is_good=True)
        else:
            remedy = f"reverie networks get {card.name}"
            yield Finding(
                what=card.name, state="network, weights not installed", is_good=False, remedy=remedy
            )
