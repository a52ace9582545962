"""MIDI files: bytes to columns, columns to notes, lanes and a song's clock; and back.

Files from any program are read leniently, and every doubt becomes a warning; `strict` refuses them instead.

Conventions: ticks are the file's own; channels are 1..16 wherever people see them; values of a lane are 0..1,
a pitch bend rests at exactly 0.5; where several events share a tick the last one counts.

- `messages`    the numbers of messages, controllers and meta events
- `scan`        bytes to rows, whatever is wrong with them
- `file`        a file as columns
- `notes`       notes paired, tracks found, messages in order of time
- `lanes`       controllers, bends and pressures over time, MPE included
- `pitch_line`  the newest sounding note as a pitch, bends included
- `note_matrix`  a song's notes, or chords on its bars, as how hard keys are pressed over time
- `keyswitch_lines`  which keyswitch was pressed last, as a weight for each
- `rpn`         registered parameters: bend ranges, MPE zones
- `song_clock`  who says the tempo: the file, the user, a preset or nobody
- `write`       a song's clock, lanes and notes as a file; `note_track` gives notes that bend their channels
- `pick_notes`  notes out of probabilities frame by frame, and `split_line` out of the pitch of one voice;
  `note_bends` tells how far they are from their keys
- `summary`     all of it as plain data, for people
- `strict`, `mido_files`  held to mido's reading; to mido's objects and back
"""
