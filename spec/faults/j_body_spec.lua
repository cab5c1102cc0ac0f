-- Faults J: bodies with status 200. spec/answer_spec.lua has them one by one without a network; here they
-- come over the wire.
local emulator = require "spec.emulator.client"
local harness = require "spec.faults.harness"

local RANGE, SHAPE, MALFORMED = "bad_response/range", "bad_response/shape", "bad_response/malformed"
local OTHER, ODD = "bad_response/id_mismatch", "bad_response/unknown_status"
local TRUNCATED, NO_MESSAGE = "bad_response/truncated", "not_found/message"
local MESSAGE = harness.message

local rows = {
  { "J01", "a count, with spaces, in any order", { 0, 0, 0, 0 } },
  { "J02", "a count as text", { 0, 12 } },
  { "J03", "text that is no number", RANGE, variants = 9 },
  { "J04", "-1, -0", { RANGE, 0 } },
  { "J05", "1.5, 1e3", { RANGE, 1000 } },
  { "J06", "2^31, 2^53 - 1", { 2147483648, 9007199254740991 } },
  { "J07", "2^53 and beyond", RANGE, variants = 5 },
  { "J08", "no number", SHAPE, variants = 6 },
  { "J09", "what JSON does not know", MALFORMED, variants = 7 },
  { "J10", "01, 1.", MALFORMED, variants = 2 },
  { "J11", "no data, or of another shape", { SHAPE, SHAPE, SHAPE, SHAPE, SHAPE, SHAPE, SHAPE, OTHER } },
  { "J11", "no data, or of another shape", { SHAPE, SHAPE, NO_MESSAGE, SHAPE, SHAPE, SHAPE, SHAPE, NO_MESSAGE },
    message = MESSAGE },
  { "J12", "DATA, Data", SHAPE, variants = 2 },
  { "J13", "data twice", MALFORMED, variants = 2 },
  { "J14", "the user twice", MALFORMED, variants = 2 },
  { "J15", "only another user; ours with a NUL behind it", { OTHER, OTHER, MALFORMED } },
  { "J16", "ours among others", 7 },
  { "J17", "ours in other letters", { 7, 7 } },
  { "J20", "keys that are no text", "bad_response", variants = 4, check = function(outcome)
    local code = outcome.err.code
    assert.is_true(code == "id_mismatch" or code == "malformed", code)
  end },
  { "J21", "what a message can be", { true, false, true, NO_MESSAGE }, message = MESSAGE },
  { "J22", "what it cannot be", { ODD, ODD, ODD, ODD, SHAPE, SHAPE, SHAPE, SHAPE }, message = MESSAGE },
  { "J23", "another message", { OTHER, OTHER, OTHER, MALFORMED }, message = MESSAGE },
  { "J24", "an id beyond 2^63", { true, OTHER }, message = "12345678901234567891" },
  { "J25", "more after the end", MALFORMED, variants = 3 },
  { "J26", "NUL and more", MALFORMED },
  { "J28", "nothing", TRUNCATED, variants = 3 },
  { "J29", "no object", SHAPE, variants = 6 },
  { "J30", "a text that ends early", TRUNCATED, variants = 4 },
  { "J31", "nearly JSON", MALFORMED, variants = 6 },
  { "J32", "depth 8, 9, 999, 1001, 60001", { 7, MALFORMED, MALFORMED, MALFORMED, "bad_response" } },
  { "J33", "very long", { OTHER, RANGE, "bad_response/too_large" } },
  { "J34", "a page to log in", MALFORMED, text = "<!DOCTYPE html>" },
  { "J35", "UTF-16", MALFORMED, variants = 3 },
  { "J37", "odd timestamps", { 7, 7, 7, 7 } },
  { "J38", "a count", 7 },
}

describe("J: bodies with status 200", function()
  local section = harness.section({}, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

describe("J: the emulator and these rows", function()
  it("agree on how many variants there are", function()
    local e = emulator.start()
    local known = e:faults()
    e:stop()
    for _, row in ipairs(rows) do
      local count = row.variants or type(row[3]) == "table" and #row[3] or 1
      assert.equal(known[row[1]], count, row[1])
    end
  end)
end)

describe("J38: in a place with a decimal comma", function()
  it("the same", function()
    local before = os.setlocale()
    local place = os.setlocale "de_DE.UTF-8"
    if not place then
      pending "no locale de_DE.UTF-8 here"
      return
    end
    local e = emulator.start()
    local client = harness.client(e)
    local outcomes = harness.all(client, { "f.J38.1", "f.J05.1", "f.J05.2", "f.J07.4" })
    os.setlocale(before)
    client:close()
    e:stop()
    for i, want in ipairs { 7, RANGE, 1000, RANGE } do harness.check_end(want, outcomes[i]) end
  end)
end)
