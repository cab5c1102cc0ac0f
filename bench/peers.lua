--- peers: the same calls through what Debian has besides; started by calls.lua.
---
---   peers.lua URL CA_FILE|- CALLS AT_ONCE luasocket|lua_http|lua_http_kept
---
--- luasocket and lua_http as their manuals show them: a connection per call.
--- lua_http_kept keeps its connection by hand, with nothing that notices when
--- it breaks. Answers are decoded with lua-cjson and looked at. Prints as ours.lua.
local support = require "bench.support"
local cjson = require "cjson"
local clock = support.clock

local url, ca_file, calls, at_once, peer = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4]), arg[5]
local base = url .. "/app-id/" .. support.app_id .. "/users/"
local bearer = "Bearer 007" .. ("t"):rep(200)

local function check(user, status, body)
  assert(tonumber(status) == 200, status)
  assert(cjson.decode(body).data[user] == 3)
end

local peers = {}

function peers.luasocket()
  local http, ltn12 = require "socket.http", require "ltn12"
  return function(user)
    local parts = {}
    local _, status = http.request {
      url = base .. user .. "/offline_msg_count", headers = { Authorization = bearer }, sink = ltn12.sink.table(parts),
    }
    check(user, status, table.concat(parts))
  end
end

local function tls_context()
  local tls = require "http.tls"
  local store = require "openssl.x509.store".new()
  store:add(ca_file)
  local context = tls.new_client_context()
  context:setStore(store)
  return context
end

function peers.lua_http()
  local request = require "http.request"
  local context = ca_file ~= "-" and tls_context() or nil
  return function(user)
    local ask = request.new_from_uri(base .. user .. "/offline_msg_count")
    ask.ctx = context
    ask.headers:append("authorization", bearer)
    local headers, stream = assert(ask:go(10))
    check(user, headers:get ":status", assert(stream:get_body_as_string(10)))
    stream:shutdown()
  end
end

function peers.lua_http_kept()
  local h1, new_headers = require "http.client", require "http.headers".new
  local https, port = url:match "^(https?)://127.0.0.1:(%d+)$"
  local free = {}
  local context = https == "https" and tls_context() or nil
  return function(user)
    local connection = table.remove(free) or assert(h1.connect({
      host = "127.0.0.1", port = tonumber(port), tls = context and true or false, ctx = context, version = 1.1,
      sendname = false,
    }, 10))
    local stream = connection:new_stream()
    local headers = new_headers()
    headers:append(":method", "GET")
    headers:append(":scheme", https)
    headers:append(":authority", "127.0.0.1")
    headers:append(":path", "/app-id/" .. support.app_id .. "/users/" .. user .. "/offline_msg_count")
    headers:append("authorization", bearer)
    assert(stream:write_headers(headers, true, 10))
    local answer = assert(stream:get_headers(10))
    check(user, answer:get ":status", assert(stream:get_body_as_string(10)))
    free[#free + 1] = connection
  end
end

local ask = peers[peer]()

local function run(count)
  if peer == "luasocket" then
    for i = 1, count do ask("u" .. i % 100) end
    return
  end
  local loop = require "cqueues".new()
  local started = 0
  for _ = 1, at_once do
    loop:wrap(function()
      while started < count do
        started = started + 1
        ask("u" .. started % 100)
      end
    end)
  end
  assert(loop:loop())
end

run(math.min(50, calls))
local cpu, thread, wall = clock.cpu(), clock.thread(), clock.wall()
run(calls)
print(("%d %.6f %.6f %.6f"):format(calls, clock.cpu() - cpu, clock.thread() - thread, clock.wall() - wall))
