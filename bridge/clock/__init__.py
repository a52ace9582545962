"""Musical time: what people write for it, and ticks, beats, bars, seconds and samples made of each other.

Pure: nothing here reads a file. Tempo and meter come from whoever has read them.

Conventions: a beat is a quarter note; bars and beats count from 1, ticks of a song from 0; times are seconds
of the stems.

- `durations`       texts to exact durations, rates and positions
- `settings`        what a user says of a song's time
- `plain_values`    numbers of a map read back as plain data, checked
- `tempo_segments`  tempos and meters as segments, and their arithmetic
- `tempo_map`       the song's clock: every conversion, markers, positions as text
"""
