"""Who says what a sound is: judges that take no part in a dream.

- `timbre`           the shipped network, by its own classes
- `yamnet`, `musicnn`  fetched networks by their own words, summed in groups; musicnn has no word for brass
                     and organ
- `yamnet probe`, `musicnn probe`  logistic regressions on their last layer but one
- `features`         a logistic regression on hand-made features; wants notes of known pitch

The regressions learn from the notes of csound's soundfont. 302 of TimGM6mb's 520 recordings are in it too, so
they learn from the programs of the other half: a judge that knew the very recording would not be moved.

Conventions: a judge scores the six families with logarithms of shares; NaN where it has no word for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transfer_features import Probe, describe, fit_probe
from transfer_notes import CSOUND, FAMILIES, HALVES, RATE, even_notes, render

from dream_core import get_card, load_network
from dream_core.dsp.resample import resample
from dream_core.networks.card import Network
from dream_core.networks.registry import is_ready
from dream_core.objectives.classes import patch_weights
from dream_core.objectives.taps import tap

__all__ = ["JUDGES", "WORDS", "Judges", "accuracies", "fit_judges", "log_odds", "top_family"]

Array = NDArray[np.float64]

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "timbre": {family: (family,) for family in FAMILIES},
    "yamnet": {
        "brass": ("Brass instrument", "Trumpet", "French horn", "Trombone"),
        "flute": ("Flute", "Wind instrument, woodwind instrument", "Whistling", "Whistle"),
        "guitar": (
            *("Guitar", "Acoustic guitar", "Electric guitar", "Plucked string instrument", "Banjo"),
            *("Steel guitar, slide guitar", "Tapping (guitar technique)", "Strum", "Sitar", "Mandolin"),
            *("Zither", "Ukulele"),
        ),
        "organ": ("Organ", "Electronic organ", "Hammond organ", "Accordion", "Harmonica"),
        "string": (
            *("Bowed string instrument", "Violin, fiddle", "String section", "Cello", "Double bass"),
            *("Pizzicato", "Harp"),
        ),
        "vocal": (
            *("Choir", "Singing", "Child singing", "Synthetic singing", "Yodeling"),
            *("Chant", "Humming", "Vocal music", "A capella", "Opera"),
        ),
    },
    "musicnn": {
        "flute": ("flute",),
        "guitar": ("guitar",),
        "string": ("violin", "strings", "cello"),
        "vocal": (
            *("choir", "vocal", "vocals", "voice", "singing", "female", "male", "opera", "woman", "man"),
            *("male vocal", "female vocal", "male voice", "female voice", "choral"),
        ),
    },
}
"""What each network calls a family; the first word is the one a dream is given."""

_LAYERS = {"yamnet": "global_average_pooling2d", "musicnn": "penultimate"}
_REMEDIES = {
    "yamnet": "reverie networks import yamnet FILE.h5 --classes yamnet_class_map.csv",
    "musicnn": "reverie networks get musicnn",
}
JUDGES = ("timbre", "yamnet", "musicnn", "yamnet probe", "musicnn probe", "features")
_PITCH_STEP = 4
_VELOCITIES = (60, 105)
_LEAST = 1e-12
_HEARD_VERSION = 2
"""Counted on when `describe` or a network's layer changes, so that nothing stale is read."""


@dataclass(frozen=True, slots=True)
class Judges:
    """All judges that can be had here.

    Args:
        probes: By judge, what was learned.
        missing: What keeps networks from judging, a line each.
    """

    probes: Mapping[str, Probe]
    missing: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Those that judge, in order."""
        return tuple(name for name in JUDGES if name in self.probes or _words_ready(name))

    def judge(self, sound: NDArray[np.float32], f0_hz: float) -> dict[str, Array]:
        """Return the scores of the six families by every judge; no `features` where no pitch is known."""
        mono = sound.mean(axis=0)
        scores: dict[str, Array] = {}
        for name, words in WORDS.items():
            if not _words_ready(name):
                continue
            network = _load(name)
            shares, penultimate = hear(network, mono)
            classes = network.card.classes
            groups = [[classes.index(word) for word in words.get(family, ())] for family in FAMILIES]
            summed = [np.log(shares[group].sum() + _LEAST) if group else np.nan for group in groups]
            scores[name] = np.array(summed)
            if penultimate is not None:
                scores[f"{name} probe"] = self.probes[f"{name} probe"].scores(penultimate)
        if f0_hz > 0:
            scores["features"] = self.probes["features"].scores(describe(mono, f0_hz, RATE))
        return scores


@lru_cache(maxsize=3)
def _load(name: str) -> Network:
    return load_network(name)


def _words_ready(name: str) -> bool:
    return name in WORDS and is_ready(name) and WORDS[name]["flute"][0] in get_card(name).classes


def hear(network: Network, mono: NDArray[np.float32]) -> tuple[Array, Array | None]:
    """Return a network's shares of its classes and its last layer but one, means over patches by level."""
    rate, name = network.card.sample_rate, network.card.name
    waveform = torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32))[None]
    layers = [_LAYERS[name]] if name in _LAYERS else []
    with torch.no_grad():
        patches = network.listen(resample(waveform, RATE, rate))[0]
        with tap(network, layers) as heard:
            logits = network(patches)
    weights = patch_weights(network.measure_energy(patches)[None], logits[None])[0]
    is_independent = network.card.outputs == "independent"
    shares = logits.sigmoid() if is_independent else logits.softmax(dim=1)
    pooled = [(weights @ one.flatten(1)).double().numpy() for one in (shares, *heard.values())]
    return pooled[0], pooled[1] if layers else None


def fit_judges(half: str, cache: Path, report: Callable[[str], None]) -> Judges:
    """Fit the regressions on csound's notes of the other half; what was heard of them is kept."""
    notes = even_notes(None, _PITCH_STEP, _VELOCITIES)
    sounds = render(notes, CSOUND, cache)
    heard = [index for index, sound in enumerate(sounds) if np.abs(sound).max() > 0]
    classes = np.array([FAMILIES.index(notes[index].family) for index in heard])
    groups = np.array([notes[index].program for index in heard])
    others = groups % 2 != HALVES[half]
    probes = {}
    for name in ("yamnet", "musicnn", "features"):
        if name != "features" and not _words_ready(name):
            continue
        network = None if name == "features" else _load(name)
        said = repr((name, _HEARD_VERSION, [notes[index] for index in heard]))
        key = hashlib.sha256(said.encode()).hexdigest()[:16]
        path = cache / f"heard-{key}.npy"
        if not path.exists():
            report(f"{name} hears {len(heard)} notes of csound's soundfont")
            rows = []
            for index in heard:
                if network is None:
                    rows.append(describe(sounds[index], notes[index].f0_hz, RATE))
                else:
                    penultimate = hear(network, sounds[index])[1]
                    assert penultimate is not None
                    rows.append(penultimate)
            np.save(path, np.stack(rows))
        probes[name if network is None else f"{name} probe"] = fit_probe(
            np.load(path)[others], classes[others], groups[others]
        )
    missing = tuple(
        f"`{name}` is not installed with the names of its classes and does not judge: `{remedy}`"
        for name, remedy in _REMEDIES.items()
        if not _words_ready(name)
    )
    return Judges(probes, missing)


def log_odds(scores: Array, target: str) -> float:
    """Return the logit of a family against the others that the judge has words for; NaN without a word."""
    index = FAMILIES.index(target)
    others = np.delete(scores, index)
    return float(scores[index] - np.logaddexp.reduce(others[~np.isnan(others)]))


def top_family(scores: Array) -> str:
    """Return the family a judge hears most."""
    return FAMILIES[int(np.nanargmax(scores))]


def accuracies(judged: Sequence[tuple[str, Mapping[str, Array]]]) -> dict[str, tuple[float, int]]:
    """Return how often each judge is right, as the mean over its families, and how many families it has.

    Args:
        judged: Of each note its family and what the judges said.
    """
    found = {}
    for name in JUDGES:
        hits: dict[str, list[bool]] = {}
        for family, scores in judged:
            if name in scores and not np.isnan(scores[name][FAMILIES.index(family)]):
                hits.setdefault(family, []).append(top_family(scores[name]) == family)
        if hits:
            found[name] = (float(np.mean([np.mean(one) for one in hits.values()])), len(hits))
    return found
