"""Write what a trained network is, what it was trained on and how well it hears, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dream_core.networks.card import NetworkCard, head_sizes

__all__ = ["confusion_table", "model_card", "model_text"]


def confusion_table(confusion: NDArray[np.int64], classes: tuple[str, ...]) -> str:
    """Write confusion counts as a Markdown table, rows the truth, columns what was heard."""
    lines = ["| | " + " | ".join(classes) + " | right |", "|---" * (len(classes) + 2) + "|"]
    for index, name in enumerate(classes):
        row = confusion[index]
        cells = " | ".join(str(count) if count else "" for count in row)
        lines.append(f"| **{name}** | {cells} | {row[index] / max(1, row.sum()):.0%} |")
    return "\n".join(lines)


def accuracy_line(confusion: NDArray[np.int64], things: str = "notes") -> str:
    """Say how many were heard right, of all notes and as a mean over the classes."""
    recalls = confusion.diagonal() / np.maximum(1, confusion.sum(axis=1))
    share = confusion.trace() / confusion.sum()
    return f"{share:.1%} of {confusion.sum()} {things}; mean over the classes {recalls.mean():.1%}"


def model_card(
    card: NetworkCard,
    confusions: Mapping[str, NDArray[np.int64]],
    *,
    data: str,
    split: str,
    command: str,
    made_on: str,
    sha256: str,
    things: str = "notes",
) -> str:
    """Write the model card.

    Args:
        card: The network's own card.
        confusions: Counts ``(true class, heard class)`` by heading: of what was held out, of another
            soundfont.
        data: What it was trained on, with licence.
        split: What was held out, and why that is fair.
        command: The exact command that trained it.
        made_on: ISO date.
        sha256: Of the weights file.
        things: What was counted.
    """
    tables = "\n\n".join(
        f"## {heading}\n\n{accuracy_line(confusion, things)}. Rows are the truth, columns what was heard:\n\n"
        f"{confusion_table(confusion, card.classes[: head_sizes(card)[0]])}"
        for heading, confusion in confusions.items()
    )
    return model_text(card, tables, data=data, split=split, command=command, made_on=made_on, sha256=sha256)


def model_text(
    card: NetworkCard, results: str, *, data: str, split: str, command: str, made_on: str, sha256: str
) -> str:
    """Write the model card around results that are written already; arguments are those of `model_card`."""
    lowest_hz, highest_hz = card.band_hz
    layers = ", ".join(f"`{layer.name}` ({layer.n_channels})" for layer in card.layers)
    return f"""# {card.name}

{card.title} {card.description}

| | |
|---|---|
| hears | {lowest_hz:g} to {highest_hz:g} Hz at {card.sample_rate} Hz, {card.patch_s:.2f} s at a time |
| layers (channels) | {layers} |
| classes | {", ".join(card.classes)} |
| parameters | {card.n_parameters:,} |
| licence | {card.licence} |
| made on | {made_on} |
| sha256 | `{sha256}` |
| command | `{command}` |

## Data

{data}

## Split

{split}

{results}
"""
