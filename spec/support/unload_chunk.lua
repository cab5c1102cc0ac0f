--- unload_chunk: run by threads_host in two threads. The first closes its Lua
--- state, and with it the only use of the module, while a name is looked up;
--- the second lives until the look-up has ended.
local number = ...
local socket = require "socket"
local began = os.getenv "HANGING_LOOKUP_BEGAN"

local function wait_until_it_began(step)
  local stop = socket.gettime() + 10
  repeat
    step()
    local file = io.open(began)
    if file then return file:close() end
  until socket.gettime() > stop
  error "no look-up began"
end

if number == 2 then
  wait_until_it_began(function() socket.sleep(0.01) end)
  socket.sleep(os.getenv "HANGING_LOOKUP_MS" / 1000 + 0.4)
  return
end

local client = assert(require("agora_chat").new {
  base_url = "http://hang.example:1", allow_http = true, app_id = "an-app", credentials = { token = "t" },
  threaded = os.getenv "CLIENT_KIND" == "threaded",
})
assert(client:start("offline_msg_count", { "alice" }))
wait_until_it_began(function() client:poll(10) end)
