"""What people and other programs hand in beside audio and MIDI: sessions, presets, lists, states, weights."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from helpers.datasets import soundfont
from helpers.dawproject import write_project
from helpers.paths import ROOT

from bridge.datasets.table import read_table
from bridge.daw.read import read_session
from bridge.errors import PluginError
from bridge.hosts.bundle import check_bundle
from bridge.hosts.installed_plugins import find_plugin
from bridge.hosts.plugin_cache import PluginCache, PluginEntry, ScannedBundle
from bridge.hosts.vstpreset import build_vstpreset, encode_state
from bridge.plan.find_stems import find_stems
from bridge.plan.job_list import read_jobs
from bridge.plan.planner import check_preset
from bridge.presets.load import read_preset
from dream_core.networks import mel_cnn, timbre, yamnet_files
from dream_core.networks.weights import read_header
from dream_core.training.fluidsynth import list_presets
from fuzz.reader import Reader

__all__ = ["DATA_READERS"]

_RPP = b"""<REAPER_PROJECT 0.1 "7.0" 1
  SAMPLERATE 48000 1 0
  TEMPO 120 4 4
  MARKER 1 4.5 "Caf\xe9 'two'" 0
  <TEMPOENVEX
    PT 0 120 0 262148
    PT 4.0 90 1
  >
  <TRACK
    NAME `Lead "Vox"`
    MUTESOLO 1 0 0
    <ITEM
      POSITION 1.5
      LENGTH 4
      NAME lead
      SOFFS 0.5
      <SOURCE SECTION
        STARTPOS 1
        <SOURCE WAVE
          FILE "audio/lead.wav"
        >
      >
    >
  >
>
"""
_ALS = b"""<?xml version="1.0" encoding="UTF-8"?>
<Ableton MajorVersion="5" Creator="Ableton Live 12.0"><LiveSet><Tracks><AudioTrack Id="1"><Name>
<EffectiveName Value="Drums"/></Name><DeviceChain><Mixer><Speaker><Manual Value="true"/></Speaker></Mixer>
<MainSequencer><Sample><ArrangerAutomation><Events><AudioClip Id="0" Time="4"><CurrentStart Value="4"/>
<CurrentEnd Value="8"/><Loop><LoopStart Value="0"/><StartRelative Value="0"/></Loop><Name Value="loop"/>
<IsWarped Value="true"/>
<WarpMarkers><WarpMarker SecTime="0" BeatTime="0"/><WarpMarker SecTime="4" BeatTime="8"/>
</WarpMarkers><SampleRef><FileRef><RelativePath Value="a/loop.wav"/><Path Value="/a/loop.wav"/></FileRef>
</SampleRef></AudioClip></Events></ArrangerAutomation></Sample></MainSequencer><DeviceChain><Devices><Eq8/>
</Devices></DeviceChain></DeviceChain></AudioTrack></Tracks><MainTrack><AutomationEnvelopes><Envelopes>
<AutomationEnvelope Id="0"><EnvelopeTarget><PointeeId Value="8"/></EnvelopeTarget><Automation><Events>
<FloatEvent Id="0" Time="-63072000" Value="120"/>
<FloatEvent Id="1" Time="8" Value="90"/></Events></Automation>
</AutomationEnvelope></Envelopes></AutomationEnvelopes><DeviceChain><Mixer><Tempo><Manual Value="120"/>
<AutomationTarget Id="8"/>
</Tempo><TimeSignature><Manual Value="201"/><AutomationTarget Id="9"/></TimeSignature>
</Mixer></DeviceChain></MainTrack><Locators><Locators><Locator Id="0"><Time Value="8"/><Name Value="Drop"/>
</Locator></Locators></Locators></LiveSet></Ableton>
"""
_STATE = build_vstpreset("0" * 32, {"Comp": b"abc", "Cont": b"defg"})
_PRESET = {
    "uuid": "00000000-0000-4000-8000-000000000001",
    "meta": {"name": "夢", "category": "Utility", "tags": ["a"]},
    "chain": [
        {"id": "gain", "use": "gain", "params": {"gain_db": -3.0}},
        {"id": "synth", "use": "vst3", "plugin": "No Such Synth", "state": encode_state(_STATE)},
    ],
    "modulators": [{"id": "swell", "type": "lfo", "rate": "1/4"}],
    "routes": [{"source": "swell", "target": "gain.gain_db", "amount": 0.5}],
}
_JOBS = b"""out = "out"
seed = 3
[[jobs]]
stems = ["drums.wav", "bass.wav"]
preset = "lucid-bloom"
settings = ["dream.depth=2"]
[[jobs]]
stems = "lead.wav"
preset = ["a.toml", "undertow"]
midi = "song.mid"
bpm = 120
meter = "7/8"
"""


def _sessions() -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        project = write_project(Path(folder) / "a.dawproject").read_bytes()
    return {"song.dawproject": project, "song.rpp": _RPP, "song.als": gzip.compress(_ALS, mtime=0)}


def _read_live_text(path: Path) -> object:
    packed = path.with_name("packed.als")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    return read_session(packed)


def _read_session(path: Path) -> object:
    session = read_session(path)
    return json.dumps([asdict(track) for track in session.tracks], ensure_ascii=False).encode()


def _presets() -> Mapping[str, bytes]:
    factory = {path.name: path.read_bytes() for path in sorted((ROOT / "presets").glob("*.toml"))[:3]}
    return {**factory, "dream.json": json.dumps(_PRESET).encode()}


def _read_preset(path: Path) -> object:
    preset = read_preset(path)
    return preset.digest(), preset.slug, check_preset(preset)


def _read_state(path: Path) -> object:
    preset = path.with_name("state.json")
    nodes = [{"id": "synth", "use": "vst3", "plugin": "No Such Synth", "state": path.name}]
    preset.write_text(json.dumps({**_PRESET, "chain": nodes, "routes": []}), encoding="utf-8")
    return _read_preset(preset)


def _caches() -> Mapping[str, bytes]:
    entry = PluginEntry(
        name="Reverb",
        vendor="V",
        version="1",
        uid="0" * 32,
        category="Fx",
        is_instrument=False,
        n_parameters=3,
        backend="pedalboard",
    )
    bundles = (
        ScannedBundle(path="/vst3/a.vst3", mtime_ns=5, sha256="ab", plugins=(entry,)),
        ScannedBundle(path="/vst3/b.vst3", blocked="it hung"),
    )
    return {"plugins.json": json.dumps({"format": 2, "bundles": [asdict(b) for b in bundles]}).encode()}


def _read_cache(path: Path) -> object:
    cache = PluginCache.read(path)
    list(cache.blocked())
    for _, entry in cache.plugins():
        with contextlib.suppress(PluginError):  # no plugin of the seeds is there
            check_bundle(find_plugin(entry.name, cache=cache)[0])
    return cache


def _jobs() -> Mapping[str, bytes]:
    table = b'stems,preset,out,seed\ndrums.wav;bass.wav,lucid-bloom,out,1\n"a,b.wav",undertow,out,2\n'
    return {"list.toml": _JOBS, "list.csv": table}


def _read_jobs(path: Path) -> object:
    return [find_stems(job.stems) for job in read_jobs(path)]


@functools.cache
def _network() -> bytes:
    card = timbre.CARD
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.safetensors"
        shape = mel_cnn.MelCnnSpec(frontend=timbre.SPEC.frontend, widths=(2, 2), depths=(1, 1), n_embedding=2)
        mel_cnn.write(path, mel_cnn.MelCnn(card, shape))
        return path.read_bytes()


def _weights() -> Mapping[str, bytes]:
    return {"own.safetensors": _network()}


def _read_weights(path: Path) -> object:
    read_header(path)
    return mel_cnn.load(path)


def _class_maps() -> Mapping[str, bytes]:
    rows = "".join(f'{i},/m/{i},"Name, {i}"\n' for i in range(521))
    return {"map.csv": f"index,mid,display_name\n{rows}".encode()}


DATA_READERS = (
    Reader(name="session", seeds=_sessions, read=_read_session),
    Reader(name="live-text", seeds=lambda: {"song.xml": _ALS}, read=_read_live_text),
    Reader(name="preset", seeds=_presets, read=_read_preset),
    Reader(name="state", seeds=lambda: {"synth.vstpreset": _STATE}, read=_read_state),
    Reader(name="cache", seeds=_caches, read=_read_cache),
    Reader(name="jobs", seeds=_jobs, read=_read_jobs),
    Reader(name="weights", seeds=_weights, read=_read_weights),
    Reader(
        name="recordings",
        seeds=lambda: {"data.csv": b"path,label,pitch,start_s\na.wav,bell,60,0.5\n"},
        read=read_table,
    ),
    Reader(
        name="soundfont",
        seeds=lambda: {"a.sf2": soundfont([(b"Piano", 0, 0), (b"Flute", 73, 0)])},
        read=list_presets,
    ),
    Reader(name="class-map", seeds=_class_maps, read=yamnet_files.read_class_map),
)
