-- skynet_chunk: run by skynet_host. Leaves a client of service 7 with calls
-- under way, which end at once: nobody listens on port 1.
local core = require "agora_chat.core"

local client = assert(core.new({
  base_url = "http://127.0.0.1:1",
  app_id = "970ca35de60c44645bbae8a215061b33",
  credentials = { token = "a-fixed-token" },
  max_attempts = 1,
}, true))
assert(client:wake_skynet(7, 230))
for _ = 1, 3 do assert(client:submit("offline_msg_count", nil, "alice")) end

local nosy
if ... == "nosy" then
  -- Finalizers run last made first: this one closes the client before its own does.
  local function close()
    client:close()
    local id, _, err = client:next_done()
    assert(id and (err.kind == "network" or err.kind == "closed"))
  end
  if rawget(_G, "newproxy") then
    nosy = newproxy(true)
    getmetatable(nosy).__gc = close
  else
    nosy = setmetatable({}, { __gc = close })
  end
end
return { client, nosy }                    -- skynet_host keeps it
