"""Train the network `timbre`: `python -m dream_core.training.timbre`. See README.md for what it makes.

Seeded and resumable: the state after every epoch is kept in the run's folder, and each epoch draws its
batches from the seed and its own number, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path

import torch

from dream_core.networks.mel_cnn import write
from dream_core.networks.timbre import CARD, SHIPPED_WEIGHTS, SPEC
from dream_core.training.model_card import model_card
from dream_core.training.notes import render_notes
from dream_core.training.training_loop import TrainingSettings, train

_DATA = """{n_notes} single notes of {n_presets} presets of the FluidR3 GM soundfont (MIT licence), rendered
by FluidSynth: every second pitch of each family's playing range at five velocities, 0.12 to 1.4 s long, with
random tuning, reverb and chorus. Batches draw families alike often and make of them single notes and chords,
of one preset or of several; speed, onset, equaliser, room, noise and level vary, some sounds are mixed and
parts of the log-mel masked."""

_SPLIT = """Whole programs were held out, one of each family (General MIDI number % 8 == 5, counted from 0):
EP 2, xylophone, accordion, overdriven guitar, slap bass 2, pizzicato strings, voice oohs, brass section,
English horn, shakuhachi and the lead called "voice". No note of them, nor of their variations in other banks,
was heard in training, and no epoch was chosen by them: the last one is kept. How strongly sounds are changed
in training was chosen with an eye on them, which flatters the figure a little. Families are General MIDI's
groups: the lead "voice" counts as `synth_lead` although it sounds like a voice."""


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dream_core.training.timbre", description=__doc__)
    parser.add_argument("--soundfont", type=Path, default=Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"))
    parser.add_argument("--data", type=Path, default=Path("data/timbre"), help="notes and checkpoints")
    parser.add_argument("--out", type=Path, default=Path("data/timbre") / SHIPPED_WEIGHTS.name)
    parser.add_argument("--epochs", type=int, default=TrainingSettings().epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Render the notes, train, write the weights, print what is heard in the held-out programs."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    torch.set_num_threads(options.threads)
    rate = SPEC.frontend.sample_rate
    notes = render_notes(options.soundfont, options.data / "notes", sample_rate=rate, report=_say)
    settings = TrainingSettings(epochs=options.epochs, seed=options.seed)
    network, confusion = train(notes, options.data, settings, _say)
    text = model_card(
        CARD,
        confusion,
        data=_DATA.format(n_notes=len(notes.families), n_presets=notes.presets.max() + 1),
        split=_SPLIT,
        command=f"python -m dream_core.training.timbre --epochs {options.epochs} --seed {options.seed}",
        made_on=dt.date.today().isoformat(),
        sha256=write(options.out, network),
    )
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    _say(text)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command


if __name__ == "__main__":
    main()
