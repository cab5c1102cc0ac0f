-- Faults A: no connection, or one that is of no use.
local harness = require "spec.faults.harness"

local rows = {
  { "A01", "nobody listens", "network/connect", port = "closed", requests = 0, unusable = true },
  { "A02", "the listen queue is full", "timeout/connect", port = "backlog_full", requests = 0, unusable = true },
  { "A04", "no such name", "network/dns", requests = 0, unusable = true,
    -- A label of 64 bytes is refused before anybody is asked.
    options = { base_url = "http://" .. ("x"):rep(64) .. ".test", allow_http = true } },
  { "A11", "accepted, then FIN", "network/empty", port = "accept_fin", requests = 0, unusable = true },
  { "A12", "accepted, then RST", "network/reset", port = "accept_rst", requests = 0, unusable = true },
  { "A13", "accepted, then silence", "timeout/first_byte", port = "accept_silence", requests = 0, unusable = true },
}

describe("A: connecting", function()
  local section = harness.section({ port_faults = true }, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

describe("A: connections that were there", function()
  local e, new
  setup(function() e, new = harness.emulator() end)
  teardown(function() e:stop() end)
  before_each(function()
    e:reset()
    e:set { auto_users = true }
  end)

  local function names(count)
    local list = {}
    for i = 1, count do list[i] = "u" .. i end
    return list
  end

  local function tally(outcomes)
    local ended = {}
    for i, outcome in ipairs(outcomes) do
      assert.equal(1, outcome.count)
      if outcome.res then harness.check_end(i, outcome) end
      local kind = outcome.err and outcome.err.kind or "ok"
      ended[kind] = (ended[kind] or 0) + 1
    end
    return ended
  end

  for _, mode in ipairs { "inline", "threaded" } do
    local threaded = mode == "threaded"

    it("A03: refused at first, " .. mode, function()
      local client = new { threaded = threaded, max_attempts = 15 }
      e:dead(300)
      harness.check_end(5, harness.all(client, { "u5" })[1])
      assert.equal(1, e:counters().requests)
      assert.is_true(client:stats().retries >= 1)
      client:close()
    end)

    it("A14: kept connections that are silent now: the second attempt has one of its own, " .. mode, function()
      local client = new { threaded = threaded }
      e:set { latency_ms = 50 }
      harness.all(client, names(4))                        -- four connections
      e:set { latency_ms = 0 }
      assert.is_true(client:stats().connections >= 2)
      e:silent "open"
      local outcome = harness.all(client, { "u9" })[1]
      harness.check_end(9, outcome)
      assert.is_true(outcome.elapsed_ms < 1100 + 1500)
      assert.equal(1, client:stats().retries)
      client:close()
    end)
  end

  -- 1,000 calls on each of two clients, one of them with a thread; in the middle something happens.
  local function in_the_middle(happens)
    local clients = { new { threaded = false, timeout_ms = 20000 }, new { threaded = true, timeout_ms = 20000 } }
    local outcomes = { {}, {} }
    local all = {}
    for i, name in ipairs(names(1000)) do
      for k, client in ipairs(clients) do
        outcomes[k][i] = harness.start(client, "offline_msg_count", { name })
        all[#all + 1] = outcomes[k][i]
      end
    end
    harness.run(clients, { outcomes[1][100], outcomes[2][100] })
    happens()
    harness.run(clients, all)
    local ended = {}
    for k, client in ipairs(clients) do
      ended[k] = tally(outcomes[k])
      harness.check_stats(client)
      client:close()
    end
    return ended
  end

  it("A15: killed and back in the middle of 1,000 calls: none is lost", function()
    for _, ended in ipairs(in_the_middle(function() e:dead(300, "rst") end)) do
      assert.equal(1000, (ended.ok or 0) + (ended.network or 0))
      assert.is_true((ended.network or 0) <= 8, "failed: " .. (ended.network or 0))
    end
  end)

  it("A16: everything silent for a second: nearly all are answered", function()
    for _, ended in ipairs(in_the_middle(function() e:silent(1000) end)) do
      assert.equal(1000, (ended.ok or 0) + (ended.timeout or 0))
      assert.is_true(ended.ok >= 990, "answered: " .. ended.ok)
    end
  end)

  it("A10: no descriptor is left, and then there are some again", function()
    local got = harness.child([[
      local harness = require "spec.faults.harness"
      local client = harness.client { url = os.getenv "SPEC_URL" }
      local kept = {}
      for i = 1, 100 do
        kept[i] = io.open "/dev/null"
        if not kept[i] then break end
      end
      local res, err = client:offline_msg_count "alice"
      print("kind " .. tostring(err and err.kind .. "/" .. err.code))
      print("words " .. tostring(err and err.message:match "errno 24"))
      print("retries " .. client:stats().retries)
      for _, file in ipairs(kept) do file:close() end
      res, err = client:offline_msg_count "alice"
      print("count " .. tostring(res and res.count or err))
      client:close()
    ]], { env = { SPEC_URL = e.url }, before = "ulimit -n 60;" })
    assert.equal("network/connect", got.kind, got.text)
    assert.equal("errno 24", got.words, got.text)
    assert.equal(3, got.retries)
    assert.equal(2, got.count, got.text)
    assert.equal(1, e:counters().requests)
  end)
end)

-- spec/support/hanging_lookup.c, preloaded, answers for some names.
describe("A: names", function()
  local library = (os.getenv "AGORA_CHAT_BUILD" or "build") .. "/hanging_lookup.so"
  local e
  setup(function() e = harness.emulator() end)
  teardown(function() e:stop() end)

  local PROGRAM = [[
    local harness = require "spec.faults.harness"
    local process = require "spec.support.process"
    local socket = require "socket"
    local count = tonumber(os.getenv "SPEC_CALLS")
    local client = harness.client({ url = os.getenv "SPEC_URL" },
      { allow_http = true, threaded = os.getenv "SPEC_MODE" == "threaded", max_attempts = tonumber(os.getenv "SPEC_TRIES") })
    local outcomes, ended, threads, at_most = {}, {}, 0, 0
    for i = 1, count do outcomes[i] = harness.start(client, "offline_msg_count", { "alice" }) end
    local longest, left, stop = 0, 1, socket.gettime() + 20
    repeat
      longest = math.max(longest, harness.run({ client }, { outcomes[1] }, 0.05))
      threads = math.max(threads, process.threads())
      left = client:pending()
    until left == 0 or socket.gettime() > stop
    for _, outcome in ipairs(outcomes) do
      local err = outcome.err
      local name = err and err.kind .. "/" .. tostring(err.code) or "ok"
      ended[name] = (ended[name] or 0) + 1
      at_most = math.max(at_most, outcome.elapsed_ms or 1e9)
    end
    for name, n in pairs(ended) do print("ended " .. name .. " " .. n) end
    print(("longest_tick %.0f"):format(longest))
    print(("elapsed %.0f"):format(at_most))
    print("threads " .. threads)
    local began = socket.gettime()
    client:close()
    print(("close %.0f"):format((socket.gettime() - began) * 1000))
    os.exit(0, true)
  ]]

  local function ask(host, calls, mode, tries)
    local env = { SPEC_URL = ("http://%s:%d"):format(host, e.port), SPEC_CALLS = calls, SPEC_MODE = mode,
                  SPEC_TRIES = tries or 4, LD_PRELOAD = library,
                  ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0" }
    return harness.child(PROGRAM, { env = env })
  end

  for _, mode in ipairs { "inline", "threaded" } do
    it("A05: a name server that says nothing, " .. mode, function()
      local got = ask("hang.test", 1, mode)
      assert.equal("timeout/dns 1", got.ended, got.text)
      assert.is_true(got.elapsed < 2100 + 800, got.text)   -- below what the look-up takes
      assert.is_true(got.longest_tick < 1000, got.text)
      assert.is_true(got.close < 1000, got.text)
    end)
  end

  it("A06: 300 calls, and no thread for each of them", function()
    local got = ask("hang.test", 300, "inline")
    assert.is_nil(got.text:find("ended ok", 1, true))
    assert.is_true(got.longest_tick < 1000, got.text)
    assert.is_true(got.threads <= 20 + 8 + 2, got.text)
  end)

  it("A07: the first of two addresses is dead", function()
    e:reset()
    local got = ask("two.test", 1, "inline", 1)
    assert.equal("ok 1", got.ended, got.text)
    assert.equal(1, e:counters().requests)
  end)

  it("A08: an address that changes", function()
    pending "a connection keeps its address for its lifetime of 300 s; see F10"
  end)
end)
