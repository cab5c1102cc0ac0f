--- ways: one question asked in several ways, inside a worker of the bench.
---
---   ours       this module
---   blocking   the mistake: the same engine, waiting on the spot
---   sockets    cosockets kept alive, a request written and read by hand
---   http       lua-resty-http, where RESTY_HTTP names its folder

local cjson = require "cjson"

local ways = {}

local APP_ID = "970ca35de60c44645bbae8a215061b33"
local TOKEN = "a-token-for-the-bench"
local POOL = 128

local url, host, port
local client, handle

--- In init_worker.
function ways.start(base_url)
  url = base_url
  host, port = url:match("^http://([^:]+):(%d+)$")
  local options = {
    base_url = url, app_id = APP_ID, credentials = { token = TOKEN }, rate_per_s = false, max_in_flight = POOL,
  }
  handle = assert(require("agora_chat.core").new(options, false))
  options.loop = require "agora_chat.loop.resty"
  client = assert(require("agora_chat").new(options))
end

local function path(user)
  return ("/app-id/%s/users/%s/offline_msg_count"):format(APP_ID, ngx.escape_uri(user))
end

function ways.ours(user)
  local res, err = client:offline_msg_count(user)
  return res and res.count, err and tostring(err)
end

function ways.blocking(user)
  local id = assert(handle:submit("offline_msg_count", nil, user))
  while true do
    local ended, res = handle:next_done()
    if ended == id then return res and res.count, "failed" end
    handle:poll(1000)
  end
end

local function read_answer(socket)
  local line, why = socket:receive("*l")
  if not line then return nil, why end
  local status, length = line:match("^HTTP/1%.1 (%d+)")
  repeat
    line, why = socket:receive("*l")
    if not line then return nil, why end
    length = line:match("^[Cc]ontent%-[Ll]ength:%s*(%d+)") or length
  until line == ""
  local body
  body, why = socket:receive(tonumber(length))
  return status == "200" and body, why or status
end

function ways.sockets(user)
  local socket = ngx.socket.tcp()
  socket:settimeouts(3000, 5000, 5000)
  local ok, why = socket:connect(host, tonumber(port), { pool_size = POOL })
  if not ok then return nil, why end
  ok, why = socket:send { "GET ", path(user), " HTTP/1.1\r\nHost: ", host, "\r\nAccept: application/json\r\n",
    "Authorization: Bearer ", TOKEN, "\r\n\r\n" }
  if not ok then return nil, why end
  local body
  body, why = read_answer(socket)
  if not body then return nil, why end
  socket:setkeepalive(10000, POOL)
  return cjson.decode(body).data[user]
end

function ways.http(user)
  local http = require("resty.http").new()
  http:set_timeouts(3000, 5000, 5000)
  local res, why = http:request_uri(url .. path(user), {
    headers = { Authorization = "Bearer " .. TOKEN, Accept = "application/json" },
    keepalive_timeout = 10000, keepalive_pool = POOL,
  })
  if not res then return nil, why end
  return cjson.decode(res.body).data[user]
end

--- The body of a location.
function ways.answer(way)
  local count, why = ways[way]("alice")
  if not count then
    ngx.status = 502
    return ngx.say(why)
  end
  ngx.say(count)
end

return ways
