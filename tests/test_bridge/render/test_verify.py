"""A manifest is verified by making its render again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.audio import noise
from typer.testing import CliRunner

from bridge.audio.reader import read_audio, read_info
from bridge.audio.writer import AudioWriter
from bridge.cli.verify import app
from bridge.errors import InputError
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.render.manifest import Manifest, read_manifest, write_manifest
from bridge.render.runner import render_plan
from bridge.render.verify import verify_manifest

PRESET = {
    "format": "reverie/preset",
    "version": 1,
    "uuid": "11111111-2222-3333-4444-555555555555",
    "meta": {"name": "Room", "category": "Space"},
    "chain": [{"id": "filter", "use": "lowpass_filter", "params": {"cutoff_frequency_hz": 2000.0}}],
}


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    """Two stems, rendered; the manifest's path."""
    for index, name in enumerate(("keys", "lead")):
        with AudioWriter(tmp_path / f"{name}.wav", sample_rate=48000, n_channels=2) as writer:
            writer.write(noise(48_000, 2, seed=index))
    stems = [tmp_path / "keys.wav", tmp_path / "lead.wav"]
    report = render_plan(build_plan(stems, parse_preset(PRESET, "test"), out_dir=tmp_path / "out"))
    assert report.failed == ()
    return report.manifest


def alter(path: Path, level: float) -> None:
    """Add noise to a file."""
    samples, sample_rate = read_audio(path)
    with AudioWriter(
        path, sample_rate=sample_rate, n_channels=2, subtype=read_info(path).subtype, overwrite=True
    ) as writer:
        writer.write(samples + np.float32(level) * noise(samples.shape[1], 2, seed=9))


def test_a_render_is_reproduced_and_left_as_it_was(rendered: Path) -> None:
    """Every stem is bit-exact, and the folder holds what it held."""
    before = {path: path.read_bytes() for path in rendered.parent.iterdir()}
    verdicts = verify_manifest(read_manifest(rendered))
    assert [(v.name, v.is_bit_exact, v.is_output_intact) for v in verdicts] == [
        ("keys", True, True), ("lead", True, True),
    ]  # fmt: skip
    assert {path: path.read_bytes() for path in rendered.parent.iterdir()} == before


def test_a_changed_output_is_found(rendered: Path) -> None:
    """An output edited after the render is named, whatever the tolerance."""
    alter(Path(read_manifest(rendered).plan.stems[0].target), 0.01)
    keys, lead = verify_manifest(read_manifest(rendered))
    assert keys.is_bit_exact
    assert keys.is_output_intact is False
    assert not keys.is_within(0)
    assert lead.is_within(-200)


def test_a_residual_is_measured(rendered: Path) -> None:
    """Where the new render differs from the old, the difference is stated and judged by the tolerance."""
    from bridge.audio.hashing import hash_samples

    manifest = read_manifest(rendered)
    target = Path(manifest.plan.stems[0].target)
    alter(target, 1e-4)  # as if another machine had made it
    record = manifest.stems["keys"].model_copy(update={"sha256_samples": hash_samples(target)})
    write_manifest(manifest.with_stem("keys", record), rendered)
    keys, _ = verify_manifest(read_manifest(rendered))
    assert not keys.is_bit_exact
    assert keys.comparison is not None
    # Noise of RMS 0.2 at 1e-4 peaks about 13 dB above its RMS.
    assert keys.comparison.peak_dbfs == pytest.approx(-94 + 13, abs=3)
    assert keys.is_within(-70)
    assert not keys.is_within(-100)


def test_the_command_says_it_and_exits_by_it(rendered: Path) -> None:
    """Exit 0 with every stem named bit-exact; 1 once one is not."""
    done = CliRunner().invoke(app, [str(rendered)])
    assert (done.exit_code, done.stdout) == (0, "keys: bit-exact\nlead: bit-exact\n")
    alter(Path(read_manifest(rendered).plan.stems[1].target), 0.01)
    done = CliRunner().invoke(app, [str(rendered), "--json"])
    assert done.exit_code == 1
    assert [stem["is_within"] for stem in json.loads(done.stdout)["stems"]] == [True, False]


def test_nothing_finished_is_nothing_to_verify(rendered: Path) -> None:
    """A manifest without finished stems is refused with the next step."""
    with pytest.raises(InputError, match="render it first"):
        verify_manifest(Manifest.begin(read_manifest(rendered).plan))
