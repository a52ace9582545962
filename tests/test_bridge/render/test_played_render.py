"""Renders of dreams that are played: by notes, chords, other stems, keys and weights."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import torch
from helpers.nets import KeyNet
from helpers.session import write_preset

from bridge import build_plan, render_plan
from bridge.clock.settings import ClockSettings
from bridge.errors import InputError, PresetError, ProcessorError
from bridge.midi.keyswitch_lines import read_keyswitches
from bridge.midi.note_matrix import note_matrix
from bridge.plan.model import Plan
from bridge.plan.stem_envelopes import stem_envelopes
from bridge.presets.load import load_preset
from bridge.presets.model import Preset, parse_preset
from bridge.processors.dream import Dream
from dream_core import Targets
from dream_core.networks import registry
from dream_core.objectives.heard import heard_targets

RATE = 16000
SECONDS = 3.0


@pytest.fixture(autouse=True)
def key_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offer the test network `keys` by its name."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    entry = registry.NetworkEntry(card=lambda: KeyNet().card, load=lambda _weights, _seed: KeyNet())
    known = registry._others
    monkeypatch.setattr(registry, "_others", lambda: {**known(), "keys": entry})


def sound(seed: int = 0) -> np.ndarray:
    n = round(SECONDS * RATE)
    return (0.1 * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def write_song(path: Path) -> Path:
    """Write C3 and A3 on a track, a drum on another, and keyswitches C1 and D1, at 120 BPM."""
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    for name, channel, notes in (
        ("Keys", 0, ((60, 0, 960), (69, 960, 2400))),
        ("kit", 9, ((36, 0, 2400),)),
        ("switches", 2, ((38, 480, 490), (36, 1440, 1450))),
        ("empty", 3, ()),
    ):
        track, now = mido.MidiTrack([mido.MetaMessage("track_name", name=name)]), 0
        for key, start, end in notes:
            track.append(mido.Message("note_on", channel=channel, note=key, velocity=127, time=start - now))
            track.append(mido.Message("note_off", channel=channel, note=key, time=end - start))
            now = end
        file.tracks.append(track)
    file.save(path)
    return path


def preset(
    folder: Path,
    *,
    notes: dict[str, str] | None = None,
    routes: list[dict[str, object]] | None = None,
    **params: object,
) -> Preset:
    data = load_preset(write_preset(folder, more='[level]\nmode = "keep"')).to_dict()
    data["chain"][0]["params"] = {"network": "keys", "depth": 2.0, "motion": 1.0, **params}
    data["macros"] = [{"id": "knob", "value": 0.25}]
    data["routes"] = routes or []
    data["midi_map"] = {"notes": notes} if notes else {}
    return parse_preset(data, "test")


def plan_of(folder: Path, made: Preset, *, has_midi: bool = True, stems: tuple[str, ...] = ("pad",)) -> Plan:
    for seed, name in enumerate(stems):
        soundfile.write(folder / f"{name}.wav", sound(seed), RATE, subtype="FLOAT")
    midi = write_song(folder / "song.mid") if has_midi else None
    return build_plan([folder / f"{name}.wav" for name in stems], made, midi=midi, out_dir=folder / "out")


def rendered(plan: Plan) -> np.ndarray:
    report = render_plan(plan)
    assert report.failed == ()
    samples: np.ndarray = soundfile.read(plan.stems[0].target, dtype="float32")[0]
    return samples


def dreamed(objective: str, seed: int = 0, **options: object) -> np.ndarray:
    """Return what a dream alone makes of a stem."""
    automation = options.pop("automation", {})
    dream = Dream(network=KeyNet(), depth=2.0, motion=1.0, objective=objective, **options)  # type: ignore[arg-type]
    return dream.process(sound(seed)[None], RATE, automation=automation)[0]  # type: ignore[arg-type]


def test_a_render_plays_the_songs_notes(tmp_path: Path) -> None:
    """Those of a track, to the sample what a dream of its matrix makes, and none of the drums."""
    plan = plan_of(tmp_path, preset(tmp_path, objective="notes:midi:Keys"))
    midi, clock = plan.midi, plan.tempo_map
    assert midi is not None
    matrix = note_matrix(midi.load(), clock, SECONDS, track="Keys")
    targets = {"midi:Keys": Targets(values=torch.from_numpy(matrix.values), frame_s=matrix.frame_s)}
    alone = dreamed("notes:midi:Keys", targets=targets)

    assert np.array_equal(rendered(plan), alone)
    assert not np.array_equal(alone, sound())


def test_chords_need_no_midi(tmp_path: Path) -> None:
    """They lie on the bars of whatever clock there is."""
    plan = plan_of(tmp_path, preset(tmp_path, objective="chords:C|F"), has_midi=False)

    assert not np.array_equal(rendered(plan), sound())


def test_a_render_plays_what_is_heard_in_another_stem(tmp_path: Path) -> None:
    """The plan knows the stem, and the samples are those of what the network hears there."""
    plan = plan_of(tmp_path, preset(tmp_path, objective="notes:stem:lead:fold"), stems=("pad", "lead"))
    heard = heard_targets(KeyNet(), torch.from_numpy(sound(1)), RATE)

    assert set(plan.stems[0].reference_stems) == {"lead"}
    alone = dreamed("notes:stem:lead:fold", references={"lead": sound(1)[None]})
    by_targets = dreamed("notes:x:fold", targets={"x": heard})
    assert np.array_equal(rendered(plan), alone)
    assert np.array_equal(alone, by_targets)


def test_keyswitches_choose_what_is_dreamed(tmp_path: Path) -> None:
    """A render is the dream whose weights are the lines of the keys."""
    made = preset(tmp_path, notes={"C1": "note:C3", "D1": "note:A3"})
    plan = plan_of(tmp_path, made)
    assert plan.midi is not None
    lines = read_keyswitches(plan.midi.load(), plan.tempo_map, [(36, None), (38, None)])
    seconds = np.arange(len(sound())) / RATE
    automation = {f"key_{key}": lines.values(index, seconds) for index, key in enumerate((36, 38))}
    alone = dreamed("{key_36}*note:C3 + {key_38}*note:A3", automation=automation)

    assert np.array_equal(rendered(plan), alone)
    assert set(np.unique(automation["key_38"])) >= {0.0, 1.0}


def test_routes_and_macros_move_weights(tmp_path: Path) -> None:
    """A macro at a quarter is a weight of a quarter; `--set` changes one that rests."""
    route = {"source": "macro.knob", "target": "dream.air"}
    made = preset(tmp_path, objective="{air}*note:C3 + {edge}*note:A3", edge=0.5, routes=[route])

    assert np.array_equal(
        rendered(plan_of(tmp_path, made, has_midi=False)),
        dreamed("{air}*note:C3 + {edge}*note:A3", air=0.25, edge=0.5),
    )


def test_a_controller_moves_a_weight(tmp_path: Path) -> None:
    """CC1, smoothed as controllers are, on a weight that nothing else gives: it rises from 0 to 1."""
    data = preset(tmp_path, objective="{air}*note:C3").to_dict()
    data["midi_map"] = {"cc1": "dream.air"}
    song = mido.MidiFile(type=0, ticks_per_beat=480)
    song.tracks.append(mido.MidiTrack([mido.Message("control_change", control=1, value=127)]))
    song.save(tmp_path / "cc.mid")
    soundfile.write(tmp_path / "pad.wav", sound(), RATE, subtype="FLOAT")
    made = parse_preset(data, "test")
    plan = build_plan([tmp_path / "pad.wav"], made, midi=tmp_path / "cc.mid", out_dir=tmp_path / "out")
    envelopes = stem_envelopes(plan, plan.stems[0], plan.load_midi())
    lane = envelopes.values("dream", "air", 0, len(sound()))

    assert lane[0] < 0.1
    assert lane[-1] > 0.99
    assert np.array_equal(rendered(plan), dreamed("{air}*note:C3", automation={"air": lane}))


def test_a_weight_is_a_parameter_like_others() -> None:
    """It is read, set, shown and checked; with another objective it is gone."""
    dream = Dream(objective="{air}*class:flute", air=0.3)  # type: ignore[call-arg]

    assert dream.air == 0.3
    assert "air" in dream.parameters
    assert "air=0.3" in repr(dream)
    dream.air = 0.6
    assert dream.get_parameter("air") == 0.6
    with pytest.raises(ProcessorError, match=r"dream.air = 2 is outside 0..1"):
        dream.air = 2
    with pytest.raises(ProcessorError, match="a weight cannot be called 'depth'"):
        dream.objective = "{depth}*class:flute"
    assert dream.objective == "{air}*class:flute"
    dream.objective = "class:flute"
    with pytest.raises(AttributeError):
        _ = dream.air


def test_a_weight_that_nothing_gives_is_told() -> None:
    """By a dream alone, when it begins."""
    dream = Dream(network=KeyNet(), objective="{air}*note:C3")
    with pytest.raises(ProcessorError, match=r"nothing says how much \{air\}"):
        dream.process(sound()[None], RATE)
    lane = np.full(len(sound()), 0.5)
    assert dream.process(sound()[None], RATE, automation={"air": lane}).shape == (1, len(sound()))


WRONG = [
    ({"objective": "notes:midi"}, False, "there is no MIDI; give --midi FILE"),
    ({"objective": "notes:midi:Kesy"}, True, "did you mean 'Keys'"),
    ({"objective": "notes:midi:9"}, True, "has no track 9"),
    ({"objective": "notes:midi:empty"}, True, "there are no notes to play"),
    ({"objective": "notes:mine"}, True, "'mine' is none of these"),
    ({"objective": "notes:stem:led"}, True, "dreams towards stem 'led', which is not given"),
    ({"objective": "notes:midi", "network": "timbre"}, True, "hears no notes"),
    ({"objective": "chords:C|Q7"}, True, "bar 2: 'Q7' is not a chord"),
    ({"objective": "{air}*note:C3"}, True, "nothing says how much {air}"),
    ({"objective": "notes:midi", "varispeed_octaves": 0.5}, True, "other notes than are played"),
]


@pytest.mark.parametrize(("params", "has_midi", "said"), WRONG)
def test_a_plan_says_what_is_wrong(
    tmp_path: Path, params: dict[str, object], has_midi: bool, said: str
) -> None:
    """Before anything is rendered."""
    with pytest.raises(InputError) as caught:
        plan_of(tmp_path, preset(tmp_path, **params), has_midi=has_midi)

    assert said in str(caught.value)


def test_keyswitches_that_nobody_presses_are_a_warning(tmp_path: Path) -> None:
    """Without MIDI, and with one that has none of them."""
    made = preset(tmp_path, notes={"C1": "note:C3"})
    assert any("no keyswitch" in text for text in plan_of(tmp_path, made, has_midi=False).warnings)
    other = preset(tmp_path, notes={"G7": "note:C3"})
    assert any("no keyswitch" in text for text in plan_of(tmp_path, other).warnings)


def test_keyswitches_of_a_preset_without_a_dream_to_choose_for_are_a_warning(tmp_path: Path) -> None:
    """Those choose what `dream` maximises; `dreams` keep to what they say."""
    data = preset(tmp_path, notes={"C1": "note:C3"}).to_dict()
    data["chain"][0] |= {"use": "dreams", "params": {"network": "keys", "each": "note:C3; note:A3"}}
    made = parse_preset(data, "test")
    assert any("keep to their own each" in text for text in plan_of(tmp_path, made).warnings)


def test_whose_notes_a_dream_plays_may_be_said_by_channel(tmp_path: Path) -> None:
    """As for instruments; other plugin keys stay theirs."""
    data = preset(tmp_path, objective="notes:midi").to_dict()
    data["chain"][0]["channel"] = 1
    plan = plan_of(tmp_path, parse_preset(data, "test"))
    assert plan.preset.chain[0].channel == 1
    data["chain"][0]["plugin"] = "x"
    with pytest.raises(PresetError, match="plugin belongs to vst3 nodes"):
        parse_preset(data, "test")


def test_a_weight_of_a_keys_objective_is_moved_like_others(tmp_path: Path) -> None:
    """By a macro's route; where nothing moves it the plan says so."""
    notes, route = {"C1": "{air}*note:C3 + note:A3"}, {"source": "macro.knob", "target": "dream.air"}
    plan = plan_of(tmp_path, preset(tmp_path, notes=notes, routes=[route]), has_midi=False)

    assert np.array_equal(rendered(plan), dreamed("{air}*note:C3 + note:A3", air=0.25))
    with pytest.raises(PresetError, match=r"nothing says how much \{air\}"):
        plan_of(tmp_path, preset(tmp_path, notes=notes), has_midi=False)


def test_one_network_hears_a_stems_notes() -> None:
    """Two would hear other notes, and there is one score of a stem; the dream's own by its name is one."""
    with pytest.raises(ProcessorError, match="is for 'notes' and for 'crepe'"):
        Dream(network="notes", objective="notes:stem:lead + crepe@notes:stem:lead:fold").check()
    Dream(network="notes", objective="notes:stem:lead + notes@notes:stem:lead:fold").check()


def test_notes_that_lie_outside_the_stems_are_a_warning(tmp_path: Path) -> None:
    """Where the song begins after the stems end, or has ended before they begin."""
    made = preset(tmp_path, objective="notes:midi")
    plan = plan_of(tmp_path, made)
    said = {}
    for offset_s in (0.0, 2.9, 3.1, -2.4, -2.6):
        clock = ClockSettings(offset_s=offset_s)
        again = build_plan(
            [tmp_path / "pad.wav"], made, midi=tmp_path / "song.mid", out_dir=tmp_path, clock=clock
        )
        said[offset_s] = any("no note of notes:midi sounds" in text for text in again.warnings)

    assert not any("no note" in text for text in plan.warnings)
    assert said == {0.0: False, 2.9: False, 3.1: True, -2.4: False, -2.6: True}


def test_whose_notes_a_dream_plays_may_be_said_by_track(tmp_path: Path) -> None:
    """`track` of the node is that of `notes:midi`; the objective's own goes before it."""
    by_name = rendered(plan_of(tmp_path, preset(tmp_path, objective="notes:midi:Keys")))
    data = preset(tmp_path, objective="notes:midi").to_dict()
    data["chain"][0]["track"] = "Keys"
    (tmp_path / "by_node").mkdir()
    by_node = rendered(plan_of(tmp_path / "by_node", parse_preset(data, "test")))

    assert np.array_equal(by_node, by_name)
    data["chain"][0]["track"] = "empty"
    with pytest.raises(PresetError, match="there are no notes to play"):
        plan_of(tmp_path / "by_node", parse_preset(data, "test"))


def test_a_stem_that_a_dream_alone_was_not_given_is_told() -> None:
    """With the nearest of its references."""
    dream = Dream(network=KeyNet(), objective="notes:stem:laed", references={"lead": sound(1)[None]})
    with pytest.raises(ProcessorError, match=r"notes:stem:laed follows a stem .* did you mean 'lead'"):
        dream.process(sound()[None], RATE)
