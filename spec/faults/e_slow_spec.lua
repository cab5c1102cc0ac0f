-- Faults E: answers that take their time.
local harness = require "spec.faults.harness"
local process = require "spec.support.process"

local rows = {
  { "E01", "the whole answer, a byte at a time", "timeout", at_most = 4 },
  { "E02", "the body, a few bytes at a time", "timeout/body", at_most = 4 },
  { "E03", "an answer just in time for its attempt", 7, at_most = 2, own = true },
  { "E04", "an answer just too late, each time", "timeout/first_byte", at_most = 4 },
}

describe("E: slow answers", function()
  local section = harness.section({}, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

describe("E: many slow answers", function()
  local e, new
  setup(function() e, new = harness.emulator() end)
  teardown(function() e:stop() end)
  before_each(function() e:reset() end)

  local function users(id, first, last)
    local list = {}
    for i = first, last do list[#list + 1] = ("f.%s.%d"):format(id, i) end
    return list
  end

  -- One client that works inline and one with a thread, at the same time.
  local function two(options)
    local all = { threaded = false }
    for name, value in pairs(options or {}) do all[name] = value end
    local first = new(all)
    all.threaded = true
    return { first, new(all) }
  end

  local function ask_both(clients, names)
    local outcomes = {}
    for _, name in ipairs(names) do
      for _, client in ipairs(clients) do
        outcomes[#outcomes + 1] = harness.start(client, "offline_msg_count", { name })
      end
    end
    return outcomes
  end

  local function close(clients)
    for _, client in ipairs(clients) do
      harness.check_stats(client)
      client:close()
    end
  end

  it("E05: 1,000 calls, and no answer comes to its end", function()
    local before, threads = process.descriptors(), process.threads()
    local clients = two()
    local idle = process.descriptors()
    local outcomes = ask_both(clients, users("E05", 1, 1000))
    harness.run(clients, { outcomes[1] })
    local during = process.descriptors()
    assert.is_true(during <= idle + 2 * 8 + 2, ("descriptors: %d before, now %d"):format(idle, during))
    harness.run(clients, outcomes)
    for _, outcome in ipairs(outcomes) do
      assert.equal(1, outcome.count)
      local kind = outcome.err.kind
      assert.is_true(kind == "timeout" or kind == "unavailable", kind)
      assert.is_true(outcome.elapsed_ms < 2100 + 1500, "it took ms: " .. outcome.elapsed_ms)
    end
    assert.is_true(e:counters().requests <= 2 * (20 + 8 + 3), "requests: " .. e:counters().requests)
    local good = {}
    for i, client in ipairs(clients) do
      good[i] = harness.start(client, "offline_msg_count", { "alice" }, { timeout_ms = 15000 })
    end
    harness.run(clients, good)
    for _, outcome in ipairs(good) do harness.check_end(2, outcome) end
    close(clients)
    assert.is_true((harness.comes_back(before, threads)) <= before)
  end)

  -- Seeds that are even are slow.
  it("E06: the slow ones do not starve the others", function()
    local clients = two()
    local outcomes = ask_both(clients, users("E06", 1, 16))
    harness.run(clients, outcomes)
    for _, outcome in ipairs(outcomes) do
      if tonumber(outcome.user:match "%d+$") % 2 == 1 then
        harness.check_end(7, outcome)
      else
        assert.equal(1, outcome.count)
        assert.is_true(outcome.err.kind == "timeout" or outcome.err.kind == "unavailable", tostring(outcome.err))
      end
    end
    close(clients)
  end)

  it("E07: whatever the order of the answers, each call gets its own", function()
    e:set { auto_users = true, latency_ms = { 0, 400 } }
    local clients = two { max_in_flight = 64, timeout_ms = 20000, attempt_timeout_ms = 5000 }
    local names = {}
    for i = 1, 500 do names[i] = "u" .. i end
    local outcomes = ask_both(clients, names)
    harness.run(clients, outcomes)
    for _, outcome in ipairs(outcomes) do harness.check_end(tonumber(outcome.user:sub(2)), outcome) end
    assert.equal(1000, e:counters().requests)
    close(clients)
  end)
end)
