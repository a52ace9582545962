"""The report of a render: one HTML file that opens from disk, needs no network and holds all it shows.

For every stem: before, after and what was added, as waveform, spectrogram and sound; the envelopes over bars
and markers; levels, warnings. For the render: the chain with its parameters, and what it was made with.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from bridge.audio.alignment import Alignment, align_stems, measure_sum
from bridge.audio.metadata import AudioMetadata
from bridge.audio.reader import read_info
from bridge.errors import InputError, escape
from bridge.files import check_free, read_regular, write_whole
from bridge.midi.file import MidiFile
from bridge.plan.model import Plan, StemPlan
from bridge.plan.output_names import rung_path
from bridge.plan.stem_envelopes import stem_envelopes
from bridge.render.manifest import Manifest, StemRecord
from bridge.report.charts import HEIGHT, WIDTH, EnvelopeChart, EnvelopeCurve, draw_chart
from bridge.report.pictures import SoundPicture, frequency_height, spectrogram_png, waveform_path
from bridge.report.stem_view import VIEWS, StemView, look_at_output, look_at_stem

__all__ = ["build_report", "is_report", "write_report"]

PREVIEW_S: Final = 300.0
"""How much can be listened to in a report, all stems together; lossless sound makes the file large."""

_CURVE_POINTS: Final = 2_000
_WAVE_HEIGHT: Final = 90
_GENERATOR: Final = b'<meta name="generator" content="Reverie">'
_REPORT_LIMIT_BYTES: Final = 1 << 30
_MARKS: Final = ((100, "100 Hz"), (1_000, "1 kHz"), (10_000, "10 kHz"))
_LEVELS: Final = (
    ("integrated_lufs", "Integrated", "LUFS"),
    ("short_term_max_lufs", "Short-term max", "LUFS"),
    ("momentary_max_lufs", "Momentary max", "LUFS"),
    ("range_lu", "Range", "LU"),
    ("true_peak_dbtp", "True peak", "dBTP"),
    ("sample_peak_dbfs", "Sample peak", "dBFS"),
    ("rms_dbfs", "RMS", "dBFS"),
)
Levels = Mapping[str, float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RungReport:
    """What the page shows of a stem at one depth of its ladder."""

    depth: int
    record: StemRecord
    picture: SoundPicture
    sound: bytes

    @property
    def spectrogram(self) -> str:
        """Its spectrogram as the text of a PNG file."""
        return _base64(spectrogram_png(self.picture))


@dataclass(frozen=True, slots=True, kw_only=True)
class _StemReport:
    """What the page shows of one stem."""

    plan: StemPlan
    record: StemRecord
    view: StemView
    chart: EnvelopeChart
    ladder: tuple[_RungReport, ...] = ()

    @property
    def highest(self) -> float:
        """The highest amplitude in any of its pictures: waveforms are drawn to it."""
        return max(float(max(p.highs.max(), -p.lows.min())) for p in self.view.pictures.values()) or 1.0

    @property
    def highest_dbfs(self) -> float:
        """The same as a level."""
        return 20.0 * math.log10(self.highest)

    def wave(self, view: str) -> str:
        """Return the outline of a waveform."""
        return waveform_path(self.view.pictures[view], self.highest, _WAVE_HEIGHT)

    def spectrogram(self, view: str) -> str:
        """Return a spectrogram as the text of a PNG file."""
        return _base64(spectrogram_png(self.view.pictures[view]))

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Frequencies that are written at a spectrogram, with their heights in percent."""
        rate = self.plan.sample_rate
        return [
            (100 * frequency_height(hertz, rate), label) for hertz, label in _MARKS if hertz < 0.9 * rate / 2
        ]


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
    with write_whole(path, overwrite=overwrite) as part:
        part.write_text(text, encoding="utf-8")
    return path


def is_report(path: Path) -> bool:
    """Return whether a file is a report of ours, which the next one may replace."""
    try:
        return not path.is_symlink() and _GENERATOR in read_regular(path, _REPORT_LIMIT_BYTES)[:4096]
    except OSError:
        return False


def build_report(manifest: Manifest) -> str:
    """Return the report of a render as an HTML document."""
    import jinja2

    plan, midi = manifest.plan, manifest.plan.load_midi()
    finished = [stem for stem in plan.stems if stem.name in manifest.stems]
    n_sounds = sum(1 + len(manifest.stems[stem.name].ladder) for stem in finished)
    stems = [_stem_report(manifest, stem, midi, PREVIEW_S / n_sounds) for stem in finished]
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.filters |= {"base64": _base64, "level": _level}
    sums, why_no_sums = _sums(stems)
    return environment.from_string(_asset("report.html.j2")).render(
        style=_asset("report.css"),
        script=_asset("report.js"),
        plan=plan,
        stems=stems,
        views=VIEWS,
        levels=_LEVELS,
        sums=sums,
        why_no_sums=why_no_sums,
        facts=_facts(manifest),
        chart={"width": WIDTH, "height": HEIGHT},
        wave_height=_WAVE_HEIGHT,
    )


def _stem_report(manifest: Manifest, stem: StemPlan, midi: MidiFile | None, preview_s: float) -> _StemReport:
    record = manifest.stems[stem.name]
    view = look_at_stem(stem, record.gain_db, preview_s)
    curves = _curves(manifest.plan, stem, midi)
    chart = draw_chart(curves, manifest.plan.tempo_map, view.duration_s)
    ladder = tuple(
        _RungReport(depth=depth, record=rung, picture=picture, sound=sound)
        for depth, rung in sorted(record.ladder.items())
        for picture, sound in [look_at_output(rung_path(stem.target, depth), view)]
    )
    return _StemReport(plan=stem, record=record, view=view, chart=chart, ladder=ladder)


def _curves(plan: Plan, stem: StemPlan, midi: MidiFile | None) -> tuple[EnvelopeCurve, ...]:
    envelopes = stem_envelopes(plan, stem, midi)
    step = max(1, stem.n_samples // _CURVE_POINTS)
    return tuple(
        EnvelopeCurve(name=f"{node}.{name}", values=envelopes.values(node, name, 0, stem.n_samples, step))
        for node, name in envelopes.moving
    )


def _sums(stems: Sequence[_StemReport]) -> tuple[tuple[Levels, Levels] | None, str]:
    """Measure the stems added up, before and after, or say why that cannot be."""
    if len(stems) < 2:
        return None, ""
    if any(stem.plan.section is not None for stem in stems):
        return None, "a part of the song was rendered, so it is not compared with the whole"
    try:
        return _sum_levels([stem.plan for stem in stems]), ""
    except InputError as error:
        return None, str(error)


def _sum_levels(stems: Sequence[StemPlan]) -> tuple[Levels, Levels]:
    """Measure the stems added up, before and after, at the rate most of them have."""
    rate = Counter(stem.sample_rate for stem in stems).most_common(1)[0][0]
    before = align_stems([(read_info(stem.source), AudioMetadata()) for stem in stems], sample_rate=rate)
    if all(stem.sample_rate == rate for stem in stems):
        placements = tuple(stem.placement for stem in stems)
        before = replace(before, placements=placements, n_samples=max(stem.n_samples for stem in stems))
    after = align_stems([(read_info(stem.target), AudioMetadata()) for stem in stems], sample_rate=rate)
    return _sum(before), _sum(after)


def _sum(alignment: Alignment) -> Levels:
    levels = asdict(measure_sum(alignment))
    return {name: value if np.isfinite(value) else None for name, value in levels.items()}


def _facts(manifest: Manifest) -> dict[str, Any]:
    plan = manifest.plan
    return {
        "Preset": plan.preset_sha256,
        "Tempo from": plan.tempo_map.source,
        "MIDI": plan.midi.path if plan.midi else "none",
        **({"Session": plan.session.path} if plan.session else {}),
        "Seed": plan.seed,
        "Device": plan.device,
        "Machine": manifest.platform,
        **{f"Weights of {name}": sha for name, sha in plan.networks.items()},
        **manifest.versions,
    }


def _asset(name: str) -> str:
    return (resources.files("bridge.report") / "assets" / name).read_text("utf-8")


def _shown(value: object) -> object:
    """Spell out what would turn the page's text around or is not allowed in it; line breaks are blanks."""
    if type(value) is str:  # what is `safe` is of another type: style and script are our own
        return escape(re.sub(r"[\t\r\n]", " ", value))
    return value


def _level(value: float | bool | None) -> str:
    return "-\N{INFINITY}" if value is None else f"{float(value):.1f}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
