--- The pace: slots, how the rate yields to a 429 and comes back, and how that
--- fares against the ways in which services count.

local core = require "agora_chat.core"
local fake = require "spec.support.fake"
local simulated = require "spec.support.simulated"

local function good() return 0, 200 end

local reach_limit = '{"error":"reach_limit"}'

--- The most requests in any span of so many ms.
local function busiest(world, span_ms)
  local most, first = 0, 1
  for i, request in ipairs(world.sent) do
    while world.sent[first].at_ms <= request.at_ms - span_ms do first = first + 1 end
    most = math.max(most, i - first + 1)
  end
  return most
end

describe("the pace", function()
  it("gives a burst, then one slot after another, to the millisecond", function()
    local world = simulated.new({ rate_per_s = 10, burst = 3 }, good)
    for i = 1, 8 do world:submit("u" .. i) end
    world:run()
    assert.same({ 0, 0, 0, 100, 200, 300, 400, 500 }, world:moments())
  end)

  it("keeps fractions of a millisecond: no drift", function()
    for _, rate in ipairs { 95, 3, 7, 300, 1.5, 0.5 } do
      local world = simulated.new({ rate_per_s = rate, burst = 1, timeout_ms = 3600000 }, good)
      local count = math.ceil(rate * 30)
      for i = 1, count + 1 do world:submit("u" .. i) end
      world:run()
      local last = world.sent[count + 1].at_ms
      assert.is_true(math.abs(last - count * 1000 / rate) <= 1 + count / 1000, rate .. ": " .. last)
    end
  end)

  it("never gives more than rate + burst slots in a second", function()
    for _, row in ipairs { { 95, 5 }, { 10, 1 }, { 33, 20 }, { 200, 50 } } do
      local world = simulated.new({ rate_per_s = row[1], burst = row[2], seed = 3, timeout_ms = 600000 }, good)
      -- bursts of callers, with pauses of all sizes
      local at = 0
      for i = 1, 60 do
        at = at + (i * i * 37) % 900
        world:at(at, function() for k = 1, 5 + (i * 13) % 40 do world:submit("u" .. k) end end)
      end
      world:run()
      assert.is_true(busiest(world, 1000) <= row[1] + row[2], busiest(world, 1000))
      assert.is_true(busiest(world, 100) <= row[1] / 10 + row[2] + 1)
    end
  end)

  it("lets 95 a second and 5 at once pass unless told otherwise: at most 100 in any second", function()
    local world = simulated.new(nil, good)
    world.core = assert(core.new({                      -- nothing of what fake.core sets
      base_url = fake.origin, app_id = fake.app_id, credentials = { token = "t" },
      transport = "lua", frozen_ms = fake.now_ms, timeout_ms = 60000,
    }, false))
    assert.equal(95, world.core:stats().rate_per_s)
    for i = 1, 1000 do world:submit("u" .. i) end
    world:run()
    assert.equal(0, world.sent[5].at_ms)
    assert.is_true(world.sent[6].at_ms > 0)
    assert.is_true(busiest(world, 1000) <= 100)
    assert.is_true(world.now_ms >= 10400 and world.now_ms <= 10500, world.now_ms)
  end)

  it("false is no pace", function()
    local world = simulated.new({ rate_per_s = false, max_in_flight = 32 }, good)
    for i = 1, 1000 do world:submit("u" .. i) end
    world:run()
    assert.equal(0, world.now_ms)
    assert.is_false(world.core:stats().rate_per_s)
  end)

  it("an idle hour earns one burst, no more", function()
    local world = simulated.new({ rate_per_s = 10, burst = 3 }, good)
    world:ask "alice"
    world:jump(3600000)
    for i = 1, 6 do world:submit("u" .. i) end
    world:run()
    assert.same({ 0, 3600000, 3600000, 3600000, 3600100, 3600200, 3600300 }, world:moments())
  end)

  it("every attempt takes a slot, a retry too", function()
    local world = simulated.new({ rate_per_s = 10, burst = 1, timeout_ms = 100000 }, function(request)
      return 0, request.fresh and 200 or 503
    end)
    for i = 1, 5 do world:submit("u" .. i) end
    world:run()
    assert.equal(20, #world.sent)
    for i, request in ipairs(world.sent) do assert.is_true(request.at_ms >= (i - 1) * 100) end
  end)

  it("no slot is taken while nothing may go: places, an outage", function()
    local world = simulated.new({ rate_per_s = 10, burst = 1, max_in_flight = 1, timeout_ms = 60000 }, function()
      return 1000, 200
    end)
    for i = 1, 4 do world:submit("u" .. i) end
    world:run()
    assert.same({ 0, 1000, 2000, 3000 }, world:moments())
  end)
end)

describe("the rate", function()
  it("is lowered to 85 % by a 429, at most once a second, never below 5/s", function()
    local world = simulated.new({ rate_per_s = 100, burst = 5, max_attempts = 1, timeout_ms = 60000 }, function()
      return 0, 429, reach_limit
    end)
    local rate = 100
    for second = 0, 30 do
      world:jump(second * 1000)
      for _ = 1, 3 do world:ask "alice" end
      rate = math.max(5, rate * 0.85)
      assert.is_true(math.abs(world.core:stats().rate_per_s - rate) < 1e-6)
    end
    assert.equal(5, world.core:stats().rate_per_s)
  end)

  it("is lowered by 429 alone", function()
    for _, answer in ipairs { { 503 }, { 404 }, { 429, '{"error":"resource_limited"}' },
                              { { kind = "network", code = "reset" } } } do
      local world = simulated.new({ rate_per_s = 100 }, simulated.replies { answer[2] and answer or answer[1] })
      world:ask "alice"
      assert.equal(100, world.core:stats().rate_per_s)
    end
  end)

  it("stays below 5/s when that is the setting", function()
    local world = simulated.new({ rate_per_s = 2, burst = 1, max_attempts = 1 }, function() return 0, 429 end)
    for _ = 1, 5 do world:ask "alice" end
    assert.equal(2, world.core:stats().rate_per_s)
  end)

  it("comes back by 2/s a second while answers are good, up to the setting", function()
    local status = 429
    local world = simulated.new({ rate_per_s = 20, burst = 1, max_attempts = 1, timeout_ms = 60000 }, function()
      return 0, status
    end)
    world:ask "alice"
    assert.equal(17, world.core:stats().rate_per_s)
    status = 200
    local previous = 17
    for second = 1, 3 do
      for tenth = 1, 10 do
        world:jump(second * 1000 - 1000 + tenth * 100)
        world:ask "alice"
      end
      local rate = world.core:stats().rate_per_s
      assert.is_true(rate <= 20)
      assert.is_true(second == 2 and rate == 20 or second == 3 and rate == 20 or math.abs(rate - 19) < 0.01, rate)
      assert.is_true(rate >= previous)
      previous = rate
    end
  end)

  it("gains nothing from a silence, nor from errors", function()
    local status = 429
    local world = simulated.new({ rate_per_s = 100, burst = 5, max_attempts = 1 }, function() return 0, status end)
    world:ask "alice"
    assert.equal(85, world.core:stats().rate_per_s)
    status = 404
    for second = 1, 10 do
      world:jump(second * 1000)
      world:ask "alice"
    end
    assert.equal(85, world.core:stats().rate_per_s)
    status = 200
    world:jump(3600000)
    world:ask "alice"
    assert.is_true(world.core:stats().rate_per_s <= 87)
  end)

  it("rules the slots from then on", function()
    local status = 429
    local world = simulated.new({ rate_per_s = 10, burst = 1, max_attempts = 1 }, function() return 0, status end)
    for second = 0, 3 do
      world:jump(second * 1000)
      world:ask "alice"
    end
    local rate = world.core:stats().rate_per_s
    assert.is_true(math.abs(rate - 10 * 0.85 ^ 4) < 1e-9)
    status = 404
    world:jump(10000)
    for i = 1, 11 do world:submit("u" .. i) end
    world:run()
    local first, last = world.sent[5].at_ms, world.sent[15].at_ms
    assert.is_true(math.abs((last - first) - 10000 / rate) <= 2)
  end)
end)

-- ------------------------------------------------- services that count calls

--- Limits of 100/s. each: allowed(now_ms, count) -> boolean; `penal` services
--- count what they refuse too.
local limits = {}

function limits.fixed(penal)
  local second, used = -1, 0
  return function(now_ms)
    local s = math.floor((now_ms + 370) / 1000)          -- its seconds are not ours
    if s ~= second then second, used = s, 0 end
    local allowed = used < 100
    if allowed or penal then used = used + 1 end
    return allowed
  end
end

function limits.sliding(penal)
  local times, first, last = {}, 1, 0
  return function(now_ms)
    while first <= last and times[first] <= now_ms - 1000 do
      times[first] = nil
      first = first + 1
    end
    local allowed = last - first + 1 < 100
    if allowed or penal then
      last = last + 1
      times[last] = now_ms
    end
    return allowed
  end
end

function limits.bucket(penal)
  local level, at = 0, 0
  return function(now_ms)
    level, at = math.max(0, level - (now_ms - at) / 10), now_ms
    local allowed = level + 1 <= 10                       -- 100/s, 10 at once
    if allowed then level = level + 1 elseif penal then level = math.min(level + 1, 20) end
    return allowed
  end
end

--- Sweeps so many users, 32 at a time, against a limit; others: calls per second
--- of somebody else. Returns what became of it.
local function sweep(total, allowed, others, seed, opts)
  local all = { rate_per_s = 95, burst = 5, seed = seed or 1 }
  for name, value in pairs(opts or {}) do all[name] = value end
  local refused = 0
  local world = simulated.new(all, function(_, now_ms)
    if allowed(now_ms) then return 150, 200 end
    refused = refused + 1
    return 20, 429, reach_limit
  end)
  local started, finished, ended_at = 0, 0, 0
  local function more(_, call)
    if call then
      finished = finished + 1
      ended_at = call.at_ms
    end
    if started < total then
      started = started + 1
      world:submit("u" .. started, { batch = true, envelope = false }, more)
    end
  end
  for _ = 1, 32 do more() end
  if others > 0 then
    local every = 1000 / others
    local n = 0
    local function other()
      allowed(world.now_ms)
      n = n + 1
      if finished < total then world:at(math.floor(n * every), other) end
    end
    world:at(0, other)
  end
  world:run()
  local kinds = world:tally()
  return {
    world = world, ok = kinds.ok or 0, requests = world.requests, refused = refused,
    rate = total * 1000 / ended_at, part = refused / world.requests,
  }
end

describe("a sweep", function()
  for _, name in ipairs { "fixed", "sliding", "bucket" } do
    it("alone runs at 94/s at least without a 429 (M01): " .. name, function()
      local got = sweep(3000, limits[name](), 0)
      assert.equal(3000, got.ok)
      assert.equal(0, got.refused)
      assert.equal(3000, got.requests)
      assert.is_true(got.rate >= 94, got.rate)
      assert.is_true(busiest(got.world, 1000) <= 100)
    end)

    it("beside somebody who takes 30/s: 60/s at least, 3 % of 429 at most, none lost (M10): " .. name, function()
      for seed = 1, 2 do
        local got = sweep(3000, limits[name](), 30, seed)
        assert.equal(3000, got.ok)
        assert.is_true(got.part <= 0.03, got.part)
        assert.is_true(got.rate >= 60, got.rate)
      end
    end)

    it("where refused calls count too: 45/s at least, none lost (M11): " .. name, function()
      for seed = 1, 2 do
        local got = sweep(3000, limits[name](true), 30, seed)
        assert.equal(3000, got.ok)
        assert.is_true(got.rate >= 45, got.rate)
      end
    end)
  end

  it("finds its full rate again when somebody else has left", function()
    local allowed = limits.fixed()
    local rates = {}
    local world
    world = simulated.new({ rate_per_s = 95, burst = 5 }, function(_, now_ms)
      rates[math.floor(now_ms / 1000)] = world.core:stats().rate_per_s
      if allowed(now_ms) then return 50, 200 end
      return 20, 429, reach_limit
    end)
    local function more() if world.now_ms < 60000 then world:submit("u", { batch = true }, more) end end
    for _ = 1, 32 do more() end
    for ms = 0, 19990, 33 do world:at(ms, function() allowed(world.now_ms) end) end
    world:run()
    assert.is_true(rates[10] < 85)
    assert.equal(95, rates[45])
    assert.equal(95, world.core:stats().rate_per_s)
  end)
end)
