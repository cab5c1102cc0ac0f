-- Faults I: what an HTTP status means, and how often it is asked for. Sections L and I02 to I07 are the
-- token's.
local harness = require "spec.faults.harness"

local function second_later(outcome, e)
  local times = harness.times(e, outcome.user)
  assert.is_true(times[2] - times[1] >= 1000, "the second came after ms: " .. times[2] - times[1])
end

local function at_once(outcome)
  assert.equal(60000, outcome.err.retry_after_ms)
  assert.is_true(outcome.err.elapsed_ms < 1500)
end

local function rate_lowered(outcome)
  local rate = outcome.client:stats().rate_per_s
  assert.is_true(rate >= 95 * 0.85 and rate < 95, "the rate is now " .. rate)
end

local function one_clean_line(outcome)
  local text = outcome.err.description
  assert.is_true(#text > 0 and #text <= 256, "bytes: " .. #text)
  assert.is_nil(text:find "[%z\1-\31\127]")
end

-- With a pace, which the answers lower.
local function throttled(row)
  row.options = { rate_per_s = 95 }
  return row
end

local rows = {
  { "I01", "400, 405, 413, 415, 418, 451", "rejected", variants = 6 },
  { "I08", "403", "forbidden", status = 403 },
  { "I09", "404, no such user", "not_found/user", status = 404 },
  { "I10", "404, no such app", "not_found/app", status = 404 },
  { "I11", "404 of a gateway", "not_found/other", status = 404 },
  throttled { "I12", "429 once", 7, requests = 2, check = rate_lowered },
  throttled { "I13", "429 once, Retry-After 1", 7, requests = 2, check = second_later },
  throttled { "I14", "429, Retry-After beyond the deadline", "rate_limited/reach_limit", status = 429, check = at_once },
  throttled { "I15", "429 once, Retry-After a date", 7, requests = 2, check = second_later },
  { "I17", "429, the plan is used up", "quota/resource_limited", status = 429 },
  throttled { "I18", "429 once, a page or nothing", { 7, 7 }, requests = 2 },
  throttled { "I19", "429 for ever", "rate_limited/reach_limit", at_most = 8, check = function(outcome)
    assert.is_true(outcome.client:stats().rate_per_s < 95)
  end },
  { "I21", "500, 502, 503, 504 once", { 7, 7, 7, 7 }, requests = 2, own = true },
  { "I22", "502, 503 of a gateway", "server", variants = 2, check = function(outcome)
    assert.equal(outcome.user:match "I22.1" and 502 or 503, outcome.err.http_status)
  end },
  { "I23", "503 once, Retry-After 1", 7, requests = 2, own = true, check = second_later },
  { "I25", "503, then 200", 7, requests = 2, own = true },
  { "I26", "408", "server", status = 408 },
  { "I27", "200 with an error in it", "bad_response/shape", text = "as if" },
  { "I28", "an evil description", "forbidden", variants = 6, check = one_clean_line },
}

describe("I: statuses", function()
  local section = harness.section({}, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

describe("I: many calls", function()
  local e, new
  setup(function() e, new = harness.emulator() end)
  teardown(function() e:stop() end)
  before_each(function() e:reset() end)

  for _, mode in ipairs { "inline", "threaded" } do
    local threaded = mode == "threaded"

    it("I20: one operation is refused: the pace of all is lowered, " .. mode, function()
      local client = new { threaded = threaded, rate_per_s = 95, max_attempts = 1 }
      harness.check_end("rate_limited/reach_limit", harness.all(client, { "f.I20.1" })[1])
      local rate = client:stats().rate_per_s
      assert.is_true(rate >= 95 * 0.85 - 1 and rate < 95, "the rate is now " .. rate)
      assert.is_truthy(client:offline_msg_status("f.I20.1", "2"))
      client:close()
    end)

    it("I25: every other request fails, and every call is answered, " .. mode, function()
      local client = new { threaded = threaded }
      for _ = 1, 10 do harness.check_end(7, harness.all(client, { "f.I25.1" })[1]) end
      assert.equal(20, e:counters().requests)
      client:close()
    end)
  end

  it("I24: 503 for ever, 1,000 calls: soon left alone", function()
    local clients, outcomes = { new { threaded = false }, new { threaded = true } }, {}
    for i = 1, 1000 do
      for _, client in ipairs(clients) do
        outcomes[#outcomes + 1] = harness.start(client, "offline_msg_count", { "f.I24." .. i })
      end
    end
    harness.run(clients, outcomes)
    for _, outcome in ipairs(outcomes) do
      assert.equal(1, outcome.count)
      local kind = outcome.err.kind
      assert.is_true(kind == "server" or kind == "unavailable" or tostring(outcome.err.code) == "queue", kind)
      harness.no_secret(outcome.err)
    end
    local requests = e:counters().requests
    assert.is_true(requests <= 2 * (20 + 8 + 3), "requests: " .. requests)
    -- And the next good call is answered, after the pause.
    local good = {}
    for i, client in ipairs(clients) do
      harness.check_stats(client)
      good[i] = harness.start(client, "offline_msg_count", { "alice" }, { timeout_ms = 15000 })
    end
    harness.run(clients, good)
    for i, client in ipairs(clients) do
      harness.check_end(2, good[i])
      client:close()
    end
  end)
end)
