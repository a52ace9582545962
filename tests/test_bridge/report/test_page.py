"""The report is one file that needs nothing, shows what happened, and plays its three versions in sync."""

from __future__ import annotations

import base64
import http.server
import io
import json
import queue
import re
import shutil
import struct
import subprocess
import threading
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import noise, sine

from bridge.audio.reader import read_audio
from bridge.audio.writer import AudioWriter
from bridge.clock.settings import ClockSettings
from bridge.errors import OutputError
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.render.manifest import read_manifest
from bridge.render.runner import render_plan
from bridge.report.page import build_report, write_report
from bridge.report.pictures import COLUMNS, FLOOR_DB, ROWS, SoundPictureMaker, encode_png, spectrogram_png

PRESET = {
    "format": "reverie/preset",
    "version": 1,
    "uuid": "11111111-2222-3333-4444-555555555555",
    "meta": {"name": "Report <Test> & Co", "category": "Utility", "description": "A filter that moves."},
    "chain": [{"id": "filter", "use": "lowpass_filter", "params": {"cutoff_frequency_hz": 4000.0}}],
    "modulators": [{"id": "wobble", "type": "lfo", "shape": "triangle", "rate": "1 bars"}],
    "routes": [
        {
            "source": "wobble",
            "target": "filter.cutoff_frequency_hz",
            "op": "replace",
            "min": 300.0,
            "max": 6000.0,
        }
    ],
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short stems through a moving filter; the manifest's path."""
    folder = tmp_path_factory.mktemp("render")
    sounds = {
        "tone & <noise>": sine(440, 3.0, n_channels=2, level_dbfs=-12) + noise(144_000, 2, level=0.02),
        "mono": sine(220, 3.0, level_dbfs=-18),
    }
    for name, samples in sounds.items():
        with AudioWriter(folder / f"{name}.wav", sample_rate=48000, n_channels=len(samples)) as writer:
            writer.write(samples)
    stems = [folder / f"{name}.wav" for name in sounds]
    plan = build_plan(
        stems, parse_preset(PRESET, "test"), out_dir=folder / "out", clock=ClockSettings(bpm=120)
    )
    report = render_plan(plan)
    assert report.failed == ()
    return report.manifest


@pytest.fixture(scope="module")
def page(rendered: Path) -> str:
    return build_report(read_manifest(rendered))


class Resources(HTMLParser):
    """Collects every address a page would fetch, and its visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "data", "poster")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data[:1_000]


def parse(page: str) -> Resources:
    resources = Resources()
    resources.feed(page)
    return resources


# --- pictures ------------------------------------------------------------------------------------


def picture_of(samples: np.ndarray, block: int, sample_rate: int = 48000) -> object:
    maker = SoundPictureMaker(samples.shape[1], sample_rate)
    for start in range(0, samples.shape[1], block):
        maker.push(samples[:, start : start + block])
    return maker.result()


def test_a_tone_is_drawn_at_its_frequency_and_level() -> None:
    """A 1 kHz sine of -20 dBFS is brightest in the row of 1 kHz, at -20 dB within 1.5 dB of window ripple."""
    picture = picture_of(sine(1000, 5.0, level_dbfs=-20), 65_536)
    column = picture.levels_db[:, COLUMNS // 2]  # type: ignore[attr-defined]
    edges = np.geomspace(24_000, 30.0, ROWS + 1)
    row = int(column.argmax())
    assert edges[row + 1] <= 1000 * 1.03
    assert edges[row] >= 1000 / 1.03
    assert column[row] == pytest.approx(-20, abs=1.5)
    assert picture.highs.max() == pytest.approx(0.1, abs=1e-3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("n_samples", [1, 100, 5_000, 300_001])
def test_a_picture_depends_on_no_chunking(n_samples: int) -> None:
    """Blocks of any size give the same picture, also of sounds shorter than a column or a window."""
    samples = noise(n_samples, 2)
    one, other = picture_of(samples, n_samples), picture_of(samples, 7_777)
    np.testing.assert_array_equal(one.levels_db, other.levels_db)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(one.highs, other.highs)  # type: ignore[attr-defined]


def test_silence_is_the_darkest_colour() -> None:
    """Silence is drawn at the floor, and the PNG is well-formed down to its checksums."""
    picture = picture_of(np.zeros((1, 10_000), np.float32), 10_000)
    assert (picture.levels_db == FLOOR_DB).all()  # type: ignore[attr-defined]
    png = spectrogram_png(picture)  # type: ignore[arg-type]
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (COLUMNS, ROWS)


def test_a_png_holds_the_pixels_given() -> None:
    """Decompressed by hand, every row is a filter byte of 0 and its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    png = encode_png(pixels)
    data = png[png.index(b"IDAT") + 4 :]
    size = struct.unpack(">I", png[png.index(b"IDAT") - 4 : png.index(b"IDAT")])[0]
    lines = np.frombuffer(zlib.decompress(data[:size]), np.uint8).reshape(5, 22)
    assert not lines[:, 0].any()
    np.testing.assert_array_equal(lines[:, 1:].reshape(5, 7, 3), pixels)


# --- the page ------------------------------------------------------------------------------------


def test_the_page_fetches_nothing(page: str) -> None:
    """Every address in the page is embedded data; no style or script names another."""
    resources = parse(page)
    assert resources.addresses
    assert all(address.startswith("data:") for address in resources.addresses)
    without_data = re.sub(r"base64,[A-Za-z0-9+/=]+|>[A-Za-z0-9+/=]{200,}<", "", page)
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest", without_data)


def test_names_are_shown_and_cannot_become_markup(page: str) -> None:
    """Stems, preset, chain, marker and reason are on the page, escaped."""
    text = parse(page).text
    for shown in (
        "Report <Test> & Co",
        "tone & <noise>",
        "lowpass_filter",
        "filter.cutoff_frequency_hz",
        "matched",
    ):
        assert shown in text
    assert "<noise>" not in page
    assert "<Test>" not in page


def test_the_levels_are_those_of_the_manifest(page: str, rendered: Path) -> None:
    """The table shows integrated loudness before and after as measured."""
    text = parse(page).text
    for record in read_manifest(rendered).stems.values():
        for levels in (record.before, record.after):
            assert f"{levels['integrated_lufs']:.1f}" in text
    assert "All together" in text


def test_the_sound_in_the_page_is_the_sound_of_the_files(page: str, rendered: Path) -> None:
    """Before and after decode to the source and the output within a bit of 16."""
    found = re.findall(r'<script type="audio/flac" data-view="(\w+)">([^<]+)</script>', page)
    assert [name for name, _ in found] == ["before", "after"] * 2
    decoded = [soundfile.read(io.BytesIO(base64.b64decode(data)))[0] for _, data in found]
    plan = read_manifest(rendered).plan
    files = [path for stem in plan.stems for path in (stem.source, stem.target)]
    for sound, path in zip(decoded, files, strict=True):
        np.testing.assert_allclose(sound, soundfile.read(path)[0], atol=2**-15)


def test_where_most_was_changed_can_be_heard(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too little room for the whole, the stretch with the largest difference is taken."""
    monkeypatch.setattr("bridge.report.page.PREVIEW_S", 1.0)
    page = build_report(read_manifest(rendered))
    stretches = [
        (float(a), float(b)) for a, b in re.findall(r'data-start="([\d.]+)" data-end="([\d.]+)"', page)
    ]
    assert "where most was changed" in page
    manifest = read_manifest(rendered)
    for stem, (start, end) in zip(manifest.plan.stems, stretches, strict=True):
        assert end - start == pytest.approx(0.5)
        gain = 10 ** (-manifest.stems[stem.name].gain_db / 20)
        difference = read_audio(stem.target)[0] * gain - read_audio(stem.source)[0]
        energy = np.convolve((difference**2).sum(axis=0), np.ones(24_000), mode="valid")
        # Chosen by the peaks of picture columns: as good as the best by energy within 1 dB.
        assert energy[round(start * 48000)] >= 0.8 * energy.max()


def test_a_report_is_not_replaced_unasked(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing is never over an existing file without leave, and leaves nothing else behind."""
    monkeypatch.setattr("bridge.report.page.build_report", lambda _manifest: "a page")
    manifest = read_manifest(rendered)
    path = write_report(manifest, tmp_path / "report.html")
    with pytest.raises(OutputError, match="exists already"):
        write_report(manifest, path)
    write_report(manifest, path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


# --- in a browser --------------------------------------------------------------------------------

DRIVER = """
<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const result = {};
  try {
    const images = [...document.images];
    await Promise.all(images.map((image) => image.decode()));
    result.images = images.map((image) => [image.naturalWidth, image.naturalHeight]);
    const player = window.reverieReport.players[0];
    await player.play();
    const [after, original] = ["after", "before"].map((name) => player.buffers[name].getChannelData(0));
    const gain = 10 ** (-Number(player.section.dataset.gainDb) / 20);
    const difference = player.buffers.difference.getChannelData(0);
    result.exact = difference.every((value, i) => Math.abs(value - (after[i] * gain - original[i])) < 1e-6);
    result.lengths = Object.values(player.buffers).map((buffer) => buffer.length);
    await wait(400);
    const before = player.time;
    result.pressed = player.section.querySelector('[aria-pressed="true"]').dataset.view;
    player.section.querySelector('.player [data-view="difference"]').click();
    await wait(200);
    result.selected = player.section.querySelector('[aria-pressed="true"]').dataset.view;
    const gains = Object.entries(player.gains);
    result.gains = Object.fromEntries(gains.map(([name, gain]) => [name, Math.round(gain.gain.value)]));
    result.advanced = player.time > before && before > 0.1;
    player.pause();
    const paused = player.time;
    await wait(100);
    result.held = player.time === paused;
    player.seek(1.5);
    result.cursor = player.cursor.style.left;
    const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    press("1");
    result.key_view = player.view;
    press("ArrowRight");
    result.key_time = player.position;
    press("ArrowDown");
    const next = window.reverieReport.players[1];
    result.key_stem = [next.section.classList.contains("chosen"), next.view, next.position];
    press(" ");
    await wait(400);
    result.key_plays = next.startedAt !== null && next.time > next.position;
    press(" ");
    result.key_pauses = next.startedAt === null;
  } catch (error) {
    result.error = String(error);
  }
  await fetch("http://127.0.0.1:{port}/", { method: "POST", mode: "no-cors", body: JSON.stringify(result) });
})();
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_it_works_in_a_browser_without_network(page: str, tmp_path: Path) -> None:
    """Opened from disk, pictures decode, versions play in one time, views switch and the cursor follows."""
    assert CHROMIUM is not None
    answers: queue.Queue[bytes] = queue.Queue()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    path = tmp_path / "report.html"
    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver = DRIVER.replace("{port}", str(server.server_port))
        path.write_text(page.replace("</body>", driver + "</body>"), encoding="utf-8")
        browser = subprocess.Popen(
            [
                CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio",
                "--autoplay-policy=no-user-gesture-required",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0", path.as_uri(),
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            result = json.loads(answers.get(timeout=60))
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    assert "error" not in result, result
    assert result["images"] == [[COLUMNS, ROWS]] * 6
    assert len(set(result["lengths"])) == 1
    assert len(result["lengths"]) == 3
    assert result["exact"]
    assert (result["pressed"], result["selected"]) == ("after", "difference")
    assert result["gains"] == {"before": 0, "after": 0, "difference": 1}
    assert result["advanced"]
    assert result["held"]
    assert result["cursor"] == "50%"
    assert (result["key_view"], result["key_time"]) == ("before", 3)
    assert result["key_stem"] == [True, "before", 3]
    assert result["key_plays"]
    assert result["key_pauses"]
