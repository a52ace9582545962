"""The waveform itself seen as a photograph: samples are pixels, side by side in rows.

A network that learnt to see looks at the samples as at a picture, and the picture is dreamed as pictures
are. What it draws repeats from row to row, so it is heard at the rate of the rows: with 500 samples a row at
48 kHz that is 96 Hz; with the period of a note it is that note; with a sixteenth it is in time.

    x -> pixels -> clip(x + 0.005 * step * g / std(g), -peak, peak)

with ``g`` the gradient of the score with respect to the pixels and ``peak`` the highest sample of the
undreamed window. A step of 4 is the published one, 0.02.

Source:
    Vedantham: "Waveform as image" (MATH299W), which lays out 48 kHz stereo as pictures of 412 x 500 pixels.
    Mordvintsev et al., "Inceptionism" (2015).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.networks.card import NetworkCard
from dream_core.objectives.parse import parse_objective
from dream_core.runtime import widest_float
from dream_core.settings import DreamSettings, Row, parse_row
from dream_core.updates.ascent import guard_state, guarded
from dream_core.updates.contract import State, Window
from dream_core.updates.pixels import (
    PixelGrid,
    lay_out,
    rows_in_time,
    rows_of_pitch,
    rows_of_samples,
)
from dream_core.updates.steps import band_limited

__all__ = ["Picture"]

CHANGE_PER_STEP = 0.005
"""How far a pixel goes in one step, where the gradient is as large as its deviation."""

FEWEST_ROWS = 8
"""Rows of a channel in each plane, below which there is no picture to speak of."""

LONGEST_WINDOW_S = 60.0


class Picture:
    """Dream the waveform as the picture that its samples are, laid out in rows."""

    needs_target = False

    def check_networks(self, cards: Sequence[NetworkCard], settings: DreamSettings) -> None:
        """Refuse networks that do not see, what no picture shows, and rows that are none.

        Raises:
            SettingError: Of either.
        """
        if len(cards) != 1:
            raise SettingError(
                f"update 'picture' shows pictures to one network, {len(cards)} listen here; leave one in the "
                "objective, or dream twice in a chain"
            )
        if cards[0].looks != "picture":
            raise SettingError(
                "update 'picture' needs a network that looks at pictures: image, image:vgg19 and other "
                f"classifiers of photographs; network {cards[0].name!r} does not"
            )
        objective = parse_objective(settings.objective)
        if objective.compares_moments or objective.references or objective.targets:
            raise SettingError(
                f"update 'picture' shows the network samples; {objective.text!r} compares with another sound "
                "or asks for notes, of which there is no picture. Name a layer, channel or class, or use "
                "update 'mask'"
            )
        if settings.varispeed_octaves:
            raise SettingError(
                "update 'picture' shows samples, which have no other speed; varispeed_octaves = "
                f"{settings.varispeed_octaves:g}, 0 is accepted"
            )
        parse_row(settings.row)

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return the state windows start with: what guards hold, where they are asked for."""
        del sample_rate
        return guard_state(settings, context)

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        row = parse_row(window.settings.row)
        is_sound = torch.arange(window.current.shape[-1], device=window.current.device) < window.n_valid
        sound = torch.where(is_sound, window.current, 0.0)
        grids = _grids(window, row)
        # Rows on a clock differ from window to window: each is a picture of its own size.
        parts = [slice(i, i + 1) for i in range(len(grids))] if row.is_clocked else [slice(None)]
        pixels = [
            grid.to_pixels(sound[part]).requires_grad_(True) for grid, part in zip(grids, parts, strict=True)
        ]
        pictures = [
            lay_out(shown, grid.width, _height(window, grid), window.settings.planes, window.settings.order)
            for shown, grid in zip(pixels, grids, strict=True)
        ]
        assert window.look is not None
        scores = window.look.score_pictures(pictures if row.is_clocked else pictures[0])
        gradients = torch.autograd.grad(scores.sum(), pixels)
        direction = torch.cat(
            [
                grid.to_samples(_normalised(gradient, grid.is_sound(window.n_valid[part])))
                for gradient, grid, part in zip(gradients, grids, parts, strict=True)
            ]
        )
        change = torch.where(is_sound, CHANGE_PER_STEP * window.step * direction, 0.0)
        if _has_band(window):
            change = band_limited(change, window)
        peak = window.original.abs().amax(dim=(1, 2), keepdim=True)
        proposal = torch.clamp(window.current + change, -peak, peak)
        own = dict(state)
        if "held" in own:
            whole = nn.functional.pad(proposal - window.original, (window.margin, window.margin))
            proposal = window.original + window.crop(guarded(whole, window, own))
        return proposal, own, direction


def _grids(window: Window, row: Row) -> list[PixelGrid]:
    """Return the grid of all windows, or of each where a clock says how rows pass."""
    n_samples, settings = window.current.shape[-1], window.settings
    if row.n_samples:
        _check_rows(settings, row.n_samples / window.sample_rate)
        return [rows_of_samples(row.n_samples, n_samples)]
    wide = widest_float(window.current.device)
    if row.f0_hz:
        _check_rows(settings, 1.0 / row.f0_hz)
        assert window.look is not None
        starts_s = torch.tensor(window.look.when(0).starts_s, dtype=wide, device=window.current.device)
        starts = torch.round(starts_s * window.sample_rate)
        return [rows_of_pitch(row.f0_hz, window.sample_rate, starts, n_samples)]
    lane = window.lanes.get("rows")
    if not isinstance(lane, Tensor):
        raise SettingError(
            f"row = {settings.row!r} is neither samples ('512') nor a note ('A1'), so the song's clock says "
            "how long it is, and none came with the sound; give a lane of rows: how many have passed at each "
            "sample"
        )
    passed = window.crop(lane.to(wide))[:, 0]
    grids = [rows_in_time(one) for one in passed]
    for grid in grids:
        _check_rows(settings, grid.width / window.sample_rate)
    return grids


def _n_planes(settings: DreamSettings) -> int:
    return 3 if settings.planes == "chunks" else 1


def _check_rows(settings: DreamSettings, row_s: float) -> None:
    """Refuse rows so long that a window makes no picture."""
    wanted = FEWEST_ROWS * _n_planes(settings)
    if settings.window_s / row_s >= wanted - 1e-6:
        return
    enough_s = wanted * row_s
    shared = ", which planes = 'chunks' shares among three" if settings.planes == "chunks" else ""
    remedy = f"set window_s = {enough_s:.4g}" if enough_s <= LONGEST_WINDOW_S else "take shorter rows"
    raise SettingError(
        f"row = {settings.row!r} is {row_s:.4g} s long, so a window of {settings.window_s:g} s holds "
        f"{settings.window_s / row_s:.3g} rows{shared}; {wanted} or more make a picture: {remedy}"
    )


def _height(window: Window, grid: PixelGrid) -> int:
    """Return how many rows of a channel are in each plane."""
    settings, n_channels = window.settings, window.current.shape[1]
    needed = max(FEWEST_ROWS, -(-grid.n_rows // _n_planes(settings)))
    stacked = 1 if settings.planes == "channels" else n_channels
    if not settings.picture_height:
        return needed
    height, rest = divmod(settings.picture_height, stacked)
    if rest:
        raise SettingError(
            f"picture_height = {settings.picture_height} rows for {stacked} channels above each other; a "
            f"multiple of {stacked} is accepted"
        )
    if height < needed:
        held_s = height * _n_planes(settings) * grid.width / window.sample_rate
        raise SettingError(
            f"picture_height = {settings.picture_height} holds {held_s:.6g} s of the window of "
            f"{settings.window_s:g} s; set window_s = {held_s:.6g}, or picture_height = "
            f"{needed * stacked} or 0, whatever fits"
        )
    return height


def _normalised(gradient: Tensor, is_sound: Tensor) -> Tensor:
    """Return a gradient in units of its deviation over the pixels of each item that show sound."""
    counted = is_sound.expand_as(gradient)
    n_counted = counted.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    own = torch.where(counted, gradient, 0.0)
    # Relative to the largest first: squares of very small numbers are zero.
    largest = own.abs().amax(dim=(1, 2), keepdim=True)
    own = own / torch.where(largest > 0, largest, 1.0)
    away = torch.where(counted, own - own.sum(dim=(1, 2), keepdim=True) / n_counted, 0.0)
    deviation = torch.sqrt(away.square().sum(dim=(1, 2), keepdim=True) / n_counted)
    return own / torch.where(deviation > 0, deviation, 1.0)


def _has_band(window: Window) -> bool:
    """Say whether somebody asked for a band: without one the change is as the picture has it."""
    settings = window.settings
    moves = any(isinstance(window.lanes[name], Tensor) for name in ("low_hz", "high_hz"))
    return moves or settings.low_hz > 0 or settings.high_hz > 0
