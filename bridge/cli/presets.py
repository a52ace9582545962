"""`reverie presets`: list, show and check presets."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bridge.cli.shared_options import JsonOption

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

TagOption = Annotated[str | None, typer.Option("--tag", help="Only presets with this tag.")]
SuitsOption = Annotated[
    str | None, typer.Option("--suits", help="Only presets that suit this: drums, vocal ...")
]


@app.command("list")
def list_command(tag: TagOption = None, suits: SuitsOption = None, as_json: JsonOption = False) -> None:
    """List every preset that can be used by name."""
    from bridge.errors import PresetError
    from bridge.presets.library import list_presets
    from bridge.presets.load import read_preset

    entries = []
    for entry in list_presets():
        try:
            preset = read_preset(entry.path)
        except PresetError as error:  # somebody's own .toml in a presets folder hides none of the others
            typer.echo(f"reverie: warning: skipped: {error}", err=True)
            continue
        if (tag is None or tag in preset.meta.tags) and (suits is None or suits in preset.meta.suits):
            entries.append((entry, preset))
    if as_json:
        data = [
            {
                **preset.meta.model_dump(),
                "name": entry.name,
                "title": preset.meta.name,
                "path": str(entry.path),
                "origin": entry.origin,
            }
            for entry, preset in entries
        ]
        typer.echo(json.dumps(data, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "category", "suits", "from", "what it does", box=None, pad_edge=False)
    for entry, preset in entries:
        meta = preset.meta
        table.add_row(entry.name, meta.category, ", ".join(meta.suits), entry.origin, meta.description)
    Console().print(table)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE")], as_json: JsonOption = False
) -> None:
    """Show a preset: its chain, what moves it, and its macros."""
    from bridge.presets.load import preset_path, read_preset

    preset = read_preset(preset_path(name))
    if as_json:
        typer.echo(json.dumps(preset.to_dict(), indent=2))
        return
    meta = preset.meta
    typer.echo(f"{meta.name} ({meta.category}), revision {preset.revision}, {meta.license}")
    typer.echo(meta.description)
    typer.echo("\nchain")
    for node in preset.chain:
        values = ", ".join(f"{key} = {value}" for key, value in node.params.items())
        off = "" if node.enabled else "  (disabled)"
        typer.echo(f"  {node.id}: {node.use}, mix {node.mix:g}{off}  {values}")
    if preset.routes:
        typer.echo("\nroutes")
        for route in preset.routes:
            off = "" if route.enabled else "  (disabled)"
            typer.echo(f"  {route.source} -> {route.target}{off}")
    if preset.macros:
        typer.echo("\nmacros")
        for macro in preset.macros:
            typer.echo(f"  {macro.id} = {macro.value:g}")
    for midi, target in preset.midi_map.items():
        typer.echo(f"  {midi} -> {target}")
    if preset.variations:
        typer.echo("\nvariations")
        for variation in preset.variations:
            typer.echo(f"  {variation.name}: {variation.description}")


@app.command("check")
def check_command(
    presets: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help="Presets by name, or files.")],
) -> None:
    """Check presets as a render would, variations too: every error is one line with its place."""
    from bridge.errors import EnvelopeError, ReverieError
    from bridge.plan.planner import check_preset
    from bridge.presets.load import preset_path, read_preset, with_location
    from bridge.presets.trust import find_reaches

    n_wrong = 0
    for name in presets:
        try:
            path = preset_path(name)
            preset = read_preset(path)
            reaches = (f"{what}: rendering asks for --trust" for what in find_reaches(preset, path.parent))
            notes = (*check_preset(preset), *reaches)
        except ReverieError as error:
            n_wrong += 1
            text = with_location(name, str(error)) if isinstance(error, EnvelopeError) else str(error)
            typer.echo(f"reverie: {text if name in text else f'{name}: {text}'}", err=True)
            continue
        typer.echo(f"{name}: valid")
        for note in notes:
            typer.echo(f"reverie: {name}: works only with songs that have this: {note}", err=True)
    if n_wrong:
        raise typer.Exit(2)


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of preset files, for editors."""
    from bridge.presets.model import preset_schema

    typer.echo(json.dumps(preset_schema(), indent=2))
