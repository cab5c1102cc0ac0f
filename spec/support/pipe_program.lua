--- pipe_program: calls over connections that the peer resets, in a process to
--- which SIGPIPE is deadly. No LuaSocket here: it ignores that signal.
---
---   lua pipe_program.lua URL CA_FILE inline|threaded
local url, ca_file, kind = arg[1], arg[2], arg[3]
local agora_chat = require "agora_chat"

local file = assert(io.open "/proc/self/status")
local ignored = tonumber(file:read "*a":match "SigIgn:%s*%x-(%x%x%x%x)\n", 16)
file:close()
assert(math.floor(ignored / 0x1000) % 2 == 0, "SIGPIPE is ignored here: nothing would be seen")

local client = assert(agora_chat.new {
  base_url = url, ca_file = url:find "^https" and ca_file or nil, app_id = "an-app", credentials = { token = "t" },
  threaded = kind == "threaded", rate_per_s = false, timeout_ms = 20000, backoff_ms = 1,
})
local ok = 0
for i = 1, 20 do
  for _, user in ipairs { "f.F04.1", "u7", "f.F06.1", "f.B02." .. i .. ".once", "f.F04.1" } do
    local res, err = client:offline_msg_count(user)
    if not res then error(tostring(err)) end
    assert(res.count == 7)
    ok = ok + 1
  end
  local res, err = client:request { method = "POST", path = { "users", "batch", "status" },
                                    json = { usernames = { ("x"):rep(1000) } } }
  assert(res or err.kind ~= "network", tostring(err))
end
client:offline_msg_count "f.F04.1"
client:close()                            -- with what is left of that connection
print(ok .. " calls")
