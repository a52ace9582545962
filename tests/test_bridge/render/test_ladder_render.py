"""`--ladder`: each file is what a render of that depth gives, and is noted, kept and verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.session import write_stem

from bridge import Dream, build_plan, read_manifest, render_plan, stem_envelopes
from bridge.cli import main
from bridge.errors import OutputError, PlanError, PresetError
from bridge.plan.model import Plan
from bridge.presets.model import parse_preset
from bridge.render.verify import verify_manifest

DREAM = {"network": "texture", "objective": "layer:frames4", "update": "add"}
PRESET = {
    "format": "reverie/preset",
    "version": 2,
    "uuid": "00000000-0000-4000-8000-000000000024",
    "meta": {"name": "climb", "category": "Utility"},
    "chain": [
        {"id": "first", "use": "dream", "params": {**DREAM, "depth": 1.0, "seed": 3}},
        {"id": "low", "use": "lowpass_filter", "params": {"cutoff_frequency_hz": 6000.0}},
        {"id": "dream", "use": "dream", "mix": 0.7, "params": {**DREAM, "depth": 4.0}},
        {"id": "room", "use": "reverb"},
        {"id": "gain", "use": "gain"},
    ],
    "modulators": [
        {"id": "wave", "type": "lfo", "rate": "1.3 Hz", "mode": "free"},
        {"id": "dry", "type": "lfo", "rate": "0.7 Hz", "mode": "free", "shape": "triangle"},
    ],
    "routes": [
        {"source": "wave", "target": "gain.gain_db", "min": -9.0, "max": 0.0, "op": "replace"},
        {"source": "dry", "target": "dream.mix", "min": 0.2, "max": 0.9, "op": "replace"},
    ],
    "tail": {"mode": "auto"},
    "level": {"common_trim": True},
}
"""A dream before the one that is climbed, a mix at that which moves, a tail, and what stems share."""


@pytest.fixture
def stems(tmp_path: Path) -> list[Path]:
    return [
        write_stem(tmp_path / "a.wav", seconds=2.0, n_channels=2),
        write_stem(tmp_path / "b.wav", seconds=1.3, seed=1),
    ]


def plan_of(stems: list[Path], out: Path, *, ladder: tuple[int, ...] = (1, 3), **changes: object) -> Plan:
    preset = parse_preset({**PRESET, **changes}, "test")
    return build_plan(stems, preset, out_dir=out, ladder=ladder)


def test_each_file_is_a_render_of_that_depth(stems: list[Path], tmp_path: Path) -> None:
    """Byte for byte a render whose last dream is held to that: effects, mix, tails, trim and dither."""
    report = render_plan(plan_of(stems, tmp_path / "out"))
    assert [result.error for result in report.stems] == ["", ""]
    for depth in (1, 3, 4):
        preset = parse_preset(PRESET, "test")
        alone = build_plan(
            stems, preset, out_dir=tmp_path / str(depth), settings=[f"dream.depth={depth}"], ladder=()
        )
        for result in render_plan(alone).stems:
            name = f"{result.name}__climb{'' if depth == 4 else f'.depth{depth:02d}'}.wav"
            assert (tmp_path / "out" / name).read_bytes() == result.target.read_bytes(), name


def test_depths_that_move_are_held(stems: list[Path], tmp_path: Path) -> None:
    """Where the depth swings from 0 to 4 the file of depth 2 is a dream whose lane is cut at 2."""
    plan = plan_of(
        stems[:1],
        tmp_path / "out",
        ladder=(2,),
        chain=[{"id": "dream", "use": "dream", "params": {**DREAM, "depth": 0.0}}],
        modulators=[{"id": "wave", "type": "lfo", "rate": "0.9 Hz", "mode": "free"}],
        routes=[{"source": "wave", "target": "dream.depth", "op": "replace", "min": 0.0, "max": 4.0}],
        level={"mode": "keep"},
        tail={"mode": "none"},
    )
    render_plan(plan)
    stem = plan.stems[0]
    depth = stem_envelopes(plan, stem, None).values("dream", "depth", 0, stem.n_samples)
    sound, rate = soundfile.read(stems[0], dtype="float32", always_2d=True)
    dream = Dream(**DREAM)  # type: ignore[arg-type]
    wanted = dream(sound.T.copy(), rate, automation={"depth": np.minimum(depth, 2.0)})
    found, _ = soundfile.read(tmp_path / "out" / "a__climb.depth02.wav", dtype="float32", always_2d=True)

    assert depth.max() > 3.9
    # Dither of 24 bits is two steps wide at most.
    np.testing.assert_allclose(found.T, wanted, atol=3 * 2.0**-24)


def test_the_manifest_holds_and_verifies_it(stems: list[Path], tmp_path: Path) -> None:
    """Every file has a record, and is compared when the manifest is rendered again."""
    report = render_plan(plan_of(stems, tmp_path / "out"))
    manifest = read_manifest(report.manifest)

    assert {name: set(record.ladder) for name, record in manifest.stems.items()} == {"a": {1, 3}, "b": {1, 3}}
    verdicts = {verdict.name: verdict for verdict in verify_manifest(manifest)}
    assert set(verdicts) == {
        name for stem in "ab" for name in (stem, f"{stem} at depth 1", f"{stem} at depth 3")
    }
    assert all(verdict.is_bit_exact and verdict.is_output_intact for verdict in verdicts.values())
    touched = tmp_path / "out" / "a__climb.depth01.wav"
    sound, rate = soundfile.read(touched)
    soundfile.write(touched, 0.5 * sound, rate, subtype="PCM_24")
    verdicts = {verdict.name: verdict for verdict in verify_manifest(manifest)}
    assert verdicts["a at depth 1"].is_output_intact is False
    assert verdicts["a at depth 3"].is_within(-90.0)


def test_a_ladder_of_a_program_is_put_in_order_or_refused(stems: list[Path], tmp_path: Path) -> None:
    assert plan_of(stems, tmp_path / "out", ladder=(3, 1, 3)).ladder == (1, 3)
    for ladder in ((0,), (101,), (True,)):
        with pytest.raises(PlanError, match=r"whole numbers of steps, 1\.\.100"):
            plan_of(stems, tmp_path / "out", ladder=ladder)


def test_what_is_to_be_known_of_a_depth_is_told(stems: list[Path], tmp_path: Path) -> None:
    """Each file has a level of its own, so that one may be too loud where another is not."""
    chain = [*PRESET["chain"][:3], {"id": "gain", "use": "gain", "params": {"gain_db": 40.0}}]  # type: ignore[index]
    loud = plan_of(stems[1:], tmp_path / "out", chain=chain, routes=[], level={"mode": "keep"})
    (result,) = render_plan(loud).stems

    for start in ("its true peak is", "at depth 1: its true peak is", "at depth 3: its true peak is"):
        assert any(text.startswith(start) for text in result.warnings), start


@pytest.mark.parametrize("name", ["a__climb.depth03.wav", "a__climb.wav"])
def test_a_file_that_is_gone_is_made_again(name: str, stems: list[Path], tmp_path: Path) -> None:
    """What a render wrote may be replaced by the next of the same plan; all there is kept.

    A render that was killed while it named a stem's files leaves some of them.
    """
    unshared = {"tail": {"mode": "none"}, "level": {"mode": "keep"}}
    report = render_plan(plan_of(stems, tmp_path / "out", **unshared))
    gone = tmp_path / "out" / name
    before = gone.read_bytes()
    assert [one.status for one in render_plan(plan_of(stems, tmp_path / "out", **unshared)).stems] == [
        "kept",
        "kept",
    ]
    gone.unlink()
    again = render_plan(plan_of(stems, tmp_path / "out", **unshared))

    assert {one.name: one.status for one in again.stems} == {"a": "done", "b": "kept"}
    assert gone.read_bytes() == before
    assert report.manifest == again.manifest


def test_a_file_of_the_users_stays(stems: list[Path], tmp_path: Path) -> None:
    """One in the place of a depth is refused before anything is rendered."""
    mine = tmp_path / "out" / "b__climb.depth01.wav"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"b__climb\.depth01\.wav exists already"):
        render_plan(plan_of(stems, tmp_path / "out"))

    assert [path.name for path in mine.parent.iterdir()] == [mine.name]
    assert mine.read_bytes() == b"mine"


def test_a_chain_that_does_not_dream_has_no_ladder(stems: list[Path], tmp_path: Path) -> None:
    chain = [{"id": "gain", "use": "gain"}]
    with pytest.raises(PresetError, match="nothing in its chain dreams"):
        plan_of(stems, tmp_path / "out", chain=chain, modulators=[], routes=[])


def test_a_depth_beyond_the_dream_is_said(stems: list[Path], tmp_path: Path) -> None:
    assert any("at 4, 9 the stems" in one for one in plan_of(stems, tmp_path, ladder=(1, 4, 9)).warnings)


@pytest.mark.parametrize("written", ["0", "1,x", "1;2", "101", "", "1.5"])
def test_what_is_no_ladder_is_one_line(
    written: str, stems: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["render", str(stems[0]), "--preset", "lucid-bloom", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--ladder", written]) == 2

    error = capsys.readouterr().err
    assert "ladder" in error
    assert error.count("\n") == 1


def test_the_command_line_writes_them(stems: list[Path], tmp_path: Path) -> None:
    """Depths in any order, each once."""
    preset = tmp_path / "climb.toml"
    preset.write_text(
        'format = "reverie/preset"\nversion = 2\nuuid = "00000000-0000-4000-8000-000000000024"\n'
        '[meta]\nname = "climb"\ncategory = "Utility"\n[[chain]]\nid = "dream"\nuse = "dream"\n'
        'params = { network = "texture", objective = "layer:frames4", depth = 3.0 }\n'
    )
    arguments = ["render", str(stems[1]), "--preset", str(preset), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--ladder", "2, 1,2"]) == 0

    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "b__climb.wav",
        "b__climb.depth01.wav",
        "b__climb.depth02.wav",
        "climb.manifest.json",
    }
