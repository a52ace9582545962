"""Damaged files of every kind: whatever stands in one, its reader answers with what it holds or in one line.

`python tests/fuzz/run.py` tries all readers for an hour, `... run.py midi --seconds 60` one; the suite runs
them all for half a minute. What is found is made as small as it gets, and goes into `cases/` with its
reader's name in front, where it is read by every later run.

- `readers`    the table of readers: their seeds, and how each is called; `readers_*` a part of it each
- `mutations`  how a seed becomes a damaged file
- `limits`     how much memory and time a reader may take above what the intact seeds take
- `run`        tries one reader or all
"""
