"""The loop: steps taken window by window, as far as the depth at each instant asks.

- `dream`           a whole sound in one call, or a stream opened
- `stream`          a sound that arrives in blocks
- `windows`         which window may take which step
- `pending_steps`   a window that is to take a step, and who takes it
- `step_notes`      how a step's windows score, what is heard in them, what it changes
- `faults`          what can be wrong with a step, and how it is said
- `shared_batches`  streams of several threads in one batch
- `ladder`          the sound at several depths from one dream
- `lanes`           what is said at every sample, and the cycles of a pitch
- `stereo`          channels dreamed as one, apart, or as middle and side
"""
