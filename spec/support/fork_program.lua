--- fork_program: asks once, forks a child that ends in some way, asks again.
---
---   lua fork_program.lua URL CA_FILE inline|threaded HOW
---
--- HOW the child ends: close (the client, then at the end of this file), end
--- (of this file, which closes the Lua state), exit (os.exit), collect (the
--- client). The parent prints the second count and how many connections it made.
local url, ca_file, kind, how = arg[1], arg[2], arg[3], arg[4]
local agora_chat = require "agora_chat"
local forker = require "forker"

local client = assert(agora_chat.new {
  base_url = url, ca_file = ca_file, app_id = "an-app", credentials = { token = "t" },
  threaded = kind == "threaded", max_attempts = 1,
})
assert(client:offline_msg_count "alice")

local pid = forker.fork()
if pid == 0 then
  local _, err = client:offline_msg_count "alice"
  assert(err and err.kind == "forked")
  if how == "close" then client:close() end
  if how == "exit" then os.exit(0, true) end
  if how == "collect" then
    client = nil     -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    forker.leave(0)
  end
else
  local status = forker.wait(pid)
  local res, err = client:offline_msg_count "alice"
  print(("child %d, count %s, connections %d"):format(status, res and res.count or tostring(err),
    client:stats().connections))
end
