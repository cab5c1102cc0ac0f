--- oom_chunk: run by oom_host, again and again, with another allocation
--- failing each time. Walks through everything the binding can hold while it
--- may be thrown out: a client half made, a call half submitted, a result half
--- pushed, an error half pushed.

-- Where on_error runs out of memory too, the client says so here.
rawset(io, "stderr", assert(io.open("/dev/null", "w")))

fail_on()
require "agora_chat.core"
fail_off()
local agora_chat = require "agora_chat"
require "agora_chat.loop.tick"
fail_on()

local function deliver(client, status, body)
  local out = client.core:next_outgoing()
  if out then
    client.core:deliver(out.id, { http_status = status, headers = {}, body = body })
  end
end

local function fail(client, kind, code)
  local out = client.core:next_outgoing()
  if out then client.core:deliver(out.id, { kind = kind, code = code }) end
end

local client, err = agora_chat.new {
  base_url = "http://127.0.0.1:1",
  app_id = ("a"):rep(32),
  credentials = { token = "t" },
  transport = "lua", frozen_ms = 0, frozen_wall_s = 1700000000, seed = 1,
  timeout_ms = 5000, max_in_flight = 4, max_queue = 8, max_attempts = 1,
  user_agent = "oom", loop = require "agora_chat.loop.tick",
}
if not client then error(tostring(err)) end

-- options that are refused
agora_chat.new { base_url = "ftp://nowhere", app_id = "x", credentials = { token = "t" } }
agora_chat.new { base_url = "http://127.0.0.1:1", app_id = ("a"):rep(32) }
pcall(agora_chat.new, { base_ulr = "http://127.0.0.1:1" })

-- a result with a tree of an envelope
client:start("offline_msg_count", { "alice" }, function(res) return res and res.count end)
deliver(client, 200, '{"action":"get","uri":"http://x/y","entities":[],"data":{"alice":3},'
  .. '"timestamp":1542601518137,"duration":3,"list":[1,2.5,"three",{"four":[true,null]}],"count":0}')
client:tick()

-- the service's error, a broken answer, a broken connection
client:start("offline_msg_status", { "alice", "1029457500870543736" }, function() end)
deliver(client, 404, '{"error":"service_resource_not_found","exception":"x","timestamp":1,'
  .. '"duration":0,"error_description":"Service resource not found"}')
client:start("offline_msg_count", { "bob" }, function(_, e) return tostring(e) end)
deliver(client, 200, "<html>no</html>")
client:start("offline_msg_count", { "carol" }, function(_, e) return tostring(e) end)
fail(client, "network", "reset")
client:tick()

-- refused arguments; a cancelled call; calls that are still out at the end
client:start("offline_msg_count", { "a/b" }, function() end)
local call = client:start("offline_msg_count", { "dave" }, function() end)
if call then call:cancel() end
client:tick()
client:set_token("another", 60)
client:stats()
for i = 1, 10 do client:start("offline_msg_count", { "user" .. i }, function() end) end
client.core:next_outgoing()
client:close()

-- collected without being closed, with a call out
local forgotten = agora_chat.new {
  base_url = "http://127.0.0.1:1", app_id = ("a"):rep(32), credentials = { token = "t" },
  transport = "lua", frozen_ms = 0, frozen_wall_s = 1700000000, seed = 1,
}
if forgotten then
  forgotten:start("offline_msg_count", { "erin" }, function() end)
  forgotten.core:next_outgoing()
end
fail_off()
