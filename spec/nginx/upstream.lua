--- upstream: an nginx that stands in for the service where the emulator would
--- be the slowest of all: every user has 3 messages, every message arrived.
---
---   local up = upstream.start { delay_ms = 20 }       -- up.url, up:stop()
---   up:get "/seen" says how many requests there were.

local server = require "spec.nginx.server"

local upstream = {}

local LOCATIONS = [[
location = /seen { content_by_lua_block { ngx.print(require("spec.nginx.seen").count) } }
location ~ "/users/([^/]+)/offline_msg_count$" { content_by_lua_block {
  local seen = require "spec.nginx.seen"
  seen.count = seen.count + 1
  %s
  local body = '{"action":"get","data":{"' .. ngx.var[1] .. '":3},"timestamp":1542601518137,"duration":1}'
  ngx.header.content_type = "application/json"
  ngx.header.content_length = #body
  ngx.print(body)
} }
]]

--- options: delay_ms (0), http and server (configuration), scheme ("http").
function upstream.start(options)
  local delay_ms = options.delay_ms or 0
  local s = server.start {
    locations = LOCATIONS:format(delay_ms > 0 and ("ngx.sleep(%g)"):format(delay_ms / 1000) or ""),
    http = options.http, server = options.server, listen = options.listen,
  }
  s.url = ("%s://127.0.0.1:%d"):format(options.scheme or "http", s.port)
  return s
end

return upstream
