"""Data sets as they are published, folders and tables of one's own: what is found, what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import datasets
from helpers.datasets import tone

from bridge.datasets.scan import Scan, scan_folder
from bridge.datasets.vetting import ADD10, Vetting, read_drops, read_map
from bridge.errors import InputError


def _rows(scan: Scan, *fields: str) -> list[tuple[object, ...]]:
    return [tuple(getattr(one, field) for field in fields) for one in scan.recordings]


def test_folders_give_their_names_and_what_is_no_sound_is_counted(tmp_path: Path) -> None:
    """Deeper folders belong to the one at the top; every file is a group."""
    tone(tmp_path / "bell" / "a.wav")
    tone(tmp_path / "bell" / "old" / "b.flac", duration_s=0.5)
    tone(tmp_path / "loose.wav")
    (tmp_path / "bell" / "notes.txt").touch()
    (tmp_path / "bell" / ".hidden.wav").touch()
    (tmp_path / "bell" / "broken.wav").write_bytes(b"RIFF")
    scan = scan_folder(tmp_path)

    assert _rows(scan, "label", "group", "duration_s") == [
        ("bell", "bell/a.wav", 0.3), ("bell", "bell/old/b.flac", 0.5),
    ]  # fmt: skip
    reasons = sorted(scan.left_out.counts)
    assert [reason.partition(":")[0] for reason in reasons] == [
        "beside the folders of the classes, not in one", "cannot be read", "not an audio file by its suffix",
    ]  # fmt: skip
    assert all("broken.wav" not in reason for reason in reasons)


def test_nsynth(tmp_path: Path) -> None:
    """Families, instruments, keys and the published split; the index and the files must agree."""
    scan = scan_folder(datasets.nsynth(tmp_path), "nsynth")

    assert _rows(scan, "label", "group", "pitch", "velocity", "source", "split", "licence") == [
        ("guitar", "guitar_synthetic_000", 70, 100, "synthetic", "test", "CC BY 4.0"),
        ("bass", "bass_synthetic_033", 22, 50, "synthetic", "train", "CC BY 4.0"),
        ("guitar", "guitar_acoustic_010", 60, 127, "acoustic", "train", "CC BY 4.0"),
        ("bass", "bass_electronic_018", 41, 75, "electronic", "validation", "CC BY 4.0"),
    ]
    assert scan.left_out.counts == {
        "not in examples.json": 1,
        "in examples.json, but there is no such file": 1,
    }
    assert len(scan_folder(tmp_path / "nsynth-train", "nsynth").recordings) == 2


def test_philharmonia(tmp_path: Path) -> None:
    """`As4` is A#4, key 70; a note stays together; percussion has no notes; the empty file is named."""
    scan = scan_folder(datasets.philharmonia(tmp_path), "philharmonia")

    assert _rows(scan, "label", "group", "pitch") == [
        ("cello", "cello As4", 70),
        ("cello", "cello As4", 70),
        ("cor anglais", "cor anglais C4", 60),
        ("french horn", "french horn A2", 45),
        ("percussion", "agogo bells", -1),
    ]
    assert sum(scan.left_out.counts.values()) == 3
    assert "viola_D6" in " ".join(scan.left_out.examples.values())


def test_irmas(tmp_path: Path) -> None:
    """The number before `__` is the recording; tests with one tag count, with several they do not."""
    scan = scan_folder(datasets.irmas(tmp_path), "irmas")

    assert _rows(scan, "label", "group", "split") == [
        ("cello", "training 0001", "train"),
        ("cello", "training 0001", "train"),
        ("acoustic guitar", "training 0735", "train"),
        ("electric guitar", "testing (02) dont kill the whale", "test"),
    ]
    assert scan.left_out.counts == {"several instruments at once, or none": 1, "no .txt of tags beside it": 1}


def test_esc50_also_in_the_folder_of_its_archive(tmp_path: Path) -> None:
    datasets.esc50(tmp_path / "ESC-50-master")
    scan = scan_folder(tmp_path, "esc50")

    assert _rows(scan, "label", "group", "split") == [
        ("dog", f"10003{fold}", f"fold{fold}") for fold in (1, 2, 3, 5)
    ]
    assert scan.left_out.counts == {"in esc50.csv, but there is no such file": 1, "not in esc50.csv": 1}


def test_urbansound8k(tmp_path: Path) -> None:
    """Start and end are of the recording that a slice was cut from, not of the file."""
    scan = scan_folder(datasets.urbansound8k(tmp_path), "urbansound8k")

    assert _rows(scan, "label", "group", "split", "start_s", "duration_s") == [
        ("dog_bark", "100031", "fold1", 0.0, 0.4),
        ("dog_bark", "1000310", "fold10", 0.0, 0.4),
    ]


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    """With parts of files, which end with the file; what begins after it is left out."""
    tone(tmp_path / "long.wav", duration_s=1.0)
    (tmp_path / "mine.csv").write_text(
        "label,path,start_s,duration_s\nbell,long.wav,0.25,0.5\ndrum,long.wav,0.75,9\ndrum,long.wav,2,\n"
        "drum,gone.wav,,\n"
    )
    scan = scan_folder(tmp_path, "csv")

    assert _rows(scan, "label", "start_s", "duration_s") == [("bell", 0.25, 0.5), ("drum", 0.75, 0.25)]
    assert sum(scan.left_out.counts.values()) == 2


def test_the_folder_of_another_set_is_told_from_it(tmp_path: Path) -> None:
    datasets.esc50(tmp_path)
    with pytest.raises(InputError, match="--as nsynth needs.*looks like --as esc50"):
        scan_folder(tmp_path, "nsynth")
    with pytest.raises(InputError, match="--as nsinth.*nsynth"):
        scan_folder(tmp_path, "nsinth")
    with pytest.raises(InputError, match="no such folder"):
        scan_folder(tmp_path / "gone", "folders")


def test_labels_are_merged_as_in_the_dissertation(tmp_path: Path) -> None:
    """Ten classes; percussion is left out by the map, with its count."""
    assert sorted(set(ADD10.values()) - {""}) == [
        "bass", "brass", "flute", "guitar", "organ", "piano", "reed", "string", "synth", "vocal",
    ]  # fmt: skip
    scan = scan_folder(datasets.philharmonia(tmp_path), "philharmonia", vetting=Vetting(classes=ADD10))

    assert {one.label for one in scan.recordings} == {"string", "brass", "reed"}
    assert scan.left_out.counts["the map leaves out percussion"] == 1


def test_what_fits_all_pairs_of_a_drop_is_left_out(tmp_path: Path) -> None:
    """Synthetic guitars go, synthetic basses and acoustic guitars stay."""
    drops = read_drops(["source=synthetic,label=guitar"])
    scan = scan_folder(datasets.nsynth(tmp_path), "nsynth", vetting=Vetting(drops=drops))

    assert {one.group for one in scan.recordings} == {
        "bass_synthetic_033", "guitar_acoustic_010", "bass_electronic_018",
    }  # fmt: skip
    assert scan.left_out.counts["dropped: source=synthetic,label=guitar"] == 1


def test_maps_and_drops_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('"Cor-Anglais" = "reed"\nfiddle = "string"\n')
    assert read_map(str(tmp_path / "map.toml")) == {"cor anglais": "reed", "fiddle": "string"}
    (tmp_path / "map.toml").write_text("[reed]\noboe = 1\n")
    with pytest.raises(InputError, match=r'reed: a map has lines as "cor anglais" = "reed"'):
        read_map(str(tmp_path / "map.toml"))
    with pytest.raises(InputError, match="add10"):
        read_map("add11")
    with pytest.raises(InputError, match="sorce.*source"):
        read_drops(["sorce=synthetic"])
    with pytest.raises(InputError, match="KEY=VALUE"):
        read_drops(["synthetic"])
