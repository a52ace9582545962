"""`reverie presets`: list, show and check presets."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.console import note, print_json, print_table, say, warn
from bridge.cli.shared_options import JsonOption, TrustOption

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
            warn(f"skipped: {error}")
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
        print_json(data)
        return
    if not entries:
        note(f"no preset {_wanted(tag, suits)}; to see all run: reverie presets list")
        return
    rows = [
        (entry.name, preset.meta.category, ", ".join(preset.meta.suits), entry.origin)
        for entry, preset in entries
    ]
    descriptions = [preset.meta.description for _, preset in entries]
    print_table(("name", "category", "suits", "from"), rows, details=descriptions)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE")],
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a preset: its chain, what moves it, and its macros."""
    from bridge.envelopes.map_keys import controllers
    from bridge.presets.load import preset_path, read_preset

    preset = read_preset(preset_path(name), trust=trust)
    if as_json:
        print_json(preset.to_dict())
        return
    meta = preset.meta
    say(f"{meta.name} ({meta.category}), revision {preset.revision}, {meta.license}")
    for line in meta.description.splitlines():
        say(line)
    _head("chain")
    for node in preset.chain:
        values = ", ".join(f"{key} = {value}" for key, value in node.params.items())
        off = "" if node.enabled else "  (disabled)"
        say(f"  {node.id}: {node.use}, mix {node.mix:g}{off}  {values}")
    if preset.routes:
        _head("routes")
        for route in preset.routes:
            off = "" if route.enabled else "  (disabled)"
            say(f"  {route.source} -> {route.target}{off}")
    if preset.macros:
        _head("macros")
        for macro in preset.macros:
            say(f"  {macro.id} = {macro.value:g}")
    for midi, target in controllers(preset.midi_map).items():
        say(f"  {midi} -> {target}")
    switches = preset.midi_map.get("notes")
    if isinstance(switches, dict) and switches:
        _head("keyswitches")
        for key, objective in switches.items():
            say(f"  {key}: {objective}")
    if preset.variations:
        _head("variations")
        for variation in preset.variations:
            say(f"  {variation.name}: {variation.description}")


def _wanted(tag: str | None, suits: str | None) -> str:
    words = [f"has the tag {tag!r}"] if tag is not None else []
    words += [f"suits {suits!r}"] if suits is not None else []
    return " and ".join(words) or "is installed"


def _head(title: str) -> None:
    say()
    say(title)


@app.command("check")
def check_command(
    presets: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help="Presets by name, or files.")],
    trust: TrustOption = False,
) -> None:
    """Check presets as a render would, variations too: every error is one line with its place."""
    from bridge.errors import EnvelopeError, ReverieError
    from bridge.plan.planner import check_preset
    from bridge.presets.load import preset_path, read_preset, with_location
    from bridge.presets.trust import find_plugins

    n_wrong = 0
    for name in presets:
        try:
            path = preset_path(name)
            preset = read_preset(path, trust=trust)
            plugins = () if trust else find_plugins(preset)
            reaches = [f"{what}, so rendering asks for --trust" for what in plugins]
            needs = check_preset(preset)
        except ReverieError as error:
            n_wrong += 1
            text = with_location(name, str(error)) if isinstance(error, EnvelopeError) else str(error)
            note(f"reverie: {text if name in text else f'{name}: {text}'}")
            continue
        say(f"{name}: valid")
        for need in needs:
            note(f"reverie: {name}: works only where this is given: {need}")
        for reach in reaches:
            note(f"reverie: {name}: {reach}")
    if n_wrong:
        raise typer.Exit(2)


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of preset files, for editors."""
    from bridge.presets.model import preset_schema

    print_json(preset_schema())
