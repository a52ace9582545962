"""Modulators that hear, in renders: heard once, the same for every worker, and part of what a render is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.voice import phrases, pluck

from bridge.arrays import AudioArray
from bridge.clock.settings import ClockSettings
from bridge.errors import PresetError, ProcessorError, UntrustedError
from bridge.midi.file import MidiFile
from bridge.plan.model import Plan
from bridge.plan.planner import build_plan, check_preset
from bridge.presets.load import load_preset
from bridge.presets.model import Preset, parse_preset
from bridge.presets.trust import check_reaches, find_files
from bridge.processors import hearing
from bridge.render import heard_stems
from bridge.render.manifest import read_manifest
from bridge.render.open_stem import RenderHooks, open_stem
from bridge.render.progress import Progress
from bridge.render.runner import render_plan, render_plans
from bridge.render.verify import verify_manifest
from dream_core.networks import timbre

RATE = 22050
SUNG = [(1.5, 3.0), (4.5, 6.0)]


def preset(*modulators: dict[str, Any], name: str = "Ears") -> Preset:
    """A gain that every modulator moves by up to -20 dB."""
    return parse_preset(
        {
            "format": "reverie/preset",
            "version": 2,
            "uuid": "11111111-2222-3333-4444-555555555556",
            "meta": {"name": name, "category": "Utility"},
            "chain": [{"id": "gain", "use": "gain", "params": {"gain_db": 0.0}}],
            "modulators": [{"type": "hearing", "class": "vocal", **one} for one in modulators],
            "routes": [
                {"source": one["id"], "target": "gain.gain_db", "op": "replace", "min": -20.0, "max": 0.0}
                for one in modulators
            ],
            "level": {"mode": "keep"},
        },
        "test",
    )


@pytest.fixture
def stems(tmp_path: Path) -> list[Path]:
    """A voice that sings now and then, and a plucked line."""
    folder = tmp_path / "stems"
    folder.mkdir()
    soundfile.write(folder / "line.wav", pluck(7.0, RATE), RATE, subtype="PCM_24")
    soundfile.write(folder / "vox.wav", phrases(7.0, RATE, SUNG), RATE, subtype="PCM_24")
    return [folder / "line.wav", folder / "vox.wav"]


def plan_of(stems: list[Path], out: Path, *modulators: dict[str, Any], **options: Any) -> Plan:
    return build_plan(
        stems, preset(*modulators, **options), out_dir=out, device="cpu", clock=ClockSettings(bpm=120)
    )


def test_a_stem_moves_as_much_as_is_heard_in_another(stems: list[Path], tmp_path: Path) -> None:
    """The line is loud where the voice sings, and 14 dB softer and more in the middle of its rests."""
    plan = plan_of(stems, tmp_path / "out", {"id": "vox", "stem": "vox"})
    assert plan.networks == {"timbre": timbre.CARD.sha256}
    assert plan.stems[0].reference_stems.keys() == {"vox"}

    report = render_plan(plan)

    assert report.failed == ()
    dry, wet = (soundfile.read(path)[0] for path in (stems[0], report.stems[0].target))

    def gain_db(start_s: float, stop_s: float) -> float:
        part = slice(round(start_s * RATE), round(stop_s * RATE))
        return float(10 * np.log10((wet[part] ** 2).mean() / (dry[part] ** 2).mean()))

    assert min(gain_db(2.0, 2.5), gain_db(5.0, 5.5)) > -4.0
    assert max(gain_db(0.2, 0.6), gain_db(3.6, 3.9)) < -14.0


def test_workers_and_cuts_change_nothing_and_the_manifest_verifies(stems: list[Path], tmp_path: Path) -> None:
    """The decoded samples are the same with one worker and with two, and when the manifest is rendered."""
    modulators = {"id": "own"}, {"id": "other", "stem": "vox", "layer": "block2", "channel": 3, "class": None}
    hashes = []
    for jobs in (1, 2):
        report = render_plan(plan_of(stems, tmp_path / f"out{jobs}", *modulators), jobs=jobs)
        assert report.failed == ()
        hashes.append([stem.record.sha256_samples for stem in report.stems if stem.record])
    assert hashes[0] == hashes[1]
    verdicts = verify_manifest(read_manifest(tmp_path / "out1" / "ears.manifest.json"))
    assert [stem.is_bit_exact for stem in verdicts] == [True, True]


def test_each_stem_is_heard_once_for_all_that_listen_to_it(
    stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plans, two stems, two classes: one pass over the stem that all listen to, told as it begins."""
    passes: list[int] = []
    plain = hearing.hear_curves

    def counted(*arguments: Any) -> Any:
        passes.append(len(arguments[3]))
        return plain(*arguments)

    monkeypatch.setattr(hearing, "hear_curves", counted)
    modulators = {"id": "vox", "stem": "vox"}, {"id": "flute", "stem": "vox", "class": "flute"}
    plans = [plan_of(stems, tmp_path / name, *modulators, name=name) for name in ("One", "Two")]
    told: list[Progress] = []

    reports = render_plans(plans, on_progress=told.append)

    assert [one.failed for one in reports] == [(), ()]
    assert passes == [2]
    assert [(one.stem, one.fraction) for one in told if one.phase == "hear"] == [("vox", 0.0)]


def test_what_is_heard_decides_the_key(stems: list[Path], tmp_path: Path) -> None:
    """Other weights, another class, another hop, another sound of the stem that is heard: another key."""
    plan = plan_of(stems, tmp_path / "out", {"id": "vox", "stem": "vox"})
    keys = {plan.stem_key(plan.stems[0])}
    others = [{"class": "flute"}, {"patch_hop": 11}, {"floor": 0.1}]
    for more in others:
        other = plan_of(stems, tmp_path / "out", {"id": "vox", "stem": "vox", **more})
        keys.add(other.stem_key(other.stems[0]))
    changed = plan.model_copy(update={"networks": {"timbre": "of other weights"}})
    keys.add(changed.stem_key(changed.stems[0]))
    with pytest.raises(ProcessorError, match="the weights of network 'timbre' have changed since"):
        render_plan(changed)
    assert not (tmp_path / "out").exists()
    soundfile.write(stems[1], 0.5 * phrases(7.0, RATE, SUNG), RATE, subtype="PCM_24")
    other = plan_of(stems, tmp_path / "out", {"id": "vox", "stem": "vox"})
    keys.add(other.stem_key(other.stems[0]))

    assert len(keys) == 6


def test_a_plan_says_what_is_missing_and_how_it_comes(
    stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that are not here, a stem that is not given; a check of the preset wants neither."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    with pytest.raises(ProcessorError, match="modulator 'vox': network 'musicnn' is not installed; `reverie"):
        plan_of(stems, tmp_path / "out", {"id": "vox", "network": "musicnn"})
    with pytest.raises(PresetError, match="modulator 'vox' follows stem 'vax', which is not given"):
        plan_of(stems, tmp_path / "out", {"id": "vox", "stem": "vax"})
    with pytest.raises(ProcessorError, match="knows no class 'vocl'"):
        check_preset(preset({"id": "vox", "class": "vocl"}))
    assert check_preset(preset({"id": "vox", "network": "musicnn", "stem": "vax"})) == ()


def test_a_network_of_another_folder_wants_trust(tmp_path: Path) -> None:
    reaches = list(find_files(preset({"id": "vox", "network": "/elsewhere/ear.safetensors"}), tmp_path))

    assert reaches == ["modulator 'vox' reads the network '/elsewhere/ear.safetensors'"]
    with pytest.raises(UntrustedError, match="modulator 'vox'"):
        check_reaches("test", reaches)


def test_the_lanes_of_a_stem_do_not_depend_on_how_it_is_read(
    stems: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 1000 samples and whole: the same values at every sample."""
    plan = plan_of(stems, tmp_path / "out", {"id": "own"})
    no_midi: MidiFile | None = None

    def lane(block: int) -> AudioArray:
        opened = heard_stems.open_stem_sound

        class Cut:
            def __init__(self, stem: Any) -> None:
                self._reader = opened(stem)

            def __enter__(self) -> Cut:
                self._reader.__enter__()
                return self

            def __exit__(self, *error: Any) -> None:
                self._reader.__exit__(*error)

            def __iter__(self) -> Any:
                while (sound := self._reader.read(block)).shape[1]:
                    yield sound

        with monkeypatch.context() as patched:
            patched.setattr(heard_stems, "open_stem_sound", Cut)
            stem = open_stem(plan, plan.stems[1], no_midi, RenderHooks())
        values = stem.lanes(0, plan.stems[1].n_samples)["gain.gain_db"]
        stem.close()
        return values

    assert np.array_equal(lane(1000), lane(7 * RATE))
    assert np.ptp(lane(1000)) > 10.0


def test_the_factory_preset_dreams_where_it_sings_and_nowhere_else(tmp_path: Path) -> None:
    """In the phrases it changes the sound; in the line alone, a patch from them, not a bit of it."""
    voice, line = phrases(8.0, RATE, [(3.0, 5.0)]), pluck(8.0, RATE)
    soundfile.write(tmp_path / "vox.wav", voice + line, RATE, subtype="FLOAT")
    made = load_preset("when-it-sings").model_copy(update={"level": preset().level})
    plan = build_plan([tmp_path / "vox.wav"], made, out_dir=tmp_path / "out", clock=ClockSettings(bpm=100))

    report = render_plan(plan)

    assert report.failed == ()
    change = soundfile.read(report.stems[0].target)[0] - soundfile.read(tmp_path / "vox.wav")[0]
    level_db = 10 * np.log10((change**2).reshape(-1, RATE // 2).mean(axis=1) + 1e-20)
    assert level_db[7:9].min() > -50.0
    assert not change[: 2 * RATE].any()
