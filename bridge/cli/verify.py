"""`reverie verify`: whether a render can be made again, sample for sample."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import print_json, say

if TYPE_CHECKING:
    from bridge.render.verify import StemVerdict

__all__ = ["app"]

app = typer.Typer()


@app.command()
def verify(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="A render's PRESET.manifest.json.")],
    tolerance: Annotated[
        str, typer.Option(metavar="LEVEL", help="Loudest residual that passes, e.g. -90dB.")
    ] = "-90dB",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", help="Stems rendered at the same time.", min=1)
    ] = 1,
    trust: a.TrustOption = False,
    as_json: a.JsonOption = False,
) -> None:
    """Render a manifest again and say for each stem: bit-exact, or the residual in dB; exit with 1 if not."""
    from bridge.cli.quantities import parse_quantity
    from bridge.render.manifest import read_manifest
    from bridge.render.verify import verify_manifest

    tolerance_dbfs = parse_quantity(tolerance, "dB", "--tolerance")
    read = read_manifest(manifest)
    verdicts = a.ask_for_trust(lambda trusted: verify_manifest(read, jobs=jobs, trust=trusted), trust)
    if as_json:
        data = [
            {
                "name": verdict.name,
                "is_bit_exact": verdict.is_bit_exact,
                "is_output_intact": verdict.is_output_intact,
                "residual_dbfs": _residual(verdict),
                "is_within": verdict.is_within(tolerance_dbfs),
                "error": verdict.error or None,
            }
            for verdict in verdicts
        ]
        print_json({"tolerance_dbfs": tolerance_dbfs, "stems": data})
    else:
        for verdict in verdicts:
            say(f"{verdict.name}: {_sentence(verdict)}")
    if not all(verdict.is_within(tolerance_dbfs) for verdict in verdicts):
        raise typer.Exit(1)


def _residual(verdict: StemVerdict) -> float | None:
    level = -math.inf if verdict.comparison is None else verdict.comparison.peak_dbfs
    return round(level, 2) if math.isfinite(level) else None


def _sentence(verdict: StemVerdict) -> str:
    if verdict.error:
        return f"not rendered: {verdict.error}"
    if verdict.is_output_intact is False:
        return "the output has been changed since it was rendered"
    note = "" if verdict.is_output_intact else " (the output itself is gone)"
    if verdict.is_bit_exact:
        return f"bit-exact{note}"
    if verdict.comparison is None:
        return f"different{note}"
    return f"differs by {_residual(verdict)} dBFS at most"
