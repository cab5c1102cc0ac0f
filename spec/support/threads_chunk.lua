--- threads_chunk: run by threads_host in every thread at once. Clients that
--- share nothing but the module: made, used, closed, collected.
local number = ...
local agora_chat = require "agora_chat"
local tick = require "agora_chat.loop.tick"

for round = 1, 20 do
  local client = assert(agora_chat.new {
    base_url = "http://127.0.0.1:1", app_id = ("a"):rep(32), credentials = { token = "t" },
    transport = "lua", frozen_ms = 0, frozen_wall_s = 1700000000, seed = number, loop = tick,
  })
  for i = 1, 5 do
    local user = ("user%d_%d_%d"):format(number, round, i)
    local answer
    assert(client:start("offline_msg_count", { user }, function(res, err)
      answer = res and res.count or tostring(err)
    end))
    local out = assert(client.core:next_outgoing())
    assert(client.core:deliver(out.id, { http_status = 200, headers = {},
      body = ('{"data":{"%s":%d}}'):format(user, i) }) ~= false)
    client:tick()
    assert(answer == i, answer)
  end
  if round % 2 == 0 then client:close() end

  -- The real transport: libcurl is set up once for all threads. Nobody
  -- listens on port 1.
  local real = assert(agora_chat.new {
    base_url = "http://127.0.0.1:1", app_id = ("a"):rep(32), credentials = { token = "t" },
    max_attempts = 1, timeout_ms = 2000,
  })
  local res, err = real:offline_msg_count("nobody")
  assert(res == nil and err.kind == "network", tostring(err))
  real:close()
end
collectgarbage()
