"""The recipe of the shipped network `timbre`: its notes, and what today's loop makes of them.

Its run file is `dream_core/networks/timbre.toml`: `reverie networks train --run timbre` renders the notes and
trains.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.errors import DataError
from dream_core.networks.kinds.options import parse_options
from dream_core.networks.mel_cnn import KIND, MelCnn, fold_batch_norm, write
from dream_core.networks.timbre import CARD, CLASSES, SPEC
from dream_core.training import augmentation
from dream_core.training.evaluation import Heard, hear_rows
from dream_core.training.heads import from_onset, head_features, join_heads, refit_head
from dream_core.training.learner import Learner, Rows
from dream_core.training.loop import Trained, begin_run, run_record
from dream_core.training.model_card import model_card
from dream_core.training.norms import measure_norms
from dream_core.training.notes import BANKS, NoteBank, NoteTable, join, render_notes
from dream_core.training.run import EpochReport
from dream_core.training.run_folder import CHECKPOINT, write_run, write_text
from dream_core.training.run_settings import RunSettings
from dream_core.training.sampler import NoteSampler
from dream_core.training.segment_rows import RowParts
from dream_core.training.synthesis import synthesise_notes

__all__ = ["NoteSegments", "TimbreOptions", "learn_timbre", "train_timbre"]

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


_ONE_HEAD = replace(SPEC, n_embedding=SPEC.n_embedding // 2)
"""What is trained; the shipped network has two heads, see `dream_core.training.heads`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimbreOptions:
    """What the recipe depends on besides the settings of its run.

    Args:
        dropout: Of the embedding.
        plain_share: How much the head fitted on sounds as they are counts, beside the attacked one.
        synthesised: Notes of each family that no soundfont has.
    """

    dropout: float = field(default=0.25, metadata={"low": 0.0, "high": 0.9})
    plain_share: float = field(default=1.0, metadata={"low": 0.0, "high": 100.0})
    synthesised: int = field(default=400, metadata={"low": 1, "high": 100_000})


@dataclass(frozen=True, slots=True)
class NoteSegments:
    """Notes as a data set; see `dream_core.training.segments.Segments`. What is held out validates."""

    table: NoteTable

    @property
    def classes(self) -> tuple[str, ...]:
        """Families of instruments."""
        return CLASSES

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.table.sample_rate

    @property
    def segment_samples(self) -> int:
        """Length of each note."""
        return int(self.table.waveforms.shape[1])

    @property
    def licence(self) -> str:
        """Of the network; soundfonts have their own."""
        return CARD.licence

    @property
    def sha256(self) -> str:
        """Of all notes and what they are."""
        digest = hashlib.sha256()
        for told in (self.table.waveforms, self.labels, self.groups, self.splits):
            digest.update(np.ascontiguousarray(told).data)
        return digest.hexdigest()

    @property
    def labels(self) -> NDArray[np.int64]:
        """Families."""
        return self.table.families.astype(np.int64)

    @property
    def groups(self) -> NDArray[np.int64]:
        """Presets."""
        return self.table.presets.astype(np.int64)

    @property
    def splits(self) -> NDArray[np.int8]:
        """1 what is held out, 0 the rest."""
        return self.table.held_out.astype(np.int8)

    @property
    def pitches(self) -> NDArray[np.int64]:
        """Unknown."""
        return np.full(len(self.table.families), -1, dtype=np.int64)

    @property
    def encoding(self) -> None:
        """Sounds are kept, no frames."""
        return

    def frames(self, rows: NDArray[np.int64]) -> Tensor:
        """Refuse: there are none.

        Raises:
            DataError: Always.
        """
        raise DataError(f"notes are kept as sounds; there are no log-mel frames of {len(rows)} of them")

    @property
    def notes(self) -> None:
        """Which keys are down when is not asked here."""
        return

    def sounds(self, rows: NDArray[np.int64]) -> Tensor:
        """Return whole notes."""
        return torch.from_numpy(self.table.waveforms[rows].astype(np.float32) / 32768.0)


def learn_timbre(notes: NoteTable, settings: RunSettings, options: TimbreOptions, name: str) -> Learner:
    """Return what the loop trains: batches of chords, two heads joined in the end.

    Args:
        notes: All there are; those held out validate.
        settings: Of the run.
        options: Of the recipe.
        name: What the network is called.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = MelCnn(replace(CARD, name=name), _ONE_HEAD, has_batch_norm=True, dropout=options.dropout)
    network = network.float()
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    # The network itself is moved to where it is trained; notes are heard here.
    hear = copy.deepcopy(network.log_mel)
    sampler = NoteSampler(notes, settings.batch_size)

    def batches(
        _rows: Rows, n: int, _size: int, key: tuple[int, ...], strength: float
    ) -> Iterable[tuple[Tensor, Tensor]]:
        return sampler.batches(n, key[0], key[1], strength)

    def calibration(
        rows: Rows, n: int, size: int, key: tuple[int, ...], strength: float
    ) -> Iterable[tuple[Tensor, Tensor]]:
        with torch.no_grad():
            return [(hear(sounds), targets) for sounds, targets in batches(rows, n, size, key, strength)]

    def prepare(sounds: Tensor, generator: torch.Generator) -> Tensor:
        return augmentation.mask_bands_and_frames(hear(sounds), network.silence, generator)

    def plain(rows: Rows) -> Tensor:
        with torch.no_grad():
            return cast(Tensor, hear(from_onset(notes, rows)))

    def finish(mean: MelCnn) -> MelCnn:
        n, key = 4 * settings.calibration_batches, (settings.seed, settings.all_epochs)
        last = calibration(np.zeros(0, np.int64), n, settings.batch_size, key, settings.gentle_strength)
        measure_norms(mean, (inputs for inputs, _ in last))
        robust = fold_batch_norm(mean).float()
        gentle = copy.deepcopy(robust)
        with torch.random.fork_rng(devices=[]):
            refit_head(gentle, *head_features(gentle, notes, sampler, settings.seed), settings.seed)
        return join_heads(robust, gentle, options.plain_share)

    return Learner(
        network,
        batches,
        plain,
        finish,
        write,
        prepare=prepare,
        calibration=calibration,
        silence=network.silence,
    )


def train_timbre(
    settings: RunSettings,
    options: Mapping[str, str],
    folder: Path,
    report: Callable[[EpochReport], None] = lambda _report: None,
    say: Callable[[str], None] = lambda _line: None,
    *,
    notes_folder: Path | None = None,
    name: str = "timbre",
    device: torch.device | str = "cpu",
    resume: bool = False,
) -> Trained:
    """Render the notes, train, and write network and card; the shipped weights were made so.

    Args:
        settings: Of the run; those of `timbre.toml` gave the shipped weights.
        options: Of the recipe, as text; see `TimbreOptions`.
        folder: The run's own.
        report: Called after each epoch.
        say: Told a line for every preset that is rendered.
        notes_folder: Where notes are rendered to, and taken from if they are there; by default the run's own.
        name: What the network is called.
        device: Where it runs.
        resume: Go on where the folder's run stopped.

    Raises:
        SettingError: An option does not exist, the run does not fit, or FluidSynth or a soundfont is missing.
    """
    own = parse_options(TimbreOptions, options, "timbre")
    rate, place = SPEC.frontend.sample_rate, notes_folder or folder / "notes"
    rendered = {bank: render_notes(bank, place, sample_rate=rate, report=say) for bank in BANKS}
    unheard = render_notes(_UNHEARD, place, sample_rate=rate, report=say)
    notes = join([*rendered.values(), synthesise_notes(own.synthesised, rate, settings.seed)])
    segments, where = NoteSegments(notes), torch.device(device)
    learner = learn_timbre(notes, settings, own, name)
    none = np.zeros(0, dtype=np.int64)
    parts = RowParts(
        train=np.flatnonzero(~notes.held_out),
        heard=none,
        validation=np.flatnonzero(notes.held_out),
        test=none,
    )
    record = run_record(segments, KIND, settings, name, options, "", where)
    record["data"]["notes"] = "timbre"
    run = begin_run(learner, segments, parts, settings, record, folder, where, resume)
    with closing(learner):
        while not run.is_done:
            report(run.epoch())
    network = cast(MelCnn, learner.finish(run.best_module().to("cpu")))

    def judge(table: NoteTable, rows: Rows) -> Heard:
        def plain(some: Rows) -> Tensor:
            with torch.no_grad():
                return cast(Tensor, network.log_mel(from_onset(table, some)))

        return hear_rows(network, plain, rows, table.families.astype(np.int64), torch.device("cpu"))

    heard = judge(notes, parts.validation)
    found = {
        f"Accuracy on what was held out of {bank.soundfont.stem}": judge(
            table, np.flatnonzero(table.held_out)
        )
        for bank, table in rendered.items()
    }
    found["Accuracy on a soundfont it never heard"] = judge(unheard, np.arange(len(unheard.families)))
    path = folder / CHECKPOINT
    sha256 = write(path, network)
    trained = Trained(
        network=network,
        path=path,
        sha256=sha256,
        epochs=len(run.history),
        best_epoch=run.best_epoch,
        unheard=heard,
        heard=judge(notes, none),
        is_tested=False,
    )
    record["run"]["state"] = "finished"
    record["result"] = {
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "seconds": sum(row["seconds"] for row in run.history),
        "accuracy_unheard_groups": heard.accuracy,
        "is_tested": False,
        "sha256": sha256,
        "parameters": CARD.n_parameters,
    }
    write_text(folder / "evaluation.csv", heard.as_csv(CLASSES))
    write_text(folder / "card.md", _card(network, found, settings, own, rendered, sha256, name))
    write_run(folder, record)
    return trained


def _card(
    network: MelCnn,
    found: Mapping[str, Heard],
    settings: RunSettings,
    options: TimbreOptions,
    rendered: Mapping[NoteBank, NoteTable],
    sha256: str,
    name: str,
) -> str:
    return model_card(
        network.card,
        {heading: heard.confusion for heading, heard in found.items()},
        data=_DATA.format(
            n_notes=sum(len(table.families) for table in rendered.values()),
            n_presets=sum(len(presets) for bank in rendered for presets in bank.presets.values()),
            n_drawn=options.synthesised * len(CLASSES),
            n_epochs=settings.all_epochs,
            attack_epochs=settings.attack_epochs,
            attack_steps=settings.attack_steps,
            attack_nepers=settings.attack_nepers,
        ),
        split=_SPLIT,
        command=f"reverie networks train --run timbre --name {shlex.quote(name)}",
        made_on=dt.date.today().isoformat(),
        sha256=sha256,
    )
