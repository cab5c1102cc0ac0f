--- Every accepted call ends exactly once, and the counters add up at every
--- moment, whatever happens in whatever order.

local fake = require "spec.support.fake"

--- The same numbers on every Lua: Park and Miller's generator.
local function random_of(seed)
  local state = seed * 7919 % 2147483647
  return function(n)
    state = state * 16807 % 2147483647
    return state % n + 1
  end
end

local verdicts = {
  { kind = "network", code = "reset" }, { kind = "network", code = "connect" }, { kind = "network", code = "dns" },
  { kind = "timeout", code = "first_byte" }, { kind = "timeout", code = "connect" }, { kind = "tls" },
  { kind = "bad_response", code = "protocol" }, { kind = "memory" },
  { http_status = 500, body = "" }, { http_status = 503, body = "", headers = { ["Retry-After"] = "1" } },
  { http_status = 429, body = "" }, { http_status = 429, body = "", headers = { ["Retry-After"] = "2" } },
  { http_status = 429, body = '{"error":"resource_limited"}' }, { http_status = 404, body = "" },
  { http_status = 403, body = "" }, { http_status = 400, body = "" }, { http_status = 302, body = "" },
  { http_status = 200, body = "" }, { http_status = 200, body = "[]" }, { http_status = 200, body = '{"data":{"bob":1}}' },
}
local unauthorized = { http_status = 401, body = '{"error":"unauthorized"}' }
local good = { http_status = 200, body = '{"data":{"alice":1}}' }
local token = { http_status = 200, body = '{"access_token":"abc","expires_in":100}' }

local credentials = {
  { token = "a-fixed-token" },
  { app_certificate = "5cfd2fd1755d40ecb72977518be15d3b", ttl_s = 60 },
  { client_id = "id", client_secret = "secret" },
}

--- A client and everything that can be done to it, at random.
local function new_driver(seed)
  local random = random_of(seed)
  local kind = credentials[(seed - 1) % #credentials + 1]
  local options = {
    seed = seed,
    credentials = kind,
    timeout_ms = 200 + random(4000),
    attempt_timeout_ms = 100 + random(1000),
    max_attempts = random(3) > 1 and random(5) or nil,
    rate_per_s = random(2) == 1 and random(100) or false,
    burst = random(10),
    max_in_flight = random(12),
    max_queue = 20 + random(60),
  }
  if kind.client_id then options.org_name, options.app_name = "org", "app" end
  local driver = {
    core = fake.core(options), random = random, now_ms = fake.now_ms, wall_s = fake.wall_s,
    accepted = {}, count = 0, ended = {}, taken = 0, out = {},
    -- some drivers live in a good world, some in a bad one
    faults = ({ 2, 5, 9 })[random(3)],
    refused = random(3) == 1,
  }
  return driver
end

local function take_done(driver, max)
  for _ = 1, max do
    local id, result, err = driver.core:next_done()
    if not id then return end
    assert(driver.accepted[id], "an end of a call that was not accepted")
    assert(not driver.ended[id], "a call has ended twice")
    assert((result == nil) ~= (err == nil) or (result == false and err), "neither a result nor an error")
    driver.ended[id] = err and err.kind or "ok"
    driver.taken = driver.taken + 1
  end
end

local function note(driver, id, err)
  if not id then
    assert(err.kind == "argument" or err.kind == "overload", err.kind)
    return
  end
  assert(not driver.accepted[id], "an id was given twice")
  driver.accepted[id] = true
  driver.count = driver.count + 1
end

local steps = {}

function steps.submit(driver)
  local random = driver.random
  for _ = 1, random(4) do
    local opts = random(3) == 1 and { timeout_ms = random(3000) } or {}
    if random(3) == 1 then opts.batch = true end
    if opts.batch and random(3) == 1 then opts.max_pause_ms = random(5000) end
    note(driver, driver.core:submit("offline_msg_count", opts, random(20) == 1 and "a/b" or "alice"))
  end
end

function steps.request(driver)
  local method = driver.random(2) == 1 and "POST" or "GET"
  note(driver, driver.core:submit("request", nil,
    { method = method, path = { "users" }, idempotent = driver.random(3) == 1 }))
end

function steps.send(driver)
  for _ = 1, driver.random(6) do
    local request = driver.core:next_outgoing()
    if not request then return end
    driver.out[#driver.out + 1] = request
  end
end

function steps.answer(driver)
  local random = driver.random
  for _ = 1, random(6) do
    if #driver.out == 0 then return end
    local request = table.remove(driver.out, random(#driver.out))
    local reply
    if random(10) < driver.faults then
      reply = verdicts[random(#verdicts)]
    elseif driver.refused and random(4) == 1 then
      reply = unauthorized
    else
      reply = request.url:find("/token", 1, true) and token or good
    end
    pcall(driver.core.deliver, driver.core, request.id, reply)        -- it may have been dropped
  end
end

function steps.cancel(driver)
  driver.core:cancel(driver.random(driver.count + 2))
end

function steps.advance(driver)
  local random = driver.random
  local by = ({ 0, 1, random(50), random(1000), random(10) == 1 and random(100000) or 5 })[random(5)]
  driver.now_ms = driver.now_ms + by
  driver.wall_s = driver.wall_s + (random(50) == 1 and random(5000) - 2500 or 0)
  driver.core:set_now(driver.now_ms, driver.wall_s + math.floor((driver.now_ms - fake.now_ms) / 1000))
end

function steps.set_token(driver)
  if driver.random(10) == 1 then driver.core:set_token("another-token", driver.random(100)) end
end

function steps.poll(driver)
  driver.core:poll(0)
end

function steps.take(driver)
  take_done(driver, driver.random(5))
end

local names = { "submit", "submit", "request", "send", "send", "answer", "answer", "cancel", "advance", "set_token",
                "poll", "take", "take" }

local function check(driver)
  local s = driver.core:stats()
  if s.accepted ~= s.ok + s.failed + s.cancelled + s.in_flight + s.queued then error("the counters do not add up") end
  if s.accepted ~= driver.count then error "accepted is not what was accepted" end
  if s.in_flight < 0 or s.queued < 0 then error "a counter is negative" end
  if driver.core:pending() ~= driver.count - driver.taken then error "pending is not what is outstanding" end
  return s
end

local function run(driver, count)
  for _ = 1, count do
    steps[names[driver.random(#names)]](driver)
    check(driver)
  end
end

--- Lets time pass until nothing is outstanding.
local function drain(driver)
  for _ = 1, 10000 do
    if driver.core:pending() == 0 then return end
    local request = driver.core:next_outgoing()
    while request do
      driver.core:deliver(request.id, request.url:find("/token", 1, true) and token or good)
      request = driver.core:next_outgoing()
    end
    driver.core:poll(0)
    take_done(driver, math.huge)
    check(driver)
    local due = driver.core:due_in_ms()
    if due < 0 and driver.core:pending() > 0 then error "something is outstanding and nothing is due" end
    driver.now_ms = driver.now_ms + math.max(due, 1)
    driver.core:set_now(driver.now_ms)
  end
  error "calls are left that do not end"
end

local function expect_all_ended(driver)
  local count = 0
  for id in pairs(driver.accepted) do
    count = count + 1
    assert.is_string(driver.ended[id])
  end
  assert.equal(driver.count, count)
  assert.equal(driver.count, driver.taken)
end

describe("exactly once", function()
  for seed = 1, 24 do
    it("holds under whatever happens, to the end: seed " .. seed, function()
      local driver = new_driver(seed)
      run(driver, 2500)
      drain(driver)
      local s = check(driver)
      assert.equal(0, s.in_flight)
      assert.equal(0, s.queued)
      expect_all_ended(driver)
      assert.equal(-1, driver.core:due_in_ms())
      -- Usable right afterwards.
      note(driver, driver.core:submit("offline_msg_count", nil, "alice"))
      drain(driver)
      expect_all_ended(driver)
      driver.core:close()
    end)
  end

  for seed = 101, 106 do
    it("holds when the client is closed under it: seed " .. seed, function()
      local driver = new_driver(seed)
      run(driver, 800)
      driver.core:close()
      take_done(driver, math.huge)
      expect_all_ended(driver)
      local closed = 0
      for _, kind in pairs(driver.ended) do if kind == "closed" then closed = closed + 1 end end
      assert.is_true(closed > 0)
    end)
  end

  it("holds for a client full of calls that is closed", function()
    local driver = new_driver(7)
    driver.core = fake.core { max_queue = 5000 }
    for _ = 1, 5000 do note(driver, driver.core:submit("offline_msg_count", nil, "alice")) end
    driver.core:close()
    take_done(driver, math.huge)
    expect_all_ended(driver)
  end)
end)

describe("a full queue", function()
  it("refuses the 10,001st call at once, and takes another when there is room (M12)", function()
    local core = fake.core()
    for _ = 1, 10000 do assert.is_truthy(core:submit("offline_msg_count", nil, "alice")) end
    local id, err = core:submit("offline_msg_count", nil, "alice")
    assert.is_nil(id)
    assert.equal("overload", err.kind)
    assert.is_true(err.retryable)
    assert.equal(10000, core:stats().accepted)
    assert.is_not_nil(core:next_outgoing())
    assert.is_truthy(core:submit("offline_msg_count", nil, "alice"))
    assert.is_nil((core:submit("offline_msg_count", nil, "alice")))
    core:close()
  end)

  it("counts those that wait for a retry too, single and batch", function()
    local core = fake.core { max_queue = 2, max_in_flight = 1 }
    assert(core:submit("offline_msg_count", nil, "alice"))
    fake.answer(core, 503, "", { ["Retry-After"] = "1" })
    assert(core:submit("offline_msg_count", { batch = true }, "bob"))
    local _, err = core:submit("offline_msg_count", nil, "carol")
    assert.equal("overload", err.kind)
    core:close()
  end)
end)
