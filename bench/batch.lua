--- batch: what a list of 100,000 costs, by itself and over loopback.
---
--- By itself: the service is a function of the bench's, on a frozen clock, so
--- the figures are the brain, the binding and the batch, and what the scripted
--- service costs (listed alone below them). Memory is what Lua holds, per
--- result, while all results are kept.
---
---   batch.lua [users]
local support = require "bench.support"
local scripted = require "spec.support.scripted"
local clock = support.clock

local USERS = tonumber(arg[1]) or 100000
local ANSWER = '{"action":"get","uri":"http://a1.easemob.com/easemob-demo/chatdemoui/users/%s/offline_msg_count",'
  .. '"entities":[],"data":{"%s":3},"timestamp":1542601518137,"duration":3,"count":0}'

local names = {}
for i = 1, USERS do names[i] = "user" .. i end

local function settle()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

local function answer(request)
  local user = request.url:match "/users/([^/]+)/"
  return 200, ANSWER:format(user, user)
end

local function say(what, us, bytes)
  print(("  %-42s %8.1f %s"):format(what, us, bytes and ("%8.0f"):format(bytes) or ""))
end

local function time(f, count)
  local from = clock.cpu()
  local kept = f()
  return (clock.cpu() - from) / (count or USERS) * 1e6, kept
end

local function batch(client, envelope)
  local before = settle()
  local us, results = time(function()
    local results, _, failures = client:batch("offline_msg_count", names, { envelope = envelope })
    assert(failures == 0 and results[USERS].count == 3)
    return results
  end)
  local bytes = (settle() - before) / USERS
  assert(#results == USERS)
  return us, bytes
end

local function each(client, envelope, users)
  return (time(function()
    local count = 0
    for _, res, err in client:each("offline_msg_count", users, { envelope = envelope }) do
      assert(res, err)
      count = count + res.count
    end
    assert(count == 3 * #users)
  end, #users))
end

print(("batch, %s: %d users; us of CPU per call, bytes of Lua per kept result"):format(support.lua(), USERS))
for _, envelope in ipairs { true, false } do
  local name = envelope and "with the envelope" or "without"
  local client = scripted.client { answer = answer }
  local us, bytes = batch(client, envelope)
  say("scripted, batch, " .. name, us, bytes)
  say("scripted, each, " .. name, each(client, envelope, names))
  client:close()
end

-- What of that is the scripted service's: the text of an answer, and the tables
-- of a request and a reply.
local request = { url = "https://chat.example/app-id/x/users/user1/offline_msg_count", headers = {} }
say("  of it the script's own answers", time(function()
  for _ = 1, USERS do
    local status, body = answer(request)
    assert(({ http_status = status, body = body }).body)
  end
end))

local few = {}
for i = 1, math.min(USERS, 20000) do few[i] = names[i] end
local server = support.fast()
if server then
  for _, threaded in ipairs { false, true } do
    for _, envelope in ipairs { true, false } do
      local client = support.client { base_url = server.url, threaded = threaded, max_in_flight = 32 }
      local us = each(client, envelope, few)
      say(("loopback, each, %s, %s"):format(threaded and "threaded" or "inline",
        envelope and "with the envelope" or "without"), us)
      client:close()
    end
  end
  server.stop()
else
  print "  no nginx here: nothing over loopback"
end
