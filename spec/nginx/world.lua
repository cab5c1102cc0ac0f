--- world: an nginx with a client in its worker, and the emulator behind it.
---
---   local w = world.start { locations = [[...]] }
---   local status, body = w:get "/count?user=alice"
---   w:stop()
---
--- In every worker the global `chat` is a client (`inside` holds more); there
--- are locations /count?user= and /facts (what spec/nginx/inside.lua knows of
--- the client). Besides the options of server.start:
---   url      another service than the emulator
---   client   more options of the client, as Lua text: "timeout_ms = 2000,"
---   emulator options of the emulator; false: none

local emulator = require "spec.emulator.client"
local server = require "spec.nginx.server"

local World = setmetatable({}, { __index = function(_, name) return server.methods[name] end })
World.__index = World

local world = {}

world.APP_ID = "970ca35de60c44645bbae8a215061b33"

local INIT_WORKER = [[
  local agora_chat = require "agora_chat"
  inside = require "spec.nginx.inside"
  function new_client(more)
    local options = { base_url = %q, app_id = %q, credentials = { token = "t" }, rate_per_s = false,
      loop = require "agora_chat.loop.resty", %s }
    for name, value in pairs(more or {}) do options[name] = value end
    return agora_chat.new(options)
  end
  local err
  chat, err = new_client()
  if not chat then error(tostring(err)) end
  inside.client = chat
]]

local LOCATIONS = [[
  location = /count { content_by_lua_block {
    inside.say(chat:offline_msg_count(ngx.unescape_uri(ngx.var.arg_user or "")))
  } }
  location = /facts { content_by_lua_block { inside.facts() } }
]]

--- The worker's Lua text before anything of the spec's.
function world.prelude(url, client)
  return INIT_WORKER:format(url, world.APP_ID, client or "")
end

function world.start(options)
  local e = options.url == nil and emulator.start(options.emulator or {}) or nil
  local url = options.url or e.url
  local all = {}
  for name, value in pairs(options) do all[name] = value end
  all.init_worker = world.prelude(url, options.client) .. (options.init_worker or "")
  all.locations = LOCATIONS .. (options.locations or "")
  local ok, s = pcall(server.start, all)
  if not ok then
    if e then e:stop() end
    error(s, 0)
  end
  s.emulator = e
  s.url = url
  return setmetatable(s, World)
end

--- What /facts says: numbers and words by name.
function World:facts()
  local status, body = self:get "/facts"
  assert(status == 200, body)
  local facts = {}
  for name, value in body:gmatch("(%S+) (%S+)\n") do facts[name] = tonumber(value) or value end
  return facts
end

function World:stop()
  server.methods.stop(self)
  if self.emulator then self.emulator:stop() end
end

return world
