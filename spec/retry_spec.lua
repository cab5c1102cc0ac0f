--- Which faults are worth another try, after how long, and how often.

local simulated = require "spec.support.simulated"

local reach_limit = '{"error":"reach_limit"}'
local replies = simulated.replies

--- One call under these replies; the world, result and error.
local function ask(list, options, opts)
  local world = simulated.new(options, replies(list))
  local result, err = world:ask("alice", opts)
  return world, result, err
end

--- The waits between the attempts.
local function waits(world)
  local list = {}
  for i = 2, #world.sent do list[i - 1] = world.sent[i].at_ms - world.sent[i - 1].at_ms end
  return list
end

--- `count` times the same.
local function times(count, value, last)
  local list = {}
  for i = 1, count do list[i] = value end
  list[#list + 1] = last
  return list
end

describe("a transient fault", function()
  -- Faults A, B, I21, I22, I26: kind and code after four attempts.
  local faults = {
    { { kind = "network", code = "dns" }, "network", "dns" },
    { { kind = "network", code = "connect" }, "network", "connect" },
    { { kind = "network", code = "reset" }, "network", "reset" },
    { { kind = "network", code = "empty" }, "network", "empty" },
    { { kind = "network", code = "partial" }, "network", "partial" },
    { { kind = "network", code = "proxy" }, "network", "proxy" },
    { { kind = "timeout", code = "connect" }, "timeout", "connect" },
    { { kind = "timeout", code = "first_byte" }, "timeout", "first_byte" },
    { { kind = "timeout", code = "body" }, "timeout", "body" },
    { 408, "server" },
    { { 500, '{"error":"internal_server_error"}' }, "server", "internal_server_error" },
    { { 502, "<html><h1>Bad Gateway</h1></html>" }, "server" },
    { { 503, "<html></html>" }, "server" },
    { 504, "server" },
    { 599, "server" },
    { { 200, "" }, "bad_response", "truncated" },
    { { 200, '{"data":{"alice":' }, "bad_response", "truncated" },
  }

  for _, row in ipairs(faults) do
    local reply, kind, code = row[1], row[2], row[3]
    local name = ("%s/%s %s"):format(kind, tostring(code), type(reply) == "number" and reply or reply[1] or "")

    it("is tried again: " .. name, function()
      local world, result, err = ask({ reply, 200 })
      assert.is_nil(err)
      assert.equal(1, result.count)
      assert.equal(2, #world.sent)
      assert.equal(1, world.core:stats().retries)
    end)

    it("ends after four attempts: " .. name, function()
      local world, _, err = ask { reply }
      assert.equal(kind, err.kind)
      assert.equal(code, err.code)
      assert.equal(4, err.attempts)
      assert.equal(4, #world.sent)
      assert.is_true(err.retryable)
      if kind == "server" then assert.equal(type(reply) == "number" and reply or reply[1], err.http_status) end
    end)
  end

  it("waits with full jitter: anything up to 100 ms x 2^n", function()
    local highest = { 0, 0, 0 }
    local sum, count = 0, 0
    for seed = 1, 200 do
      local world = ask({ 503 }, { seed = seed })
      for i, wait in ipairs(waits(world)) do
        local ceiling = 100 * 2 ^ (i - 1)
        assert.is_true(wait >= 0 and wait <= ceiling)
        highest[i] = math.max(highest[i], wait / ceiling)
        sum, count = sum + wait / ceiling, count + 1
      end
    end
    for i = 1, 3 do assert.is_true(highest[i] > 0.95) end     -- the whole width is used
    assert.is_true(math.abs(sum / count - 0.5) < 0.05)
  end)

  it("waits at most 20 x backoff_ms", function()
    local highest = 0
    for seed = 1, 40 do
      local world = ask({ 503 }, { seed = seed, backoff_ms = 20, max_attempts = 12, timeout_ms = 60000 })
      local list = waits(world)
      assert.equal(11, #list)
      for i, wait in ipairs(list) do
        assert.is_true(wait <= math.min(400, 20 * 2 ^ (i - 1)))
        highest = math.max(highest, wait)
      end
    end
    assert.is_true(highest > 380)
  end)

  it("is tried max_attempts times, of the client or of the call", function()
    for _, count in ipairs { 1, 2, 7 } do
      local world, _, err = ask({ 503 }, { max_attempts = count })
      assert.equal(count, #world.sent)
      assert.equal(count, err.attempts)
      world = ask({ 503 }, nil, { max_attempts = count })
      assert.equal(count, #world.sent)
    end
    local world = ask({ 503 }, { max_attempts = 2 }, { max_attempts = 3 })
    assert.equal(3, #world.sent)
  end)

  it("may come and go: every other answer is good (I25)", function()
    local n = 0
    local world = simulated.new(nil, function()
      n = n + 1
      return 0, n % 2 == 1 and 503 or 200
    end)
    for _ = 1, 50 do assert.is_not_nil(world:ask "alice") end
    assert.equal(100, #world.sent)
  end)

  it("with Retry-After waits at least so long (I23)", function()
    local world, result = ask { { 503, "", { ["Retry-After"] = "1" } }, 200 }
    assert.is_not_nil(result)
    assert.equal(1000, waits(world)[1])
    -- A service that asks for less than the jitter does not shorten it.
    local longest = 0
    for seed = 1, 50 do
      world = ask({ { 503, "", { ["Retry-After"] = "0" } }, 200 }, { seed = seed })
      longest = math.max(longest, waits(world)[1])
    end
    assert.is_true(longest > 80)
  end)

  it("with Retry-After beyond the deadline ends at once", function()
    local world, _, err = ask({ { 503, "", { ["Retry-After"] = "30" } } }, { timeout_ms = 2000 })
    assert.equal("server", err.kind)
    assert.equal(30000, err.retry_after_ms)
    assert.equal(0, err.elapsed_ms)
    assert.equal(1, #world.sent)
  end)
end)

describe("a final answer", function()
  -- Faults I01, I08 to I11, I17, I27, C, D, G, H, J.
  local finals = {
    { 400, "rejected" }, { 405, "rejected" }, { 413, "rejected" }, { 415, "rejected" },
    { 418, "rejected" }, { 451, "rejected" }, { 403, "forbidden" },
    { { 404, '{"error":"service_resource_not_found"}' }, "not_found", "user" },
    { { 404, '{"error":"organization_application_not_found"}' }, "not_found", "app" },
    { { 404, "<html></html>" }, "not_found", "other" },
    { { 429, '{"error":"resource_limited"}', { ["Retry-After"] = "1" } }, "quota", "resource_limited" },
    { 501, "server" },
    { { 500, '{"error":"unsupported_service_operation"}' }, "server", "unsupported_service_operation" },
    { { 500, '{"error":"web_application"}' }, "server", "web_application" },
    { { 503, '{"error":"no_full_text_index"}', { ["Retry-After"] = "1" } }, "server", "no_full_text_index" },
    { 201, "bad_response", "status" }, { 204, "bad_response", "status" }, { 999, "bad_response", "status" },
    { 302, "bad_response", "redirect" }, { 307, "bad_response", "redirect" },
    { { 200, "x" }, "bad_response", "malformed" },
    { { 200, '{"data":{"alice":true}}' }, "bad_response", "shape" },
    { { 200, '{"data":{"alice":-1}}' }, "bad_response", "range" },
    { { 200, '{"data":{"bob":1}}' }, "bad_response", "id_mismatch" },
    { { 200, '{"error":"e","error_description":"d"}' }, "bad_response", "shape" },
    { { 200, "{}", { ["Content-Encoding"] = "gzip" } }, "bad_response", "encoding" },
    { { kind = "bad_response", code = "protocol" }, "bad_response", "protocol" },
    { { kind = "bad_response", code = "too_large" }, "bad_response", "too_large" },
    { { kind = "tls" }, "tls" },
    { { kind = "memory" }, "memory" },
  }

  for _, row in ipairs(finals) do
    local reply, kind, code = row[1], row[2], row[3]
    local status = type(reply) == "number" and reply or reply[1]
    it(("is not asked for again: %s/%s %s"):format(kind, tostring(code), tostring(status)), function()
      local world, _, err = ask { reply, 200 }
      assert.equal(kind, err.kind)
      assert.equal(code, err.code)
      assert.equal(status, err.http_status)
      assert.equal(1, err.attempts)
      assert.equal(1, #world.sent)
      assert.equal(0, world.core:stats().retries)
    end)
  end
end)

describe("a throttled call", function()
  it("waits with full jitter, 1 s x 2^n up to 8 s, at most 8 times (I19)", function()
    local highest = {}
    for seed = 1, 100 do
      local world, _, err = ask({ { 429, reach_limit } }, { seed = seed, timeout_ms = 120000 })
      assert.equal("rate_limited", err.kind)
      assert.equal("reach_limit", err.code)
      assert.equal(8, err.attempts)
      assert.is_nil(err.retry_after_ms)
      for i, wait in ipairs(waits(world)) do
        local ceiling = math.min(8000, 1000 * 2 ^ (i - 1))
        assert.is_true(wait <= ceiling)
        highest[i] = math.max(highest[i] or 0, wait / ceiling)
      end
    end
    for i = 1, 7 do assert.is_true(highest[i] > 0.9) end
  end)

  it("is one whatever its body says, but for resource_limited (I12, I18)", function()
    for _, body in ipairs { reach_limit, "", "<html>Too Many Requests</html>", '{"error":"busy"}' } do
      local world, result = ask { { 429, body }, 200 }
      assert.is_not_nil(result)
      assert.equal(2, #world.sent)
    end
  end)

  it("waits exactly as the service says, seconds or a date (I13, I15)", function()
    local date = "Tue, 14 Nov 2023 22:13:20 GMT"           -- the frozen clock's now
    local later = "Tue, 14 Nov 2023 22:13:21 GMT"
    for _, row in ipairs {
      { { ["Retry-After"] = "1" }, 1000 },
      { { ["Retry-After"] = " 3 " }, 3000 },
      { { ["Retry-After"] = "0" }, 0 },
      { { ["Retry-After"] = later }, 1000 },
      { { ["Retry-After"] = date }, 0 },
      { { ["Retry-After"] = "Tue, 14 Nov 2023 21:00:00 GMT" }, 0 },
      -- by the service's own clock, if it says so: here it is 20 s ahead of ours
      { { ["Retry-After"] = "Tue, 14 Nov 2023 22:13:42 GMT", Date = "Tue, 14 Nov 2023 22:13:40 GMT" }, 2000 },
    } do
      local world, result = ask({ { 429, reach_limit, row[1] }, 200 })
      assert.is_not_nil(result)
      assert.same({ row[2] }, waits(world))
    end
  end)

  it("takes what it does not understand for nothing", function()
    for _, text in ipairs { "", "-1", "1.5", "soon", "1 s", "0x10", "Tue, 99 Foo 2023", ("9"):rep(20) .. "x" } do
      local world, result, err = ask { { 429, reach_limit, { ["Retry-After"] = text } }, 200 }
      assert.is_not_nil(result, tostring(err))
      assert.is_true(waits(world)[1] <= 1000)
    end
  end)

  it("waits at most 60 s, whatever the service wishes", function()
    for _, text in ipairs { "61", "3600", ("9"):rep(40), "Fri, 31 Dec 2100 23:59:59 GMT" } do
      local world = ask({ { 429, reach_limit, { ["Retry-After"] = text } }, 200 }, { timeout_ms = 100000 })
      assert.same({ 60000 }, waits(world))
    end
  end)

  it("ends at once when the wait passes its deadline (I14)", function()
    local world, _, err = ask({ { 429, reach_limit, { ["Retry-After"] = "60" } } }, { timeout_ms = 2000 })
    assert.equal("rate_limited", err.kind)
    assert.equal(60000, err.retry_after_ms)
    assert.equal(0, err.elapsed_ms)
    assert.equal(1, #world.sent)
    assert.is_true(err.retryable)
    -- also when the wait ends with the deadline
    world = ask({ { 429, reach_limit, { ["Retry-After"] = "2" } }, 200 }, { timeout_ms = 2000 })
    assert.equal(1, #world.sent)
    world = ask({ { 429, reach_limit, { ["Retry-After"] = "2" } }, 200 }, { timeout_ms = 2001 })
    assert.equal(2, #world.sent)
  end)

  it("is tried max_attempts times when that is given", function()
    local world, _, err = ask({ { 429, reach_limit } }, { max_attempts = 3 })
    assert.equal("rate_limited", err.kind)
    assert.equal(3, #world.sent)
    world = ask({ { 429, reach_limit } }, nil, { max_attempts = 1 })
    assert.equal(1, #world.sent)
    world = ask({ { 429, reach_limit, { ["Retry-After"] = "0" } } }, nil, { max_attempts = 10 })
    assert.equal(10, #world.sent)
  end)

  it("has not used up the tries of a transient fault, nor the other way round", function()
    local throttled = { 429, reach_limit, { ["Retry-After"] = "0" } }
    -- The 503 after five 429s is the first of its kind: three more may follow.
    local list = times(5, throttled)
    list[6] = 503
    local world, _, err = ask(list, { timeout_ms = 60000 })
    assert.equal("server", err.kind)
    assert.equal(9, #world.sent)
    assert.equal(9, err.attempts)
    -- ... and it waits like the first.
    for seed = 1, 30 do
      list = times(5, throttled)
      list[6], list[7] = 503, 200
      world = ask(list, { timeout_ms = 60000, seed = seed })
      assert.equal(7, #world.sent)
      assert.is_true(waits(world)[6] <= 100)
    end
    -- Three 503, then 429: eight of those.
    list = times(3, 503)
    list[4] = throttled
    world, _, err = ask(list, { timeout_ms = 60000 })
    assert.equal("rate_limited", err.kind)
    assert.equal(11, #world.sent)
    -- A 429 after many 503 waits like the first 429.
    for seed = 1, 30 do
      world = ask({ 503, 503, 503, { 429, reach_limit }, 200 }, { timeout_ms = 60000, seed = seed })
      assert.is_true(waits(world)[4] <= 1000)
    end
  end)

  it("a given max_attempts bounds both together", function()
    local world, _, err = ask({ { 429, reach_limit }, 503, { 429, reach_limit }, 503 }, { max_attempts = 3 })
    assert.equal(3, #world.sent)
    assert.equal("rate_limited", err.kind)
  end)

  it("lowers the pace once, whatever the operation (I12, I20)", function()
    local world = simulated.new({ rate_per_s = 100, burst = 5 }, replies { { 429, reach_limit }, { 429, reach_limit }, 200 })
    world:submit "alice"
    world:submit "bob"
    world:run(0)
    assert.equal(2, #world.sent)
    assert.equal(85, world.core:stats().rate_per_s)
    world:run()
    assert.same({ ok = 2 }, (world:tally()))
  end)
end)

describe("the connection of a retry", function()
  local function fresh(world)
    local list = {}
    for i, request in ipairs(world.sent) do list[i] = request.fresh end
    return list
  end

  it("is new after a timeout, as the kept ones may be half open (A14)", function()
    local world = ask { { kind = "timeout", code = "first_byte" }, { kind = "timeout", code = "body" }, 503, 200 }
    assert.same({ false, true, true, false }, fresh(world))
  end)

  it("is new after an attempt that we gave up", function()
    local n = 0
    local world = simulated.new({ attempt_timeout_ms = 500 }, function()
      n = n + 1
      if n == 2 then return 10, 200 end
    end)
    assert.is_not_nil(world:ask "alice")
    assert.same({ false, true }, fresh(world))
  end)

  it("may be a kept one after anything else", function()
    local world = ask { 503, { 429, reach_limit }, { kind = "network", code = "reset" }, 200 }
    assert.same({ false, false, false, false }, fresh(world))
  end)
end)

describe("a request that is not idempotent", function()
  local function request(list, spec)
    local world = simulated.new(nil, replies(list))
    spec = spec or { method = "POST", path = { "users" }, json = "{}" }
    local call = world.ended[world:request(spec)]
    world:run()
    assert.equal(1, call.times)
    return world, call.result, call.err
  end

  it("goes once, on a fresh connection", function()
    local world, result = request { { 200, "{}" } }
    assert.equal(200, result.http_status)
    assert.is_true(world.sent[1].fresh)
    -- a GET is not idempotent either, unless the program says so
    world = request({ { 200, "{}" } }, { method = "GET", path = { "users", "alice", "disconnect" } })
    assert.is_true(world.sent[1].fresh)
  end)

  it("is never sent again after it may have arrived", function()
    for _, reply in ipairs {
      { kind = "network", code = "reset" }, { kind = "network", code = "empty" }, { kind = "network", code = "partial" },
      { kind = "timeout", code = "first_byte" }, { kind = "timeout", code = "body" },
      500, 502, 503, 504, 408, { 503, "", { ["Retry-After"] = "0" } }, { 429, reach_limit }, { 200, "" }, 401,
    } do
      local world, _, err = request { reply, { 200, "{}" } }
      assert.is_not_nil(err)
      assert.equal(1, #world.sent)
    end
  end)

  it("is sent again when it surely has not arrived, each time on a fresh connection", function()
    for _, reply in ipairs {
      { kind = "network", code = "dns" }, { kind = "network", code = "connect" },
      { kind = "timeout", code = "connect" }, { kind = "timeout", code = "tls" },
      { kind = "network", code = "reset", sent = false },
    } do
      local world, result = request { reply, { 200, "{}" } }
      assert.is_not_nil(result)
      assert.equal(2, #world.sent)
      assert.is_true(world.sent[2].fresh)
    end
  end)

  it("that we gave up is not sent again", function()
    local world = simulated.new({ attempt_timeout_ms = 500 }, function() end)
    local call = world.ended[world:request { method = "POST", path = { "users" } }]
    world:run()
    assert.equal("timeout", call.err.kind)
    assert.equal(500, call.at_ms)
    assert.equal(1, #world.sent)
  end)

  it("is retried like the others when the program says that it is idempotent", function()
    local world, result = request({ 503, { 429, reach_limit }, { 200, "{}" } },
      { method = "PUT", path = { "users", "alice" }, json = "{}", idempotent = true })
    assert.is_not_nil(result)
    assert.equal(3, #world.sent)
    assert.is_false(world.sent[1].fresh)
  end)
end)
