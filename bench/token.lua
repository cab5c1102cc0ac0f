--- token: how many tokens a second are made and read.
local agora_chat = require "agora_chat"
local support = require "bench.support"
local clock = support.clock

local SECONDS = 0.5
local certificate = ("0123456789abcdef"):rep(2)
local made = assert(agora_chat.app_token { app_id = support.app_id, app_certificate = certificate, ttl_s = 3600 })
local known = { app_certificate = certificate }

local function rate(name, f)
  assert(f())
  local count, from = 0, clock.thread()
  repeat
    for _ = 1, 100 do f() end
    count = count + 100
  until clock.thread() - from >= SECONDS
  print(("  %-34s %10.0f per second"):format(name, count / (clock.thread() - from)))
end

print(("token, %s: %d bytes each"):format(support.lua(), #made))
rate("app_token", function()
  return agora_chat.app_token { app_id = support.app_id, app_certificate = certificate, ttl_s = 3600 }
end)
rate("user_token", function()
  return agora_chat.user_token { app_id = support.app_id, app_certificate = certificate, ttl_s = 3600,
    username = "alice" }
end)
rate("read_token", function() return agora_chat.read_token(made) end)
rate("read_token, signature checked", function() return agora_chat.read_token(made, known) end)
