--- close_program: ends a client, in some way, with calls in flight.
---
---   lua close_program.lua URL inline|threaded HOW CALLS BEGAN
---
--- HOW: close, collect, end (of this file, which closes the Lua state),
--- deadline (of 300 ms; waits for it), crossed (close, and makes the file BEGAN
--- before; deadlines of 300 ms). Else waits until the file BEGAN is there, if
--- it is given. Prints how many callbacks ran while it took how many ms, or,
--- at the end, the time at which it came to its last line.
local url, kind, how, count, began = arg[1], arg[2], arg[3], tonumber(arg[4]), arg[5]
local agora_chat = require "agora_chat"
local socket = require "socket"

local client = assert(agora_chat.new {
  base_url = url, allow_http = true, app_id = "an-app", credentials = { token = "t" },
  threaded = kind == "threaded", rate_per_s = false, max_in_flight = 100,
})

local function is_there(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local called, last = 0, nil
for _ = 1, count do
  assert(client:start("offline_msg_count", { "f.E05.1" }, function(_, err)
    called, last = called + 1, err
  end, { timeout_ms = (how == "deadline" or how == "crossed") and 300 or nil }))
end
local stop = socket.gettime() + 5
repeat
  client:poll(20)
until socket.gettime() > stop or (not began or how == "crossed" or is_there(began)) and client:stats().in_flight == count

local from = socket.gettime()
if how == "crossed" then assert(io.open(began, "w")):close() end
if how == "close" or how == "crossed" then
  client:close()
elseif how == "collect" then
  client = nil                             -- luacheck: ignore
  for _ = 1, 3 do collectgarbage() end
elseif how == "deadline" then
  while client:pending() > 0 do client:poll(1000) end
end
io.stdout:setvbuf "no"
if how == "end" then
  print(("%d called, at %.6f"):format(called, from))
else
  print(("%d called, took %.1f ms, %s"):format(called, 1000 * (socket.gettime() - from),
    last and (last.kind .. "/" .. tostring(last.code)) or "none"))
end
-- What is in flight now ends with the Lua state, and no callback runs.
