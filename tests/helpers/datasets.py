"""Folders as data sets are published, made small: the names are theirs, the sounds tones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def tone(path: Path, frequency_hz: float = 440.0, duration_s: float = 0.3, rate: int = RATE) -> Path:
    """Write a tone; the suffix says as what."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(duration_s * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * frequency_hz * t), rate)
    return path


def class_folders(root: Path, n_files: int = 6, labels: tuple[str, ...] = ("high", "low", "mid")) -> Path:
    """Make a folder a class, each file at another pitch and of another length."""
    for i, label in enumerate(labels):
        for k in range(n_files):
            tone(root / label / f"{k:02d}.wav", 200.0 * (i + 1) + 7.0 * k, 0.6 + 0.05 * k)
    return root


def nsynth(root: Path) -> Path:
    """Two instruments in train, one in valid and test; a file too few and one too many."""
    examples = {
        "nsynth-train": [
            "bass_synthetic_033-022-050",
            "guitar_acoustic_010-060-127",
            "reed_acoustic_037-068-025",
        ],
        "nsynth-valid": ["bass_electronic_018-041-075"],
        "nsynth-test": ["guitar_synthetic_000-070-100"],
    }
    for part, names in examples.items():
        about = {}
        for name in names:
            family, source, rest = name.split("_")
            instrument, pitch, velocity = rest.split("-")
            about[name] = {
                "note": 1, "note_str": name, "instrument": int(instrument), "pitch": int(pitch),
                "instrument_str": f"{family}_{source}_{instrument}", "velocity": int(velocity),
                "sample_rate": 16000, "qualities": [0] * 10, "qualities_str": [], "instrument_family": 0,
                "instrument_family_str": family, "instrument_source": 0, "instrument_source_str": source,
            }  # fmt: skip
            if not name.startswith("reed"):
                tone(root / part / "audio" / f"{name}.wav")
        (root / part / "examples.json").parent.mkdir(parents=True, exist_ok=True)
        (root / part / "examples.json").write_text(json.dumps(about))
    tone(root / "nsynth-test" / "audio" / "vocal_acoustic_000-070-100.wav")
    return root


def philharmonia(root: Path) -> Path:
    """Notes of three instruments, a percussion instrument without notes, an empty file, a strange name."""
    for name in (
        "cello/cello_As4_025_forte_arco-normal.mp3",
        "cello/cello_As4_1_piano_arco-normal.mp3",
        "french horn/french-horn_A2_very-long_mezzo-forte_normal.mp3",
        "cor anglais/cor-anglais_C4_phrase_forte_nonlegato.mp3",
        "percussion/agogo bells/agogo-bells__025_forte_struck-singly.mp3",
    ):
        tone(root / name, rate=44100)
    (root / "viola").mkdir()
    (root / "viola" / "viola_D6_05_piano_arco-normal.mp3").touch()
    tone(root / "viola" / "viola.mp3", rate=44100)
    (root / "cello" / "README.txt").write_text("a list")
    return root


def irmas(root: Path) -> Path:
    """Excerpts to train on, two of one recording, and such with one tag, two and none to test on."""
    training = root / "IRMAS-TrainingData"
    for name in ("cel/[cel][cla]0001__1", "cel/[cel][cla]0001__2", "gac/008__[gac][nod][pop_roc]0735__3"):
        tone(training / f"{name}.wav")
    testing = root / "IRMAS-TestingData-Part1" / "Part1"
    for name, tags in (("(02) dont kill the whale-1", "gel\n"), ("a-2", "voi\t\nvio\t\n"), ("b-4", None)):
        tone(testing / f"{name}.wav")
        if tags is not None:
            (testing / f"{name}.txt").write_text(tags)
    return root


def esc50(root: Path) -> Path:
    """One clip a fold, the fourth missing, one file that the index does not name."""
    rows = []
    for fold in range(1, 6):
        name = f"{fold}-10003{fold}-A-0.wav"
        rows.append([name, fold, 0, "dog", True, f"10003{fold}", "A"])
        if fold != 4:
            tone(root / "audio" / name, 300.0 + fold)
    tone(root / "audio" / "5-999999-B-1.wav")
    _table(
        root / "meta" / "esc50.csv",
        ["filename", "fold", "target", "category", "esc10", "src_file", "take"],
        rows,
    )
    return root


def urbansound8k(root: Path) -> Path:
    """Slices whose start and end lie in a recording that is not there."""
    rows = []
    for fold in (1, 10):
        name = f"10003{fold}-3-0-0.wav"
        rows.append([name, f"10003{fold}", 12.5, 16.5, 1, fold, 3, "dog_bark"])
        tone(root / "audio" / f"fold{fold}" / name, duration_s=0.4)
    header = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    _table(root / "metadata" / "UrbanSound8K.csv", header, rows)
    return root


def _table(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
