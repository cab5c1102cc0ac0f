--- luv_program: closes a client with a call in flight, and ends, without ever
--- running libuv again.
---
---   lua luv_program.lua URL
local agora_chat = require "agora_chat"

local client = assert(agora_chat.new {
  base_url = arg[1], app_id = "an-app", credentials = { token = "t" }, loop = require "agora_chat.loop.luv",
})
assert(client:start("offline_msg_count", { "alice" }, function(_, err) print(err.kind) end))
client:close()
