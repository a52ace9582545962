"""A page to listen to: each note as it is, dreamed, and a note of the family it was to become."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from transfer_notes import HALVES, RATE, TIM, Pair, even_notes, render
from transfer_rows import FamilyMeans, Row, change

__all__ = ["write_page"]

_STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:80em}td,th{padding:.3em .6em;text-align:left}"
    "audio{width:14em;height:2em}"
)


def write_page(
    folder: Path, dreams: Sequence[Row], pairs: Sequence[Pair], means: FamilyMeans, half: str, cache: Path
) -> None:
    """Write sounds and a page of them into a folder, which is made.

    Args:
        folder: Where to.
        dreams: The rows to hear.
        pairs: The sounds to dream.
        means: What families are like.
        half: Whose notes the examples are of.
        cache: Of rendered notes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    examples = even_notes(HALVES[half], 8, (80,))
    sounds = render(examples, TIM, cache)
    lines = []
    for pair in pairs:
        cells = [_player(folder, f"{pair.index:04d}-dry", pair.sound)]
        for number, row in enumerate(dreams):
            wet = change(row, pair, means)
            assert wet is not None
            cells.append(_player(folder, f"{pair.index:04d}-dream{number}", wet))
        nearest = min(
            (
                index
                for index, note in enumerate(examples)
                if note.family == pair.target and sounds[index].any()
            ),
            key=lambda index: abs(np.log(examples[index].f0_hz / (pair.f0_hz or 220.0))),
        )
        cells.append(_player(folder, f"{pair.index:04d}-target", sounds[nearest][None]))
        what = html.escape(f"{pair.source} to {pair.target}, {pair.kind}")
        lines.append(f"<tr><td>{what}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = ["", "dry", *(html.escape(row.name) for row in dreams), "an example of the target"]
    table = f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>" + "\n".join(lines)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Transfer</title>'
        f"<style>{_STYLE}</style><h1>Transfer</h1><table>{table}</table></html>\n"
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def _player(folder: Path, name: str, sound: NDArray[np.float32]) -> str:
    soundfile.write(folder / f"{name}.wav", sound.T, RATE, subtype="FLOAT")
    return f'<audio controls preload="none" src="{name}.wav"></audio>'
