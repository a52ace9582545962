"""The ways to change a sound that the bench compares.

- `no dream`         the sound itself
- `static EQ`        thirds of an octave, moved to the target family's mean spectrum by at most 24 dB
- `harmonic match`   the harmonics' levels moved to those of the family's mean note; knows the pitch
- `random direction` `mask` with the gradient of a random direction of network `texture`: steps as large as a
                     dream's, towards nothing
- dreams             a network, settings, an objective and a depth

Means of the families are measured on the notes of csound's soundfont.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transfer_judges import WORDS
from transfer_measures import third_octave_levels_db
from transfer_notes import CSOUND, FAMILIES, RATE, Pair, even_notes, render

from dream_core import DreamSettings, dream, load_network, parse_objective
from dream_core.errors import DreamError
from dream_core.networks.card import Network
from dream_core.networks.registry import is_ready

__all__ = [
    "PLAIN_ROWS",
    "FamilyMeans",
    "Row",
    "change",
    "default_dreams",
    "filtered",
    "measure_means",
    "own_judges",
    "parse_dream",
]

Array = NDArray[np.float64]
PLAIN_ROWS = ("no dream", "static EQ", "harmonic match", "random direction")
_LIMIT_DB = 24.0
_N_HARMONICS = 30
_DEPTH = 10.0
_SUSTAIN_S = (0.2, 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to change sounds.

    Args:
        name: What the table calls it.
        network: A name or the path of a weights file; empty for rows without one.
        objective: With ``{family}`` for the target; ``NETWORK@class:{word}`` takes that network's own word,
            and a term for which it has none is left out.
        settings: Of the dream, by name.
        depth: Steps.
    """

    name: str
    network: str = ""
    objective: str = "class:{family}"
    settings: Mapping[str, object] = field(default_factory=dict)
    depth: float = _DEPTH

    def objective_for(self, target: str) -> str:
        """Return the objective with words put in."""
        kept = []
        for term in re.split(r"\s*\+\s*", self.objective):
            network = term.partition("@")[0].rpartition("*")[2].strip() if "@" in term else self.network
            words = WORDS.get(network, {}).get(target, ())
            if "{word}" not in term:
                kept.append(term.replace("{family}", target))
            elif words:
                kept.append(term.replace("{word}", f'"{words[0]}"'))
        if not kept:
            raise SystemExit(f"row {self.name!r}: no term of {self.objective!r} has a word for {target}")
        return " + ".join(kept)

    def dream_settings(self, target: str) -> DreamSettings:
        """Return all settings."""
        return DreamSettings(objective=self.objective_for(target), **self.settings)  # type: ignore[arg-type]


def parse_dream(text: str) -> Row:
    """Read ``NAME=KEY=VALUE,KEY=VALUE``; keys are settings, ``network``, ``objective`` and ``depth``.

    Raises:
        SystemExit: It cannot be read; the message says what can.
    """
    name, _, rest = text.partition("=")
    known = {one.name: one.default for one in fields(DreamSettings)}
    given: dict[str, object] = {}
    row: dict[str, str] = {}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or key not in (*known, "network", "depth"):
            raise SystemExit(
                f"--dream {text!r}: {pair!r} is not KEY=VALUE with a setting's name, network, objective or "
                'depth; write for example --dream "A=n_fft=8192,smooth_frames=4"'
            )
        if key in ("network", "objective", "depth"):
            row[key] = value
        else:
            given[key] = _value(value, known[key])
    return _checked(
        Row(
            name=name.strip(),
            network=row.get("network", "timbre"),
            objective=row.get("objective", "class:{family}"),
            depth=float(row.get("depth", _DEPTH)),
            settings=given,
        )
    )


def _value(text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise SystemExit(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    if isinstance(default, (int, float)):
        try:
            return type(default)(text)
        except ValueError:
            raise SystemExit(f"{text!r} is not a number as {default!r} is") from None
    return text


def _checked(row: Row) -> Row:
    """Refuse now what would fail in the middle."""
    try:
        network = _load(row.network)
        for target in FAMILIES:
            parse_objective(row.dream_settings(target).objective).check(
                network.card,
                {
                    name: _load(name).card
                    for name in parse_objective(row.objective_for(target)).networks
                    if name
                },
            )
    except DreamError as error:
        raise SystemExit(f"row {row.name!r}: {error}") from None
    return row


def default_dreams() -> list[Row]:
    """Return what is dreamed where nothing is said: `timbre`, alone and with networks that are installed."""
    rows = [Row(name="timbre", network="timbre")]
    for name in ("musicnn", "yamnet"):
        if is_ready(name):
            with_other = f"class:{{family}}+{name}@class:{{word}}"
            rows.append(Row(name=f"timbre + {name}", network="timbre", objective=with_other))
    return rows


@lru_cache(maxsize=8)
def _load(name: str) -> Network:
    if not name.endswith(".safetensors"):
        return load_network(name)
    try:
        return load_network(name)
    except DreamError:
        return load_network("timbre", weights=Path(name))  # bare weights of its shape


def own_judges(row: Row) -> frozenset[str]:
    """Return the judges that take part in a row: its networks, and what learned on their layers."""
    if not row.network:
        return frozenset()
    cards = [_load(row.network).card]
    for target in FAMILIES:
        cards += [_load(name).card for name in parse_objective(row.objective_for(target)).networks if name]
    own = {card.name for card in cards}
    # A network trained anew for the same classes is no stranger to `timbre`.
    if any(set(FAMILIES) <= set(card.classes) for card in cards):
        own.add("timbre")
    return frozenset(own | {f"{name} probe" for name in own})


@dataclass(frozen=True, slots=True)
class FamilyMeans:
    """What notes of a family are like on average.

    Args:
        bands_db: Third-octave levels, relative to the note's own power, by family.
        harmonics_db: Levels of harmonics, relative to their sum, by family.
    """

    bands_db: Mapping[str, Array]
    harmonics_db: Mapping[str, Array]


def measure_means(cache: Path) -> FamilyMeans:
    """Measure the families' mean notes."""
    notes = even_notes(None, 4, (60, 105))
    bands: dict[str, list[Array]] = {}
    harmonics: dict[str, list[Array]] = {}
    for note, sound in zip(notes, render(notes, CSOUND, cache), strict=True):
        if np.abs(sound).max() > 0:
            bands.setdefault(note.family, []).append(_relative(third_octave_levels_db(sound, RATE)))
            harmonics.setdefault(note.family, []).append(_harmonics_db(sound, note.f0_hz))
    return FamilyMeans(
        {family: np.mean(rows, axis=0) for family, rows in bands.items()},
        {family: np.nanmean(rows, axis=0) for family, rows in harmonics.items()},
    )


def _relative(levels_db: Array) -> Array:
    """Return levels relative to their sum, no lower than 60 dB below it."""
    return np.asarray(np.maximum(levels_db - 10.0 * np.log10((10.0 ** (levels_db / 10.0)).sum()), -60.0))


def _harmonics_db(sound: NDArray[np.floating], f0_hz: float) -> Array:
    """Return harmonics' levels relative to their sum, at least -60 dB; NaN beyond 16 kHz."""
    part = np.asarray(sound, np.float64)[round(_SUSTAIN_S[0] * RATE) : round(_SUSTAIN_S[1] * RATE)]
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
    frequencies = np.fft.rfftfreq(len(part), 1.0 / RATE)
    levels = np.full(_N_HARMONICS, np.nan)
    for index in range(_N_HARMONICS):
        middle = (index + 1) * f0_hz
        if middle < 16000.0:
            low, high = np.searchsorted(frequencies, [middle - 0.3 * f0_hz, middle + 0.3 * f0_hz])
            levels[index] = power[low:high].sum()
    sums = np.nansum(levels) + 1e-20
    return np.asarray(np.maximum(10.0 * np.log10(levels / sums + 1e-9), -60.0))


def filtered(sound: NDArray[np.float32], points_hz: Array, gains_db: Array) -> NDArray[np.float32]:
    """Return a sound through a minimum-phase equaliser of given gains, as loud in power as it was."""
    n_samples = sound.shape[1]
    length = 1 << (n_samples + RATE // 4 - 1).bit_length()  # longer, so that nothing wraps around
    frequencies = np.fft.rfftfreq(length, 1.0 / RATE)
    gains = np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(points_hz), gains_db)
    # The cepstrum folded forwards: nothing rings before an onset, as with an equaliser one can buy.
    cepstrum = np.fft.irfft(gains * math.log(10.0) / 20.0, length)
    cepstrum[1 : length // 2] *= 2.0
    cepstrum[length // 2 + 1 :] = 0.0
    spectrum = np.fft.rfft(sound.astype(np.float64), length) * np.exp(np.fft.rfft(cepstrum))
    changed = np.fft.irfft(spectrum, length)[:, :n_samples]
    power = np.sqrt((sound.astype(np.float64) ** 2).mean() / max(float((changed**2).mean()), 1e-20))
    return np.asarray(changed * power, np.float32)


def _equalise(pair: Pair, means: FamilyMeans) -> NDArray[np.float32]:
    levels = _relative(third_octave_levels_db(pair.sound.mean(axis=0), RATE))
    gains = np.clip(means.bands_db[pair.target] - levels, -_LIMIT_DB, _LIMIT_DB)
    return filtered(pair.sound, 1000.0 * 2.0 ** (np.arange(-15, 13) / 3.0), gains)


def _match_harmonics(pair: Pair, means: FamilyMeans) -> NDArray[np.float32]:
    levels = _harmonics_db(pair.sound.mean(axis=0), pair.f0_hz)
    heard = ~np.isnan(levels) & ~np.isnan(means.harmonics_db[pair.target])
    gains = np.clip(means.harmonics_db[pair.target] - levels, -_LIMIT_DB, _LIMIT_DB)[heard]
    points = (np.flatnonzero(heard) + 1) * pair.f0_hz
    # Flat around each harmonic, so that vibrato is not turned into tremolo.
    edges = np.concatenate([points - 0.3 * pair.f0_hz, points + 0.3 * pair.f0_hz])
    order = np.argsort(edges)
    return filtered(pair.sound, edges[order], np.concatenate([gains, gains])[order])


def change(row: Row, pair: Pair, means: FamilyMeans) -> NDArray[np.float32] | None:
    """Return a sound changed as a row says; None where the row does not fit it."""
    if row.name == "no dream":
        return pair.sound
    if row.name == "static EQ":
        return _equalise(pair, means)
    if row.name == "harmonic match":
        return _match_harmonics(pair, means) if pair.f0_hz > 0 else None
    if row.name == "random direction":
        random = DreamSettings(objective=f"direction:frames8:{pair.index}")
        return dream(pair.sound, RATE, _load("texture"), random, _DEPTH)
    settings = row.dream_settings(pair.target)
    # Notes' pitches are known; a stem's would have to be heard.
    f0_hz = pair.f0_hz if settings.update == "harmonic" else None
    return dream(pair.sound, RATE, _load(row.network), settings, row.depth, f0_hz=f0_hz)


def plain_rows(names: Sequence[str] = PLAIN_ROWS) -> list[Row]:
    """Return the rows that are no dreams towards a class."""
    return [Row(name=name) for name in names]
