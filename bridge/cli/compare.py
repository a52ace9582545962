"""`reverie compare`: null-test two files, or the files of two folders."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.console import print_json, print_table

if TYPE_CHECKING:
    from bridge.audio.null_test import Comparison, FolderComparison

__all__ = ["app"]

app = typer.Typer(help="Null-test renders.")


@app.command()
def compare_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A file, or a folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="What to subtract from it.")],
    tolerance: Annotated[
        str, typer.Option(metavar="LEVEL", help="Loudest residual that passes, e.g. -90dB.")
    ] = "-90dB",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Subtract B from A and print what is left; exit with 1 where it is louder than the tolerance."""
    from bridge.audio.null_test import compare_paths
    from bridge.cli.quantities import parse_quantity

    tolerance_dbfs = parse_quantity(tolerance, "dB", "--tolerance")
    result = compare_paths(a, b)
    is_within = result.is_within(tolerance_dbfs)
    if as_json:
        print_json(_to_json(result, tolerance_dbfs))
    else:
        _print(result, tolerance_dbfs)
    if not is_within:
        raise typer.Exit(1)


def _print(result: FolderComparison, tolerance_dbfs: float) -> None:
    rows = [
        (
            file.a.name,
            _verdict(file, tolerance_dbfs),
            _level(file.peak_dbfs),
            " ".join(_level(channel.rms_dbfs) for channel in file.channels),
            f"{file.offset_samples:+d} samples" if file.offset_samples else "",
        )
        for file in result.files
    ]
    rows += [(name, "only in A", "", "", "") for name in result.only_a]
    rows += [(name, "only in B", "", "", "") for name in result.only_b]
    print_table(("file", "result", "peak of residual", "RMS by channel", "offset"), rows)


def _verdict(file: Comparison, tolerance_dbfs: float) -> str:
    if file.is_bit_exact:
        return "bit-exact"
    if file.n_samples_a != file.n_samples_b:
        return f"lengths differ by {abs(file.n_samples_a - file.n_samples_b)} samples"
    return "within tolerance" if file.is_within(tolerance_dbfs) else "different"


def _level(level_dbfs: float) -> str:
    return "none" if level_dbfs == -math.inf else f"{level_dbfs:.1f} dBFS"


def _to_json(result: FolderComparison, tolerance_dbfs: float) -> dict[str, Any]:
    def finite(level_dbfs: float) -> float | None:
        return None if level_dbfs == -math.inf else round(level_dbfs, 2)

    return {
        "tolerance_dbfs": tolerance_dbfs,
        "is_within": result.is_within(tolerance_dbfs),
        "files": [
            {
                "a": str(file.a),
                "b": str(file.b),
                "is_bit_exact": file.is_bit_exact,
                "is_within": file.is_within(tolerance_dbfs),
                "offset_samples": file.offset_samples,
                "n_samples": [file.n_samples_a, file.n_samples_b],
                "channels": [
                    {
                        "peak_dbfs": finite(channel.peak_dbfs),
                        "rms_dbfs": finite(channel.rms_dbfs),
                        "first_difference": channel.first_difference,
                    }
                    for channel in file.channels
                ],
            }
            for file in result.files
        ],
        "only_a": list(result.only_a),
        "only_b": list(result.only_b),
    }
