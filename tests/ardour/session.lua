-- ardour7-lua session.lua make DIR NAME RATE SONG STEM...   makes a session with a song's clock and a track a stem
-- ardour7-lua session.lua show DIR NAME                     prints each mark: sample, bar|beat|tick, name
-- SONG has lines `tempo TICKS BPM` and `meter TICKS COUNT UNIT`, 1920 ticks a quarter note, Ardour's own.
local mode, dir, name = arg[1], arg[2], arg[3]
if mode == "make" then
  local session = create_session(dir, name, tonumber(arg[4]))
  assert(session)
  local map = Temporal.TempoMap.fetch_writable()
  for line in io.lines(arg[5]) do
    local word, ticks, first, second = line:match("(%a+) (%d+) ([%d.]+) ?(%d*)")
    local at = Temporal.timepos_t.from_ticks(tonumber(ticks))
    if word == "tempo" then
      map:set_tempo(Temporal.Tempo(tonumber(first), tonumber(first), 4), at)
    else
      map:set_meter(Temporal.Meter(tonumber(first), tonumber(second)), at)
    end
  end
  Temporal.TempoMap.update(map)
  for index = 6, #arg do
    local order, kind = ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal
    session:new_audio_track(2, 2, nil, 1, arg[index], order, kind, true)
  end
  sleep(2) -- a track that is saved at once may not be connected yet
  session:save_state("", false, false, false, false, false)
else
  local session = load_session(dir, name)
  assert(session)
  local map = Temporal.TempoMap.read()
  for mark in session:locations():list():iter() do
    local at = mark:start()
    io.write(table.concat({"mark", at:samples(), map:bbt_at(at):str(), mark:name()}, "\t"), "\n")
  end
end
close_session()
quit()
