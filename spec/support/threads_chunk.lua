--- threads_chunk: run by threads_host in every thread at once. Clients that
--- share nothing but the module: made, used, cancelled, closed, collected, at
--- random. Real calls go to the emulator of AGORA_CHAT_PLAIN_URL, where every
--- uN is a user with N messages and any token is good; AGORA_CHAT_THREAD_CALLS
--- says how many.
local number = ...
local agora_chat = require "agora_chat"
local tick = require "agora_chat.loop.tick"

local BASE_URL = assert(os.getenv "AGORA_CHAT_PLAIN_URL", "no AGORA_CHAT_PLAIN_URL")
local APP_ID = assert(os.getenv "AGORA_CHAT_APP_ID", "no AGORA_CHAT_APP_ID")
local CALLS = tonumber(os.getenv "AGORA_CHAT_THREAD_CALLS") or 2000

math.randomseed(number)
local random = math.random

-- What a callback raises ends in on_error, and would be the end of nobody.
local complaint
local function complain(value) complaint = complaint or tostring(value) end

local function scripted_round(round)
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
end

--- libcurl is set up once for all threads. Nobody listens on port 1.
local function refused_round()
  local client = assert(agora_chat.new {
    base_url = "http://127.0.0.1:1", app_id = ("a"):rep(32), credentials = { token = "t" },
    max_attempts = 1, timeout_ms = 5000, threaded = random(2) == 1,
  })
  local res, err = client:offline_msg_count("nobody")
  assert(res == nil and err.kind == "network", tostring(err))
  client:close()
end

local function token()
  return "token-" .. random(1000000)
end

local function new_client()
  local credentials = { token = token() }
  if random(3) == 1 then credentials = function() return token(), 3600 end end
  return assert(agora_chat.new {
    base_url = BASE_URL, app_id = APP_ID, credentials = credentials, loop = tick, on_error = complain,
    threaded = random(3) > 1, rate_per_s = false, max_in_flight = random(8), envelope = random(2) == 1,
    timeout_ms = 60000, attempt_timeout_ms = 60000, on_event = random(2) == 1 and function() end or nil,
  })
end

--- A crowd of calls on one client, some waited for, some cancelled. Returns how
--- many were asked. `leave`: the client is let go with calls under way.
local function crowd(client, size, leave)
  local open, ended = 0, {}
  local function finished(i, n, res, err)
    assert(not ended[i], "a call ended twice")
    ended[i] = true
    open = open - 1
    if res then
      assert(res.count == n, res.count)
    else
      assert(err.kind == "cancelled" or err.kind == "closed", tostring(err))
    end
  end
  for i = 1, size do
    local n = random(99)
    open = open + 1
    if random(4) == 1 then
      coroutine.wrap(function() finished(i, n, client:offline_msg_count("u" .. n)) end)()
    else
      local call = assert(client:start("offline_msg_count", { "u" .. n }, function(res, err)
        finished(i, n, res, err)
      end))
      if random(10) == 1 then call:cancel() end
    end
    if random(8) == 1 then client:poll(random(0, 3)) end
    if random(40) == 1 then assert(client:set_token(token())) end
    if random(40) == 1 then
      local stats = client:stats()
      assert(stats.accepted == stats.ok + stats.failed + stats.cancelled + stats.in_flight + stats.queued)
    end
  end
  if leave then return end
  if random(3) == 1 then client:close() end
  while open > 0 do assert(client:poll(1000)) end
end

local left = CALLS
local round = 0
while left > 0 do
  round = round + 1
  if round <= 20 then
    scripted_round(round)
    refused_round()
  end
  local client = new_client()
  repeat
    local size = random(60)
    crowd(client, size, random(6) == 1)
    left = left - size
  until client.closed or left <= 0 or random(3) == 1
  client = nil   -- luacheck: ignore
  assert(not complaint, complaint)
  if random(4) == 1 then collectgarbage() end
end
collectgarbage()
