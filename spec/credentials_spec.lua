-- Where a token comes from, when it is renewed, and what clocks do to it. The
-- service is the spec, on a frozen clock.
local agora_chat = require "agora_chat"
local fake = require "spec.support.fake"
local scripted = require "spec.support.scripted"
local tick = require "agora_chat.loop.tick"

local APP_ID = fake.app_id
local CERTIFICATE = "5cfd2fd1755d40ecb72977518be15d3b"
local ORG = { org_name = "org", app_name = "app" }
local DAY_S = 86400

local function merged(...)
  local all = {}
  for i = 1, select("#", ...) do
    for name, value in pairs((select(i, ...)) or {}) do all[name] = value end
  end
  return all
end

local function made(options, credentials)
  return fake.core(merged({ credentials = merged({ app_certificate = CERTIFICATE }, credentials) }, options))
end

local function exchanged(options, credentials)
  -- fake.core drops app_id on the org path, and a certificate needs it
  local client = assert(require("agora_chat.core").new(merged({
    base_url = fake.origin, app_id = APP_ID, rate_per_s = false, transport = "lua", seed = 1,
    frozen_ms = fake.now_ms, frozen_wall_s = fake.wall_s,
    credentials = merged({ app_certificate = CERTIFICATE, exchange = true }, credentials),
  }, ORG, options), false))
  return client
end

local function easemob(options, credentials)
  return fake.core(merged({ credentials = merged({ client_id = "the-id", client_secret = "the-secret" }, credentials) },
    ORG, options))
end

local function read(text)
  return assert(agora_chat.read_token(text, { app_certificate = CERTIFICATE }))
end

local function ask(client, options)
  return assert(client:submit("offline_msg_count", options, "alice"))
end

--- One call, answered well: the token it was sent with.
local function token_sent(client)
  ask(client)
  local request = fake.answer(client, fake.seven { url = "/users/alice/" })
  assert.equal(7, assert(fake.result(client)).count)
  return fake.token_of(request)
end

--- Everything that has ended: ok, and errors as kind or kind/code -> how many.
local function ends(client)
  client:poll(0)
  local count = {}
  local id, result, err = client:next_done()
  while id do
    local key = result and "ok" or err.kind .. (err.code and "/" .. err.code or "")
    count[key] = (count[key] or 0) + 1
    id, result, err = client:next_done()
  end
  return count
end

local function http_date(wall_s)
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", wall_s)
end

describe("a token of one's own", function()
  it("is sent as it is, for ever", function()
    local client = fake.core { credentials = { token = "my-token" } }
    assert.equal("my-token", token_sent(client))
    client:set_now(fake.now_ms + 1000 * DAY_S, fake.wall_s + 30 * DAY_S)
    assert.equal("my-token", token_sent(client))
    client:close()
  end)

  it("cannot hold what would break a header", function()
    for _, token in ipairs { "", "a b", "a\r\nX-Evil: 1", "a\nb", "a\0b", "a\127b", "t\195\164", ("t"):rep(8193) } do
      local client, err = agora_chat.new { base_url = fake.origin, app_id = APP_ID, credentials = { token = token } }
      assert.is_nil(client)
      assert.equal("argument", err.kind)
    end
    fake.core({ credentials = { token = ("t"):rep(8192) } }):close()
  end)
end)

describe("a certificate", function()
  it("makes app tokens that verify", function()
    local client = made(nil, { ttl_s = 600 })
    local text = token_sent(client)
    local token = read(text)
    assert.is_true(token.verified)
    assert.equal(APP_ID, token.app_id)
    assert.equal("", token.services[1].user_id)
    assert.is_table(token.services[1].privileges)
    assert.is_number(token.services[1].privileges[2])
    assert.equal(text, token_sent(client))
    assert.equal(0, client:stats().renewals)
    client:close()
  end)

  it("sets the issue time back a minute, because this clock may run ahead", function()
    local client = made(nil, { ttl_s = 600 })
    local token = read(token_sent(client))
    assert.equal(fake.wall_s - 60, token.issued_at_s)
    assert.equal(fake.wall_s + 600, token.expires_at_s)       -- the asked life all the same
    client:close()
    client = made(nil, { ttl_s = 86400 })
    token = read(token_sent(client))
    assert.equal(86400, token.expires_at_s - token.issued_at_s)   -- the service allows no more
    client:close()
  end)

  it("may stand in a file, or come from a function", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(CERTIFICATE, "\r\n")
    file:close()
    local client = fake.client { credentials = { app_certificate_file = path } }
    os.remove(path)                                            -- read once, by new
    assert.is_true(read(token_sent(client.core)).verified)
    client:close()

    local asked = 0
    client = fake.client { credentials = { app_certificate = function() asked = asked + 1 return CERTIFICATE end } }
    assert.is_true(read(token_sent(client.core)).verified)
    assert.equal(1, asked)
    client:close()
  end)

  it("makes tokens on the org path too, when there is an app_id", function()
    local client = exchanged(nil, { exchange = false })
    ask(client)
    local request = fake.outgoing(client)
    assert.equal(fake.origin .. "/org/app/users/alice/offline_msg_count", request.url)
    assert.equal(APP_ID, read(fake.token_of(request)).app_id)
    client:close()
  end)

  it("never travels", function()
    for _, new in ipairs { made, exchanged } do
      local client = new()
      ask(client)
      local request = fake.outgoing(client)
      for _, text in ipairs { request.url, request.headers.Authorization, request.body or "" } do
        assert.is_nil(text:find(CERTIFICATE, 1, true))
      end
      client:close()
    end
  end)
end)

describe("an exchange", function()
  it("swaps a made token for the service's own, before the first call", function()
    local client = exchanged()
    ask(client)
    ask(client)
    local request = fake.outgoing(client)
    assert.equal("POST", request.method)
    assert.equal(fake.origin .. "/org/app/token", request.url)
    assert.equal('{"grant_type":"agora"}', request.body)
    assert.equal("application/json", request.headers["Content-Type"])
    assert.is_true(read(fake.token_of(request)).verified)
    assert.is_nil(client:next_outgoing())                      -- the calls wait for it
    client:deliver(request.id, { http_status = 200,
      body = ('{"access_token":"YWMt-1","expire_timestamp":%d000}'):format(fake.wall_s + 1000) })
    local calls = fake.serve(client)
    assert.equal(2, #calls)
    assert.equal("YWMt-1", fake.token_of(calls[1]))
    assert.equal("YWMt-1", fake.token_of(calls[2]))
    assert.same({ ok = 2 }, ends(client))
    assert.equal(0, client:stats().renewals)                   -- the first is none
    assert.equal(2, client:stats().accepted)                   -- and no call of the program's

    client:set_now(fake.now_ms + 690 * 1000)                   -- milliseconds from now, not seconds
    assert.equal("YWMt-1", token_sent(client))
    client:set_now(fake.now_ms + 901 * 1000)
    ask(client)
    assert.equal("POST", fake.outgoing(client).method)
    client:close()
  end)
end)

describe("Easemob's own token", function()
  it("is asked for with id and secret, and no other token", function()
    local client = easemob(nil, { ttl_s = 7200 })
    ask(client)
    local request = fake.outgoing(client)
    assert.equal("POST", request.method)
    assert.equal(fake.origin .. "/org/app/token", request.url)
    assert.is_nil(request.headers.Authorization)
    assert.equal('{"grant_type":"client_credentials","client_id":"the-id","client_secret":"the-secret","ttl":7200}',
      request.body)
    client:deliver(request.id, { http_status = 200, body = '{"access_token":"YWMt-2","expires_in":1000}' })
    assert.equal("YWMt-2", fake.token_of(fake.answer(client, 200, '{"data":{"alice":7}}')))
    client:set_now(fake.now_ms + 690 * 1000)
    fake.result(client)
    assert.equal("YWMt-2", token_sent(client))
    client:set_now(fake.now_ms + 901 * 1000)
    ask(client)
    assert.equal("POST", fake.outgoing(client).method)
    client:close()
  end)

  it("lives as long as the service says, or until a 401 when it does not", function()
    for _, life in ipairs { "", ',"expires_in":0', ',"expires_in":1', ',"expires_in":9',
                            ',"expires_in":"soon"', ',"expires_in":-5', ',"expires_in":1e300' } do
      local client = easemob()
      ask(client)
      local request = fake.outgoing(client)
      assert.is_nil(request.body:find("ttl", 1, true))         -- the console's default
      client:deliver(request.id, { http_status = 200, body = '{"access_token":"YWMt-3"' .. life .. "}" })
      fake.serve(client)
      assert.same({ ok = 1 }, ends(client))
      client:set_now(fake.now_ms + 300 * DAY_S * 1000)
      assert.equal("YWMt-3", token_sent(client))
      client:close()
    end
  end)

  it("is not asked for more than once in 5 s, whatever the clock on the wall does", function()
    local client, posts = easemob(), 0
    for second = 0, 19 do
      client:set_now(fake.now_ms + second * 1000, fake.wall_s + second % 2 * DAY_S)
      ask(client)
      fake.serve(client, function(request)
        if request.method ~= "POST" then return fake.seven(request) end
        posts = posts + 1
        return 200, '{"access_token":"YWMt-6","expires_in":1000}'
      end)
    end
    assert.same({ ok = 20 }, ends(client))
    assert.equal(4, posts)
    client:close()
  end)

  it("that is no token fails the calls, and nothing of the answer is told", function()
    for _, case in ipairs {
      { 200, "{}" }, { 200, '{"access_token":7}' }, { 200, '{"access_token":""}' },
      { 200, '{"access_token":"s3cret\\r\\nX-Evil: 1"}' }, { 200, '{"access_token":"s3cret' },
      { 200, "s3cret" }, { 200, "" }, { 400, '{"error":"invalid_grant","error_description":"no such client"}' },
      { 401, "" }, { 404, '{"error":"organization_application_not_found"}' },
    } do
      local client = easemob({ max_attempts = 1 })
      ask(client)
      fake.answer(client, case[1], case[2])
      assert.is_nil(client:next_outgoing())
      local result, err = fake.result(client)
      assert.is_nil(result)
      assert.equal("unauthorized", err.kind)
      assert.is_nil(tostring(err.message):find("s3cret", 1, true), err.message)
      assert.is_nil(tostring(err.description):find("s3cret", 1, true), err.description)
      client:close()
    end
  end)

  it("that does not come says whether trying later helps, and the service's word", function()
    for _, case in ipairs {
      { false, "invalid_grant", 400, '{"error":"invalid_grant"}' }, { false, "forbidden_op", 403, '{"error":"forbidden_op"}' },
      { false, nil, 404, '{"error":"organization_application_not_found"}' }, { false, nil, 200, "{}" },
      { true, "busy", 503, '{"error":"busy"}' }, { true, nil, 200, "" },
      { true, nil, { kind = "network", code = "reset" } },
    } do
      local client = easemob({ max_attempts = 1 })
      ask(client)
      fake.answer(client, case[3], case[4])
      assert.is_nil(client:next_outgoing())
      local _, err = fake.result(client)
      assert.equal("unauthorized", err.kind)
      assert.equal(case[1], err.retryable)
      assert.equal(case[2], err.code)
      client:close()
    end
  end)

  it("is asked for again when the network failed, within the same call", function()
    local client = easemob()
    ask(client)
    fake.answer(client, { kind = "network", code = "reset" })
    assert.is_nil(client:next_outgoing())
    client:set_now(fake.now_ms + 200)
    fake.answer(client, 200, '{"access_token":"YWMt-4","expires_in":1000}')
    fake.serve(client)
    assert.same({ ok = 1 }, ends(client))
    client:close()
  end)
end)

describe("renewal", function()
  it("comes at 80 % of the life, give or take 10 %", function()
    local earliest, latest = math.huge, 0
    for seed = 1, 40 do
      local client = made({ seed = seed }, { ttl_s = 1000 })
      local first = token_sent(client)
      local at_s
      for s = 690, 910, 5 do
        client:set_now(fake.now_ms + s * 1000)
        if token_sent(client) ~= first then at_s = s break end
      end
      assert(at_s, "never renewed")
      assert.is_true(at_s >= 700 and at_s <= 900, at_s .. " s")
      earliest, latest = math.min(earliest, at_s), math.max(latest, at_s)
      assert.equal(1, client:stats().renewals)
      client:close()
    end
    assert.is_true(earliest < 760 and latest > 840)            -- not all processes in one second
  end)

  it("is one for 1,000 calls", function()
    local client = made({ max_in_flight = 1000 }, { ttl_s = 1000 })
    local first = token_sent(client)
    client:set_now(fake.now_ms + 2000 * 1000)                  -- long over
    for _ = 1, 1000 do ask(client) end
    local tokens, distinct = {}, 0
    for _, request in ipairs(fake.serve(client)) do
      local token = fake.token_of(request)
      if not tokens[token] then distinct = distinct + 1 end
      tokens[token] = true
    end
    assert.equal(1, distinct)
    assert.is_nil(tokens[first])
    assert.equal(1, client:stats().renewals)
    assert.same({ ok = 1000 }, ends(client))
    client:close()
  end)

  it("is one request for 1,000 calls, where it takes one", function()
    for _, new in ipairs { exchanged, easemob } do
      local client = new { max_in_flight = 1000, timeout_ms = 60000 }
      for _ = 1, 1000 do ask(client) end
      local held = fake.hold(client)
      assert.equal(1, #held)
      client:set_now(fake.now_ms + 1000)
      assert.equal(0, #fake.hold(client))
      client:deliver(held[1].id, { http_status = 200, body = '{"access_token":"YWMt-5","expires_in":1000}' })
      assert.equal(1000, #fake.serve(client))
      assert.same({ ok = 1000 }, ends(client))
      client:close()
    end
  end)

  local function with_old_token()
    local client = easemob({ max_attempts = 1 })
    ask(client)
    fake.answer(client, 200, '{"access_token":"old","expires_in":1000}')
    fake.serve(client)
    assert.same({ ok = 1 }, ends(client))
    return client
  end

  it("lets calls go with the old token meanwhile", function()
    local client = with_old_token()
    client:set_now(fake.now_ms + 910 * 1000)
    for _ = 1, 3 do ask(client) end
    local held = fake.hold(client)
    assert.equal(4, #held)
    assert.equal("POST", held[1].method)
    for i = 2, 4 do assert.equal("old", fake.token_of(held[i])) end
    client:deliver(held[1].id, { http_status = 200, body = '{"access_token":"new","expires_in":1000}' })
    assert.equal("new", token_sent(client))
    assert.equal(1, client:stats().renewals)
    client:close()
  end)

  it("that fails keeps the old token while it lives, and is tried again 5 s later", function()
    local client = with_old_token()
    local posts = 0
    local function service(request)
      if request.method == "POST" then posts = posts + 1 return 503 end
      assert.equal("old", fake.token_of(request))
      return fake.seven(request)
    end
    for ms = 910000, 919999, 250 do
      client:set_now(fake.now_ms + ms)
      ask(client)
      fake.serve(client, service)
    end
    assert.same({ ok = 40 }, ends(client))
    assert.equal(2, posts)                                     -- 10 s
    client:set_now(fake.now_ms + 1001 * 1000)                  -- and now it is over
    ask(client)
    fake.serve(client, service)
    local _, err = fake.result(client)
    assert.equal("unauthorized", err.kind)
    assert.truthy(err.message:find("server", 1, true), err.message)
    assert.equal(3, posts)
    for _ = 1, 10 do ask(client) end
    assert.equal(0, #fake.serve(client, service))              -- within the gap: at once, unsent
    assert.same({ unauthorized = 10 }, ends(client))
    client:set_now(fake.now_ms + 1006 * 1000)
    ask(client)
    assert.equal("POST", fake.answer(client, 200, '{"access_token":"new","expires_in":1000}').method)
    fake.serve(client)
    assert.same({ ok = 1 }, ends(client))
    client:close()
  end)
end)

-- Faults L09, L10
describe("a function", function()
  --- A tick client and what its service saw.
  local function client_with(give, options)
    local seen = {}
    local client = scripted.client(merged({
      credentials = give, loop = tick, threaded = false, on_error = function() end,
      answer = function(request)
        seen[#seen + 1] = fake.token_of(request)
        return scripted.everybody(request)
      end,
    }, options))
    return client, seen
  end

  local function step(client, ms)
    client:tick()
    scripted.serve(client)
    client:tick()
    client.now_ms = client.now_ms + (ms or 0)
    client.core:set_now(client.now_ms)
  end

  it("that gives no token fails the calls, and no others", function()
    local huge = ("t"):rep(1024 * 1024)
    for _, give in ipairs {
      function() error "s3cret" end, function() error { "s3cret" } end, function() return nil end,
      function() return nil, "sealed" end, function() return 7 end, function() return false end,
      function() return {} end, function() return "" end, function() return "s3cret\r\nX-Evil: 1" end,
      function() return "s3cret\0" end, function() return huge end, function() return "t", "60" end,
      function() return "t", 0 end, function() return "t", -1 end, function() return "t", 1.5 end,
      function() return "t", 0 / 0 end, function() return "t", 1e300 end,
    } do
      local client, seen = client_with(give)
      local other, others = client_with(function() return "good", 60 end)
      local call = client:start("offline_msg_count", { "alice" })
      local fine = other:start("offline_msg_count", { "alice" })
      for _ = 1, 3 do step(client) step(other) end
      assert.is_true(call.done)
      assert.equal("unauthorized", call.err.kind)
      assert.is_true(#call.err.message < 600)
      assert.is_nil(call.err.message:find("s3cret", 1, true))
      assert.is_nil(call.err.message:find("[%c]"))
      assert.equal(0, #seen)
      assert.equal(5, fine.result.count)
      assert.same({ "good" }, others)
      client:close()
      other:close()
    end
  end)

  it("may return an error of ours instead of a sentence", function()
    local _, why = agora_chat.read_token "no token"
    local client = client_with(function() return nil, why end)
    local call = client:start("offline_msg_count", { "alice" })
    step(client)
    step(client)
    assert.equal("unauthorized", call.err.kind)
    assert.truthy(call.err.message:find(why.message, 1, true), call.err.message)
    client:close()
  end)

  it("is not asked again within 5 s of a failure", function()
    local asked = 0
    local client = client_with(function() asked = asked + 1 return nil, "sealed" end)
    for _ = 1, 20 do
      local call = client:start("offline_msg_count", { "alice" })
      step(client)
      step(client, 500)
      assert.equal("unauthorized", call.err.kind)
      assert.truthy(call.err.message:find("sealed", 1, true))
    end
    assert.equal(2, asked)                                     -- 10 s
    client:close()
  end)

  it("that takes a second is asked once for 1,000 calls", function()
    local asked, answer = 0, nil
    local client, seen = client_with(function()
      asked = asked + 1
      answer = coroutine.running()
      return coroutine.yield()
    end, { max_in_flight = 1000 })
    if not rawget(_G, "jit") and _VERSION == "Lua 5.1" then
      client:close()
      client, seen = client_with(function() asked = asked + 1 return "slow", 3600 end, { max_in_flight = 1000 })
    end
    local calls, impatient = {}, {}
    for i = 1, 1000 do calls[i] = client:start("offline_msg_count", { "alice" }) end
    for i = 1, 10 do
      impatient[i] = client:start("offline_msg_count", { "alice" }, nil, { timeout_ms = answer and 500 or 100000 })
    end
    step(client)
    if answer then
      for i = 1, 10 do impatient[i] = client:start("offline_msg_count", { "alice" }, nil, { timeout_ms = 500 }) end
      for _ = 1, 10 do step(client, 100) end
      assert.equal(0, #seen)
      for i = 1, 10 do assert.same({ "timeout", "queue" }, { impatient[i].err.kind, impatient[i].err.code }) end
      assert(coroutine.resume(answer, "slow", 3600))
    end
    step(client)
    step(client)
    for i = 1, 1000 do assert.equal(5, calls[i].result.count) end
    assert.equal(1, asked)
    for i = 1, #seen do assert.equal("slow", seen[i]) end
    client:close()
  end)

  it("may call the client again", function()
    local inner, inner_err
    local client, seen
    client, seen = client_with(function()
      inner = client:start("offline_msg_count", { "bob" })     -- waits for the token that this gives
      local _
      _, inner_err = client:set_token("set", 60)
      return "given", 60
    end)
    local call = client:start("offline_msg_count", { "alice" })
    for _ = 1, 4 do step(client) end
    assert.equal(5, call.result.count)
    assert.equal(3, inner.result.count)
    assert.is_nil(inner_err)
    for i = 1, #seen do assert.equal("given", seen[i]) end
    client:close()
  end)

  it("that never comes back is asked again after 30 s", function()
    local core = fake.core { credentials = function() end, timeout_ms = 60000 }
    ask(core)
    assert.equal(0, #fake.hold(core))
    assert.is_true(core:wants_token())
    assert.is_false(core:wants_token())
    core:set_now(fake.now_ms + 29999)
    assert.equal(0, #fake.hold(core))
    assert.is_false(core:wants_token())
    assert.is_true(core:due_in_ms() <= 1)
    core:set_now(fake.now_ms + 30000)
    assert.equal(0, #fake.hold(core))
    assert.is_true(core:wants_token())
    assert(core:set_token("late", 60))
    assert.equal("late", fake.token_of(fake.answer(core, 200, '{"data":{"alice":7}}')))
    core:close()
  end)

  it("is asked ahead of expiry, while the old token serves", function()
    local client = fake.core { credentials = function() end }
    ask(client)
    fake.hold(client)
    assert.is_true(client:wants_token())
    assert(client:set_token("first", 1000))
    fake.serve(client)
    assert.same({ ok = 1 }, ends(client))
    client:set_now(fake.now_ms + 699 * 1000)
    assert.equal("first", token_sent(client))
    assert.is_false(client:wants_token())
    client:set_now(fake.now_ms + 901 * 1000)
    assert.equal("first", token_sent(client))
    assert.is_true(client:wants_token())
    assert(client:set_token("second", 1000))
    assert.equal("second", token_sent(client))
    client:close()
  end)
end)

-- Faults L01 to L06, L08
describe("the clock", function()
  it("jumping a day makes one new token, and no error", function()
    for _, jump_s in ipairs { DAY_S, -DAY_S, 31, -31 } do
      local client = made()
      local first = token_sent(client)
      client:set_now(fake.now_ms + 1000, fake.wall_s + 1 + jump_s)
      local second = token_sent(client)
      assert.not_equal(first, second)
      assert.equal(fake.wall_s + 1 + jump_s - 60, read(second).issued_at_s)
      assert.equal(second, token_sent(client))
      client:set_now(fake.now_ms + 60000)
      assert.equal(second, token_sent(client))
      assert.equal(1, client:stats().renewals)
      client:close()
    end
  end)

  it("moving a little, as clocks do, changes nothing", function()
    local client = made()
    local first = token_sent(client)
    for _, moved_s in ipairs { 29, -29, 5 } do
      client:set_now(fake.now_ms + 1000, fake.wall_s + 1 + moved_s)
      assert.equal(first, token_sent(client))
    end
    client:close()
  end)

  --- A service whose clock is the right one; it says Date unless told not to.
  local function service(clock_s, silent)
    return function(request)
      local token = read(fake.token_of(request))
      local headers = not silent and { Date = http_date(clock_s) } or nil
      if token.issued_at_s > clock_s or token.expires_at_s <= clock_s then
        return 401, '{"error":"unauthorized"}', headers
      end
      return 200, '{"data":{"alice":7}}', headers
    end
  end

  it("10 minutes fast or slow is seen in the service's Date", function()
    for _, off_s in ipairs { 600, -600 } do
      local client = made(nil, { ttl_s = 300 })
      ask(client)
      local requests = fake.serve(client, service(fake.wall_s - off_s))
      assert.equal(2, #requests)
      assert.same({ ok = 1 }, ends(client))
      assert.equal(fake.wall_s - off_s - 60, read(fake.token_of(requests[2])).issued_at_s)
      client:set_now(fake.now_ms + 400 * 1000)                 -- and remembered
      ask(client)
      assert.equal(1, #fake.serve(client, service(fake.wall_s + 400 - off_s)))
      assert.same({ ok = 1 }, ends(client))
      client:close()
    end
  end)

  it("is named in the error when that does not help", function()
    for _, off_s in ipairs { 600, -600 } do
      local client = made()
      ask(client)
      local requests = fake.serve(client, function()
        return 401, '{"error":"unauthorized"}', { Date = http_date(fake.wall_s - off_s) }
      end)
      assert.equal(2, #requests)
      local _, err = fake.result(client)
      assert.equal("unauthorized", err.kind)
      assert.truthy(err.message:find(("clock %+d s"):format(off_s), 1, true), err.message)
      client:close()
    end
    local client = made()
    ask(client)
    fake.serve(client, service(fake.wall_s - 600, true))       -- no Date: nothing to say
    local _, err = fake.result(client)
    assert.is_nil(err.message:find("clock", 1, true))
    client:close()
  end)

  it("fast or slow is seen too when a token is refused that is to be exchanged", function()
    for _, off_s in ipairs { 600, -600 } do
      local client = exchanged()
      ask(client)
      fake.answer(client, 401, '{"error":"unauthorized"}', { Date = http_date(fake.wall_s - off_s) })
      assert.is_nil(client:next_outgoing())
      assert.same({ ["unauthorized/unauthorized"] = 1 }, ends(client))
      client:set_now(fake.now_ms + 6000)
      ask(client)
      local request = fake.answer(client, 200, '{"access_token":"YWMt-5","expires_in":1000}')
      assert.equal(fake.wall_s + 6 - off_s - 60, read(fake.token_of(request)).issued_at_s)
      fake.serve(client)
      assert.same({ ok = 1 }, ends(client))
      client:close()
    end
  end)

  it("is not lost for good to one answer with a wrong Date", function()
    for _, date_s in ipairs { 30, fake.wall_s - DAY_S, fake.wall_s + DAY_S, 4294967295, 253402300799 } do
      local client = made(nil, { ttl_s = 300 })
      ask(client)
      fake.answer(client, 401, '{"error":"unauthorized"}', { Date = http_date(date_s) })
      fake.serve(client, service(fake.wall_s))
      ends(client)
      client:set_now(fake.now_ms + 6000)
      ask(client)
      local requests = fake.serve(client, service(fake.wall_s + 6))
      assert.equal(1, #requests)
      assert.same({ ok = 1 }, ends(client))
      local distance_s = math.abs(fake.wall_s - 60 - read(fake.token_of(requests[1])).issued_at_s)
      assert.is_true(distance_s <= 30, distance_s)
      client:close()
    end
  end)

  it("of who is not the service leaves no mark", function()
    for _, date in ipairs { http_date(fake.wall_s + 50 * 365 * DAY_S), http_date(30), http_date(2 ^ 32 + 30),
                            "Fri, 31 Dec 9999 23:59:59 GMT" } do
      local client = made()
      ask(client)
      fake.answer(client, 401, "<html>please log in</html>", { Date = date })      -- a gateway
      fake.serve(client, service(fake.wall_s))
      client:set_now(fake.now_ms + 10000)
      ends(client)
      ask(client)
      fake.serve(client, service(fake.wall_s + 10))
      assert.same({ ok = 1 }, ends(client), date)
      client:close()
    end
  end)

  it("on the wall moves no deadline, no backoff and no pace", function()
    local client = fake.core { rate_per_s = 1, burst = 1, timeout_ms = 10000, backoff_ms = 1000 }
    ask(client)
    ask(client)
    fake.answer(client, 503)
    assert.equal(0, #fake.hold(client))
    local due_ms = client:due_in_ms()
    assert.is_true(due_ms > 0)
    for _, jump_s in ipairs { DAY_S, -DAY_S } do
      client:set_now(fake.now_ms, fake.wall_s + jump_s)
      assert.equal(0, #fake.hold(client))
      assert.equal(due_ms, client:due_in_ms())
    end
    client:set_now(fake.now_ms + 9999, fake.wall_s)
    assert.same({}, ends(client))
    client:set_now(fake.now_ms + 10000, fake.wall_s - DAY_S)
    assert.same({ ["timeout/queue"] = 2 }, ends(client))
    client:close()
  end)

  it("may have run for 200 days, and may stand just before the end of tokens", function()
    local uptime_ms = 200 * DAY_S * 1000
    local last_s = 4294967295                                  -- in February 2106
    local client = made({ frozen_ms = uptime_ms, frozen_wall_s = last_s - 3700 }, { ttl_s = 3600 })
    local token = read(token_sent(client))
    assert.equal(last_s - 3760, token.issued_at_s)
    assert.equal(last_s - 100, token.expires_at_s)
    client:close()

    client = made({ frozen_ms = uptime_ms, frozen_wall_s = last_s }, { ttl_s = 3600 })
    ask(client)
    assert.equal(0, #fake.hold(client))
    local _, err = fake.result(client)
    assert.equal("unauthorized", err.kind)
    assert.truthy(err.message:find("2106", 1, true), err.message)
    client:close()
  end)

  it("may stand at the beginning of time", function()
    local client = made({ frozen_ms = 0, frozen_wall_s = 0 })
    ask(client)
    assert.equal(0, #fake.hold(client))
    assert.equal("unauthorized", select(2, fake.result(client)).kind)
    client:close()
  end)

  it("that ends a token on its way costs one round", function()
    local client = made(nil, { ttl_s = 1000 })
    local old = token_sent(client)
    client:set_now(fake.now_ms + 699 * 1000)
    ask(client)
    local requests = fake.serve(client, function(request)
      if fake.token_of(request) == old then return 401, fake.fixture "err_401_expired.json" end
      return fake.seven(request)
    end)
    assert.equal(2, #requests)
    assert.same({ ok = 1 }, ends(client))
    client:close()
  end)
end)

describe("tokens", function()
  it("of two apps are never mixed", function()
    local ids = { APP_ID, ("b"):rep(32) }
    local clients = { made(), made { app_id = ids[2] } }
    for round = 1, 50 do
      for i, client in ipairs(clients) do
        client:set_now(fake.now_ms + round * 400 * 1000)       -- renewed now and then
        ask(client)
        local request = fake.answer(client, 200, '{"data":{"alice":7}}')
        assert.equal(ids[i], request.url:match "/app%-id/(%x+)/")
        assert.equal(ids[i], read(fake.token_of(request)).app_id)
        assert.same({ ok = 1 }, ends(client))
      end
    end
    for _, client in ipairs(clients) do
      assert.is_true(client:stats().renewals > 5)
      client:close()
    end
  end)

  it("swapped while 1,000 calls run are the old or the new one, whole", function()
    local client = fake.core { credentials = { token = ("old"):rep(100) } }
    local known = { [("old"):rep(100)] = 0, [("newer"):rep(50)] = 0, new = 0 }
    for _ = 1, 1000 do ask(client) end
    local count = 0
    fake.serve(client, function(request)
      count = count + 1
      if count == 300 then assert(client:set_token(("newer"):rep(50), 60)) end
      if count == 600 then assert(client:set_token "new") end
      local token = fake.token_of(request)
      known[token] = known[token] + 1
      return fake.seven(request)
    end)
    assert.equal(1000, count)
    assert.same({ [("old"):rep(100)] = 300, [("newer"):rep(50)] = 300, new = 400 }, known)
    assert.same({ ok = 1000 }, ends(client))
    client:close()
  end)
end)
