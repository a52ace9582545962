"""`reverie networks runs`: training runs, how far they are and how well they hear."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.console import minutes as show_minutes
from bridge.cli.console import note, print_json, print_table, warn
from bridge.cli.shared_options import JsonOption
from bridge.errors import InputError

__all__ = ["runs_command"]


def runs_command(
    serve: Annotated[bool, typer.Option("--serve", help="Open TensorBoard on their logs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List training runs: how far they are and how well they hear groups they never heard."""
    from dream_core.errors import SettingError
    from dream_core.training.install import runs_folder
    from dream_core.training.run_folder import read_run

    if serve:
        _serve(runs_folder())
        return
    found = []
    for path in sorted(runs_folder().glob("*/run.toml")):
        try:
            found.append((path.parent, read_run(path.parent)))
        except SettingError as error:
            warn(f"left out: {error}")
    if as_json:
        print_json([{"folder": str(folder), **record} for folder, record in found])
        return
    rows = []
    for folder, record in found:
        result = record.get("result", {})
        rows.append(
            (
                folder.name,
                record["run"].get("kind", ""),
                record["run"].get("state", ""),
                f"{result.get('epochs', _epochs_done(folder))}/{record['settings'].get('epochs', '')}",
                *(
                    f"{result[key]:.1%}" if key in result else ""
                    for key in ("accuracy_unheard_groups", "accuracy_heard_groups")
                ),
                show_minutes(result["seconds"]) if "seconds" in result else "",
            )
        )
    print_table(("run", "kind", "state", "epochs", "unheard groups", "heard groups", "time"), rows)
    if not rows:
        note(f"no runs in {runs_folder()}; reverie networks train begins one")


def _epochs_done(folder: Path) -> int:
    try:
        return max(0, len((folder / "history.csv").read_text(encoding="utf-8").splitlines()) - 1)
    except OSError:
        return 0


def _serve(folder: Path) -> None:
    import importlib.util
    import subprocess

    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed; call: pip install 'reverie-audio[train]'")
    subprocess.run([sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)], check=False)
