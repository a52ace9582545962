"""An atlas: each channel is heard more in its sound than in the noise it came from, and a page plays them."""

from __future__ import annotations

import http.server
import json
import queue
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import sine

from bridge.cli import main
from bridge.errors import InputError, OutputError
from bridge.report.atlas import AtlasRequest, draw_atlas, parse_numbers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUICK = {"network": "timbre", "layer": "block2", "seconds": 1.0, "steps": 4}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four channels of block2, from noise."""
    out = tmp_path_factory.mktemp("atlas") / "block2"
    draw_atlas(AtlasRequest(**QUICK, numbers=(0, 3, 8, 40)), out)  # type: ignore[arg-type]
    return out


def test_every_score_rises_and_every_file_is_there(atlas: Path) -> None:
    """The figures say so, each sound is as long as asked for, and each has a picture."""
    data = json.loads((atlas / "atlas.json").read_text())

    assert [entry["objective"] for entry in data["entries"]] == [f"channel:block2:{i}" for i in (0, 3, 8, 40)]
    assert all(entry["score_after"] > entry["score_before"] + 0.02 for entry in data["entries"])
    assert (data["network"], data["steps"], data["start"]) == ("timbre", 4, "noise")
    assert len(data["weights_sha256"]) == 64
    for entry in data["entries"]:
        sound, rate = soundfile.read(atlas / entry["sound"])
        assert len(sound) == round(1.0 * rate)
        # Brought to -20 dBFS; the fades of 5 ms take a little.
        assert 20 * np.log10(np.sqrt(np.mean(sound**2))) == pytest.approx(-20.0, abs=0.3)
        assert (atlas / entry["picture"]).read_bytes().startswith(b"\x89PNG")
    names = {path.name for path in atlas.iterdir()}
    assert names == {"index.html", "atlas.json", "start.flac", "start.png"} | {
        f"channel-{i:03d}.{suffix}" for i in (0, 3, 8, 40) for suffix in ("flac", "png")
    }


def test_channels_want_different_sounds(atlas: Path) -> None:
    """What one channel became is not what another did: their spectra differ by more than a dB on average."""
    spectra = []
    for number in (0, 3, 8, 40):
        sound, _ = soundfile.read(atlas / f"channel-{number:03d}.flac")
        power = np.abs(np.fft.rfft(sound)) ** 2
        spectra.append(10 * np.log10([part.mean() for part in np.array_split(power[100:9000], 24)]))
    for first in range(4):
        for second in range(first):
            assert np.abs(spectra[first] - spectra[second]).mean() > 1.0


def test_the_page_needs_nothing_but_its_folder(atlas: Path) -> None:
    """Every address is a file beside it, or data."""
    page = (atlas / "index.html").read_text()
    addresses = re.findall(r'(?:src|href|data-sound)="([^"]+)"', page)

    assert len(addresses) == 1 + 2 * 4 + 1
    assert all(one == "data:," or (atlas / one).is_file() for one in addresses)
    assert not re.search(r"https?://|@import|fetch\(|XMLHttpRequest", page)


def test_from_silence_something_comes(tmp_path: Path) -> None:
    """Far below what a mask could turn up, `add` makes sound that the channel hears more in."""
    request = AtlasRequest(**{**QUICK, "steps": 12}, numbers=(32,), start="silence")  # type: ignore[arg-type]
    (entry,) = draw_atlas(request, tmp_path / "atlas")

    assert json.loads((tmp_path / "atlas" / "atlas.json").read_text())["settings"]["update"] == "add"
    assert entry.score_after > entry.score_before + 0.02


def test_an_update_of_frames_hears_one_speed(tmp_path: Path) -> None:
    """`mel` has no sound between its steps: it is taken as it is, and its scores rise too."""
    request = AtlasRequest(**QUICK, numbers=(0, 12), update="mel")  # type: ignore[arg-type]
    entries = draw_atlas(request, tmp_path / "atlas")

    settings = json.loads((tmp_path / "atlas" / "atlas.json").read_text())["settings"]
    assert (settings["update"], settings["varispeed_octaves"]) == ("mel", 0.0)
    assert all(entry.score_after > entry.score_before for entry in entries)


def test_from_a_stem_its_loudest_stretch_is_taken(tmp_path: Path) -> None:
    """A tone late in a file is what the start holds."""
    sound = np.concatenate(
        [0.01 * sine(300, 3.0, 22050), sine(900, 1.5, 22050, -6), sine(300, 1.0, 22050, -60)], axis=1
    )
    soundfile.write(tmp_path / "stem.wav", sound.T, 22050)
    request = AtlasRequest(**{**QUICK, "steps": 1}, numbers=(1,), start=str(tmp_path / "stem.wav"))  # type: ignore[arg-type]
    draw_atlas(request, tmp_path / "atlas")
    start, rate = soundfile.read(tmp_path / "atlas" / "start.flac")

    assert rate == 22050
    assert np.argmax(np.abs(np.fft.rfft(start))) == pytest.approx(900, abs=2)


@pytest.mark.parametrize(
    ("what", "count", "objective"), [("classes", 11, 'class:"bass"'), ("layers", 7, "layer:block1")]
)
def test_classes_and_layers_too(what: str, count: int, objective: str, tmp_path: Path) -> None:
    request = AtlasRequest(network="timbre", what=what, numbers=(0,), seconds=1.0, steps=3)  # type: ignore[arg-type]
    (entry,) = draw_atlas(request, tmp_path / "atlas")
    assert entry.objective == objective
    assert entry.score_after > entry.score_before
    with pytest.raises(InputError, match=rf"{what} go from 0 to {count - 1}"):
        draw_atlas(AtlasRequest(network="timbre", what=what, numbers=(count,)), tmp_path / "b")  # type: ignore[arg-type]


def test_what_is_there_stays(tmp_path: Path, atlas: Path) -> None:
    """An atlas is replaced only when asked to, and then the files of others beside it stay."""
    out = tmp_path / "atlas"
    shutil.copytree(atlas, out)
    (out / "mine.txt").write_text("mine")
    request = AtlasRequest(**{**QUICK, "steps": 1}, numbers=(3,))  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="--overwrite"):
        draw_atlas(request, out)
    before = (out / "channel-003.flac").read_bytes()
    draw_atlas(request, out, overwrite=True)
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("index.html", "atlas.json", "start.flac", "start.png", "mine.txt"),
        *("channel-003.flac", "channel-003.png"),
    }
    assert (out / "channel-003.flac").read_bytes() != before
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files than an atlas"):
        draw_atlas(request, other, overwrite=True)


def test_one_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is there whole or not at all."""

    def report(done: int, _total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_atlas(AtlasRequest(**QUICK, numbers=(0, 1)), tmp_path / "atlas", report=report)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["timbre"], "which layer's channels?"),
        (["timbre", "--layer", "blok2"], "did you mean 'block2'"),
        (["timbr", "--layer", "block2"], "did you mean 'timbre'"),
        (["texture", "--what", "classes"], "has no classes"),
        (["timbre", "--what", "clases"], "did you mean 'classes'"),
        (["timbre", "--layer", "block2", "--channels", "40-50"], "channels go from 0 to 47"),
        (["timbre", "--layer", "block2", "--channels", "4-"], "0-23"),
        (["timbre", "--layer", "block2", "--channels", "x"], "0-23"),
        (["timbre", "--layer", "block2", "--steps", "0"], "outside 1..100"),
        (["timbre", "--layer", "block2", "--channels", "0", "--update", "musk"], "did you mean 'mask'"),
        (["timbre", "--layer", "block2", "--from", "gone.wav"], "gone.wav"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "atlas", *arguments, "--out", str(tmp_path / "atlas")]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "timbre",
        "--layer",
        "block2",
        "--channels",
        "3",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "a"),
    ]
    assert main(["networks", "atlas", *arguments]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a" / "index.html")


def test_numbers_are_read_as_written() -> None:
    assert parse_numbers("0-2, 9,1") == (0, 1, 2, 9)
    for text in ("0-99999999999", "3-1", "1,,2", "-1", "a"):
        with pytest.raises(InputError, match="write numbers from 0, at most 99999"):
            parse_numbers(text)


@pytest.mark.slow
def test_a_channel_costs_about_a_second(tmp_path: Path) -> None:
    """Twenty steps of a channel of block2 take a second of an idle core at most, two of a busy one."""
    draw_atlas(AtlasRequest(**QUICK, numbers=(0,)), tmp_path / "warm")  # type: ignore[arg-type]
    began = time.process_time()
    request = AtlasRequest(network="timbre", layer="block2", steps=20, numbers=(0, 1))
    draw_atlas(request, tmp_path / "atlas")

    assert (time.process_time() - began) / 2 <= 2.0


DRIVER = """
<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const errors = [];
  window.addEventListener("error", (event) => errors.push(String(event.message)));
  window.addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
  const complain = console.error;
  console.error = (...parts) => { errors.push(parts.join(" ")); complain(...parts); };
  const result = { errors };
  try {
    const images = [...document.images];
    for (const image of images) image.loading = "eager";
    await Promise.all(images.map((image) => image.decode()));
    result.images = images.length;
    const { player, entries } = window.reverieAtlas;
    const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    press("ArrowRight");
    result.focused = entries.indexOf(document.activeElement);
    press(" ");
    for (let i = 0; i < 200 && player.currentTime <= 0.05; i++) await wait(50);
    result.playing = player.src.split("/").pop();
    result.advanced = player.currentTime > 0.05;
    press("ArrowRight");
    await wait(300);
    result.next = player.src.split("/").pop();
    press("l");
    result.loops = player.loop;
    press(" ");
    result.paused = player.paused;
    press("s");
    await wait(200);
    result.start = player.src.split("/").pop();
  } catch (error) {
    result.error = String(error);
  }
  await fetch("http://127.0.0.1:{port}/", { method: "POST", mode: "no-cors", body: JSON.stringify(result) });
})();
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_it_plays_in_a_browser_by_its_keys(atlas: Path, tmp_path: Path) -> None:
    """Opened from disk without a network: pictures decode, keys move and play, the console stays clean."""
    assert CHROMIUM is not None
    answers: queue.Queue[bytes] = queue.Queue()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    shutil.copytree(atlas, tmp_path / "atlas")
    path = tmp_path / "atlas" / "index.html"
    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver = DRIVER.replace("{port}", str(server.server_port))
        # Before the page's own script, so that its errors are seen.
        path.write_text(path.read_text().replace("</body>", driver + "</body>"), encoding="utf-8")
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
    assert result.pop("errors") == []
    assert result == {
        "images": 4,
        "focused": 1,
        "playing": "channel-003.flac",
        "advanced": True,
        "next": "channel-008.flac",
        "loops": True,
        "paused": True,
        "start": "start.flac",
    }
