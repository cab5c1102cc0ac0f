-- Faults D: answers without end, and compression that nobody asked for.
local harness = require "spec.faults.harness"

-- The rest was left where it was.
local function little_was_read(outcome)
  local stats = outcome.client:stats()
  assert.is_true(stats.bytes_in < stats.attempts * 160 * 1024, "bytes read: " .. stats.bytes_in)
end

local rows = {
  { "D01", "a body of 10 MB", "bad_response/too_large", own = true, check = little_was_read },
  { "D02", "a body without end", "bad_response/too_large", own = true, check = little_was_read },
  { "D03", "header lines without end", "bad_response/too_large", own = true, check = little_was_read },
  { "D04", "a header line of 200 KB", "bad_response/too_large", own = true },
  { "D06", "100 Continue without end", "bad_response/too_large", own = true, check = little_was_read },
  { "D07", "gzip", "bad_response/encoding" },
  { "D08", "a gzip bomb", "bad_response/too_large", own = true, check = little_was_read },
  { "D09", "gzip that is cut", "bad_response/encoding" },
  { "D10", "gzip with a wrong checksum", "bad_response/encoding" },
  { "D11", "an unknown Content-Encoding", "bad_response/encoding" },
  { "D13", "64 KiB of ones", "bad_response/shape" },
  { "D14", "6,660 keys, ours last", 7 },
  { "D15", "64 KiB, and one byte more", { 7, "bad_response/too_large" } },
  { "D16", "a page of 1 MB with status 502", "server", status = 502, check = little_was_read },
}

describe("D: sizes and compression", function()
  local section = harness.section({}, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)
