"""An atlas of a network: what each of its channels, classes or layers wants to hear, as sound and picture.

From the same noise each is dreamed by itself; a page plays them all. The folder appears whole or not at all.

Sources:
    Olah, Mordvintsev and Schubert 2017, "Feature Visualization".
    Spiteri 2022, "Auditory DeepDreamer".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from bridge.arrays import AudioArray
from bridge.audio.preview import encode_preview
from bridge.audio.reader import read_audio
from bridge.errors import InputError, OutputError, nearest_names
from bridge.files import private_folder, read_regular
from bridge.installation import program_version
from bridge.processors.dream_needs import border, check_installed
from bridge.processors.noise import Noise
from bridge.report.pictures import SoundPictureMaker, spectrogram_png

__all__ = ["AtlasEntry", "AtlasRequest", "What", "draw_atlas", "parse_numbers"]

What = Literal["channels", "classes", "layers"]

_NOISE_DB: Final = -20.0
_SILENCE_DB: Final = -80.0
_LEVEL_DB: Final = -20.0
"""What is listened to is brought to this level, its peaks below full scale."""

_SPEED_OCTAVES: Final = 0.25
"""Each step is heard at another speed, so that what comes is not of one grid of bands alone."""

_FADE_S: Final = 0.005
_COLUMNS: Final = 240
_SCORED_AT: Final = 4
"""Scores are means over so many positions of the patch grid."""

_FORMAT: Final = "reverie/atlas"
_LIMIT_BYTES: Final = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasRequest:
    """Say what an atlas shows.

    Args:
        network: Name of the network.
        what: ``channels`` of a layer, ``classes``, or ``layers`` as wholes.
        layer: Whose channels.
        numbers: Which channels or classes, from 0; None takes all.
        start: ``noise`` (pink, -20 dBFS), ``silence`` (the same at -80 dBFS), or a file of sound, of which
            the loudest stretch is taken.
        seconds: Length of each sound, 0.2..30.
        steps: Steps of each dream, 1..100.
        update: How steps are taken; None takes ``mask``, or ``add`` from silence, where a mask finds nothing.
        seed: Chooses the noise and the jitter.
        device: Where to compute.
    """

    network: str
    what: What = "channels"
    layer: str = ""
    numbers: tuple[int, ...] | None = None
    start: str = "noise"
    seconds: float = 1.2
    steps: int = 30
    update: str | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, value, low, high in (("seconds", self.seconds, 0.2, 30.0), ("steps", self.steps, 1, 100)):
            if not low <= value <= high:
                raise InputError(f"{name} = {value:g} is outside {low:g}..{high:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasEntry:
    """One sound of an atlas.

    Args:
        name: Of the channel, class or layer.
        objective: What was maximised.
        sound: Its file, beside the page.
        picture: Its spectrogram.
        score_before: What the network makes of the start.
        score_after: The same of the sound.
        gain_db: How much louder it is in the file than it was dreamed.
    """

    name: str
    objective: str
    sound: str
    picture: str
    score_before: float
    score_after: float
    gain_db: float


def parse_numbers(text: str) -> tuple[int, ...]:
    """Read numbers as they are written, ``0-23`` or ``1,4,8-11``.

    Raises:
        InputError: They are not.

    >>> parse_numbers("1,4-6")
    (1, 4, 5, 6)
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", part.strip(), re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise InputError(f"{text!r}: write numbers from 0, at most 99999, as 0-23 or 1,4,8-11")
        numbers += range(first, last + 1)
    return tuple(dict.fromkeys(numbers))


def draw_atlas(
    request: AtlasRequest,
    out: Path | str,
    *,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[AtlasEntry, ...]:
    """Dream every channel, class or layer by itself, and write sounds, pictures, page and figures.

    Args:
        request: What to show.
        out: The folder; it must not be there, or be empty.
        overwrite: Whether the files of an atlas that is there may be replaced; others stay.
        report: Called with how many are done, and how many there are.

    Returns:
        What was dreamed; the page is ``index.html`` in the folder.

    Raises:
        InputError: The network, layer, numbers, update or start do not exist or fit.
        OutputError: The folder is in use.
    """
    out = Path(out)
    earlier = _earlier_files(out, overwrite)
    with border():
        from dream_core.networks.registry import get_card, load_network
        from dream_core.runtime import resolve_device

        card = get_card(request.network)
        objectives = _objectives(request, card)
        check_installed([request.network])
        network = load_network(request.network, device=resolve_device(request.device))
        # The lower of two common rates, where it holds all that the network hears.
        rate = 22_050 if card.band_hz[1] < 10_000 else 44_100
        start, rate = _start(request, rate)
        dreamer = _Dreamer(request, network, start, rate)
        out.parent.mkdir(parents=True, exist_ok=True)
        with private_folder(out.parent) as private:
            made = private / "atlas"
            made.mkdir()
            entries = []
            _write_sound(made, "start", start, rate)
            for index, (name, stem, objective) in enumerate(objectives):
                report(index, len(objectives))
                dreamed, before, after = dreamer.dream(objective)
                gain_db = _write_sound(made, stem, dreamed, rate)
                entries.append(
                    AtlasEntry(
                        name=name,
                        objective=objective,
                        sound=f"{stem}.flac",
                        picture=f"{stem}.png",
                        score_before=round(before, 6),
                        score_after=round(after, 6),
                        gain_db=round(gain_db, 2),
                    )
                )
            report(len(objectives), len(objectives))
            facts = _facts(request, dreamer, rate)
            text = json.dumps({**facts, "entries": [asdict(entry) for entry in entries]}, indent=2)
            (made / "index.html").write_text(_page(facts, entries), encoding="utf-8")
            (made / "atlas.json").write_text(text + "\n", encoding="utf-8")
            _give_names(made, out, earlier)
    return tuple(entries)


class _Dreamer:
    """Dreams one start towards any objective, and scores both."""

    def __init__(self, request: AtlasRequest, network: Any, start: AudioArray, rate: int) -> None:
        from dream_core.settings import DreamSettings

        self._network, self._start, self._rate = network, start, rate
        self._depth = float(request.steps)
        settings = DreamSettings(
            update=request.update or ("add" if request.start == "silence" else "mask"),
            tv_frequency=0.2,
            # There is no sound to be kept: what the network wants may move as it likes.
            motion=1.0,
            balance=0.0,
            context=False,
            seed=request.seed,
            window_s=min(60.0, max(4.0, request.seconds)),
        )
        self.settings = replace(
            settings, varispeed_octaves=_SPEED_OCTAVES if _may_vary(network, settings) else 0.0
        )

    def dream(self, objective: str) -> tuple[AudioArray, float, float]:
        """Return the dream, and the scores before and after it."""
        from dream_core.loop.dream import dream

        settings = replace(self.settings, objective=objective)
        dreamed = dream(self._start, self._rate, self._network, settings, self._depth)
        return dreamed, self._score(objective, self._start), self._score(objective, dreamed)

    def _score(self, objective: str, sound: AudioArray) -> float:
        import torch

        from dream_core.objectives.listener import Listener
        from dream_core.objectives.parse import parse_objective

        listener = Listener(self._network, parse_objective(objective), self._rate)
        mono = torch.from_numpy(sound.mean(axis=0, keepdims=True)).to(self._network.device)
        step = max(1, listener.jitter_frames // _SCORED_AT)
        with torch.no_grad():
            scores = [float(listener.score(mono, at)[0]) for at in range(0, listener.jitter_frames, step)]
        return float(np.mean(scores))


def _may_vary(network: Any, settings: Any) -> bool:
    """Return whether an update can hear its steps at other speeds; those of the frames alone cannot."""
    from dream_core.errors import SettingError
    from dream_core.updates.registry import build_update, check_networks

    update = build_update(settings.update)
    try:
        check_networks(update, [network.card], replace(settings, varispeed_octaves=_SPEED_OCTAVES))
    except SettingError:
        check_networks(update, [network.card], settings)  # what else is wrong is said
        return False
    return True


def _objectives(request: AtlasRequest, card: Any) -> list[tuple[str, str, str]]:
    """Return a name, a file's stem and an objective of each."""
    layers = {layer.name: layer.n_channels for layer in card.layers}
    if request.what == "layers":
        names = [(name, f"layer:{name}") for name in layers]
    elif request.what == "classes":
        names = [(name, f"class:{_quoted(name)}") for name in card.classes]
        if not names:
            raise InputError(f"network {card.name!r} has no classes; its layers are {', '.join(layers)}")
    else:
        if request.layer not in layers:
            given = f"no layer {request.layer!r}" if request.layer else "which layer's channels?"
            raise InputError(f"network {card.name!r}: {given}; {nearest_names(request.layer, layers)}")
        names = [
            (f"{request.layer} {i}", f"channel:{request.layer}:{i}") for i in range(layers[request.layer])
        ]
    chosen = range(len(names)) if request.numbers is None else request.numbers
    beyond = [number for number in chosen if number >= len(names)]
    if beyond:
        raise InputError(f"there is no number {beyond[0]}: {request.what} go from 0 to {len(names) - 1}")
    kind = {"channels": "channel", "classes": "class", "layers": "layer"}[request.what]
    return [(names[i][0], f"{kind}-{i:03d}", names[i][1]) for i in chosen]


def _quoted(name: str) -> str:
    quote = "'" if '"' in name else '"'
    return f"{quote}{name}{quote}"


def _start(request: AtlasRequest, rate: int) -> tuple[AudioArray, int]:
    """Return what is dreamed from, mono, and its sample rate."""
    if request.start in ("noise", "silence"):
        level_db = _NOISE_DB if request.start == "noise" else _SILENCE_DB
        silence = np.zeros((1, round(request.seconds * rate)), np.float32)
        return Noise("pink", level_db, seed=request.seed)(silence, rate), rate
    samples, rate = read_audio(request.start)
    mono = samples.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    n_samples = round(request.seconds * rate)
    if mono.shape[1] <= n_samples:
        return mono, rate
    energy = np.concatenate([[0.0], np.cumsum(mono[0].astype(np.float64) ** 2)])
    first = int((energy[n_samples:] - energy[:-n_samples]).argmax())
    return mono[:, first : first + n_samples].copy(), rate


def _write_sound(folder: Path, stem: str, sound: AudioArray, rate: int) -> float:
    """Write a sound to listen to, and its picture; return the gain it has in the file."""
    level = float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))
    peak = float(np.abs(sound).max())
    gain = min(10.0 ** (_LEVEL_DB / 20.0) / level, 0.99 / peak) if peak else 1.0
    fade = min(round(_FADE_S * rate), sound.shape[1] // 2)
    ramp = (np.arange(fade) + 0.5) / max(1, fade)
    heard = (sound * gain).astype(np.float32)
    heard[:, :fade] *= ramp
    heard[:, heard.shape[1] - fade :] *= ramp[::-1]
    (folder / f"{stem}.flac").write_bytes(encode_preview(heard, rate))
    maker = SoundPictureMaker(heard.shape[1], rate, n_columns=_COLUMNS)
    maker.push(heard)
    (folder / f"{stem}.png").write_bytes(spectrogram_png(maker.result()))
    return float(20.0 * np.log10(gain))


def _facts(request: AtlasRequest, dreamer: _Dreamer, rate: int) -> dict[str, Any]:
    from dream_core.networks.registry import weights_sha256

    return {
        "format": _FORMAT,
        "version": 1,
        "program": program_version(),
        "network": request.network,
        "weights_sha256": weights_sha256(request.network),
        "what": request.what,
        "layer": request.layer if request.what == "channels" else "",
        "start": request.start,
        "seconds": request.seconds,
        "steps": request.steps,
        "sample_rate": rate,
        "settings": {**asdict(dreamer.settings), "objective": None},
    }


def _page(facts: Mapping[str, Any], entries: Sequence[AtlasEntry]) -> str:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_asset("atlas.html.j2")).render(
        style=_asset("atlas.css"), script=_asset("atlas.js"), facts=facts, entries=entries
    )


def _asset(name: str) -> str:
    return (resources.files("bridge.report") / "assets" / name).read_text("utf-8")


def _earlier_files(out: Path, overwrite: bool) -> tuple[str, ...]:
    """Return the files of an atlas that is there and may be replaced.

    Raises:
        OutputError: Something is there that may not.
    """
    if not os.path.lexists(out):
        return ()
    if not out.is_dir():
        raise OutputError(f"{out}: is no folder; choose another --out")
    if not any(out.iterdir()):
        return ()
    try:
        data = json.loads(read_regular(out / "atlas.json", _LIMIT_BYTES))
        is_atlas = data["format"] == _FORMAT
        stems = [Path(str(entry["sound"])).stem for entry in data["entries"]]
    except (OSError, ValueError, KeyError, TypeError):
        is_atlas, stems = False, []
    if not is_atlas:
        raise OutputError(f"{out}: holds other files than an atlas; choose another --out")
    if not overwrite:
        raise OutputError(
            f"{out}: an atlas is there already; choose another --out, or allow it with --overwrite"
        )
    return tuple(f"{stem}{suffix}" for stem in ("start", *stems) for suffix in (".flac", ".png"))


def _give_names(made: Path, out: Path, earlier: Sequence[str]) -> None:
    """Put a finished folder in its place; where an atlas is there, file by file, its record last."""
    try:
        if not out.is_dir() or not any(out.iterdir()):
            made.replace(out)
            return
        (out / "atlas.json").unlink(missing_ok=True)
        new = {path.name for path in made.iterdir()}
        for name in set(earlier) - new:
            (out / name).unlink(missing_ok=True)
        for name in sorted(new, key=lambda name: (name == "atlas.json", name == "index.html", name)):
            (made / name).replace(out / name)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error})") from None
