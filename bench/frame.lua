--- frame: the client's own work in a game's frame.
---
--- A loop of 60 frames a second; once a second one frame starts 64 calls, over
--- TLS, to an emulator that closes every connection every third second: cold
--- handshakes are included. Work is start + tick, nothing else.
---
---   frame.lua [seconds]
local emulator = require "spec.emulator.client"
local socket = require "socket"
local support = require "bench.support"
local tick = require "agora_chat.loop.tick"
local clock = support.clock

local SECONDS = tonumber(arg[1]) or 12
local CALLS = 64
local FRAME_S = 1 / 60

local function play(server, threaded, others)
  local client = support.client {
    base_url = server.tls_url, ca_file = others.ca_file, loop = tick, threaded = threaded,
    max_in_flight = others.max_in_flight,
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
    if frame % 60 == 0 and frame < frames - 60 then
      for i = 1, CALLS do assert(client:start("offline_msg_count", { "u" .. i }, ended)) end
    end
    client:tick()
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
  print(("  %-34s %s  %s %6d %5d %5d"):format(others.name, three(cpu), three(wall), ok, failed, connections))
end

local server = emulator.start { tls = true, settings = { auto_users = true } }
print(("frame, %s: %d frames, %d calls in one of 60; ms of work per frame"):format(support.lua(), SECONDS * 60, CALLS))
print(("  %-34s %26s  %26s"):format("", "-- CPU of this thread --", "-- by the clock --"))
print(("  %-34s %8s %8s %8s  %8s %8s %8s %6s %5s %5s"):format("",
  "p50", "p99", "max", "p50", "p99", "max", "ok", "fail", "conn"))
local bundle = "/etc/ssl/certs/ca-certificates.crt"
local small = server.ca_file
-- The emulator's authority behind the system's: as large as what the real
-- service is verified with.
local large = os.tmpname()
support.run(("cat %s %s >%s"):format(bundle, small, large))
for _, threaded in ipairs { true, false } do
  local name = threaded and "threaded" or "inline"
  play(server, threaded, { name = name .. ", system's authorities", ca_file = large })
  play(server, threaded, { name = name .. ", one authority", ca_file = small })
end
play(server, false, { name = "inline, max_in_flight 4", ca_file = small, max_in_flight = 4 })
os.remove(large)
server:stop()
