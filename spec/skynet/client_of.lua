--- client_of: clients of a service under test, in one of three worlds:
---   posted   the I/O thread posts messages by skynet_send
---   polled   it cannot: the service looks every 10 ms
---   inline   no thread at all, the same looks
local skynet = require "skynet"
local agora_chat = require "agora_chat"

local client_of = { world = skynet.getenv "AC_WORLD" or os.getenv "AC_WORLD" or "posted" }

local function copy(from, to)
  for name, value in pairs(from or {}) do to[name] = value end
  return to
end

function client_of.options(options)
  return copy(options, {
    base_url = os.getenv "AGORA_CHAT_BASE_URL",
    app_id = os.getenv "AGORA_CHAT_APP_ID",
    credentials = { token = os.getenv "AGORA_CHAT_TOKEN" },
    rate_per_s = false,
    loop = require "agora_chat.loop.skynet",
    threaded = client_of.world ~= "inline",
  })
end

--- In this service skynet_send is not there.
local function hide_skynet_send()
  local core = require "agora_chat.core"
  local probe = assert(core.new({ base_url = "http://127.0.0.1:1", app_id = "a", credentials = { token = "t" } }, false))
  getmetatable(probe).__index.wake_skynet = function() return false end
  probe:close()
end

function client_of.new(options)
  local client, err = agora_chat.new(client_of.options(options))
  if not client then error(tostring(err)) end
  assert(client.posted == (client_of.world == "posted"), "not the world that was asked for")
  return client
end

if client_of.world == "polled" then hide_skynet_send() end

return client_of
