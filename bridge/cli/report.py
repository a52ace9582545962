"""`reverie report`: the HTML report of a render."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.console import say

__all__ = ["app"]

app = typer.Typer()


@app.command()
def report_command(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST|SESSION",
            help="A render's PRESET.manifest.json, or a session that was rendered into a folder beside it.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="By default PRESET.report.html beside the manifest."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a render's report: pictures, envelopes, levels and sound in one file that opens from disk."""
    from bridge.plan.output_names import report_path
    from bridge.plan.session_stems import is_session
    from bridge.render.manifest import find_manifest, read_manifest
    from bridge.report.page import write_report

    manifest = find_manifest(manifest) if is_session(manifest) else manifest
    path = out or report_path(manifest)
    say(str(write_report(read_manifest(manifest), path, overwrite=overwrite)))
