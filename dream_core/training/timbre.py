"""Train the network `timbre`: `python -m dream_core.training.timbre`. See README.md for what it makes.

Seeded and resumable: the state after every epoch is kept in the run's folder, and each epoch draws its
batches from the seed and its own number, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from dataclasses import replace
from pathlib import Path

import torch

from dream_core.networks.mel_cnn import write
from dream_core.networks.timbre import CARD, CLASSES, SHIPPED_WEIGHTS, SPEC
from dream_core.training.model_card import model_card
from dream_core.training.notes import BANKS, NoteBank, join, render_notes
from dream_core.training.synthesis import synthesise_notes
from dream_core.training.training_loop import TrainingSettings, train, validate

_DATA = """{n_notes} single notes of {n_presets} presets of the soundfonts FluidR3 GM (MIT licence), MuseScore
General, which grew out of it (MIT), and OPL-3 FM (GPL-3+), rendered by FluidSynth at the pitches of each
family's playing range, 0.12 to 1.4 s long, with random tuning, reverb and chorus; and {n_drawn} notes of
instruments drawn by chance, additive, FM and plucked. Batches draw families alike often and make of them
single notes and chords, of one preset or of several; speed, onset, equaliser, room, noise and level vary,
some sounds are mixed and parts of the log-mel masked.

The last {attack_epochs} of {n_epochs} epochs are under attack: every sound is changed as a dream would change
it, by {attack_steps} steps of gains on its log-mel of up to {attack_nepers:g} nepers, towards a family it is
not, and is still to be heard as what it is; half as much the sounds as they are count. A dream that
convinces such a network moves what others hear somewhat further."""

_SPLIT = """Whole programs were held out of every soundfont, one of each family (General MIDI number % 8 == 5,
counted from 0): EP 2, xylophone, accordion, overdriven guitar, slap bass 2, pizzicato strings, voice oohs,
brass section, English horn, shakuhachi and the lead called "voice". No note of them, nor of their variations
in other banks, was heard in training, and no epoch was chosen by them: the last one is kept. Families are
General MIDI's groups: the lead "voice" counts as `synth_lead` although it sounds like a voice. Nothing at all
was learnt from the soundfont TimGM6mb, which is measured beside them."""

_UNHEARD = NoteBank(
    name="timgm",
    soundfont=Path("/usr/share/sounds/sf2/TimGM6mb.sf2"),
    package="timgm6mb-soundfont",
    pitch_step=5,
    velocities=(50, 100),
)
_SYNTHESISED = 400
"""Notes of each family that no soundfont has."""


def _parse(arguments: list[str]) -> argparse.Namespace:
    defaults = TrainingSettings()
    parser = argparse.ArgumentParser(prog="python -m dream_core.training.timbre", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/timbre"), help="notes and checkpoints")
    parser.add_argument("--out", type=Path, default=Path("data/timbre") / SHIPPED_WEIGHTS.name)
    parser.add_argument("--epochs", type=int, default=defaults.epochs, help="on sounds as they are")
    parser.add_argument(
        "--attack-epochs", type=int, default=defaults.attack_epochs, help="then, under attack"
    )
    parser.add_argument(
        "--attack-nepers",
        type=float,
        default=defaults.attack_nepers,
        help="how far the attack goes; 0 is the control, the same training without it",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Render the notes, train, write the weights, print what is heard in the held-out programs."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    torch.set_num_threads(options.threads)
    rate = SPEC.frontend.sample_rate
    rendered = [render_notes(bank, options.data / "notes", sample_rate=rate, report=_say) for bank in BANKS]
    notes = join([*rendered, synthesise_notes(_SYNTHESISED, rate, options.seed)])
    heard = {bank.soundfont.stem: table for bank, table in zip(BANKS, rendered, strict=True)}
    settings = TrainingSettings(
        epochs=options.epochs,
        attack_epochs=options.attack_epochs,
        attack_nepers=options.attack_nepers,
        seed=options.seed,
    )
    network, _ = train(notes, options.data, settings, _say)
    unheard = render_notes(_UNHEARD, options.data / "notes", sample_rate=rate, report=_say)
    unheard = replace(unheard, held_out=unheard.families >= 0)
    text = model_card(
        CARD,
        {
            f"Accuracy on what was held out of {name}": validate(network, table)
            for name, table in heard.items()
        }
        | {"Accuracy on a soundfont it never heard": validate(network, unheard)},
        data=_DATA.format(
            n_notes=sum(len(table.families) for table in rendered),
            n_presets=sum(len(presets) for bank in BANKS for presets in bank.presets.values()),
            n_drawn=_SYNTHESISED * len(CLASSES),
            n_epochs=settings.epochs + settings.attack_epochs,
            attack_epochs=settings.attack_epochs,
            attack_steps=settings.attack_steps,
            attack_nepers=settings.attack_nepers,
        ),
        split=_SPLIT,
        command=(
            f"python -m dream_core.training.timbre --epochs {options.epochs} --attack-epochs "
            f"{options.attack_epochs} --attack-nepers {options.attack_nepers:g} --seed {options.seed}"
        ),
        made_on=dt.date.today().isoformat(),
        sha256=write(options.out, network),
    )
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    _say(text)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command


if __name__ == "__main__":
    main()
