"""When a dream moves a sound towards a family of instruments: who hears it move, and what does it suffer?

    python tests/bench/transfer.py --half choose --notes 10 --dream "A=n_fft=8192,smooth_frames=4" --out t.md

Notes of TimGM6mb are changed in several ways (`transfer_rows`) towards six families that they are not of, and
heard by judges that took no part (`transfer_judges`). Settings are chosen on the even programs of the
soundfont (`--half choose`) and reported on the odd ones (`--half report`). Judged columns:

- `top-1`   how often a judge hears the target most, of the six families, or of those it has a word for
- `+`       how far the target's log-odds against the others rise, in nats, mean over the notes
- `outside` the mean over all judges but `timbre` and those that take part in the row, with the standard error
            over the notes; `own` marks judges that take part

What the sound suffers (`transfer_measures`), means over the notes where nothing else is said:

- `onsets`  correlation of the onset envelopes, dry and changed
- `mel`     distance of the log-mel spectrograms, dB, and `static`, which share of it one equaliser would make
- `thirds`  how far a third of an octave moves at most: median and 95th percentile over the notes, dB
- `tremolo` what is added to the level of held notes from 2 to 12 Hz, rms dB, at which rate mostly; `bands`:
            the same in mel bands
- `noise`   log kurtosis ratio (musical noise)
- `crest`   change of the crest factor, dB; `LU` of the loudness, the largest either way
- `quiet`   how far passages below -60 dBFS rise at most, dB
- `edges`   how much more the timbre of held notes steps at window edges than elsewhere, dB
- `CPU`     processor time, relative to the first dream
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import transfer_measures as measures  # noqa: E402
from transfer_judges import Judges, accuracies, fit_judges  # noqa: E402
from transfer_notes import FAMILIES, HALVES, RATE, TIM, Pair, choose_pairs, even_notes, render  # noqa: E402
from transfer_page import write_page  # noqa: E402
from transfer_rows import (  # noqa: E402
    PLAIN_ROWS,
    FamilyMeans,
    Row,
    change,
    default_dreams,
    measure_means,
    own_judges,
    parse_dream,
)
from transfer_tables import Outcome, write_tables  # noqa: E402

from dream_core import DreamSettings  # noqa: E402
from dream_core.runtime import set_threads  # noqa: E402

_SUSTAIN_S = (0.5, 8.2)
_PAGE_NOTES = 2


@dataclass(frozen=True, slots=True)
class Job:
    """A row and the sounds it changes, for one process."""

    row: Row
    pairs: tuple[Pair, ...]


def measure(row: Row, pair: Pair, wet: NDArray[np.float32]) -> dict[str, float]:
    """Return what a sound has suffered."""
    dry_mono, wet_mono = pair.sound.mean(axis=0), wet.mean(axis=0)
    dry_mel, wet_mel = measures.log_mel_db([dry_mono, wet_mono], RATE)
    if pair.kind == "held":
        settings = DreamSettings(**row.settings)  # type: ignore[arg-type]
        hop_s, length_s = settings.window_s - settings.cross_fade_s, pair.sound.shape[1] / RATE
        edges_s = np.arange(hop_s, length_s, hop_s) + settings.cross_fade_s / 2
        depth, rate = measures.tremolo(dry_mono, wet_mono, RATE, *_SUSTAIN_S)
        return {
            "tremolo": depth,
            "rate": rate,
            "bands": measures.band_tremolo_db(dry_mono, wet_mono, RATE, *_SUSTAIN_S),
            "edges": measures.edge_step_db(dry_mel, wet_mel, RATE, edges_s.tolist()),
        }
    return {
        "onsets": measures.onset_correlation(dry_mel, wet_mel),
        "mel": measures.log_mel_distance_db(dry_mel, wet_mel),
        "static": measures.static_share(dry_mel, wet_mel),
        "thirds": float(np.abs(measures.third_octave_changes_db(dry_mono, wet_mono, RATE)).max()),
        "noise": measures.log_kurtosis_ratio(dry_mono, wet_mono),
        "crest": measures.crest_change_db(dry_mono, wet_mono),
        "LU": measures.loudness_change_lu(pair.sound, wet, RATE),
        "quiet": measures.quiet_rise_db(dry_mono, wet_mono),
    }


def work(job: Job, judges: Judges, means: FamilyMeans) -> list[Outcome]:
    """Change a row's sounds, judge and measure them."""
    set_threads(1)
    outcomes = []
    for pair in job.pairs:
        began = time.process_time()
        wet = change(job.row, pair, means)
        cpu_s = time.process_time() - began
        if wet is None:
            continue
        outcome = Outcome(
            row=job.row.name,
            index=pair.index,
            kind=pair.kind,
            source=pair.source,
            target=pair.target,
            scores={} if pair.kind == "held" else judges.judge(wet, pair.f0_hz),
            measures=measure(job.row, pair, wet),
            cpu_s=cpu_s,
        )
        outcomes.append(outcome)
    return outcomes


def run(
    jobs: Sequence[Job], judges: Judges, means: FamilyMeans, n_processes: int
) -> Iterator[tuple[Job, list[Outcome]]]:
    """Do all jobs, as they are done."""
    if n_processes == 1:
        for job in jobs:
            yield job, work(job, judges, means)
        return
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(work, job, judges, means): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def examine(judges: Judges, half: str, cache: Path) -> Mapping[str, tuple[float, int]]:
    """Return how often judges are right on undreamed notes of a half."""
    notes = even_notes(HALVES[half], 8, (80,))
    sounds = render(notes, TIM, cache)
    judged = [
        (note.family, judges.judge(sound[None], note.f0_hz))
        for note, sound in zip(notes, sounds, strict=True)
        if np.abs(sound).max() > 0
    ]
    return accuracies(judged)


def _jobs(rows: Sequence[Row], pairs: Sequence[Pair]) -> list[Job]:
    return [
        Job(row, tuple(pair for pair in pairs if pair.target == target))
        for row in rows
        for target in FAMILIES
    ]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=tuple(HALVES), default="choose")
    parser.add_argument("--notes", type=int, default=60, help="per target family")
    parser.add_argument("--held", type=int, help="held notes per target family; a sixth of the notes")
    parser.add_argument("--stems", action="store_true", help="the example song's stems too")
    parser.add_argument("--dream", action="append", default=[], metavar="NAME=KEY=VALUE,KEY=VALUE")
    parser.add_argument("--rows", default=",".join(PLAIN_ROWS), help="which rows without a class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "reverie-transfer")
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="a page to listen to the dreams")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.plain = [name.strip() for name in arguments.rows.split(",") if name.strip()]
    if strange := [name for name in arguments.plain if name not in PLAIN_ROWS]:
        parser.error(f"--rows {strange[0]!r}; {', '.join(PLAIN_ROWS)} are accepted")
    if arguments.held is None:
        arguments.held = max(1, arguments.notes // 6)
    return arguments


def main() -> None:
    """Measure everything and write the tables."""
    arguments = _arguments()
    set_threads(1)
    dreams = [parse_dream(text) for text in arguments.dream] or default_dreams()
    # The undreamed sounds are always judged: all else is compared with them.
    plain = ["no dream", *(name for name in arguments.plain if name != "no dream")]
    rows = [*(Row(name=name) for name in plain), *dreams]
    judges = fit_judges(arguments.half, arguments.cache, _tell)
    means = measure_means(arguments.cache)
    _tell("judges are examined")
    worth = examine(judges, arguments.half, arguments.cache)
    pairs = choose_pairs(
        arguments.half,
        arguments.notes,
        arguments.held,
        arguments.seed,
        arguments.cache,
        with_stems=arguments.stems,
    )
    outcomes: list[Outcome] = []
    jobs, began = _jobs(rows, pairs), time.monotonic()
    for done, (job, found) in enumerate(run(jobs, judges, means, arguments.jobs), start=1):
        outcomes += found
        _tell(f"{done}/{len(jobs)} {time.monotonic() - began:.0f} s: {job.row.name}, {job.pairs[0].target}")
    text = write_tables(
        rows, outcomes, worth, {row.name: own_judges(row) for row in rows}, judges.missing, vars(arguments)
    )
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    if arguments.page:
        few = [pair for job in _jobs(rows[:1], pairs) for pair in job.pairs[:_PAGE_NOTES]]
        write_page(arguments.page, dreams, few, means, arguments.half, arguments.cache)


if __name__ == "__main__":
    main()
