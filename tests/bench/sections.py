"""Compare random sections of a song with the same samples of the whole, for every factory preset.

Run ``PYTHONPATH=.:tests python tests/bench/sections.py`` from the repository; ``--sections N``,
``--seconds S`` and ``--preset NAME`` say how much. It writes `sections.md`, where a preset's row replaces
the one it had. Levels are kept
(``level.mode=keep``): one that is matched over a part may be another. Presets whose network is not
installed are named and left out.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from bridge import build_plan, render_plan
from bridge.arrays import Float64Array
from bridge.errors import ReverieError
from bridge.plan.model import Plan
from bridge.plan.section import Section
from bridge.presets.library import preset_folders

SONG = Path("examples/song")


def render(
    stems: list[Path], preset: str, out: Path, section: Section | None
) -> tuple[Plan, Float64Array, float]:
    """Render stems; return their plan, the first's samples and the seconds of the processor it took."""
    began = time.process_time()
    plan = build_plan(
        stems,
        f"factory:{preset}",
        out_dir=out,
        midi=SONG / "song.mid",
        settings=("level.mode=keep",),
        section=section,
        subtype="float",
        device="cpu",
    )
    report = render_plan(plan, overwrite=True)
    if report.failed:
        raise ReverieError(report.failed[0].error)
    took_s = time.process_time() - began
    return plan, soundfile.read(plan.stems[0].target, always_2d=True)[0], took_s


def stems_for(preset: str) -> list[str]:
    """Return the stems a preset is given: the keys, and the lead where it speaks of one."""
    text = dict(preset_folders())["factory"].joinpath(f"{preset}.toml").read_text(encoding="utf-8")
    return ["keys", "lead"] if '"lead"' in text or "stem:lead" in text else ["keys"]


def cut_stem(name: str, seconds: float, folder: Path) -> Path:
    """Write a stem of the example song, repeated or cut to so many seconds."""
    sound, rate = soundfile.read(SONG / f"{name}.flac", always_2d=True)
    path = folder / f"{name}.wav"
    whole = np.resize(sound, (round(seconds * rate), sound.shape[1]))
    soundfile.write(path, whole, rate, subtype="FLOAT")
    return path


def rows(names: list[str], n_sections: int, seconds: float) -> Iterator[str]:
    """Yield a row of the table for each preset."""
    rng = np.random.default_rng(20)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            stems = [cut_stem(stem, seconds, Path(folder)) for stem in stems_for(name)]
            try:
                _, whole, whole_s = render(stems, name, Path(folder) / "whole", None)
                apart, took, share = [], 0.0, 0.0
                for number in range(n_sections):
                    start, length = rng.uniform(0.3, 0.7) * seconds, rng.uniform(0.05, 0.2) * seconds
                    part = Section(start=f"{start:.4f}", end=f"{start + length:.4f}", name=f"part{number}")
                    plan, sounds, one_s = render(stems, name, Path(folder) / "part", part)
                    first, last = plan.stems[0].section or (0, 0)
                    apart.append(np.abs(sounds[first:last] - whole[first:last]).max())
                    took, share = took + one_s, share + length / seconds
            except ReverieError as error:
                yield f"| `{name}` | left out: {str(error)[:90]} | | | |"
                continue
            worst = max(apart)
            text = "bit-exact" if worst == 0 else f"{20 * np.log10(worst):.0f} dB"
            took, share = took / n_sections, share / n_sections
            yield f"| `{name}` | {text} | {whole_s:.1f} | {took:.1f} | {share:.0%} |"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sections", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--preset", action="append")
    parser.add_argument("--out", type=Path, default=Path("tests/bench/sections.md"))
    given = parser.parse_args()
    names = given.preset or sorted(path.stem for path in dict(preset_folders())["factory"].glob("*.toml"))
    command = f"sections.py --sections {given.sections} --seconds {given.seconds:g}"
    head = (
        "# Sections against the whole, measured\n\n"
        f"Made by `PYTHONPATH=.:tests python tests/bench/{command}` on {platform.machine()}:\n"
        "random sections of the example song's keys, levels kept. Seconds are of the processor; the\n"
        "last column is how much of the song a section is.\n\n"
        "| preset | largest difference | whole, s | a section, s | its share of the song |\n"
        "|---|---|---|---|---|\n"
    )
    before = given.out.read_text(encoding="utf-8").splitlines() if given.out.exists() else []
    lines = {line.split("`")[1]: line for line in before if line.startswith("| `")}
    for row in rows(names, given.sections, given.seconds):
        print(row, flush=True)
        lines[row.split("`")[1]] = row
        table = "\n".join(lines[name] for name in sorted(lines))
        given.out.write_text(f"{head}{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
