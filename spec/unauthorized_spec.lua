-- 401: one renewal, one more attempt, never a loop. Faults I02 to I07. The
-- service is the spec, on a frozen clock; every request and token is counted.
local agora_chat = require "agora_chat"
local fake = require "spec.support.fake"

local CERTIFICATE = "5cfd2fd1755d40ecb72977518be15d3b"
local REFUSAL = fake.fixture "err_401_unauthorized_oauth.json"

local function new(options)
  local all = { credentials = { app_certificate = CERTIFICATE }, max_in_flight = 8, timeout_ms = 60000 }
  for name, value in pairs(options or {}) do all[name] = value end
  return fake.core(all)
end

local function ask(client, user, options)
  return assert(client:submit("offline_msg_count", options, user or "alice"))
end

--- Everything that has ended: "ok" or the error's kind -> how many; and the last error.
local function ends(client)
  client:poll(0)
  local count, last = {}, nil
  local id, result, err = client:next_done()
  while id do
    local key = result and "ok" or err.kind
    count[key] = (count[key] or 0) + 1
    last = err or last
    id, result, err = client:next_done()
  end
  return count, last
end

--- A service that refuses some tokens or users, and counts.
local function service(refuses)
  local s = { requests = 0, refused = 0, tokens = {}, made = 0 }
  function s.answer(request)
    s.requests = s.requests + 1
    local token = fake.token_of(request)
    if not s.tokens[token] then
      s.made = s.made + 1
      s.tokens[token] = s.made
    end
    if refuses(request, s.tokens[token], s) then
      s.refused = s.refused + 1
      return 401, REFUSAL
    end
    return fake.seven(request)
  end
  return s
end

local function everything() return true end
local function the_first_token(_, number) return number == 1 end
local function only(user)
  return function(request) return request.url:find("/" .. user .. "/", 1, true) ~= nil end
end

--- Answers `requests`, in the order given.
local function deliver(client, requests, answer)
  for _, request in ipairs(requests) do
    local status, body = answer(request)
    client:deliver(request.id, { http_status = status, body = body })
  end
end

describe("one 401", function()
  it("costs one renewal and one more request (I02)", function()
    local client, s = new(), service(the_first_token)
    ask(client)
    fake.serve(client, s.answer)
    assert.same({ ok = 1 }, ends(client))
    assert.same({ 2, 2 }, { s.requests, s.made })
    assert.equal(1, client:stats().renewals)
    client:close()
  end)

  it("does not count as an attempt", function()
    local client, s = new { max_attempts = 1 }, service(the_first_token)
    ask(client)
    fake.serve(client, s.answer)
    assert.same({ ok = 1 }, ends(client))
    client:close()
  end)

  it("is handled the same, whatever it says (I06)", function()
    for _, body in ipairs {
      fake.fixture "err_401_expired.json", fake.fixture "err_401_bad_access_token_corrupt.json",
      fake.fixture "err_401_shiro_permission.json", fake.fixture "err_401_no_admin.json",
      fake.fixture "err_502_gateway.html", "", "\0\255\27[31m", ("x"):rep(60000), '{"error":',
    } do
      local client, count = new(), 0
      ask(client)
      fake.serve(client, function(request)
        count = count + 1
        if count == 1 then return 401, body end
        return fake.seven(request)
      end)
      assert.same({ ok = 1 }, ends(client))
      assert.same({ 2, 1 }, { count, client:stats().renewals })
      client:close()

      client, count = new(), 0
      ask(client)
      fake.serve(client, function() count = count + 1 return 401, body end)
      local kinds, err = ends(client)
      assert.same({ unauthorized = 1 }, kinds)
      assert.same({ 2, 401 }, { count, err.http_status })
      assert.is_nil((err.message .. (err.description or "")):find("[%z\1-\31\127]"))
      assert.is_true(#(err.description or "") <= 256)
      client:close()
    end
  end)

  it("keeps the service's word and description", function()
    local client = new()
    ask(client)
    fake.serve(client, function() return 401, fake.fixture "err_401_expired.json" end)
    local _, err = ends(client)
    local body = fake.fixture "err_401_expired.json"
    assert.equal(body:match '"error"%s*:%s*"([^"]+)"', err.code)
    assert.equal(body:match '"error_description"%s*:%s*"([^"]+)"', err.description)
    client:close()
  end)

  it("asks a function for another token", function()
    local client, s = new { credentials = function() end }, service(the_first_token)
    ask(client)
    fake.serve(client, s.answer)
    assert.is_true(client:wants_token())
    assert(client:set_token "one")
    fake.serve(client, s.answer)
    assert.is_true(client:wants_token())
    assert(client:set_token "two")
    fake.serve(client, s.answer)
    assert.same({ ok = 1 }, ends(client))
    assert.equal(2, s.requests)
    client:close()
  end)

  it("fetches another token where the service makes them", function()
    local client = new { credentials = { client_id = "i", client_secret = "s" }, org_name = "org", app_name = "app" }
    local posts, gets = 0, 0
    ask(client)
    fake.serve(client, function(request)
      if request.method == "POST" then
        posts = posts + 1
        return 200, ('{"access_token":"t%d","expires_in":1000}'):format(posts)
      end
      gets = gets + 1
      if fake.token_of(request) == "t1" then return 401, REFUSAL end
      return fake.seven(request)
    end)
    assert.same({ ok = 1 }, ends(client))
    assert.same({ 2, 2 }, { posts, gets })
    client:close()
  end)
end)

describe("401 for ever", function()
  it("ends a call after two requests and one renewal (I03)", function()
    local client, s = new(), service(everything)
    ask(client)
    fake.serve(client, s.answer)
    local kinds, err = ends(client)
    assert.same({ unauthorized = 1 }, kinds)
    assert.equal("unauthorized", err.code)
    assert.same({ 2, 2 }, { s.requests, s.made })
    assert.equal(1, client:stats().renewals)
    assert.is_false(err.retryable)
    ask(client, "bob")                                         -- nothing has ever worked
    assert.equal(0, #fake.hold(client))
    assert.same({ unauthorized = 1 }, (ends(client)))
    client:close()
  end)

  it("is final after one request when the token cannot be renewed", function()
    local client, s = new { credentials = { token = "mine" } }, service(everything)
    for _ = 1, 3 do ask(client) end
    fake.serve(client, s.answer)
    assert.same({ unauthorized = 3 }, (ends(client)))
    assert.equal(3, s.requests)
    assert.equal(0, client:stats().renewals)
    client:close()
  end)

  --- 1,000 calls, 401 for ever; user(i): whose. worked: the app was fine before.
  local function i05(user, worked)
    local client = new()
    local sick = not worked
    local s = service(function() return sick end)
    if worked then
      ask(client)
      fake.serve(client, s.answer)
      assert.same({ ok = 1 }, (ends(client)))
      sick = true
    end
    s.requests = 0
    for i = 1, 1000 do ask(client, user(i)) end
    for round = 0, 3 do
      client:set_now(fake.now_ms + round * 150)
      deliver(client, fake.hold(client), s.answer)
    end
    assert.same({ unauthorized = 1000 }, (ends(client)))
    assert.is_true(s.requests <= 16, s.requests)
    assert.equal(2, s.made)
    assert.equal(1, client:stats().renewals)
    return client, s
  end

  it("ends 1,000 calls, then there is silence, then one probe (I05)", function()
    for _, case in ipairs {
      { function() return "alice" end, false }, { function(i) return "user" .. i end, false },
      { function() return "alice" end, true }, { function(i) return "user" .. i end, true },
    } do
      local client, s = i05(case[1], case[2])
      local before = s.requests
      for _, ms in ipairs { 451, 1000, 4999 } do               -- fails at once, unsent
        client:set_now(fake.now_ms + ms)
        for _ = 1, 10 do ask(client, case[1](1)) end
        local kinds, err = ends(client)
        assert.same({ unauthorized = 10 }, kinds)
        assert.equal(0, err.attempts)
        assert.truthy(err.message:find("not sent", 1, true))
        assert.equal(0, #fake.hold(client))
      end
      assert.equal(before, s.requests)
      client:close()
    end
  end)

  it("is probed by one call every 5 s, whose token is new", function()
    local client, s = i05(function(i) return "user" .. i end, true)
    local before, made = s.requests, s.made
    for probe = 1, 3 do
      client:set_now(fake.now_ms + probe * 5500)
      for i = 1, 10 do ask(client, "user" .. i) end
      assert.same({}, (ends(client)))
      assert.equal(1, #fake.serve(client, s.answer))           -- one tells for all
      assert.same({ unauthorized = 10 }, (ends(client)))
      assert.same({ before + probe, made + probe }, { s.requests, s.made })
      ask(client)
      assert.equal(0, #fake.hold(client))
      assert.same({ unauthorized = 1 }, (ends(client)))
    end
    client:close()
  end)

  it("is over when the probe succeeds", function()
    local sick = true
    local client, s = new(), service(function() return sick end)
    for _ = 1, 20 do ask(client) end
    fake.serve(client, s.answer)
    assert.same({ unauthorized = 20 }, (ends(client)))
    sick = false
    client:set_now(fake.now_ms + 5001)
    for _ = 1, 20 do ask(client) end
    local held = fake.hold(client)
    assert.equal(1, #held)
    deliver(client, held, s.answer)
    assert.equal(8, #fake.hold(client))
    client:close()
  end)

  it("is over with a token from outside", function()
    local client, s = new(), service(function(request) return fake.token_of(request) ~= "better" end)
    ask(client)
    fake.serve(client, s.answer)
    assert.same({ unauthorized = 1 }, (ends(client)))
    assert(client:set_token "better")
    ask(client)
    assert.equal(1, #fake.serve(client, s.answer))
    assert.same({ ok = 1 }, (ends(client)))
    client:close()
  end)

  it("renews at most once in 5 s, however many calls come", function()
    local client, s = new(), service(everything)
    for ms = 0, 60000, 100 do
      client:set_now(fake.now_ms + ms)
      ask(client)
      fake.serve(client, s.answer)
    end
    assert.same({ unauthorized = 601 }, (ends(client)))
    assert.is_true(client:stats().renewals <= 13, client:stats().renewals)
    assert.is_true(s.requests <= 2 + 13, s.requests)
    client:close()
  end)
end)

describe("a token that expires under 1,000 calls", function()
  it("is renewed once; late 401s of the old one only resend (I04)", function()
    local client = new()
    local expired = false
    local s = service(function(_, number) return expired and number == 1 end)
    for _ = 1, 1000 do ask(client) end
    local served = 0
    while served < 500 do
      local held = fake.hold(client)
      deliver(client, held, s.answer)
      served = served + #held
    end
    local held = fake.hold(client)                             -- 8 are on their way
    expired = true
    deliver(client, { held[1] }, s.answer)
    deliver(client, fake.hold(client), s.answer)               -- with the new one, before the late ones
    for i = 2, #held do deliver(client, { held[i] }, s.answer) end
    fake.serve(client, s.answer)
    assert.same({ ok = 1000 }, (ends(client)))
    assert.same({ 2, 1008 }, { s.made, s.requests })
    assert.equal(1, client:stats().renewals)
    client:close()
  end)

  it("is renewed once by one request, where it takes one", function()
    local client = new { credentials = { client_id = "i", client_secret = "s" }, org_name = "org", app_name = "app" }
    local posts, refused = 0, 0
    local function answer(request)
      if request.method == "POST" then
        posts = posts + 1
        return 200, ('{"access_token":"t%d","expires_in":1000}'):format(posts)
      end
      if fake.token_of(request) == "t1" then refused = refused + 1 return 401, REFUSAL end
      return fake.seven(request)
    end
    for _ = 1, 1000 do ask(client) end
    deliver(client, fake.hold(client), answer)                 -- the first token
    local held = fake.hold(client)
    assert.equal(8, #held)
    deliver(client, { held[1] }, answer)
    local post = fake.hold(client)
    assert.same({ 1, "POST" }, { #post, post[1].method })
    for i = 2, 8 do deliver(client, { held[i] }, answer) end
    assert.equal(0, #fake.hold(client))                        -- all wait for it
    deliver(client, post, answer)
    fake.serve(client, answer)
    assert.same({ ok = 1000 }, (ends(client)))
    assert.same({ 2, 8 }, { posts, refused })
    client:close()
  end)
end)

-- Fault I07: one user who always gets 401 must not silence the others.
describe("401 for one user", function()
  local function users(client, list)
    for _, user in ipairs(list) do ask(client, user) end
  end

  it("among others in flight ends that call alone", function()
    for place = 1, 8 do
      local client, s = new(), service(only "mallory")
      local list = {}
      for i = 1, 100 do list[i] = i == place and "mallory" or "user" .. i end
      users(client, list)
      while true do
        local held = fake.hold(client)
        if #held == 0 then break end
        deliver(client, held, s.answer)
      end
      assert.same({ ok = 99, unauthorized = 1 }, (ends(client)))
      assert.equal(101, s.requests)
      assert.equal(1, client:stats().renewals)
      client:close()
    end
  end)

  it("while the token really expires ends that call alone", function()
    local client = new()
    local expired = false
    local is_mallory = only "mallory"
    local s = service(function(request, number) return is_mallory(request) or expired and number == 1 end)
    users(client, { "alice", "bob" })
    fake.serve(client, s.answer)
    expired = true
    users(client, { "mallory", "u1", "u2", "u3", "u4", "u5", "u6", "u7" })
    for i = 1, 50 do ask(client, "later" .. i) end
    deliver(client, fake.hold(client), s.answer)               -- eight 401s, one renewal
    local resent = fake.hold(client)
    assert.equal(8, #resent)
    for i, request in ipairs(resent) do                        -- mallory's second comes first
      if only "mallory"(request) then
        deliver(client, { table.remove(resent, i) }, s.answer)
        break
      end
    end
    deliver(client, resent, s.answer)
    fake.serve(client, s.answer)
    assert.same({ ok = 59, unauthorized = 1 }, (ends(client)))
    assert.equal(1, client:stats().renewals)
    client:close()
  end)

  it("does not touch the call after it", function()
    local client, s = new(), service(only "mallory")
    for _, user in ipairs { "alice", "mallory", "bob", "mallory", "mallory", "alice" } do
      ask(client, user)
      fake.serve(client, s.answer)
    end
    assert.same({ ok = 3, unauthorized = 3 }, (ends(client)))
    assert.equal(7, s.requests)                                -- only the first of mallory's went twice
    assert.equal(1, client:stats().renewals)
    client:close()
  end)

  it("asked for again and again leaves room for others", function()
    local client, s = new(), service(only "mallory")
    users(client, { "alice" })
    fake.serve(client, s.answer)
    for ms = 0, 30000, 1000 do
      client:set_now(fake.now_ms + ms)
      for _ = 1, 20 do ask(client, "mallory") end
      fake.serve(client, s.answer)
    end
    assert.same({ ok = 1, unauthorized = 620 }, (ends(client)))
    assert.is_true(s.requests <= 1 + 7 * 2, s.requests)        -- and a rest of 5 s each time
    assert.is_true(client:stats().renewals <= 7)
    ask(client, "bob")
    assert.equal(1, #fake.serve(client, s.answer))
    assert.same({ ok = 1 }, (ends(client)))
    client:close()
  end)

  it("for hours makes no storm of renewals, and nobody else waits", function()
    local client, s = new(), service(only "mallory")
    local ms = 0
    for round = 1, 300 do
      ms = ms + 1000
      client:set_now(fake.now_ms + ms)
      users(client, round % 3 == 0 and { "mallory", "alice", "mallory" } or { "mallory", "mallory", "alice", "bob" })
      fake.serve(client, s.answer)
    end
    assert.same({ ok = 500, unauthorized = 600 }, (ends(client)))
    assert.is_true(client:stats().renewals <= 61, client:stats().renewals)
    client:close()
  end)
end)

describe("what is not idempotent", function()
  it("is sent once; the next call has the new token", function()
    local client, s = new(), service(the_first_token)
    assert(client:submit("request", nil, { method = "POST", path = { "messages" }, json = {} }))
    fake.serve(client, s.answer)
    assert.same({ unauthorized = 1 }, (ends(client)))
    assert.equal(1, s.requests)
    ask(client)
    fake.serve(client, s.answer)
    assert.same({ ok = 1 }, (ends(client)))
    assert.same({ 2, 2 }, { s.requests, s.made })
    client:close()
  end)

  it("is sent again when the program says that it is", function()
    local client, s = new(), service(the_first_token)
    assert(client:submit("request", nil, { method = "PUT", path = { "x" }, json = {}, idempotent = true }))
    fake.serve(client, function(request)
      local status, body = s.answer(request)
      return status, status == 200 and "{}" or body
    end)
    assert.same({ ok = 1 }, (ends(client)))
    assert.equal(2, s.requests)
    client:close()
  end)
end)

describe("a call's deadline", function()
  it("bounds the round: no resend after it", function()
    local client, s = new { timeout_ms = 1000 }, service(the_first_token)
    ask(client)
    local held = fake.hold(client)
    client:set_now(fake.now_ms + 999)
    deliver(client, held, s.answer)
    local again = fake.hold(client)
    assert.equal(1, #again)
    client:set_now(fake.now_ms + 1000)
    client:poll(0)
    assert.same({ timeout = 1 }, (ends(client)))
    client:close()
  end)
end)

describe("the message", function()
  it("says that nothing was sent, and for how long", function()
    local client = agora_chat.new {
      base_url = fake.origin, app_id = fake.app_id, credentials = { app_certificate = CERTIFICATE },
      transport = "lua", frozen_ms = fake.now_ms, frozen_wall_s = fake.wall_s, seed = 1,
    }
    client:start("offline_msg_count", { "alice" })
    fake.serve(client, function() return 401, REFUSAL end)
    client:tick()
    local call = client:start("offline_msg_count", { "bob" })
    client:tick()
    assert.truthy(call.err.message:find("not sent", 1, true), call.err.message)
    assert.equal("unauthorized", call.err.kind)
    client:close()
  end)
end)
