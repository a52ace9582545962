"""`reverie networks train-frames`: a network that learns a sound and plays on."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.console import minutes, note, open_bars, say, warn
from bridge.cli.shared_options import SeedOption
from bridge.errors import InputError, RenderStoppedError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["train_frames_command"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_GOOD_ERROR = 0.2
"""Above it, a network has hardly learnt its sound."""
_LONGEST_S = 3600.0


def train_frames_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files, or folders of them.")],
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="What presets will call it.")],
    minutes_long: Annotated[
        float, typer.Option("--minutes", metavar="MINUTES", min=0.01, help="How long it trains.")
    ] = 1.0,
    steps: Annotated[
        int,
        typer.Option(
            "--steps", metavar="N", min=0, help="So many steps instead: the same bits on the same machine."
        ),
    ] = 0,
    domain: Annotated[
        str, typer.Option("--domain", metavar="DOMAIN", help="What frames are: mdct, time, fft.")
    ] = "mdct",
    cell: Annotated[str, typer.Option("--cell", metavar="CELL", help="What remembers: gru, lstm.")] = "gru",
    width: Annotated[int, typer.Option("--width", metavar="N", help="Numbers each layer remembers.")] = 256,
    layers: Annotated[int, typer.Option("--layers", metavar="N", help="How many layers.")] = 2,
    frame: Annotated[
        int,
        typer.Option("--frame", metavar="SAMPLES", help="Of a frame at 22.05 kHz; 0: 512 mdct, else 1024."),
    ] = 0,
    bpm: Annotated[
        float | None,
        typer.Option(
            "--bpm", metavar="BPM", help="The sound's tempo: frames of which a whole number makes a beat."
        ),
    ] = None,
    is_loop: Annotated[
        bool, typer.Option("--loop", help="The end of each sound leads to its beginning.")
    ] = False,
    seed: SeedOption = 0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Forget a training that was stopped, which else is gone on with.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a network of that name.")] = False,
) -> None:
    """Train a network on a sound, so that it plays on: for `use = "grow"` and the objective layer:fit."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    from bridge.plan.find_stems import find_stems
    from dream_core.frames.network import FramesSpec, frame_for_tempo
    from dream_core.frames.training import FrameTraining, TrainingStep, train_frames
    from dream_core.networks import frames_network

    path = _free_path(name, overwrite)
    checkpoint = path.with_suffix(".training")
    if anew and checkpoint.exists():
        checkpoint.unlink()
    samples = frame or (512 if domain == "mdct" else 1024)
    if bpm is not None:
        samples = frame_for_tempo(bpm, FramesSpec().sample_rate, samples)
    spec = FramesSpec(
        domain=domain,  # type: ignore[arg-type]  # which it checks
        cell=cell,  # type: ignore[arg-type]
        frame_samples=samples,
        width=width,
        n_layers=layers,
    )
    settings = FrameTraining(spec=spec, seconds=60.0 * minutes_long, steps=steps, is_loop=is_loop, seed=seed)
    paths = find_stems(files)
    sounds, sample_rate = _read(paths)
    bars = open_bars(BarColumn(), TextColumn("error {task.fields[error]}"), TimeRemainingColumn())
    is_drawn = bars.console.is_terminal
    with bars if is_drawn else nullcontext():
        task = bars.add_task(name, total=1.0, error="")

        def report(step: TrainingStep) -> None:
            if is_drawn:
                bars.update(task, completed=step.fraction, error=f"{step.error:.3f}")

        try:
            trained = train_frames(sounds, sample_rate, settings, report, checkpoint=checkpoint)
        except KeyboardInterrupt:
            kept = (
                "what it has learnt is kept, the same command goes on"
                if checkpoint.exists()
                else "nothing was kept yet, the same command begins again"
            )
            raise RenderStoppedError(f"stopped; {kept}") from None
    facts: dict[str, Any] = {
        "files": [one.name for one in paths],
        "steps": trained.steps,
        "error": trained.error,
        "seed": seed,
    }
    length_s = sum(sound.shape[-1] for sound in sounds) / sample_rate
    card = frames_network.describe(
        name,
        spec,
        title=f"Plays on as {paths[0].stem}"
        + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        + ".",
        description=f"Learnt {minutes(length_s)} of sound in {trained.steps} steps, to an error of "
        f"{trained.error:.3f} of its variance. layer:fit dreams towards what it expects.",
    )
    frames_network.write(path, trained.network, card, facts)
    checkpoint.unlink(missing_ok=True)
    say(f"{name}: {trained.steps} steps, error {trained.error:.3f} of the sound's variance")
    if trained.error > _GOOD_ERROR:
        warn(f"it has hardly learnt its sound (below {_GOOD_ERROR:g} it has); give more --minutes, or less")
    note(f"written: {path}")
    note(f"to hear it: reverie render STEM --preset endless-break --set grow.network={name} --out grown")


def _free_path(name: str, overwrite: bool) -> Path:
    """Return where a network of that name goes, if it may go there."""
    from bridge.files import check_free
    from dream_core.errors import DreamError
    from dream_core.networks import frames_network
    from dream_core.networks.registry import get_card
    from dream_core.networks.weights import networks_folder

    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name {name!r}: small letters, digits, - and _ are accepted, such as amen or my-break"
        )
    path = networks_folder() / f"{name}.safetensors"
    try:
        is_taken = get_card(name) != frames_network.read_card(path)
    except DreamError:
        is_taken = _is_known(name)
    if is_taken:
        raise InputError(f"--name {name!r}: another network is called so; choose another name")
    check_free(path, overwrite)
    return path


def _is_known(name: str) -> bool:
    from dream_core.errors import DreamError
    from dream_core.networks.registry import get_card

    try:
        get_card(name)
    except DreamError:
        return False
    return True


def _read(paths: list[Path]) -> tuple[list[Tensor], int]:
    """Return sounds, mono, at the first one's rate; all that cannot be read is said at once."""
    import torch

    from bridge.audio.reader import AudioReader, read_audio
    from dream_core.dsp.resample import resample

    sounds: list[Tensor] = []
    wrong: list[str] = []
    common_rate, total_s = 0, 0.0
    for path in paths:
        try:
            with AudioReader(path) as reader:
                total_s += reader.info.duration_s
            if total_s > _LONGEST_S:
                continue
            samples, sample_rate = read_audio(path)
        except InputError as error:
            wrong.append(str(error))
            continue
        common_rate = common_rate or sample_rate
        mono = torch.from_numpy(samples.mean(axis=0))
        sounds.append(resample(mono[None], sample_rate, common_rate)[0])
    if total_s > _LONGEST_S:
        wrong.append(f"{total_s / 60:.0f} minutes of sound were given; an hour at most is learnt")
    if wrong:
        raise InputError("; ".join(wrong))
    return sounds, common_rate
