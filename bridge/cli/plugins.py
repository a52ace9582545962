"""``reverie plugins``: what is installed, what it offers, and whether it can be trusted.

`scan`, `list`, `block` and `unblock` have a file of their own, `plugins_installed`; `edit` too,
`plugins_edit`.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.console import minutes, note, print_json, print_table, say
from bridge.cli.plugins_edit import edit_command, say_node
from bridge.cli.plugins_installed import COMMANDS

app = typer.Typer(help="Scan, list, show, check, edit, save and play VST3 plugins.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Plugin = Annotated[str, typer.Argument(help="An installed plugin's name, or the path of a bundle.")]
_PluginName = Annotated[
    str | None, typer.Option("--plugin-name", help="Which plugin, if the bundle has several.")
]


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.command("edit")(edit_command)


class Backend(StrEnum):
    """The hosts, as options name them."""

    AUTO = "auto"
    PEDALBOARD = "pedalboard"
    MINIHOST = "minihost"


class Outputs(StrEnum):
    """What becomes of an instrument's outputs."""

    MAIN = "main"
    SPLIT = "split"


_Backend = Annotated[
    Backend, typer.Option("--backend", help="The host: auto takes the one that can load the plugin.")
]
_Program = Annotated[str | None, typer.Option("--program", help="One of the plugin's own programs, by name.")]


@app.command()
def show(
    plugin: _Plugin,
    plugin_name: _PluginName = None,
    backend: _Backend = Backend.AUTO,
    as_json: _Json = False,
) -> None:
    """Show a plugin's parameters: names, ranges, units and choices, as presets write them."""
    from bridge.processors.vst3 import VST3

    with VST3(plugin, plugin_name=plugin_name, backend=backend.value) as vst3:
        specs = list(vst3.parameters.values())
        facts: dict[str, object] = {
            **vst3.identity,
            "latency_samples": vst3.latency_samples,
            "tail_seconds": round(vst3.tail_seconds, 3),
            "programs": list(vst3.programs),
            "outputs": list(vst3.description.output_channels),
            "read_only": dict(vst3.read_only),
        }
    if as_json:
        print_json({**facts, "parameters": [dataclasses.asdict(spec) for spec in specs]})
        return
    for key, value in facts.items():
        if isinstance(value, list | dict):
            value = ", ".join(str(one) for one in value) or "none"
        say(f"{key:16} {value}")
    say()
    rows = []
    for spec in specs:
        if spec.choices:
            accepted = " | ".join(spec.choices)
        elif spec.minimum is None:
            accepted = "true | false"
        else:
            accepted = f"{spec.minimum:g} .. {spec.maximum:g} {spec.unit}".rstrip()
            accepted = " | ".join([accepted, *spec.words])
        moves = "" if spec.automation == "none" else "yes"
        default = f"{spec.default:g}" if isinstance(spec.default, float) else str(spec.default).lower()
        rows.append([spec.name, default, accepted, spec.curve if spec.is_continuous else "", moves])
    print_table(["parameter", "default", "accepted", "curve", "automated"], rows)


@app.command()
def check(
    plugin: _Plugin,
    plugin_name: _PluginName = None,
    backend: _Backend = Backend.AUTO,
    level: Annotated[
        int, typer.Option("--level", min=1, max=5, help="How strict: 1 (it runs) to 5 (fuzzing).")
    ] = 3,
    seed: Annotated[int, typer.Option("--seed", help="For the test sounds and the fuzzing.")] = 0,
    as_json: _Json = False,
) -> None:
    """Run the conformance suite on a plugin: null, blocks, state, determinism, latency, NaN."""
    from bridge.processors.vst3_check import check_plugin

    results = check_plugin(plugin, plugin_name=plugin_name, level=level, seed=seed, backend=backend.value)
    if as_json:
        print_json([dataclasses.asdict(result) for result in results])
    else:
        rows = [[str(result.level), result.name, result.outcome, result.detail] for result in results]
        print_table(["level", "check", "outcome", "detail"], rows)
    if any(result.outcome == "failed" for result in results):
        raise typer.Exit(1)


@app.command()
def state(
    plugin: _Plugin,
    out: Annotated[Path, typer.Option("--out", help="The .vstpreset to write, beside your preset.")],
    plugin_name: _PluginName = None,
    backend: _Backend = Backend.AUTO,
    program: _Program = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="parameter=value, as `plugins show` names them.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Save a plugin's state as a .vstpreset and print the preset's node that plays it."""
    from bridge.errors import InputError, OutputError
    from bridge.presets.overrides import parse_value
    from bridge.processors.vst3 import VST3

    if out.suffix.lower() != ".vstpreset":
        raise OutputError(f"--out {out}: a plugin's state needs the suffix .vstpreset")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already; use --overwrite to replace it")
    with VST3(plugin, plugin_name=plugin_name, backend=backend.value, program=program) as vst3:
        for setting in settings or ():
            name, equals, value = setting.partition("=")
            if not equals:
                raise InputError(f"--set {setting!r}: write parameter=value, for example gain_db=-6")
            vst3.set_parameter(name.strip(), parse_value(value.strip()))
        vst3.save_state(out)
        version = vst3.version
    say_node(plugin, plugin_name, version, out)


@app.command()
def play(
    plugin: _Plugin,
    midi: Annotated[Path, typer.Argument(help="The MIDI file it plays.")],
    out: Annotated[Path, typer.Option("--out", help="The stem to write, such as bass.wav.")],
    plugin_name: _PluginName = None,
    state: Annotated[Path | None, typer.Option("--state", help="A .vstpreset: the sound to play.")] = None,
    program: _Program = None,
    backend: _Backend = Backend.AUTO,
    outputs: Annotated[
        Outputs,
        typer.Option("--outputs", help="split: a stem for every output (bass.2.wav ...), by minihost."),
    ] = Outputs.MAIN,
    channel: Annotated[
        int | None, typer.Option("--channel", min=1, max=16, help="Play only this MIDI channel.")
    ] = None,
    track: Annotated[
        str | None, typer.Option("--track", help="Play only this track: number or name.")
    ] = None,
    sample_rate: Annotated[int, typer.Option("--sample-rate", min=8000, max=384000)] = 48000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Render a MIDI file with an instrument to a stem, ready for `reverie render`."""
    from bridge.midi.file import read_midi
    from bridge.midi.song_clock import read_tempo_map
    from bridge.processors.vst3 import VST3
    from bridge.render.instrument_stem import play_midi

    song, tempo_map = read_midi(midi), read_tempo_map(midi)
    host = Backend.MINIHOST if outputs is Outputs.SPLIT and backend is Backend.AUTO else backend
    with VST3(
        plugin,
        plugin_name=plugin_name,
        state=state,
        program=program,
        backend=host.value,
        tempo_map=tempo_map,
        sample_rate=sample_rate,
    ) as vst3:
        duration_s = play_midi(
            vst3,
            song,
            tempo_map,
            out,
            sample_rate=sample_rate,
            channel=channel,
            track=int(track) if track is not None and track.isdecimal() else track,
            overwrite=overwrite,
            has_all_outputs=outputs is Outputs.SPLIT,
        )
    note(f"{out}: {minutes(duration_s)} of {vst3.name}")
