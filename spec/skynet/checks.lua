--- checks: what every loop promises, and what crosses from service to service,
--- as a list of { name, function(t) }. busted reads the names, the service
--- contract.lua runs the functions. t.new(options) makes a client, t.go(f) runs f
--- in a coroutine and t.join() waits for all of them.
local checks = {}

local function check(name, f)
  checks[#checks + 1] = { name = name, run = f }
end

local function equal(expected, got, what)
  if expected ~= got then
    error(("%sexpected %s, got %s"):format(what and what .. ": " or "", tostring(expected), tostring(got)), 2)
  end
end

check("a call gives its result, and its error", function(t)
  local client = t.new()
  local res, err = client:offline_msg_count "alice"
  equal(nil, err)
  equal(2, res.count)
  equal(2, res.envelope.data.alice)
  equal(true, client:offline_msg_status("alice", "1028442084794698104").delivered)
  res, err = client:offline_msg_count "nobody"
  equal(nil, res)
  equal("not_found", err.kind)
  equal("user", err.code)
  equal(404, err.http_status)
  res, err = client:offline_msg_count "no/body"
  equal(nil, res)
  equal("argument", err.kind)
  client:close()
end)

check("50 calls run side by side, slow ones among them", function(t)
  local client = t.new { max_in_flight = 50 }
  local from, order = t.now_ms(), {}
  for i = 1, 50 do
    t.go(function()
      local name = i % 5 == 0 and "slow" or "u" .. i
      local res = assert(client:offline_msg_count(name))
      equal(name == "slow" and 7 or i, res.count)
      order[#order + 1] = name
    end)
  end
  t.join()
  equal(50, #order)
  for i = 41, 50 do equal("slow", order[i]) end              -- 10 x 400 ms one after the other would be 4 s
  assert(t.now_ms() - from < 3000, "they waited for each other")
  client:close()
end)

check("start and wait, twice; a second waiter is refused", function(t)
  local client = t.new()
  local count = assert(client:start("offline_msg_count", { "slow" }))
  local refused
  t.go(function() equal(7, count:wait().count) end)
  t.go(function() refused = select(2, count:wait()) end)
  t.join()
  equal("cannot_wait", refused.code)
  equal(7, count:wait().count)
  client:close()
end)

check("a callback may raise, start, wait", function(t)
  local raised, second, third
  local client = t.new { on_error = function(value) raised = value end }
  client:start("offline_msg_count", { "u1" }, function() error({ mine = true }, 0) end)
  client:start("offline_msg_count", { "u2" }, function(res)
    client:start("offline_msg_count", { "u3" }, function(more) third = more end)
    second = { res, client:offline_msg_count "slow" }
  end)
  t.until_true(function() return raised and second and third end)
  equal(true, raised.mine)
  equal(2, second[1].count)
  equal(7, second[2].count)
  equal(3, third.count)
  client:close()
end)

check("a callback may close the client; every call ends exactly once", function(t)
  local client, ends = t.new(), {}
  for i = 1, 5 do
    client:start("offline_msg_count", { i == 1 and "u1" or "hang" }, function(_, err)
      ends[i] = (ends[i] or "") .. (err and err.kind or "ok")
      if i == 1 then client:close() end
    end)
  end
  local waited
  t.go(function() waited = select(2, client:offline_msg_count "hang") end)
  t.until_true(function() return ends[5] and waited end)
  equal("ok closed closed closed closed", table.concat(ends, " "))
  equal("closed", waited.kind)
  equal("closed", select(2, client:offline_msg_count "u1").kind)
end)

check("a waiter may close the client", function(t)
  local client, errors = t.new(), {}
  for i = 1, 3 do
    t.go(function()
      errors[i] = select(2, client:offline_msg_count "hang").kind
    end)
  end
  t.go(function()
    assert(client:offline_msg_count "u1")
    client:close()
  end)
  t.join()
  equal("closed closed closed", table.concat(errors, " "))
end)

check("cancel wakes who waits", function(t)
  local client = t.new()
  local call = assert(client:start("offline_msg_count", { "hang" }))
  local err
  t.go(function() err = select(2, call:wait()) end)
  call:cancel()
  t.join()
  equal("cancelled", err.kind)
  equal(0, client:pending())
  client:close()
end)

check("a deadline is kept", function(t)
  local client = t.new()
  local from = t.now_ms()
  local err = select(2, client:offline_msg_count("hang", { timeout_ms = 200 }))
  equal("timeout", err.kind)
  assert(t.now_ms() - from < 3000)
  client:close()
end)

check("batch keeps its order, each waits in a for", function(t)
  local client, names = t.new(), {}
  for i = 1, 100 do names[i] = "u" .. i end
  names[50] = "nobody"
  local results, failed, failures = client:batch("offline_msg_count", names, { window = 8 })
  equal(1, failures)
  equal("not_found", failed[50].kind)
  for i = 1, 100 do equal(i ~= 50 and i, results[i] and results[i].count) end
  local sum = 0
  for _, res in client:each("offline_msg_count", names, { window = 8 }) do sum = sum + (res and res.count or 0) end
  equal(5000, sum)
  client:close()
end)

check("others may wake who waits: the result comes all the same", function(t)
  local client, res = t.new()
  local co = t.go(function() res = client:offline_msg_count "slow" end)
  for _ = 1, 3 do
    t.skynet.sleep(2)
    t.skynet.wakeup(co)
  end
  t.join()
  equal(7, res.count)
  client:close()
end)

check("a waiter that is killed leaves the others alone", function(t)
  local client, res = t.new()
  local killed = t.skynet.fork(function() client:offline_msg_count "slow" end)
  t.go(function() res = client:offline_msg_count "slow" end)
  t.skynet.sleep(5)
  t.skynet.killthread(killed)
  t.join()
  equal(7, res.count)
  t.until_true(function() return client:pending() == 0 end)
  equal(2, client:stats().ok)
  client:close()
end)

check("where one cannot wait one is told, and nothing is sent", function(t)
  local client, err = t.new()
  table.sort({ 2, 1 }, function(a, b)
    err = select(2, client:offline_msg_count "u1")
    return a < b
  end)
  equal("cannot_wait", err.code)
  equal(0, client:stats().accepted)
  client:close()
  local top = t.skynet.newservice "top"                      -- while its file is loaded
  local at_top = t.skynet.call(top, "lua", "top")
  equal("cannot_wait", at_top.code)
  assert(at_top.message:find("skynet.start", 1, true), at_top.message)
  equal(5, t.skynet.call(top, "lua", "later").count)         -- started at the top, with a callback
  t.skynet.kill(top)
end)

check("a credentials function may wait", function(t)
  local asked = 0
  local client = t.new { credentials = function()
    asked = asked + 1
    t.skynet.sleep(5)
    return "a-token-from-elsewhere"
  end }
  for i = 1, 5 do
    t.go(function() equal(i, assert(client:offline_msg_count("u" .. i)).count) end)
  end
  t.join()
  equal(1, asked)
  client:close()
end)

check("with nothing left to do nobody looks", function(t)
  local client = t.new()
  assert(client:offline_msg_count "u1")
  t.skynet.sleep(5)
  local ticks, tick = 0, client.tick
  client.tick = function(...)
    ticks = ticks + 1
    return tick(...)
  end
  t.skynet.sleep(10)
  equal(0, ticks)
  client:close()
end)

check("a tick that fails is not the last one", function(t)
  local client, failures = t.new { on_error = function() end }, 0
  client.tick = function()
    failures = failures + 1
    client.tick = nil
    error "not enough memory"
  end
  equal(1, assert(client:offline_msg_count "u1").count)
  equal(1, failures)
  client:close()
end)

check("a message type that the service uses itself does no harm", function(t)
  local clash = t.skynet.newservice "clash"
  equal(3, t.skynet.call(clash, "lua").count)
  t.skynet.kill(clash)
end)

check("two clients of one service", function(t)
  local one, other = t.new(), t.new()
  t.go(function() equal(7, assert(one:offline_msg_count "slow").count) end)
  t.go(function() equal(9, assert(other:offline_msg_count "u9").count); other:close() end)
  t.join()
  one:close()
end)

-- ------------------------------------------------- one owner, many callers

check("results and errors cross services as plain tables", function(t)
  local chat = t.skynet.newservice "agora_chatd"
  local res = t.skynet.call(chat, "lua", "offline_msg_count", "alice")
  equal(2, res.count)
  equal("get", res.envelope.action)
  local none, err = t.skynet.call(chat, "lua", "offline_msg_count", "nobody")
  equal(nil, none)
  equal(nil, getmetatable(err))
  equal("not_found", err.kind)
  equal("user", err.code)
  equal(404, err.http_status)
  equal("offline_msg_count", err.operation)
  equal(1, err.attempts)
  equal(false, err.retryable)
  equal("number", type(err.elapsed_ms))
  equal("string", type(err.description))
  assert(err.message:find("404", 1, true))
  equal(true, t.agora_chat.is_error(err))
  equal(false, t.agora_chat.is_error(res))
  none, err = t.skynet.call(chat, "lua", "no_such_thing")
  equal(nil, none)
  equal("argument", err.kind)
  equal(true, t.agora_chat.is_error(err))
  local answer = t.skynet.call(chat, "lua", "request",
    { method = "GET", path = { "users", "bob", "status" }, idempotent = true })
  equal(200, answer.http_status)
  local results, failed, failures = t.skynet.call(chat, "lua", "batch", "offline_msg_count", { "u1", "nobody", "u3" })
  equal("1 false 3", ("%s %s %s"):format(results[1].count, tostring(results[2]), results[3].count))
  equal(1, failures)
  equal(true, t.agora_chat.is_error(failed[2]))
  equal("number", type(t.skynet.call(chat, "lua", "stats").accepted))
  equal(true, t.skynet.call(chat, "lua", "close"))
end)

check("a service that closes with calls under way answers `closed` to every caller", function(t)
  local chat = t.skynet.newservice "agora_chatd"
  local kinds = {}
  for i = 1, 20 do
    t.go(function() kinds[i] = select(2, t.skynet.call(chat, "lua", "offline_msg_count", "hang")).kind end)
  end
  t.go(function()
    local _, failed = t.skynet.call(chat, "lua", "batch", "offline_msg_count", { "hang", "hang", "hang" })
    kinds[21] = failed[1].kind == failed[3].kind and failed[3].kind
  end)
  t.skynet.sleep(10)
  equal(true, t.skynet.call(chat, "lua", "close"))
  t.join()
  for i = 1, 21 do equal("closed", kinds[i]) end
end)

return checks
