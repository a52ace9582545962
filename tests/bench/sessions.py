"""Measure how long large sessions take to read: 100,000 tempos, and 100,000 notes.

Run ``PYTHONPATH=.:tests OMP_NUM_THREADS=1 python tests/bench/sessions.py`` from the repository; it prints its
table as Markdown. Times are of the processor, so that other work on the machine counts little.
"""

from __future__ import annotations

import gzip
import tempfile
import time
import zipfile
from pathlib import Path

from bridge.daw.model import Session
from bridge.daw.read import read_session

N = 100_000
MOST_S = 2.0


def reaper(body: str) -> bytes:
    """Return a Reaper project of 120 BPM."""
    return f'<REAPER_PROJECT 0.1 "7.0/linux" 1700000000\n  TEMPO 120 4 4\n{body}>\n'.encode()


def reaper_tempos() -> bytes:
    """Return a project with a tempo every tenth of a second, a ramp from each to the next."""
    points = "".join(f"    PT {row / 10:.10f} {100 + row * 7 % 6007 / 100} 0\n" for row in range(N))
    return reaper(f"  <TEMPOENVEX\n{points}  >\n")


def reaper_notes() -> bytes:
    """Return a project with one long MIDI item: a note on, and off half a beat later."""
    events = "".join(
        f"E 480 90 {36 + row % 60:02x} 60\nE 480 80 {36 + row % 60:02x} 00\n" for row in range(N)
    )
    source = f"<SOURCE MIDI\nHASDATA 1 960 QN\n{events}E 0 b0 7b 00\n>\n"
    return reaper(f'<TRACK\nNAME "Keys"\n<ITEM\nPOSITION 0\nLENGTH {N / 2}\n{source}>\n>\n')


def dawproject(arrangement: str) -> str:
    """Return a project with one track for notes."""
    return (
        '<Project version="1.0"><Application name="x" version="1"/><Transport><Tempo unit="bpm" value="120" '
        'id="t"/></Transport><Structure><Track contentType="notes" id="n" name="Keys"/></Structure>'
        f'<Arrangement id="a">{arrangement}</Arrangement></Project>'
    )


def dawproject_tempos() -> str:
    """Return a project with a tempo every fifth of a beat, a ramp from each to the next."""
    points = "".join(
        f'<RealPoint time="{row / 5}" value="{100 + row * 7 % 6007 / 100}" interpolation="linear"/>'
        for row in range(N)
    )
    return dawproject(
        f'<TempoAutomation unit="bpm" id="ta"><Target parameter="t"/>{points}</TempoAutomation>'
    )


def dawproject_notes() -> str:
    """Return a project with one long clip of notes."""
    notes = "".join(
        f'<Note time="{row / 2}" duration="0.5" channel="0" key="{36 + row % 60}" vel="0.7" rel="0.5"/>'
        for row in range(N)
    )
    return dawproject(
        f'<Lanes timeUnit="beats" id="l"><Lanes track="n" id="m"><Clips id="c"><Clip time="0" duration="{N}">'
        f'<Notes id="o">{notes}</Notes></Clip></Clips></Lanes></Lanes>'
    )


def live_tempos() -> str:
    """Return a set of Live 11 with a tempo every twelve beats, a ramp from each to the next."""
    points = "".join(
        f'<FloatEvent Id="{row}" Time="{row * 12}" Value="{100 + row * 7 % 6007 / 100}"/>' for row in range(N)
    )
    return (
        '<Ableton MajorVersion="5" MinorVersion="11.0_433" Creator="Ableton Live 11.0"><LiveSet><MasterTrack>'
        '<AutomationEnvelopes><Envelopes><AutomationEnvelope><EnvelopeTarget><PointeeId Value="8"/>'
        f"</EnvelopeTarget><Automation><Events>{points}</Events></Automation></AutomationEnvelope></Envelopes>"
        '</AutomationEnvelopes><DeviceChain><Mixer><Tempo><AutomationTarget Id="8"/></Tempo></Mixer>'
        "</DeviceChain></MasterTrack></LiveSet></Ableton>"
    )


def live_notes() -> str:
    """Return a set of Live 11 with one long MIDI clip, its notes by key."""
    keys = "".join(
        "<KeyTrack><Notes>"
        + "".join(
            f'<MidiNoteEvent Time="{row / 2}" Duration="0.5" Velocity="90" IsEnabled="true"/>'
            for row in range(key, N, 60)
        )
        + f'</Notes><MidiKey Value="{36 + key}"/></KeyTrack>'
        for key in range(60)
    )
    clip = (
        f'<MidiClip Time="0"><CurrentStart Value="0"/><CurrentEnd Value="{N}"/><Loop><LoopStart Value="0"/>'
        f'<LoopEnd Value="{N}"/><StartRelative Value="0"/><LoopOn Value="false"/></Loop><Name Value="x"/>'
        f"<Notes><KeyTracks>{keys}</KeyTracks></Notes></MidiClip>"
    )
    return (
        '<Ableton MajorVersion="5" MinorVersion="11.0_433" Creator="Ableton Live 11.0"><LiveSet><Tracks>'
        '<MidiTrack Id="1"><Name><EffectiveName Value="Keys"/></Name><DeviceChain><MainSequencer>'
        f"<ClipTimeable><ArrangerAutomation><Events>{clip}</Events></ArrangerAutomation></ClipTimeable></MainSequencer>"
        "</DeviceChain></MidiTrack></Tracks></LiveSet></Ableton>"
    )


def measure(path: Path) -> tuple[float, Session]:
    """Return the shortest time of three readings, and what was read."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        session = read_session(path)
        best = min(best, time.process_time() - start)
    return best, session


def main() -> None:
    """Write each session, read it and print a row."""
    cases = {
        "tempos, .rpp": reaper_tempos(),
        "tempos, .dawproject": dawproject_tempos(),
        "tempos, .als": live_tempos(),
        "notes, .als": live_notes(),
        "notes, .rpp": reaper_notes(),
        "notes, .dawproject": dawproject_notes(),
    }
    print("| 100,000 | measured | must reach | read |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in cases.items():
            path = Path(folder) / f"song{name.partition(', ')[2]}"
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif path.suffix == ".als":
                path.write_bytes(gzip.compress(content.encode()))
            else:
                with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr("project.xml", content)
            seconds, session = measure(path)
            n_notes = sum(len(track.notes) for track in session.tracks)
            read = f"{n_notes:,} notes" if n_notes else f"{len(session.tempo_map.tempos):,} tempos"
            print(f"| {name} | {seconds:.2f} s | < {MOST_S:g} s | {read} |")


if __name__ == "__main__":
    main()
