"""`reverie envelope`: see what moves a preset over a song, or send it to a DAW."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import say, warn
from bridge.cli.job_options import takes_clock

if TYPE_CHECKING:
    from bridge.clock.settings import ClockSettings

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

MAX_LENGTH_S = 86_400.0


@app.command()
@takes_clock
def envelope_command(
    preset_name: Annotated[str, typer.Argument(metavar="PRESET|FILE")],
    clock: ClockSettings,
    midi_path: a.MidiOption = None,
    settings: a.SetOption = None,
    variation: a.VariationOption = None,
    length: Annotated[
        str | None,
        typer.Option("--length", metavar="LENGTH", help="'32 bars', '90 s'; the file's by default."),
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw them.")] = None,
    table: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write numbers; - is standard output.")
    ] = None,
    lanes: Annotated[
        Path | None, typer.Option("--mid", metavar="FILE", help="Write controller lanes for a DAW.")
    ] = None,
    bits: Annotated[int, typer.Option("--bits", help="7 or 14, for --mid.")] = 7,
    every: Annotated[
        str, typer.Option("--every", metavar="LENGTH", help="Time between rows, for --csv and --mid.")
    ] = "10 ms",
    sample_rate: Annotated[
        int, typer.Option("--sample-rate", metavar="HZ", min=1000, help="Rate the envelopes are placed at.")
    ] = 48_000,
    seed: a.SeedOption = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")] = False,
    trust: a.TrustOption = False,
) -> None:
    """Draw or write the envelopes of a preset over a song; print a text sketch if no output is given."""
    from bridge.clock.durations import parse_duration
    from bridge.envelopes.export import draw_envelopes, envelope_lanes, sparkline, write_envelopes_csv
    from bridge.envelopes.follower import follower_stems
    from bridge.envelopes.map_keys import keyswitches
    from bridge.envelopes.song import Song
    from bridge.errors import EnvelopeError, InputError
    from bridge.files import check_free, write_whole
    from bridge.midi.file import read_midi
    from bridge.midi.song_clock import build_clock
    from bridge.midi.write import write_midi
    from bridge.plan.stem_envelopes import build_preset_envelopes
    from bridge.presets.load import preset_path, read_preset, with_location
    from bridge.presets.overrides import apply_settings

    if bits not in (7, 14):
        raise InputError(f"--bits {bits}: 7 and 14 are accepted")
    for path in (png, table, lanes):
        if path is not None:
            check_free(path, overwrite)
    preset = apply_settings(read_preset(preset_path(preset_name), trust=trust), settings or (), variation)
    midi = None if midi_path is None else read_midi(midi_path, pattern=clock.pattern, ppq=clock.ppq)
    tempo_map = build_clock(midi, clock, hint_bpm=preset.meta.bpm_hint)
    if length is None and midi is not None:
        length_s = float(tempo_map.ticks_to_seconds(midi.end_tick))
    else:
        length_s = float(tempo_map.advance(0.0, parse_duration(length or "16 bars", "--length")))
    if not 0 < length_s <= MAX_LENGTH_S:
        raise InputError(
            f"the song is {length_s:.6g} s long; more than 0 and at most a day is accepted. Say --length"
        )
    song = Song(tempo_map=tempo_map, midi=midi, length_s=length_s)
    try:
        envelopes = build_preset_envelopes(preset, song, sample_rate, seed, stem="")
    except EnvelopeError as error:
        raise EnvelopeError(with_location(preset_name, str(error))) from None
    every_s = float(tempo_map.advance(0.0, parse_duration(every, "--every")))
    if every_s <= 0:
        raise InputError(f"--every {every}: rows need a distance; 10 ms and 1/16 are accepted")
    step = max(round(every_s * sample_rate), 1)
    warnings = [*(midi.warnings if midi else ()), *tempo_map.warnings, *envelopes.warnings]
    if midi is None and clock.bpm is None:
        tempo = float(tempo_map.bpm_at(0.0))
        warnings.append(f"no tempo was given: {tempo:g} BPM is used ({tempo_map.source})")
    if followed := [one.id for one in preset.modulators if follower_stems([one], "")]:
        warnings.append(
            f"{', '.join(followed)} follow the sound of stems, which is not read here: the output has the "
            "followers at maximum and no audio triggers; `reverie render` measures them"
        )
    if preset.nodes_of("dream") and keyswitches(preset.midi_map):
        warnings.append("what keyswitches choose is not among the envelopes")
    for warning in dict.fromkeys(warnings):
        warn(warning)
    if png is not None:
        draw_envelopes(png, envelopes, song, sample_rate, preset.meta.name)
    if table is not None and str(table) == "-":
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as stream:
            write_envelopes_csv(stream, envelopes, song, sample_rate, step)
            stream.seek(0)
            for line in stream:
                say(line.rstrip("\n"))
    elif table is not None:
        with (
            write_whole(table, overwrite=overwrite) as part,
            part.open("w", encoding="utf-8", newline="") as stream,
        ):
            write_envelopes_csv(stream, envelopes, song, sample_rate, step)
    if lanes is not None:
        written = envelope_lanes(envelopes, song, sample_rate, step, bits=bits)
        write_midi(lanes, tempo_map, written, length_s=length_s, overwrite=overwrite)
    if png is None and table is None and lanes is None:
        n_samples = max(int(length_s * sample_rate), 1)
        for node_id, name in envelopes.moving:
            peak = envelopes.peak(node_id, name, n_samples)
            mean = envelopes.integral(node_id, name, n_samples) / max(length_s, 1 / sample_rate)
            low, high = envelopes.reach(node_id, name)
            say(f"{node_id}.{name}: mean {mean:.4g}, peak {peak:.4g}, drawn from {low:g} to {high:g}")
            say(f"  {sparkline(envelopes, node_id, name, song, sample_rate)}")
        if not envelopes.moving:
            say(f"nothing moves in {preset.meta.name}")
