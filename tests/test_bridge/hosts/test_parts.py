"""The parts under a hosted plugin: laws of parameters, state files, bundles, frames. None needs a plugin."""

from __future__ import annotations

import base64
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import PluginError, ProcessorError
from bridge.hosts.bundle import check_bundle, find_binary, standard_folders, this_machine
from bridge.hosts.contract import HostedParameter
from bridge.hosts.installed_plugins import find_plugin
from bridge.hosts.parameter_laws import build_parameters, parameter_name, parse_parameter_text
from bridge.hosts.plugin_cache import PluginCache
from bridge.hosts.vstpreset import build_vstpreset, decode_state, parse_vstpreset, read_state
from bridge.hosts.wire import Frame, Opcode, SharedAudio, read_frame, write_frame

UID = "0123456789ABCDEF0123456789ABCDEF"


def hosted(texts: list[str], steps: int = 0, title: str = "P", default: float = 0.0) -> HostedParameter:
    raws = np.linspace(0.0, 1.0, len(texts))
    return HostedParameter(
        title=title,
        label="",
        steps=steps,
        default_raw=default,
        is_automatable=True,
        texts=tuple(zip(raws.tolist(), texts, strict=True)),
    )


def continuous(law: object, n_points: int = 65, form: str = "{:.2f}") -> HostedParameter:
    return hosted([form.format(law(raw)) for raw in np.linspace(0, 1, n_points)])  # type: ignore[operator]


def test_a_linear_travel_is_recognised_and_exact() -> None:
    """A display of two decimals does not round what is set: the law is the formula."""
    parameter = build_parameters([continuous(lambda raw: -60 + 72 * raw)])["p"]
    assert parameter.law == "linear"
    assert parameter.to_raw(-12.345) == np.float32((-12.345 + 60) / 72)


def test_a_logarithmic_travel_is_recognised_and_exact() -> None:
    """20 Hz to 20 kHz in equal ratios is a log law, and 440 Hz is 440 Hz."""
    parameter = build_parameters([continuous(lambda raw: 20 * 1000**raw, form="{:.1f} Hz")])["p"]
    assert (parameter.law, parameter.spec.curve, parameter.spec.unit) == ("log", "log", "Hz")
    assert float(parameter.to_value(parameter.to_raw(440.0))) == pytest.approx(440.0, rel=1e-5)


def test_another_travel_is_a_table() -> None:
    """A square-law travel fits no formula; its table is inverted between its points."""
    parameter = build_parameters([continuous(lambda raw: 100 * raw**2)])["p"]
    assert parameter.law == "table"
    assert float(parameter.to_value(parameter.to_raw(25.0))) == pytest.approx(25.0, abs=0.1)


def test_a_display_that_changes_its_unit_is_read_in_one() -> None:
    """900 Hz and 1.20 kHz are numbers of one travel."""
    texts = [f"{v:.0f} Hz" if v < 1000 else f"{v / 1000:.2f} kHz" for v in 20 * 1000 ** np.linspace(0, 1, 65)]
    parameter = build_parameters([hosted(texts)])["p"]
    assert (parameter.spec.minimum, parameter.spec.maximum, parameter.spec.unit) == (20.0, 20000.0, "Hz")
    assert parameter.law == "log"


def test_a_display_that_mixes_other_units_is_not_numbers() -> None:
    """Hz and ms on one travel are not one quantity: it is offered as its bare travel."""
    texts = [f"{i} Hz" if i < 30 else f"{i} ms" for i in range(65)]
    spec = build_parameters([hosted(texts)])["p"].spec
    assert (spec.minimum, spec.maximum) == (0.0, 1.0)


def test_minus_infinity_is_no_number_of_the_range() -> None:
    """A fader whose bottom says -inf dB starts at its lowest number."""
    texts = ["-inf dB", *[f"{v:.1f} dB" for v in np.linspace(-59, 6, 64)]]
    spec = build_parameters([hosted(texts)])["p"].spec
    assert (spec.minimum, spec.maximum) == (-59.0, 6.0)


def test_steps_are_counted_as_the_standard_counts() -> None:
    """VST3 says plain = min(steps, floor(raw * (steps + 1))): every integer survives the round trip."""
    n_steps = 4095
    raws = np.unique(np.round(np.linspace(0, 1, 64) * n_steps)) / n_steps
    parameter = build_parameters(
        [
            HostedParameter(
                title="P",
                label="",
                steps=n_steps,
                default_raw=0.0,
                is_automatable=True,
                texts=tuple((float(r), str(min(n_steps, int(r * (n_steps + 1))))) for r in raws),
            )
        ]
    )["p"]
    values = np.arange(n_steps + 1.0)
    plain = np.minimum(n_steps, np.floor(parameter.lane_to_raw(values).astype(np.float64) * (n_steps + 1)))
    assert np.array_equal(plain, values)


def test_steps_of_any_size_are_kept() -> None:
    """An oversampling of 1x, 2x, 4x, 8x takes just those values."""
    parameter = build_parameters([hosted(["1x", "2x", "4x", "8x"], steps=3)])["p"]
    for i, value in enumerate((1.0, 2.0, 4.0, 8.0)):
        assert parameter.to_raw(value) == np.float32(i / 3)
        assert parameter.to_value(np.float32(i / 3)) == value
    with pytest.raises(ProcessorError, match="between two steps"):
        parameter.to_raw(3.0)


def test_choices_switches_and_words() -> None:
    """Texts off and on are a switch, a list of words is a choice, a travel without numbers is 0..1."""
    parameters = build_parameters(
        [
            hosted(["Off", "On"], steps=1, title="Power"),
            hosted(["Hall", "Room", "Plate"], steps=2, title="Kind", default=0.5),
            hosted([f"word {'x' * i}" for i in range(65)], title="Strange"),
        ]
    )
    assert parameters["power"].spec.default is False
    assert parameters["kind"].spec.choices == ("Hall", "Room", "Plate")
    assert parameters["kind"].spec.default == "Room"
    assert (parameters["strange"].spec.minimum, parameters["strange"].spec.maximum) == (0.0, 1.0)


def test_names_are_unique_and_midi_controllers_are_left_out() -> None:
    """Parameters of one name are numbered; the 2080 MIDI controllers of JUCE plugins are not offered."""
    several = [hosted(["0", "1"], title=title) for title in ("Gain", "Gain", "MIDI CC 0|1", "Gain")]
    parameters = build_parameters(several)
    assert {name: one.index for name, one in parameters.items()} == {"gain": 0, "gain_2": 1, "gain_3": 3}


@pytest.mark.parametrize(
    ("title", "label", "name"),
    [("Dry/Wet", "%", "dry_wet"), ("Osc 1 Pitch", "st", "osc_1_pitch_st"), ("C♯ Level", "", "c_sharp_level")],
)
def test_names_are_snake_case(title: str, label: str, name: str) -> None:
    """Titles and units become names as pedalboard spells them."""
    assert parameter_name(title, label) == name


def test_names_agree_with_pedalboard() -> None:
    """For letters, digits, spaces, dashes and slashes the names are pedalboard's own."""
    pedalboard = pytest.importorskip("pedalboard._pedalboard")
    for title in ("Low-Cut Freq", "A/B  Mix", "Gain (out)", "Band 3 Q", "#1", "Wet %"):
        assert parameter_name(title, "") == pedalboard.normalize_python_parameter_name(title)


@pytest.mark.parametrize(
    ("text", "quantity"),
    [("-6.00 dB", (-6.0, "dB")), (".5", (0.5, "")), ("1e3 Hz", (1000.0, "Hz")), ("50%", (50.0, "%"))],
)
def test_quantities_are_numbers_with_units(text: str, quantity: tuple[float, str]) -> None:
    """What plugins display is split into number and unit."""
    assert parse_parameter_text(text) == quantity


@given(
    st.dictionaries(st.sampled_from(["Cont", "Prog", "Info"]), st.binary(max_size=200)),
    st.binary(max_size=99),
)
def test_vstpresets_survive_writing_and_reading(others: dict[str, bytes], component: bytes) -> None:
    """What is written is read."""
    chunks = {"Comp": component, **others}
    preset = parse_vstpreset(build_vstpreset(UID, chunks))
    assert (preset.uid, dict(preset.chunks)) == (UID, chunks)


@given(st.data())
def test_damaged_vstpresets_never_raise_anything_else(data: st.DataObject) -> None:
    """Whatever bytes are changed or cut, the reader reads or says PluginError."""
    whole = bytearray(build_vstpreset(UID, {"Comp": b"x" * 40, "Cont": b"y" * 10}))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        preset = parse_vstpreset(bytes(whole[:cut]))
    except PluginError:
        return
    assert "Comp" in preset.chunks


def test_every_truncation_of_a_vstpreset_is_refused() -> None:
    """No prefix of a state is a state."""
    whole = build_vstpreset(UID, {"Comp": b"state", "Cont": b""})
    for length in range(len(whole)):
        with pytest.raises(PluginError):
            parse_vstpreset(whole[:length])


def test_the_layout_is_the_standards() -> None:
    """Header, chunk and list lie where the SDK puts them."""
    whole = build_vstpreset(UID, {"Comp": b"abcde"})
    assert whole[:4] == b"VST3"
    assert struct.unpack_from("<i", whole, 4) == (1,)
    assert whole[8:40] == UID.encode()
    assert struct.unpack_from("<q", whole, 40) == (53,)
    assert whole[48:53] == b"abcde"
    assert whole[53:] == b"List" + struct.pack("<i4sqq", 1, b"Comp", 48, 5)


def test_states_come_as_bytes_paths_or_base64(tmp_path: Path) -> None:
    """Presets give a state in any of three ways; nonsense is refused with its place."""
    data = build_vstpreset(UID, {"Comp": b"abc"})
    path = tmp_path / "s.vstpreset"
    path.write_bytes(data)
    text = base64.b64encode(data).decode()
    assert read_state(data) == read_state(path) == read_state(str(path)) == read_state(text) == data
    assert decode_state(text[:20] + "\n" + text[20:]) == data
    with pytest.raises(PluginError, match="not base64"):
        read_state("no state!")
    with pytest.raises(PluginError, match="cannot be read"):
        read_state("absent.vstpreset")


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(100)


def bundle(folder: Path, name: str, content: bytes, architecture: str = "") -> Path:
    place = folder / f"{name}.vst3" / "Contents" / (architecture or f"{os.uname().machine}-linux")
    place.mkdir(parents=True)
    (place / f"{name}.so").write_bytes(content)
    return folder / f"{name}.vst3"


@pytest.mark.skipif(sys.platform != "linux", reason="bundles are laid out for Linux here")
def test_wrong_bundles_say_what_is_wrong(tmp_path: Path) -> None:
    """Absent, no bundle, no library, another processor, another system: each has its own sentence."""
    other = {"x86_64": (0xB7, "aarch64")}.get(this_machine(), (0x3E, "x86_64"))
    pe = bytearray(200)
    pe[:2], pe[60:64], pe[64:70] = b"MZ", struct.pack("<I", 64), b"PE\0\0" + struct.pack("<H", 0x8664)
    (tmp_path / "folder").mkdir()
    wrong = {
        tmp_path / "absent.vst3": "no such plugin",
        tmp_path / "folder": "not a VST3 bundle",
        bundle(tmp_path, "Text", b"hello"): "not a program library",
        bundle(tmp_path, "Arm", elf(other[0])): f"built for {other[1]}, this machine is {this_machine()}",
        bundle(tmp_path, "Win", bytes(pe)): "built for Windows, this is Linux",
        bundle(tmp_path, "Mac", b"\xcf\xfa\xed\xfe" + struct.pack("<I", 0x0100000C)): "built for macOS",
        bundle(tmp_path, "Else", elf(0), "sparc-linux"): "the bundle has sparc-linux",
    }
    locked = bundle(tmp_path, "Locked", b"")
    library = next(locked.glob("Contents/*/*.so"))
    library.unlink()
    library.mkdir()  # what not even the superuser can read as a file
    for path, says in {**wrong, locked: "the plugin cannot be read"}.items():
        with pytest.raises(PluginError, match=says):
            check_bundle(path)


@pytest.mark.parametrize(
    ("system", "folder"),
    [
        ("linux", "/usr/lib/vst3"),
        ("darwin", "/Library/Audio/Plug-Ins/VST3"),
        ("win32", "C:/Common/VST3"),
    ],
)
def test_standard_folders_are_the_systems(system: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every system's own plugin folders are known."""
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setenv("COMMONPROGRAMFILES", "C:/Common")
    monkeypatch.setenv("LOCALAPPDATA", "C:/Local")
    assert Path(folder) in standard_folders()


@pytest.mark.skipif(sys.platform != "linux", reason="bundles are laid out for Linux here")
def test_a_library_of_another_name_is_found(tmp_path: Path) -> None:
    """Bundles that users have renamed still hold their binary."""
    path = bundle(tmp_path, "Old", elf(0x3E))
    renamed = path.rename(tmp_path / "New.vst3")
    assert find_binary(renamed).name == "Old.so"


def test_frames_survive_the_pipe() -> None:
    """What is written to a pipe is read from it, JSON and bytes and all."""
    reading, writing = os.pipe()
    frames = [
        Frame(Opcode.PROCESS, 512),
        Frame(Opcode.LOAD, fields={"path": "ä"}, data=b"\0\1"),
        Frame(Opcode.DONE, data=b"x" * 999),
    ]
    for frame in frames:
        write_frame(writing, frame)
        assert read_frame(reading) == frame
    os.close(writing)
    with pytest.raises(EOFError):
        read_frame(reading)
    os.close(reading)


@pytest.mark.skipif(sys.platform != "linux", reason="memfd is Linux's")
def test_shared_memory_has_no_name_to_leave_behind() -> None:
    """The memory is a descriptor only: when its last holder dies, however, it is gone."""
    shared = SharedAudio()
    (descriptor,) = shared.inherited_descriptors
    assert str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("/memfd:")
    shared.close()


def test_shared_audio_is_shared() -> None:
    """What one side writes the other reads, through a descriptor and no name."""
    ours = SharedAudio()
    theirs = SharedAudio(str(os.dup(ours.inherited_descriptors[0])))
    ours.to_child(2, 5)[...] = np.arange(10).reshape(2, 5)
    theirs.from_child(1, 3)[...] = 7.0
    theirs.progress[0] = 123456789012
    assert theirs.to_child(2, 5).tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert ours.from_child(1, 3).tolist() == [[7, 7, 7]]
    assert ours.progress[0] == 123456789012
    with pytest.raises(ValueError, match="do not fit"):
        ours.from_child(64, 100000)
    ours.close()
    theirs.close()


def test_names_too_long_for_a_file_are_plugins_that_are_not_there(tmp_path: Path) -> None:
    """Whether a preset or the cache says so: one line, not the system's error."""
    name = "x" * 5000
    with pytest.raises(PluginError, match=r"no plugin 'x+' is installed"):
        find_plugin(name, cache=PluginCache(tmp_path / "plugins.json"))
    with pytest.raises(PluginError, match="the plugin cannot be read: File name too long"):
        find_binary(tmp_path / f"{name}.vst3")
