"""A DAWproject as a DAW writes one, and those rules of its schema that concern what is written back."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import soundfile

PROJECT = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Project version="1.0">
  <!-- kept as it is -->
  <Application name="Some DAW" version="5.1"/>
  <Transport>
    <Tempo max="666" min="20" unit="bpm" value="120" id="t1" name="Tempo"/>
    <TimeSignature denominator="4" numerator="4" id="t2"/>
  </Transport>
  <Structure>
    <Track contentType="tracks" loaded="true" id="g1" name="Band">
      <Channel audioChannels="2" destination="m2" role="submix" solo="false" id="g2">
        <Mute value="false" id="g3" name="Mute"/>
        <Volume max="2" min="0" unit="linear" value="0.8" id="g4" name="Volume"/>
      </Channel>
      <Track contentType="audio" loaded="true" id="a1" name="Vocals" color="#ff0080">
        <Channel audioChannels="1" destination="g2" role="regular" solo="false" id="a2">
          <Devices>
            <Vst3Plugin deviceID="ABCDEF" deviceName="Some EQ" deviceRole="audioFX" loaded="true" id="a3">
              <Parameters/>
              <Enabled value="true" id="a4" name="On/Off"/>
              <State path="plugins/eq.vstpreset"/>
            </Vst3Plugin>
          </Devices>
          <Mute value="false" id="a5" name="Mute"/>
          <Volume max="2" min="0" unit="linear" value="1" id="a6" name="Volume"/>
        </Channel>
      </Track>
      <Track contentType="notes" loaded="true" id="n1" name="Keys">
        <Channel audioChannels="2" destination="g2" role="regular" solo="false" id="n2">
          <Mute value="true" id="n3" name="Mute"/>
        </Channel>
      </Track>
    </Track>
    <Track contentType="audio" loaded="true" id="m1" name="Master">
      <Channel audioChannels="2" role="master" solo="false" id="m2"/>
    </Track>
  </Structure>
  <Arrangement id="r1">
    <Lanes timeUnit="beats" id="r2">
      <Lanes track="a1" id="r3">
        <Clips id="r4">
          <Clip time="4" duration="4" contentTimeUnit="seconds" playStart="0.5" name="plain">
            <Audio algorithm="raw" channels="1" duration="4" sampleRate="48000" id="r5">
              <File path="audio/vocals.wav"/>
            </Audio>
          </Clip>
          <Clip time="16" duration="8" contentTimeUnit="beats" playStart="0" name="nested">
            <Clips id="r6">
              <Clip time="2" duration="4" contentTimeUnit="beats" playStart="1">
                <Warps contentTimeUnit="seconds" timeUnit="beats" id="r7">
                  <Audio algorithm="stretch" channels="1" duration="4" sampleRate="48000" id="r8">
                    <File path="audio/vocals.wav"/>
                  </Audio>
                  <Warp time="0" contentTime="0"/>
                  <Warp time="{warp_end}" contentTime="4"/>
                </Warps>
              </Clip>
            </Clips>
          </Clip>
        </Clips>
      </Lanes>
      <Lanes track="n1" id="r9">
        <Clips id="r10">
          <Clip time="8" duration="8" playStart="0" name="chords">
            <Lanes id="r11">
              <Notes id="r12">
                <Note time="0" duration="1" channel="0" key="60" vel="0.5" rel="0.5"/>
                <Note time="2.5" duration="0.5" channel="3" key="64" vel="1"/>
              </Notes>
              <Points unit="normalized" id="r13">
                <Target expression="channelController" channel="0" controller="1"/>
                <RealPoint time="0" value="0"/>
                <RealPoint time="4" value="0.75" interpolation="hold"/>
              </Points>
            </Lanes>
          </Clip>
        </Clips>
      </Lanes>
    </Lanes>
    <Markers id="r14">
      <Marker time="0" name="Verse"/>
      <Marker time="16" name="Chörus" color="#00ff00"/>
    </Markers>
    <TempoAutomation unit="bpm" id="r15">
      <Target parameter="t1"/>
      <RealPoint time="0" value="120" interpolation="hold"/>
      <RealPoint time="16" value="120" interpolation="linear"/>
      <RealPoint time="24" value="90" interpolation="hold"/>
    </TempoAutomation>
    <TimeSignatureAutomation id="r16">
      <Target parameter="t2"/>
      <TimeSignaturePoint time="0" numerator="4" denominator="4"/>
      <TimeSignaturePoint time="8" numerator="7" denominator="8"/>
    </TimeSignatureAutomation>
  </Arrangement>
  <Scenes/>
</Project>
"""


def write_project(path: Path, project: str = PROJECT, warp_end: float = 8.0, **members: bytes) -> Path:
    """Write the project with its audio, a plugin state and more members."""
    audio = io.BytesIO()
    soundfile.write(audio, np.zeros(4 * 48000, np.float32), 48000, format="WAV")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.xml", project.replace("{warp_end}", str(warp_end)))
        archive.writestr("metadata.xml", "<MetaData><Title>Song</Title></MetaData>")
        archive.writestr("audio/vocals.wav", audio.getvalue())
        archive.writestr("plugins/eq.vstpreset", b"VST3 some state")
        for name, data in members.items():
            archive.writestr(name, data)
    return path


_ORDER = {  # children in the order the schema's sequences demand; repeated ones may repeat
    "Project": ["Application", "Transport", "Structure", "Arrangement", "Scenes"],
    "Transport": ["Tempo", "TimeSignature"],
    "Arrangement": ["Lanes", "Markers", "TempoAutomation", "TimeSignatureAutomation"],
    "Track": ["Channel", "Track"],
    "Channel": ["Devices", "Mute", "Pan", "Sends", "Volume"],
    "Vst3Plugin": ["Parameters", "Enabled", "State"],
    "Clips": ["Clip"],
    "Audio": ["File"],
    "Notes": ["Note"],
    "Points": ["Target", "RealPoint"],
    "TempoAutomation": ["Target", "RealPoint"],
    "TimeSignatureAutomation": ["Target", "TimeSignaturePoint"],
}
_REQUIRED = {
    "Clip": {"time"},
    "Audio": {"duration", "channels", "sampleRate"},
    "File": {"path"},
    "Note": {"time", "duration", "channel", "key"},
    "RealPoint": {"time", "value"},
    "Volume": {"unit"},
    "Pan": {"unit"},
}
_ALLOWED = {
    "Track": {"name", "color", "comment", "id", "contentType", "loaded"},
    "Channel": {"name", "color", "comment", "id", "audioChannels", "destination", "role", "solo"},
    "Lanes": {"name", "color", "comment", "id", "timeUnit", "track"},
    "Clips": {"name", "color", "comment", "id", "timeUnit", "track"},
    "Clip": {
        "name", "color", "comment", "time", "duration", "contentTimeUnit", "playStart", "playStop",
        "loopStart", "loopEnd", "fadeTimeUnit", "fadeInTime", "fadeOutTime", "enable", "reference",
    },
    "Audio": {
        "name", "color", "comment", "id", "timeUnit", "track", "duration", "algorithm", "channels",
        "sampleRate",
    },
    "Points": {"name", "color", "comment", "id", "timeUnit", "track", "unit"},
    "Target": {"parameter", "expression", "channel", "key", "controller"},
    "RealPoint": {"time", "value", "interpolation"},
    "Mute": {"name", "color", "comment", "id", "parameterID", "value"},
}  # fmt: skip
_VALUES = {  # what the schema enumerates, attribute by attribute
    "timeUnit": {"beats", "seconds"},
    "contentTimeUnit": {"beats", "seconds"},
    "unit": {
        "linear", "normalized", "percent", "decibel", "hertz", "semitones", "seconds", "beats", "bpm",
    },
    "role": {"regular", "master", "effect", "submix", "vca"},
    "contentType": {"audio", "automation", "notes", "video", "markers", "tracks"},
    "interpolation": {"hold", "linear"},
    "expression": {
        "gain", "pan", "transpose", "timbre", "formant", "pressure", "channelController", "channelPressure",
        "polyPressure", "pitchBend", "programChange",
    },
    "loaded": {"true", "false"},
    "solo": {"true", "false"},
}  # fmt: skip
_WHOLE = {
    "channels",
    "sampleRate",
    "audioChannels",
    "channel",
    "controller",
    "key",
    "numerator",
    "denominator",
}
_REAL = {"time", "duration", "playStart", "playStop", "loopStart", "loopEnd", "contentTime"}
_CONTENT = {"Lanes", "Notes", "Clips", "ClipSlot", "Warps", "Audio", "Video", "Points"}


def _is_valid(name: str, value: str) -> bool:
    if name in _VALUES:
        return set(value.split()) <= _VALUES[name]
    try:
        return name not in _WHOLE | _REAL or (int(value) if name in _WHOLE else float(value)) is not None
    except ValueError:
        return False


def schema_faults(root: Element) -> list[str]:
    """Return where a project breaks the schema: order, attributes, a clip's content, ids, references."""
    faults: list[str] = []
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    faults += [f"id {i} twice" for i in set(ids) if ids.count(i) > 1]
    for element in root.iter():
        tag = element.tag
        if not isinstance(tag, str):
            continue
        children = [child.tag for child in element if isinstance(child.tag, str)]
        if tag in _ORDER:
            faults += [f"{tag} holds {child}" for child in children if child not in _ORDER[tag]]
            places = [_ORDER[tag].index(child) for child in children if child in _ORDER[tag]]
            if places != sorted(places):
                faults.append(f"{tag} has its children in the order {children}")
        if tag == "Clip" and (len(children) > 1 or not set(children) <= _CONTENT):
            faults.append(f"Clip holds {children}")
        faults += [f"{tag} lacks {name}" for name in _REQUIRED.get(tag, set()) - set(element.attrib)]
        if tag in _ALLOWED:
            faults += [f"{tag} has {name}" for name in set(element.attrib) - _ALLOWED[tag]]
        if tag in ("Points", "TempoAutomation", "TimeSignatureAutomation") and children.count("Target") != 1:
            faults.append(f"{tag} has {children.count('Target')} targets")
        faults += [
            f"{tag} has {name}={value!r}"
            for name, value in element.attrib.items()
            if not _is_valid(name, value)
        ]
        for name in ("track", "destination", "parameter"):
            if element.get(name) is not None and element.get(name) not in ids:
                faults.append(f"{tag} refers to {element.get(name)}")
    return faults
