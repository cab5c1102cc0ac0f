-- Faults C: framing that lies, and answers to somebody else.
local harness = require "spec.faults.harness"

local rows = {
  { "C01", "Content-Length 5, a longer body", "bad_response/truncated" },
  { "C03", "Content-Length -5", "bad_response/protocol" },
  { "C04", "Content-Length 2^63", 7 },
  { "C05", "Content-Length abc", "bad_response/protocol" },
  { "C06", "Content-Length 3, and chunked", 7 },
  { "C07", "a chunk size that is not hex", "network/reset", at_most = 4 },
  { "C08", "a chunk size of 17 digits", "network/reset", at_most = 4 },
  { "C09", "HTTP/0.9", "bad_response/protocol" },
  { "C10", "300 random bytes", "bad_response/protocol", seeds = { 1, 2, 3 } },
  { "C11", "a TLS alert on a plain port", "bad_response/protocol" },
  { "C12", "status 999", "bad_response/status" },
  { "C13", "status 000; of two digits", "bad_response/protocol", variants = 2 },
  { "C14", "HTTP/3.7", "bad_response/protocol" },
  { "C15", "HTTP/2 in an HTTP/1 answer", 7 },
  { "C16", "a folded header line", 7 },
  { "C17", "a NUL in a header line", "bad_response/protocol" },
  { "C19", "103, then 200", 7 },
  { "C20", "201, 202, 203, 204, 206", "bad_response/status", variants = 5 },
  { "C21", "Content-Length 0", "bad_response/truncated" },
}

describe("C: framing", function()
  local section = harness.section({}, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

describe("C: answers that are not ours", function()
  local e, new
  setup(function() e, new = harness.emulator { tls = true } end)
  teardown(function() e:stop() end)
  before_each(function() e:reset() end)

  local function one(client, user)
    local outcome = harness.all(client, { user })[1]
    outcome.user = user
    return outcome
  end

  for _, mode in ipairs { "inline", "threaded" } do
    for _, scheme in ipairs { "http", "https" } do
      describe(mode .. ", " .. scheme, function()
        local client
        before_each(function()
          client = new { threaded = mode == "threaded", base_url = scheme == "https" and e.tls_url or e.url,
                         ca_file = scheme == "https" and e.ca_file or nil }
        end)
        after_each(function()
          harness.check_stats(client)
          client:close()
        end)

        it("C22: two answers together are one answer, and each call gets its own", function()
          harness.check_end(7, one(client, "f.C22.1"))
          harness.check_end(2, one(client, "alice"))
          assert.equal(2, e:counters().requests)
        end)

        it("C23: what comes on an idle connection is nobody's answer", function()
          for i = 1, 5 do
            harness.check_end(7, one(client, "f.C23." .. i))
            harness.pause(0.03)                            -- it comes 5 ms after the good one
            harness.check_end(2, one(client, "alice"))
          end
          assert.equal(10, e:counters().requests)
        end)

        -- Then it comes when the next request is out, as in C24: an error at worst.
        it("C23: nor anybody's when calls follow each other closely", function()
          for i = 1, 20 do
            for user, count in pairs { ["f.C23." .. i] = 7, alice = 2 } do
              local outcome = one(client, user)
              harness.check_end(outcome.res and count or "bad_response/id_mismatch", outcome)
            end
          end
        end)

        it("C24: a wrong answer first: an error, and the connection is not used again", function()
          local outcome = one(client, "f.C24.1")
          harness.check_end("bad_response/id_mismatch", outcome)
          for _ = 1, 3 do harness.check_end(2, one(client, "alice")) end
          local log = e:log()
          assert.equal(4, #log)
          assert.are_not.equal(log[1].connection, log[2].connection)
          assert.equal(log[2].connection, log[4].connection)
        end)
      end)
    end
  end
end)
