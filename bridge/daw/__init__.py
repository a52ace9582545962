"""Sessions of DAWs: what they say of tempo, markers and stems, and rendered stems handed back to them.

Files are not trusted: limits hold for size, depth and paths. What a DAW writes oddly is read as it means it.

- `read`              a session file of any kind known
- `model`             what a session says, whichever program wrote it
- `dawproject_read`, `dawproject_clips`, `dawproject_audio`, `dawproject_frames`  DAWproject (Bitwig, Cubase)
- `dawproject_write`  tracks added to one
- `reaper`, `reaper_items`, `reaper_text`, `reaper_write`  Reaper projects
- `live`, `live_clips`, `live_curves`  Ableton Live sets
- `places`, `media`   how near is at, how a note names a clip; where a session's audio files are
- `clip_audio`, `session_stems`, `session_midi`  a session in the place of stems: its sound, its notes
- `write_back`        what becomes of the tracks that stems were made from; media into a project
- `stem_folder`       the exchange every DAW takes: aligned files, the clock as MIDI, advice
- `untrusted`, `untrusted_xml`  archives, numbers and XML that may be meant to harm
"""
