-- Faults B: answers that are cut, at every place and in every way.
local emulator = require "spec.emulator.client"
local harness = require "spec.faults.harness"

local rows = {
  { "B01", "FIN before any byte", "network/empty" },
  { "B02", "RST before any byte", "network/reset" },
  { "B03", "FIN inside the status line", "network/empty" },
  { "B04", "FIN inside the headers", "bad_response/truncated" },
  { "B05", "RST inside the headers", "network/reset" },
  { "B06", "silence inside the headers", "timeout/body", at_most = 4 },
  { "B07", "FIN before the length is reached", "network/partial" },
  { "B08", "RST before the length is reached", "network/reset" },
  { "B09", "silence before the length is reached", "timeout/body", at_most = 4 },
  { "B10", "FIN inside the JSON, no length", "bad_response/truncated" },
  { "B11", "RST inside the JSON, no length", "network/reset" },
  { "B13", "FIN inside a chunk", "network/partial" },
  { "B14", "the next chunk never comes", "timeout/body", at_most = 4 },
  { "B17", "a good answer in segments of one byte", 7 },
  { "B18", "TLS: FIN without close_notify, no length", "bad_response/truncated", tls = true },
  { "B19", "TLS: FIN without close_notify, with a length", "network/partial", tls = true },
  { "B20", "TLS: close_notify inside the JSON, no length", "bad_response/truncated", tls = true },
}
describe("B: cut transfers", function()
  local section = harness.section({ tls = true }, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

-- Byte by byte. Each call is tried once, so that every cut shows its own end;
-- no more than 16 of them on one client, which leaves a service alone that has
-- failed 20 times.
describe("B15, B16: a good answer that ends after byte k", function()
  local PER_CLIENT, NO_LENGTH = 16, 1000
  local e
  setup(function() e = emulator.start() end)
  teardown(function() e:stop() end)
  before_each(function() e:reset() end)

  local function length_of_answer(seed)
    local client = harness.client(e)
    harness.all(client, { "f.B15." .. seed })
    client:close()
    return e:log(1)[1].whole
  end

  -- Runs one call for each k; returns outcomes, and how long the answer is.
  local function every(id, offset)
    local whole = length_of_answer(offset + 999)
    local clients, outcomes = {}, {}
    for k = 0, whole do
      if k % PER_CLIENT == 0 then clients[#clients + 1] = harness.client(e, { max_attempts = 1 }) end
      local outcome = harness.start(clients[#clients], "offline_msg_count", { ("f.%s.%d"):format(id, offset + k) })
      outcome.k = k
      outcomes[#outcomes + 1] = outcome
    end
    harness.run(clients, outcomes)
    for _, client in ipairs(clients) do
      harness.check_stats(client)
      client:close()
    end
    assert.is_true(#outcomes > 250)
    return outcomes, whole
  end

  local AGAIN = { ["network/empty"] = true, ["network/reset"] = true, ["network/partial"] = true,
                  ["bad_response/truncated"] = true }

  local function check_all(outcomes, whole)
    for _, outcome in ipairs(outcomes) do
      local err = outcome.err
      if outcome.k >= whole then
        harness.check_end(7, outcome)
      else
        assert.equal(1, outcome.count)
        assert.is_nil(outcome.res, "an answer of " .. outcome.k .. " bytes was taken")
        assert.is_true(AGAIN[err.kind .. "/" .. err.code] == true, outcome.k .. " bytes: " .. tostring(err))
        assert.is_true(err.retryable, outcome.k .. " bytes: " .. tostring(err))
        harness.no_secret(err)
      end
    end
  end

  it("by a FIN", function() check_all(every("B15", 0)) end)
  it("by a FIN, without a length", function() check_all(every("B15", NO_LENGTH)) end)
  it("by an RST", function() check_all(every("B16", 0)) end)

  -- The whole answer may have come before the RST: then it is a good one.
  it("by an RST, without a length", function()
    local outcomes, whole = every("B16", NO_LENGTH)
    if outcomes[#outcomes].res then harness.check_end(7, table.remove(outcomes)) end
    check_all(outcomes, whole + 1)
  end)

  it("and the retry brings the answer", function()
    local client = harness.client(e)
    local users = {}
    for k = 0, 280, 20 do users[#users + 1] = ("f.B16.%d.once"):format(k) end
    for _, outcome in ipairs(harness.all(client, users)) do harness.check_end(7, outcome) end
    assert.equal(2 * #users, e:counters().requests)
    client:close()
  end)
end)
