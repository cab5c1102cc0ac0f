--- poll: what poll(0) and tick cost while nothing happens.
---
--- n calls wait for a server that never answers; the loop of a game or an event
--- loop looks again and again. The cost must not grow with n.
local support = require "bench.support"
local tick = require "agora_chat.loop.tick"

local LOOKS = 100000
local ROUNDS = 5

local function cost_us(look)
  local best
  for _ = 1, ROUNDS do
    local from = support.clock.thread()
    for _ = 1, LOOKS / ROUNDS do look() end
    local us = (support.clock.thread() - from) / (LOOKS / ROUNDS) * 1e6
    if not best or us < best then best = us end
  end
  return best
end

local function measure(threaded, calls)
  local server, url = support.silent(1024)
  local client = support.client { base_url = url, loop = tick, threaded = threaded, max_in_flight = 512 }
  local function ended(_, err)
    if err and err.kind ~= "closed" then error(tostring(err)) end
  end
  for i = 1, calls do assert(client:start("offline_msg_count", { "u" .. i }, ended)) end
  local until_s = support.clock.wall() + 0.5                 -- connected, sent
  repeat client:poll(20) until support.clock.wall() > until_s
  assert(client:stats().in_flight == calls)

  local core = client.core
  local poll = cost_us(function() return core:poll(0) end)
  local ticks = cost_us(function() return client:tick() end)
  assert(client:pending() == calls, "a call ended")
  client:close()
  server:close()
  return poll, ticks
end

print(("poll, %s: us of the caller's thread, best of %d"):format(support.lua(), ROUNDS))
print(("  %-9s %6s %9s %9s"):format("", "calls", "poll(0)", "tick()"))
for _, threaded in ipairs { false, true } do
  for _, calls in ipairs { 0, 1, 64, 512 } do
    local poll, ticks = measure(threaded, calls)
    print(("  %-9s %6d %9.2f %9.2f"):format(threaded and "threaded" or "inline", calls, poll, ticks))
  end
end
