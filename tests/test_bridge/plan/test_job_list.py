"""Job lists: what they hold, what they refuse, and that no two jobs get in each other's way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.session import write_midi, write_preset, write_stem

from bridge.errors import InputError, OutputError, PlanError
from bridge.plan.job import Job
from bridge.plan.job_list import build_batch, read_jobs
from bridge.render.event_log import EventLog
from bridge.render.manifest import read_manifest
from bridge.render.runner import render_plans

DRY = """
[[variations]]
name = "low"
set = { "dream.mix" = 0.2 }

[[variations]]
name = "high"
set = { "dream.mix" = 0.9 }
"""


@pytest.fixture
def session(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_stem(tmp_path / "stems" / f"{name}.wav", seconds=0.3)
    write_preset(tmp_path, name="one", depth=0.0, more=DRY)
    write_preset(tmp_path, name="two", depth=0.0)
    return tmp_path


def targets(plans: object) -> list[str]:
    return sorted(Path(stem.target).name for plan in plans for stem in plan.stems)  # type: ignore[attr-defined]


def test_a_job_multiplies_stems_presets_variations_and_midi(session: Path) -> None:
    """Two stems, one preset, itself and two variations, two songs: twelve outputs under twelve names."""
    songs = [write_midi(session / f"{name}.mid", []) for name in ("verse", "chorus")]
    job = Job(
        stems=[session / "stems"],
        preset=str(session / "one.toml"),
        variation=["", "low", "high"],
        midi=songs,
        out=session / "out",
        name="{stem}_{midi}[_{variation}]",
    )
    plans = build_batch([job])

    assert len(plans) == 6
    assert len(set(targets(plans))) == 12
    assert "b_chorus_low.wav" in targets(plans)
    assert len({plan.name for plan in plans}) == 6


def test_toml_and_csv_say_the_same(session: Path) -> None:
    """The same jobs in either form give the same plans; paths are relative to the list."""
    (session / "jobs.toml").write_text(
        'out = "out"\nstems = "stems"\n[[jobs]]\npreset = ["one.toml", "two.toml"]\n'
        '[[jobs]]\npreset = "one.toml"\nvariation = "low"\nseed = 3\n'
    )
    (session / "jobs.csv").write_text(
        "stems,preset,variation,seed,out\nstems,one.toml;two.toml,,,out\nstems,one.toml,low,3,out\n"
    )
    toml, listed = read_jobs(session / "jobs.toml"), read_jobs(session / "jobs.csv")

    assert [p.to_json() for p in build_batch(toml)] == [p.to_json() for p in build_batch(listed)]
    assert len(build_batch(toml)) == 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.csv", "stems,preset,varation,out\na,b,c,d\n", ["x.csv:2", "'varation'", "'variation'"]),
        ("x.csv", "stems,preset,out\na,b\n", ["x.csv:2", "2 cells under a header of 3"]),
        ("x.csv", "stems,out\na,b\n", ["x.csv:2", "'preset' is missing"]),
        ("x.csv", "", ["holds no jobs"]),
        ("x.csv", 'stems,preset,out\n"a,b,c\n', ["x.csv", "not valid CSV"]),
        ("x.toml", '[[jobs]]\nstems="a"\npreset="b"\nout="c"\nbpmm=3\n', ["x.toml:5", "'bpmm'", "'bpm'"]),
        (
            "x.toml",
            '[[jobs]]\nstems="a"\npreset="b"\nout="c"\nbpm=0\n',
            ["x.toml:1", "0.0 BPM is outside 1..1000"],
        ),
        ("x.toml", '[[jobs]]\nstems="a"\npreset="b"\nout=""\n', ["out = ''", "is empty"]),
        ("x.toml", '[[jobs]]\nstems="a"\npreset="b"\nout="c"\nrate=0\n', ["rate = 0", "8000"]),
        ("x.toml", '[[jobs]]\nstems="a"\npreset="b"\nout_dir="c"\n', ["x.toml:4", "'out_dir'", "'out'"]),
        ("x.toml", '[[jobs]]\nstems="a"\npreset="b"\nout="c"\nmeter=[7,3]\n', ["x.toml:1", "meter 7/3"]),
        (
            "x.toml",
            '[[jobs]]\nstems="a"\npreset="b"\nout=""\n[[jobs]]\nstems="a"\npreset="b"\nout="c"\nrate=0\nx=1\n',
            ["x.toml:1: out = ''", "x.toml:10: no key 'x'", "rate = 0"],
        ),
        ("x.toml", "[[jobs]\n", ["not valid TOML"]),
        ("x.toml", "jobs = 3\n", ["[[jobs]]"]),
        ("x.txt", "", [".toml or a .csv"]),
    ],
)
def test_a_wrong_list_is_one_line(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    """What is wrong is named with its line and what is accepted."""
    (tmp_path / name).write_text(text)
    with pytest.raises(PlanError) as caught:
        read_jobs(tmp_path / name)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_two_jobs_never_write_to_one_file(session: Path) -> None:
    """One name for two outputs, or two settings of one preset in one folder, are refused before any sound."""
    job = Job(stems=[session / "stems"], preset=str(session / "one.toml"), out=session / "out")
    with pytest.raises(OutputError, match="two jobs render a stem 'a'"):
        build_batch([job, job])
    with pytest.raises(OutputError, match="other settings"):
        build_batch([job, job.model_copy(update={"seed": 1})])
    songs = [write_midi(session / f"{name}.mid", []) for name in ("verse", "chorus")]
    with pytest.raises(InputError, match="other settings"):
        build_batch([job.model_copy(update={"midi": tuple(songs)})])


def test_a_batch_renders_all_and_logs_it(session: Path) -> None:
    """Every plan has its manifest; the log tells each stem's way; a second run keeps everything."""
    job = Job(
        stems=[session / "stems"],
        preset=(str(session / "one.toml"), str(session / "two.toml")),
        out=session / "out",
    )
    for jobs, status in ((2, "done"), (1, "kept")):
        log = session / f"{status}.jsonl"
        with EventLog(log) as events:
            plans = build_batch([job])
            events.begin(plans)
            reports = render_plans(
                plans, jobs=jobs, on_progress=events.on_progress, on_result=events.on_result
            )
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["event"] for line in lines].count(status) == 4
        assert [line["event"] for line in lines].count("begin") == 2
        assert lines[-1]["event"] == "end"
        assert lines[-1]["error"] is None
        assert [len(read_manifest(report.manifest).stems) for report in reports] == [2, 2]
    assert len(list((session / "out").glob("*.wav"))) == 4
    assert not [path for path in (session / "out").iterdir() if path.name.startswith(".")]


def test_other_stems_of_the_same_render_join_its_manifest(session: Path) -> None:
    """What is rendered later with the same settings is added; with other settings it is refused."""

    def job(stem: str, seed: int = 0) -> Job:
        return Job(
            stems=[session / "stems" / stem], preset=str(session / "one.toml"), out=session / "out", seed=seed
        )

    render_plans(build_batch([job("a.wav")]))
    (report,) = render_plans(build_batch([job("b.wav")]))
    assert sorted(read_manifest(report.manifest).stems) == ["a", "b"]
    assert [stem.name for stem in report.stems] == ["b"]
    (session / "out" / "a__one.wav").unlink()
    with pytest.raises(OutputError, match="other settings"):
        render_plans(build_batch([job("a.wav", seed=1)]))
