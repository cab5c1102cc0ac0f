--- frame: the client's own work in a game's frame.
---
--- A loop of 60 frames a second and 64 calls a second, started in one frame or
--- spread over all, over TLS, to an emulator that closes every connection every
--- third second: cold handshakes are included. Work is start + tick, nothing
--- else.
---
---   frame.lua [seconds]
local emulator = require "spec.emulator.client"
local socket = require "socket"
local support = require "bench.support"
local tick = require "agora_chat.loop.tick"
local clock = support.clock

local SECONDS = tonumber(arg[1]) or 9
local CALLS = 64
local FRAME_S = 1 / 60

local function starts_in(frame, spread)
  if not spread then return frame == 0 and CALLS or 0 end
  return math.floor((frame + 1) * CALLS / 60) - math.floor(frame * CALLS / 60)
end

local function play(server, how)
  local client = support.client {
    base_url = server.tls_url, ca_file = how.ca_file, loop = tick, threaded = how.threaded,
    max_in_flight = how.max_in_flight,
  }
  local wall, cpu, late_s = {}, {}, 0
  local ok, failed = 0, 0
  local function ended(res)
    if res then ok = ok + 1 else failed = failed + 1 end
  end

  local frames = SECONDS * 60
  local due = clock.wall()
  for frame = 0, frames - 1 do
    if frame % 180 == 150 then server:idle { after = "fin" } end
    due = math.max(due + FRAME_S, clock.wall())
    local left = due - clock.wall()
    if left > 0 then socket.sleep(left) end
    late_s = math.max(late_s, clock.wall() - due)

    local wall_s, cpu_s = clock.wall(), clock.thread()
    local starts = 0
    if frame < frames - 60 then starts = starts_in(frame % 60, how.spread) end
    if how.nothing then
      how.nothing(starts)
    else
      for i = 1, starts do assert(client:start("offline_msg_count", { "u" .. i }, ended)) end
      client:tick()
    end
    cpu[#cpu + 1] = (clock.thread() - cpu_s) * 1000
    wall[#wall + 1] = (clock.wall() - wall_s) * 1000
  end
  local connections = client:stats().connections
  client:close()
  table.sort(cpu)
  table.sort(wall)
  local function three(list)
    return ("%8.3f %8.3f %8.3f"):format(support.percentile(list, 0.5), support.percentile(list, 0.99), list[#list])
  end
  print(("  %-34s %s  %s %6d %5d %5d"):format(how.name, three(cpu), three(wall), ok, failed, connections))
end

--- What this machine takes, fresh from its sleep, for next to no work: ten texts
--- a call.
local function nothing(starts)
  local bytes = 0
  for i = 1, starts do
    for j = 1, 10 do bytes = bytes + #("u" .. i * j) end
  end
  return bytes
end

local server = emulator.start { tls = true, settings = { auto_users = true } }
print(("frame, %s: %d frames, %d calls a second; ms of work per frame"):format(support.lua(), SECONDS * 60, CALLS))
print(("  %-34s %26s  %26s"):format("", "-- CPU of this thread --", "-- by the clock --"))
print(("  %-34s %8s %8s %8s  %8s %8s %8s %6s %5s %5s"):format("",
  "p50", "p99", "max", "p50", "p99", "max", "ok", "fail", "conn"))
-- The emulator's authority behind the system's: as large as what the real
-- service is verified with.
local large = os.tmpname()
support.run(("cat /etc/ssl/certs/ca-certificates.crt %s >%s"):format(server.ca_file, large))
play(server, { name = "no client, ten texts a call, spread", nothing = nothing, spread = true, ca_file = large })
for _, threaded in ipairs { true, false } do
  for _, spread in ipairs { true, false } do
    play(server, { name = (threaded and "threaded" or "inline") .. (spread and ", spread" or ", in one frame"),
      threaded = threaded, spread = spread, ca_file = large })
  end
end
play(server, { name = "inline, spread, one authority", spread = true, ca_file = server.ca_file })
play(server, { name = "inline, spread, max_in_flight 4", spread = true, ca_file = large, max_in_flight = 4 })
os.remove(large)
server:stop()
