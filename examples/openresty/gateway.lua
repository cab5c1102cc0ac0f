--- gateway: what nginx.conf beside it calls.
---
--- One client per worker. A badge is kept for a second in a cache that all
--- workers share, and those who ask for the same one at the same time ask the
--- service once.

local agora_chat = require "agora_chat"
local cjson = require "cjson"
local resty = require "agora_chat.loop.resty"
local semaphore = require "ngx.semaphore"

local gateway = {}

local KEEP_S = 1
local MOST_USERS = 50

local client
local flights = {}                     -- by user: a question that is under way

--- In init_worker: each worker has a client of its own, after nginx has forked.
function gateway.start()
  local token = os.getenv "AGORA_CHAT_TOKEN"
  local err
  client, err = agora_chat.new {
    base_url = os.getenv "AGORA_CHAT_BASE_URL",
    app_id = os.getenv "AGORA_CHAT_APP_ID",
    credentials = token and { token = token } or { app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE" },
    ca_file = os.getenv "AGORA_CHAT_CA_FILE",
    timeout_ms = 5000,
    rate_per_s = 95 / ngx.worker.count(),              -- the service counts all workers together
    loop = resty,
  }
  if not client then error(tostring(err)) end
end

-- --------------------------------------------------------------------- answers

local HTTP_STATUS = {
  argument = 400, not_found = 404, timeout = 504,
  rate_limited = 503, quota = 503, overload = 503, unavailable = 503,
}

local function say(value, status)
  ngx.status = status or 200
  ngx.say(cjson.encode(value))
end

local function say_error(err)
  if err.retry_after_ms then ngx.header["Retry-After"] = math.ceil(err.retry_after_ms / 1000) end
  say({ error = err.kind, code = err.code, message = err.message }, HTTP_STATUS[err.kind] or 502)
end

--- An argument of the request; nil when it is missing or there twice.
local function argument(name)
  local value = ngx.req.get_uri_args()[name]
  return type(value) == "string" and value or nil
end

-- ---------------------------------------------------------------------- badges

--- A callback, so that it comes whatever happens to the request that asked
--- first. It gets all it needs as `flight`: a variable of that request's would
--- be gone by then.
local function landed(res, err, flight)
  flights[flight.user] = nil
  flight.err, flight.unread = err, res and res.count
  if res then ngx.shared.badges:set(flight.user, res.count, KEEP_S) end
  if flight.waiting > 0 then flight.ready:post(flight.waiting) end
end

--- How many messages wait for a user: from the cache, from a question that is
--- under way, or asked now.
local function unread(user)
  local kept = ngx.shared.badges:get(user)
  if kept then return kept end
  local flight = flights[user]
  if not flight then
    flight = { user = user, ready = semaphore.new(), waiting = 0 }
    local call, err = client:start("offline_msg_count", { user }, landed, { data = flight, envelope = false })
    if not call then return nil, err end
    flights[user] = flight
  end
  flight.waiting = flight.waiting + 1
  local ok, why = flight.ready:wait(10)                -- longer than the call's own deadline
  if not ok then return nil, { kind = "timeout", message = why } end
  return flight.unread, flight.err
end

function gateway.badge()
  local user = argument "user"
  if not user then return say({ error = "argument", message = "/badge?user=NAME" }, 400) end
  local count, err = unread(user)
  if not count then return say_error(err) end
  say { user = user, unread = count }
end

function gateway.badges()
  local threads, users = {}, {}
  for user in (argument "users" or ""):gmatch "[^,]+" do
    if #users == MOST_USERS then return say({ error = "argument", message = "too many users" }, 400) end
    users[#users + 1] = user
  end
  if #users == 0 then return say({ error = "argument", message = "/badges?users=NAME,NAME" }, 400) end
  for i, user in ipairs(users) do threads[i] = ngx.thread.spawn(unread, user) end
  local answer = {}
  for i, user in ipairs(users) do
    local _, count, err = ngx.thread.wait(threads[i])
    answer[user] = count or { error = err.kind }
  end
  say(answer)
end

-- -------------------------------------------------------------------- messages

function gateway.message()
  local user, id = argument "user", argument "id"
  if not (user and id) then return say({ error = "argument", message = "/message?user=NAME&id=ID" }, 400) end
  local res, err = client:offline_msg_status(user, id)
  if not res then return say_error(err) end
  say { user = user, id = id, status = res.status, delivered = res.delivered }
end

function gateway.status()
  local stats, err = client:stats()
  if not stats then return say_error(err) end
  stats.worker = ngx.worker.id()
  say(stats)
end

return gateway
