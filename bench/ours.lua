--- ours: whole calls of this client; started by calls.lua.
---
---   ours.lua URL CA_FILE|- CALLS AT_ONCE inline|threaded envelope|plain
---
--- Prints calls, CPU seconds of the process, CPU seconds of this thread, wall seconds.
local support = require "bench.support"
local clock = support.clock

local url, ca_file, calls, at_once = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local mode, envelope = arg[5], arg[6]

local client = support.client {
  base_url = url, ca_file = ca_file ~= "-" and ca_file or nil, max_in_flight = at_once,
  threaded = mode == "threaded", envelope = envelope == "envelope",
}

local users = {}
for i = 1, 100 do users[i] = "u" .. i end

local function one_by_one(count)
  for i = 1, count do
    local res, err = client:offline_msg_count(users[i % 100 + 1])
    if not res then error(tostring(err)) end
    assert(res.count == 3)
  end
end

local function side_by_side(count)
  local started, done = 0, 0
  local function start(callback)
    started = started + 1
    assert(client:start("offline_msg_count", { users[started % 100 + 1] }, callback))
  end
  local function ended(res, err)
    if not res then error(tostring(err)) end
    assert(res.count == 3)
    done = done + 1
    if started < count then start(ended) end
  end
  for _ = 1, math.min(at_once, count) do start(ended) end
  while done < count do assert(client:poll(1000)) end
end

local run = at_once == 1 and one_by_one or side_by_side
run(math.min(200, calls))
local cpu, thread, wall = clock.cpu(), clock.thread(), clock.wall()
run(calls)
print(("%d %.6f %.6f %.6f"):format(calls, clock.cpu() - cpu, clock.thread() - thread, clock.wall() - wall))
client:close()
