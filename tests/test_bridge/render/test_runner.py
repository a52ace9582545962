"""Rendering: stems in, dreamed stems out, aligned, repeatable, and never half."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from helpers.audio import noise
from helpers.session import make_sound, write_midi, write_preset, write_stem

from bridge import build_plan, read_manifest, render_plan, render_plans
from bridge.audio.loudness import measure_loudness
from bridge.clock.settings import ClockSettings
from bridge.errors import AudioFileError, InputError, MidiFileError, OutputError, PlanError, PresetError
from bridge.plan.model import MidiSource, Plan
from bridge.presets.model import parse_preset
from dream_core.loop.shared_batches import SharedBatches

CC_PRESET = """
[[modulators]]
id = "wheel"
type = "midi"
event = "cc"
number = 1
smooth = "0 ms"

[[routes]]
source = "wheel"
target = "dream.depth"
op = "replace"
min = 0.0
max = 2.0

[level]
mode = "keep"
"""


def read(path: str | Path) -> np.ndarray:
    return soundfile.read(path, dtype="float64", always_2d=True)[0].T


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(("sample_rate", "n_channels"), [(44100, 2), (48000, 1), (96000, 2)])
def test_the_null_reference_nulls_bit_for_bit(
    tmp_path: Path, subtype: str, sample_rate: int, n_channels: int
) -> None:
    """The factory's null preset gives back every sample of every format."""
    stem = write_stem(tmp_path / "stem.wav", sample_rate=sample_rate, n_channels=n_channels, subtype=subtype)
    plan = build_plan([stem], "null-reference", out_dir=tmp_path / "out")
    render_plan(plan)

    assert np.array_equal(read(stem), read(plan.stems[0].target))
    assert soundfile.info(plan.stems[0].target).subtype == subtype


def test_depth_zero_leaves_even_a_hot_stem_alone(tmp_path: Path) -> None:
    """What nothing was done to is not trimmed for a ceiling either."""
    hot = np.clip(3.0 * make_sound(1.0, 44100, 2), -1.0, 1.0)
    soundfile.write(tmp_path / "hot.wav", hot, 44100, subtype="FLOAT")
    plan = build_plan([tmp_path / "hot.wav"], write_preset(tmp_path, depth=0.0), out_dir=tmp_path / "out")
    render_plan(plan)

    assert np.array_equal(hot.T.astype(np.float64), read(plan.stems[0].target))


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_cc_edge_changes_its_own_sample_first(tmp_path: Path, n_channels: int) -> None:
    """After a tempo change and a meter change, an edge at a tick is heard at that tick's time."""
    sample_rate = 44100
    stem = write_stem(
        tmp_path / "s.wav", seconds=3.0, sample_rate=sample_rate, n_channels=n_channels, subtype="FLOAT"
    )
    events = [
        (0, mido.MetaMessage("set_tempo", tempo=500000)),
        (0, mido.MetaMessage("time_signature", numerator=4, denominator=4)),
        (960, mido.MetaMessage("set_tempo", tempo=389611)),
        (960, mido.MetaMessage("time_signature", numerator=7, denominator=8)),
        (0, mido.Message("control_change", control=1, value=0)),
        (2017, mido.Message("control_change", control=1, value=127)),
    ]
    midi = write_midi(tmp_path / "song.mid", events)
    edge_s = 960 / 480 * 0.5 + (2017 - 960) / 480 * 0.389611
    preset = write_preset(tmp_path, more=CC_PRESET)
    plan = build_plan([stem], preset, midi=midi, out_dir=tmp_path / "out")
    render_plan(plan)

    changed = np.flatnonzero((read(stem) != read(plan.stems[0].target)).any(axis=0))
    # One sample: a dream may leave the very first sample of an edge as it was.
    assert abs(changed[0] - edge_s * sample_rate) <= 1.0


def test_level_and_peaks_are_held(tmp_path: Path) -> None:
    """Loudness stays within 1 LU and true peak at or below -1 dBTP, also for a loud stem."""
    write_stem(tmp_path / "stems" / "a.wav", seconds=3.0, n_channels=2)
    loud = make_sound(3.0, 22050, 1, seed=2)
    soundfile.write(tmp_path / "stems" / "b.wav", 0.7 * loud / np.abs(loud).max(), 22050, subtype="PCM_24")
    preset = write_preset(tmp_path, depth=6.0, update="mask")
    plan = build_plan([tmp_path / "stems"], preset, out_dir=tmp_path / "out")
    render_plan(plan)

    for stem in plan.stems:
        before = measure_loudness(read(stem.source), stem.sample_rate)
        after = measure_loudness(read(stem.target), stem.sample_rate)
        assert abs(before.integrated_lufs - after.integrated_lufs) <= 1.0
        assert after.true_peak_dbtp <= -1.0 + 0.05  # dither and the meter's own ripple
        assert not np.array_equal(read(stem.source), read(stem.target))


def test_the_same_plan_gives_the_same_samples_with_any_number_of_workers(tmp_path: Path) -> None:
    """Workers, order and repetition do not matter; plans survive JSON."""
    for i in range(3):
        write_stem(tmp_path / "stems" / f"{i}.wav", seed=i, n_channels=1 + i % 2)
    preset = write_preset(tmp_path, depth=1.5, update="mask")
    hashes = []
    for jobs, name in ((1, "a"), (2, "b")):
        plan = build_plan([tmp_path / "stems"], preset, out_dir=tmp_path / name, seed=3, threads=1)
        report = render_plan(Plan.from_json(plan.to_json()), jobs=jobs)
        hashes.append([stem.record.sha256_samples for stem in report.stems if stem.record])

    assert len(hashes[0]) == 3
    assert hashes[0] == hashes[1]


def test_stems_that_share_a_device_come_out_as_they_do_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rendered in threads that share network and batches, as on a GPU, every stem is the same."""
    for seed, name in enumerate("abc"):
        write_stem(tmp_path / "stems" / f"{name}.wav", seed=seed)
    plan = build_plan([tmp_path / "stems"], write_preset(tmp_path), out_dir=tmp_path / "alone")
    alone = render_plan(plan)
    shared = build_plan([tmp_path / "stems"], write_preset(tmp_path), out_dir=tmp_path / "shared")
    shared_batches = SharedBatches()
    monkeypatch.setattr("bridge.render.runner.open_shared_batches", lambda _plans: {"cpu": shared_batches})
    together = render_plan(shared, jobs=3)

    hashes = [[s.record.sha256_samples for s in report.stems if s.record] for report in (alone, together)]
    assert len(hashes[0]) == 3
    assert hashes[0] == hashes[1]
    assert shared_batches.n_batches > 0


def test_a_manifest_reproduces_its_outputs(tmp_path: Path) -> None:
    """Rendering the plan in a manifest gives the samples whose hashes the manifest holds."""
    stem = write_stem(tmp_path / "s.wav")
    plan = build_plan([stem], write_preset(tmp_path, depth=2.0), out_dir=tmp_path / "out", threads=1)
    manifest = read_manifest(render_plan(plan).manifest)
    again = render_plan(manifest.plan, overwrite=True)

    assert again.stems[0].record is not None
    assert again.stems[0].record.sha256_samples == manifest.stems["s"].sha256_samples


def test_finished_stems_stay_and_the_rest_is_taken_up(tmp_path: Path) -> None:
    """An interrupted render keeps what is done, leaves nothing half, and goes on where it stopped."""
    for name in ("a", "b", "c"):
        write_stem(tmp_path / "stems" / f"{name}.wav")
    preset = write_preset(tmp_path, depth=1.0)
    plan = build_plan([tmp_path / "stems"], preset, out_dir=tmp_path / "out")

    def stop_in_b(progress: object) -> None:
        if progress.stem == "b" and progress.phase == "render":  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_plan(plan, on_progress=stop_in_b)  # type: ignore[arg-type]

    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["a__under-test.wav", "under-test.manifest.json"]
    before = (tmp_path / "out" / "a__under-test.wav").stat().st_mtime_ns
    report = render_plan(plan)
    assert [stem.status for stem in report.stems] == ["kept", "done", "done"]
    assert (tmp_path / "out" / "a__under-test.wav").stat().st_mtime_ns == before


def test_a_changed_output_is_not_taken_for_finished(tmp_path: Path) -> None:
    """What is there but not as it was written stops the render instead of being kept or replaced."""
    stem = write_stem(tmp_path / "s.wav")
    plan = build_plan([stem], write_preset(tmp_path, depth=1.0), out_dir=tmp_path / "out")
    render_plan(plan)
    soundfile.write(plan.stems[0].target, np.zeros(100), 22050)

    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        render_plan(plan)
    assert render_plan(plan, overwrite=True).stems[0].status == "done"


def test_one_failing_stem_leaves_the_others_complete(tmp_path: Path) -> None:
    """A stem whose chain makes no sense of it fails alone, with its reason."""
    write_stem(tmp_path / "stems" / "good.wav")
    write_stem(tmp_path / "stems" / "mono.wav")
    write_stem(tmp_path / "stems" / "zebra.wav", n_channels=2)
    preset = write_preset(tmp_path, depth=1.0)
    plan = build_plan(
        [tmp_path / "stems"], preset, out_dir=tmp_path / "out", settings=["dream.stereo=mid_side"]
    )
    report = render_plan(plan)

    assert [(s.name, s.status) for s in report.stems] == [
        ("good", "failed"),
        ("mono", "failed"),
        ("zebra", "done"),
    ]
    assert "needs 2 channels" in report.failed[0].error
    left = {p.name for p in (tmp_path / "out").iterdir()}
    assert left == {"zebra__under-test.wav", "under-test.manifest.json"}


def test_stems_that_change_after_planning_are_refused(tmp_path: Path) -> None:
    """A plan speaks of exact files."""
    stem = write_stem(tmp_path / "s.wav")
    plan = build_plan([stem], write_preset(tmp_path), out_dir=tmp_path / "out")
    write_stem(tmp_path / "s.wav", seed=9)

    with pytest.raises(AudioFileError, match="changed since the plan"):
        render_plan(plan)


def test_nothing_is_written_for_input_that_cannot_be_used(tmp_path: Path) -> None:
    """NaN, doubled names and unknown references are said while planning."""
    sound = make_sound(0.5, 22050, 1)
    sound[777] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, 22050, subtype="FLOAT")
    out = tmp_path / "out"
    with pytest.raises(AudioFileError, match="777"):
        build_plan([tmp_path / "nan.wav"], "null-reference", out_dir=out)
    write_stem(tmp_path / "a" / "x.wav")
    write_stem(tmp_path / "b" / "x.wav")
    with pytest.raises(OutputError, match="both be written"):
        build_plan([tmp_path / "a", tmp_path / "b"], "null-reference", out_dir=out)
    with pytest.raises(PresetError, match="dreams towards stem 'kick'"):
        build_plan(
            [tmp_path / "a"],
            write_preset(tmp_path),
            out_dir=out,
            settings=["dream.update=target_text", "dream.target=kick"],
        )
    assert not out.exists()


def test_renders_do_not_go_among_the_stems(tmp_path: Path) -> None:
    """A folder of stems is not rendered into itself: its renders would be stems the next time."""
    write_stem(tmp_path / "stems" / "a.wav")
    with pytest.raises(OutputError, match="taken for stems the next time"):
        build_plan([tmp_path / "stems"], write_preset(tmp_path), out_dir=tmp_path / "stems")


def test_another_stem_can_be_dreamed_towards(tmp_path: Path) -> None:
    """Targets and guides name stems of the session, at any rate."""
    write_stem(tmp_path / "stems" / "lead.wav")
    write_stem(tmp_path / "stems" / "pad.wav", sample_rate=44100, seed=3)
    plan = build_plan(
        [tmp_path / "stems"],
        write_preset(tmp_path, depth=1.0),
        out_dir=tmp_path / "out",
        align=False,  # each at its own rate
        settings=["dream.update=target_figure", "dream.target=pad", "dream.objective=guided:frames4:pad"],
    )

    assert not render_plan(plan).failed


def test_the_manifest_is_the_plan_and_what_was_measured(tmp_path: Path) -> None:
    """Versions, hashes and levels are there for every stem, as plain JSON."""
    stem = write_stem(tmp_path / "s.wav")
    plan = build_plan([stem], write_preset(tmp_path), out_dir=tmp_path / "out")
    data = json.loads(render_plan(plan).manifest.read_text())

    assert data["plan"]["stems"][0]["sha256"] == plan.stems[0].sha256
    assert data["versions"]["torch"] == metadata.version("torch")
    assert data["stems"]["s"]["before"]["integrated_lufs"] < 0
    assert len(data["stems"]["s"]["sha256_samples"]) == 64


def test_what_is_said_of_the_clock_wins_and_stays(tmp_path: Path) -> None:
    """Tempo, meter, offset and first bar reach the plan's clock, read back, and move an edge in the sound."""
    stem = write_stem(tmp_path / "s.wav", seconds=3.0, sample_rate=48000, subtype="FLOAT")
    events = [
        (0, mido.Message("control_change", control=1, value=0)),
        (960, mido.Message("control_change", control=1, value=127)),
    ]
    said = ClockSettings(bpm=90.0, meter=(7, 8), offset_s=0.25, first_bar=0)
    plan = build_plan(
        [stem],
        write_preset(tmp_path, more=CC_PRESET),
        midi=write_midi(tmp_path / "song.mid", events),
        clock=said,
        out_dir=tmp_path / "out",
    )
    clock = Plan.from_json(plan.to_json()).tempo_map
    assert (float(clock.bpm_at(0.0)), clock.meters[0].numerator, clock.first_bar) == (90.0, 7, 0)
    render_plan(plan)
    changed = np.flatnonzero((read(stem) != read(plan.stems[0].target)).any(axis=0))
    assert abs(changed[0] - (0.25 + 2 * 60 / 90) * 48000) <= 1.0


def test_a_pattern_of_a_type_2_file_is_read_again_as_it_was_planned(tmp_path: Path) -> None:
    """The plan knows which pattern was meant, and a render without it is refused with what there is."""
    stem = write_stem(tmp_path / "s.wav", subtype="FLOAT")
    file = mido.MidiFile(type=2, ticks_per_beat=480)
    for value in (0, 127):
        message = mido.Message("control_change", control=1, value=value)
        file.tracks.append(mido.MidiTrack([message]))
    file.save(tmp_path / "patterns.mid")
    preset, midi = write_preset(tmp_path, more=CC_PRESET), tmp_path / "patterns.mid"
    with pytest.raises(MidiFileError, match="--pattern"):
        build_plan([stem], preset, midi=midi, out_dir=tmp_path / "out")
    still, moved = (
        build_plan([stem], preset, midi=midi, clock=ClockSettings(pattern=n), out_dir=tmp_path / f"out{n}")
        for n in (1, 2)
    )
    for plan in (still, moved):
        assert not render_plan(plan).failed
    assert np.array_equal(read(stem), read(still.stems[0].target))
    assert not np.array_equal(read(stem), read(moved.stems[0].target))


FOLLOWER = '[[modulators]]\nid = "f"\ntype = "follower"\nsource = "sidechain"\nstem = "kik"\n'


@pytest.mark.parametrize(
    ("more", "params", "message"),
    [
        (FOLLOWER, 'update = "add"', "mean 'kick'"),
        ("", 'update = "legacy_0163_0", low_hz = 300.0', "legacy updates"),
    ],
)
def test_a_plan_refuses_what_its_render_would(tmp_path: Path, more: str, params: str, message: str) -> None:
    """Stems that are followed but not there, and bands that do not fit, are said before anything runs."""
    write_stem(tmp_path / "stems" / "kick.wav")
    preset = write_preset(tmp_path, more=more)
    preset.write_text(preset.read_text().replace('update = "add"', params))

    with pytest.raises(InputError, match=message):
        build_plan([tmp_path / "stems"], preset, out_dir=tmp_path / "out")


def test_a_plan_warns_of_stems_that_will_fail(tmp_path: Path) -> None:
    """A mono stem cannot be dreamed in mid and side; the others can."""
    for n_channels in (1, 2):
        write_stem(tmp_path / "stems" / f"of-{n_channels}.wav", n_channels=n_channels)
    preset = write_preset(tmp_path)
    preset.write_text(preset.read_text().replace('update = "add"', 'update = "add", stereo = "mid_side"'))

    plan = build_plan([tmp_path / "stems"], preset, out_dir=tmp_path / "out")

    assert any("fails for these stems: of-1 (1)." in warning for warning in plan.warnings)


def test_stems_that_state_another_tempo_are_told_of(tmp_path: Path) -> None:
    """The song's own tempo counts; a name that agrees says nothing."""
    for name in ("pad_128bpm", "kick_100 BPM", "bass"):
        write_stem(tmp_path / "stems" / f"{name}.wav")
    plan = build_plan(
        [tmp_path / "stems"], "null-reference", out_dir=tmp_path / "out", clock=ClockSettings(bpm=100.0)
    )

    (warning,) = [text for text in plan.warnings if "in its name" in text]
    assert warning.startswith("stem 'pad_128bpm' states 128 BPM")


def moved_by_cc(folder: Path) -> list[Plan]:
    """Two presets over three stems, moved by a song's mod wheel."""
    song = write_midi(
        folder / "song.mid",
        [(480 * beat, mido.Message("control_change", control=1, value=40 * beat)) for beat in range(4)],
    )
    for index, name in enumerate("abc"):
        soundfile.write(folder / f"{name}.wav", noise(30_000, seed=index)[0], 44100, subtype="PCM_24")
    chain = [{"id": "gain", "use": "gain", "params": {"gain_db": 0.0}}]
    head = {"format": "reverie/preset", "version": 1, "uuid": "11111111-2222-3333-4444-555555555555"}
    return [
        build_plan(
            [folder / f"{stem}.wav" for stem in "abc"],
            parse_preset(
                head
                | {
                    "meta": {"name": name, "category": "Utility"},
                    "chain": chain,
                    "modulators": [{"id": "wheel", "type": "midi", "event": "cc", "number": 1}],
                    "routes": [{"source": "wheel", "target": "gain.gain_db", "min": -12.0, "max": 0.0}],
                },
                "test",
            ),
            midi=song,
            out_dir=folder / "out",
        )
        for name in ("one", "two")
    ]


def test_a_songs_midi_is_read_once_for_all_its_stems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many stems and presets; in processes of their own it comes out the same."""
    plans, read = moved_by_cc(tmp_path), []
    load = MidiSource.load
    monkeypatch.setattr(MidiSource, "load", lambda source: (read.append(source.path), load(source))[1])
    alone = render_plans(plans)
    assert read == [str(tmp_path / "song.mid")]
    together = render_plans(plans, jobs=2, overwrite=True)

    hashes = [
        [stem.record.sha256_samples for one in reports for stem in one.stems if stem.record]
        for reports in (alone, together)
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 3


def test_midi_that_has_changed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The plan was made of another song; so it is with one that is gone."""
    plan, _ = moved_by_cc(tmp_path)
    with (tmp_path / "song.mid").open("ab") as file:
        file.write(b"more")
    with pytest.raises(MidiFileError, match=r"song\.mid: is gone or has changed.*plan again"):
        render_plan(plan)
    (tmp_path / "song.mid").unlink()
    with pytest.raises(MidiFileError, match="is gone or has changed"):
        render_plan(plan)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "says"), [(None, "no such manifest"), ("{", "not a manifest"), ("[3]", "not a manifest")]
)
def test_what_is_not_a_manifest_is_a_plan_error(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "x.manifest.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PlanError, match=says):
        read_manifest(path)
