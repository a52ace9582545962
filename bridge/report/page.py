"""The report of a render: one HTML file that opens from disk, needs no network and holds all it shows.

For every stem: before, after and what was added, as waveform, spectrogram and sound; the envelopes over bars
and markers; levels, warnings. For the render: the chain with its parameters, and what it was made with.
"""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.arrays import BLOCK_SAMPLES
from bridge.audio.alignment import AlignedReader, Alignment, align_stems, measure_sum
from bridge.audio.metadata import AudioMetadata
from bridge.audio.preview import encode_preview
from bridge.audio.reader import AudioReader, read_info
from bridge.clock.tempo_map import TempoMap
from bridge.errors import InputError
from bridge.files import check_free, write_whole
from bridge.midi.file import MidiFile
from bridge.plan.model import Plan, StemPlan
from bridge.plan.stem_envelopes import stem_envelopes
from bridge.render.manifest import Manifest, StemRecord
from bridge.render.stem_sound import open_stem_sound
from bridge.report.pictures import (
    SoundPicture,
    SoundPictureMaker,
    frequency_height,
    spectrogram_png,
    waveform_svg,
)

__all__ = ["EnvelopeCurve", "StemReport", "build_report", "write_report"]

PREVIEW_S: Final = 300.0
"""How much can be listened to in a report, all stems together; lossless sound makes the file large."""

_CURVE_POINTS: Final = 2_000
_MAX_BAR_LINES: Final = 200
Levels = Mapping[str, float | bool | None]

_VIEWS: Final = (("before", "Before"), ("after", "After"), ("difference", "Difference"))
_LEVELS: Final = (
    ("integrated_lufs", "Integrated", "LUFS"),
    ("short_term_max_lufs", "Short-term max", "LUFS"),
    ("momentary_max_lufs", "Momentary max", "LUFS"),
    ("range_lu", "Range", "LU"),
    ("true_peak_dbtp", "True peak", "dBTP"),
    ("sample_peak_dbfs", "Sample peak", "dBFS"),
    ("rms_dbfs", "RMS", "dBFS"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeCurve:
    """Hold a parameter over the length of a stem, evenly spaced."""

    name: str
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StemReport:
    """Gather what the report shows of one stem.

    Args:
        plan: Of the stem.
        record: What was measured; its gain is taken out before the difference is made.
        curves: What moved.
    """

    plan: StemPlan
    record: StemRecord
    curves: tuple[EnvelopeCurve, ...] = ()


def write_report(manifest: Manifest, path: Path | str, *, overwrite: bool = False) -> Path:
    """Write the report of a render.

    Args:
        manifest: Of the render; its stems and outputs must still be where it says.
        path: The HTML file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        AudioFileError: A stem or an output is gone.
        OutputError: The file exists or cannot be written.
    """
    path = Path(path)
    check_free(path, overwrite)
    text = build_report(manifest)
    with write_whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def build_report(manifest: Manifest) -> str:
    """Return the report of a render as an HTML document."""
    plan = manifest.plan
    tempo_map, midi = plan.tempo_map, plan.load_midi()
    stems = [_gather_stem(manifest, stem, midi) for stem in plan.stems if stem.name in manifest.stems]
    meta = plan.preset.meta
    title = f"{meta.name}: {len(stems)} stem{'s' if len(stems) != 1 else ''}"
    body = "".join(
        (
            f"<header><h1>{_text(meta.name)}</h1>",
            f"<p>{_text(meta.description)}</p>",
            _warnings(plan.warnings),
            "<p><kbd>Space</kbd> plays, <kbd>1</kbd> <kbd>2</kbd> <kbd>3</kbd> choose before, after and ",
            "difference, <kbd>&larr;</kbd> <kbd>&rarr;</kbd> move, <kbd>&uarr;</kbd> <kbd>&darr;</kbd> ",
            "change the stem.</p></header>",
            _levels_table(stems),
            *(_stem_section(stem, tempo_map, PREVIEW_S / len(stems)) for stem in stems),
            _chain_section(plan),
            _facts_section(manifest),
        )
    )
    assets = resources.files("bridge.report") / "assets"
    style, script = ((assets / name).read_text("utf-8") for name in ("report.css", "report.js"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}</title><style>{style}</style></head>"
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def _gather_stem(manifest: Manifest, stem: StemPlan, midi: MidiFile | None) -> StemReport:
    return StemReport(plan=stem, record=manifest.stems[stem.name], curves=_curves(manifest.plan, stem, midi))


def _curves(plan: Plan, stem: StemPlan, midi: MidiFile | None) -> tuple[EnvelopeCurve, ...]:
    envelopes = stem_envelopes(plan, stem, midi)
    step = max(1, stem.n_samples // _CURVE_POINTS)
    return tuple(
        EnvelopeCurve(name=f"{node}.{name}", values=envelopes.values(node, name, 0, stem.n_samples, step))
        for node, name in envelopes.moving
    )


# --- sound ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """What is seen and heard of a stem: three pictures, and the stretch where most was changed."""

    pictures: Mapping[str, SoundPicture]
    duration_s: float
    preview_start_s: float
    preview_s: float
    before: bytes
    after: bytes


def _look(stem: StemReport, preview_s: float) -> _Sight:
    """Read both files once for the pictures, then the stretch to listen to."""
    inverse_gain = 10.0 ** (-stem.record.gain_db / 20.0)
    rate = stem.plan.sample_rate
    with open_stem_sound(stem.plan) as source, AudioReader(stem.plan.target) as output:
        n_samples = max(source.n_samples, output.info.n_samples)
        makers = {name: SoundPictureMaker(n_samples, rate) for name, _ in _VIEWS}
        for blocks in _three(source, output, inverse_gain, n_samples):
            for name, block in blocks.items():
                makers[name].push(block)
        pictures = {name: maker.result() for name, maker in makers.items()}
        n_preview = min(n_samples, round(preview_s * rate))
        start = _busiest_start(pictures["difference"], n_samples, n_preview)
        n_channels = max(source.info.n_channels, output.info.n_channels)
    with open_stem_sound(stem.plan) as source, AudioReader(stem.plan.target) as output:
        sounds = []
        for reader in (source, output):
            _skip(reader, start)
            sounds.append(encode_preview(_padded(reader.read(n_preview), n_channels, n_preview), rate))
    return _Sight(
        pictures=pictures,
        duration_s=n_samples / rate,
        preview_start_s=start / rate,
        preview_s=n_preview / rate,
        before=sounds[0],
        after=sounds[1],
    )


def _skip(reader: AlignedReader | AudioReader, n_samples: int) -> None:
    for position in range(0, n_samples, BLOCK_SAMPLES):
        reader.read(min(BLOCK_SAMPLES, n_samples - position))


def _busiest_start(difference: SoundPicture, n_samples: int, n_preview: int) -> int:
    """Return where the stretch with most difference begins."""
    energy = np.maximum(difference.highs, -difference.lows) ** 2
    width = max(1, round(len(energy) * n_preview / n_samples))
    sums = np.convolve(energy, np.ones(width), mode="valid")
    return min(int(sums.argmax()) * n_samples // len(energy), n_samples - n_preview)


def _three(
    source: AlignedReader, output: AudioReader, inverse_gain: float, n_samples: int
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    n_channels = max(source.info.n_channels, output.info.n_channels)
    for start in range(0, n_samples, BLOCK_SAMPLES):
        width = min(BLOCK_SAMPLES, n_samples - start)
        before = _padded(source.read(width), n_channels, width)
        after = _padded(output.read(width), n_channels, width)
        difference = (after * inverse_gain - before).astype(np.float32)
        yield {"before": before, "after": after, "difference": difference}


def _padded(block: npt.NDArray[np.float32], n_channels: int, width: int) -> npt.NDArray[np.float32]:
    if block.shape[0] == 1 and n_channels > 1:
        block = np.repeat(block, n_channels, axis=0)
    missing = (n_channels - block.shape[0], width - block.shape[1])
    return np.pad(block, ((0, missing[0]), (0, missing[1])))


# --- page ----------------------------------------------------------------------------------------


def _text(value: object) -> str:
    return html.escape(str(value))


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    return '<ul class="warnings">' + "".join(f"<li>{_text(warning)}</li>" for warning in warnings) + "</ul>"


def _levels_table(stems: Sequence[StemReport]) -> str:
    head = "".join(f'<th colspan="2">{label}<small>{unit}</small></th>' for _, label, unit in _LEVELS)
    rows = []
    for stem in stems:
        cells = _level_cells(stem.record.before, stem.record.after)
        gain = f'<td title="{_text(stem.record.gain_reason)}">{stem.record.gain_db:+.2f}</td>'
        rows.append(f'<tr><th scope="row">{_text(stem.plan.name)}</th>{cells}{gain}</tr>')
    note = "Left of each pair: before; right: after."
    if len(stems) > 1:
        try:
            sums = _sum_levels(stems)
            rows.append(f'<tr><th scope="row">All together</th>{_level_cells(*sums)}<td></td></tr>')
        except InputError as error:
            note += f" Not added up: {_text(error)}."
    return (
        '<section><h2>Levels</h2><div class="scroll"><table class="levels"><thead>'
        f"<tr><th>Stem</th>{head}<th>Gain<small>dB</small></th></tr></thead><tbody>{''.join(rows)}</tbody>"
        f"</table></div><p>{note}</p></section>"
    )


def _level_cells(before: Levels, after: Levels) -> str:
    return "".join(
        f"<td>{_level(before.get(key))}</td><td>{_level(after.get(key))}</td>" for key, _, _ in _LEVELS
    )


def _sum_levels(stems: Sequence[StemReport]) -> tuple[Levels, Levels]:
    """Measure the stems added up, before and after, at the rate most of them have."""
    rate = Counter(stem.plan.sample_rate for stem in stems).most_common(1)[0][0]
    is_session = all(stem.plan.sample_rate == rate for stem in stems)
    before = align_stems([(read_info(s.plan.source), AudioMetadata()) for s in stems], sample_rate=rate)
    if is_session:
        placements = tuple(stem.plan.placement for stem in stems)
        before = replace(before, placements=placements, n_samples=max(s.plan.n_samples for s in stems))
    after = align_stems([(read_info(s.plan.target), AudioMetadata()) for s in stems], sample_rate=rate)
    return _sum(before), _sum(after)


def _sum(alignment: Alignment) -> Levels:
    levels = asdict(measure_sum(alignment))
    return {name: value if np.isfinite(value) else None for name, value in levels.items()}


def _level(value: float | bool | None) -> str:
    return "-&infin;" if value is None else f"{float(value):.1f}"


def _stem_section(stem: StemReport, tempo_map: TempoMap, preview_s: float) -> str:
    sight = _look(stem, preview_s)
    buttons = "".join(f'<button type="button" data-view="{name}">{label}</button>' for name, label in _VIEWS)
    highest = max(float(max(p.highs.max(), -p.lows.min())) for p in sight.pictures.values()) or 1.0
    hertz = _frequency_labels(stem.plan.sample_rate)
    figures = "".join(
        f'<figure data-view="{name}"><figcaption>{label}</figcaption>'
        f'{waveform_svg(sight.pictures[name], highest)}<div class="spectrum"><img alt="Spectrogram: {label}" '
        f'src="data:image/png;base64,{_base64(spectrogram_png(sight.pictures[name]))}">{hertz}</div></figure>'
        for name, label in _VIEWS
    )
    sounds = "".join(
        f'<script type="audio/flac" data-view="{name}">{_base64(data)}</script>'
        for name, data in (("before", sight.before), ("after", sight.after))
    )
    start_s, end_s = sight.preview_start_s, sight.preview_start_s + sight.preview_s
    heard = (
        ""
        if sight.preview_s == sight.duration_s
        else (f" From {start_s:.1f} to {end_s:.1f} s, where most was changed, it can be heard.")
    )
    return (
        f'<section class="stem" data-duration="{sight.duration_s:.6f}" data-start="{start_s:.6f}" '
        f'data-end="{end_s:.6f}" data-gain-db="{stem.record.gain_db:.6f}">'
        f"<h2>{_text(stem.plan.name)}</h2>{_warnings(stem.record.warnings)}"
        '<div class="player"><button type="button" class="play">Play</button>'
        f'{buttons}<output class="clock"></output></div>'
        f'<div class="timeline">{figures}{_envelope_svg(stem.curves, tempo_map, sight.duration_s)}'
        '<div class="cursor"></div></div>'
        f"<p>{_text(stem.record.gain_reason)} ({stem.record.gain_db:+.2f} dB). The difference is what was "
        f"added before that gain. Waveforms are drawn to {20 * np.log10(highest):+.1f} dBFS.{heard}</p>"
        f"{sounds}</section>"
    )


def _frequency_labels(sample_rate: int) -> str:
    return "".join(
        f'<span style="bottom:{100 * frequency_height(hertz, sample_rate):.1f}%">{label}</span>'
        for hertz, label in ((100, "100 Hz"), (1_000, "1 kHz"), (10_000, "10 kHz"))
        if hertz < 0.9 * sample_rate / 2
    )


def _envelope_svg(curves: Sequence[EnvelopeCurve], tempo_map: TempoMap, duration_s: float) -> str:
    width, height = 1000, 150
    last_bar = int(np.ceil(float(tempo_map.beats_to_bars(tempo_map.seconds_to_beats(duration_s)))))
    every = max(1, -(-last_bar // _MAX_BAR_LINES))
    parts: list[str] = []
    for bar in range(0, last_bar + 1, every):
        time_s = float(tempo_map.beats_to_seconds(tempo_map.bars_to_beats(bar)))
        if not 0 <= time_s <= duration_s:
            continue
        x = time_s / duration_s * width
        strong = " strong" if bar % (4 * every) == 0 else ""
        parts.append(f'<line class="bar{strong}" x1="{x:.2f}" x2="{x:.2f}" y1="18" y2="{height}"/>')
        if strong:
            parts.append(
                f'<text class="bar" x="{x + 2:.2f}" y="{height - 3}">{bar + tempo_map.first_bar}</text>'
            )
    for marker in tempo_map.markers:
        if 0 <= marker.time_s <= duration_s:
            x = marker.time_s / duration_s * width
            parts.append(f'<line class="marker" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{height}"/>')
            parts.append(f'<text class="marker" x="{x + 3:.2f}" y="11">{_text(marker.name)}</text>')
    legend: list[str] = []
    for index, curve in enumerate(curves):
        low, high = min(0.0, float(curve.values.min())), float(curve.values.max())
        span = (high - low) or 1.0
        x_values = np.linspace(0, width, len(curve.values))
        y_values = height - 16 - (curve.values - low) / span * (height - 40)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(x_values, y_values, strict=True))
        parts.append(f'<polyline class="curve c{index % 6}" points="{points}"/>')
        lowest = float(curve.values.min())
        legend.append(f'<li class="c{index % 6}">{_text(curve.name)}: {lowest:.4g} to {high:.4g}</li>')
    if not curves:
        legend.append("<li>nothing moves in this preset</li>")
    return (
        f'<figure class="envelopes"><figcaption>Envelopes, bars and markers</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{"".join(parts)}</svg>'
        f'<ul class="legend">{"".join(legend)}</ul></figure>'
    )


def _chain_section(plan: Plan) -> str:
    rows = []
    for node in plan.preset.chain:
        params = ", ".join(f"{_text(name)} = {_text(value)}" for name, value in node.params.items())
        state = "" if node.enabled else " (off)"
        rows.append(
            f"<tr><th scope='row'>{_text(node.id)}{state}</th><td>{_text(node.plugin or node.use)}</td>"
            f"<td>{node.mix:.0%}</td><td>{params}</td></tr>"
        )
    return (
        "<section><h2>Chain</h2><table><thead><tr><th>Node</th><th>Processor</th><th>Mix</th>"
        f"<th>Parameters</th></tr></thead><tbody>{''.join(rows)}</tbody></table></section>"
    )


def _facts_section(manifest: Manifest) -> str:
    plan = manifest.plan
    facts: dict[str, Any] = {
        "Preset": plan.preset_sha256,
        "Tempo from": plan.tempo_map.source,
        "MIDI": plan.midi.path if plan.midi else "none",
        "Seed": plan.seed,
        "Device": plan.device,
        "Machine": manifest.platform,
        **{f"Weights of {name}": sha for name, sha in manifest.plan.networks.items()},
        **manifest.versions,
    }
    rows = "".join(f"<tr><th scope='row'>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in facts.items())
    return f"<section><h2>Made with</h2><table class='facts'><tbody>{rows}</tbody></table></section>"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
