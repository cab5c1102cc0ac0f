--- harness: rows of the fault catalogue, run side by side and checked.
---
---   { "B01", "FIN without a byte", "network/empty" }
---   { "J02", "a count as text", { 0, 12 } }              -- one for each variant
---
--- A row: id, what it is, what is wanted; the user asked is f.<id>.<seed>, one
--- call for each seed. Wanted: a number (count), true or false (delivered),
--- "kind" or "kind/code". Further fields:
---   variants     how many seeds, all with the same end (default: 1)
---   seeds        the seeds themselves, instead of 1, 2, ...
---   requests     how many the emulator sees at most: by default 4 for what is
---                tried again (class T), else 1. (A busy machine may see fewer:
---                an attempt can be over before it has sent anything.)
---   at_most      the same, where the number may well be lower
---   within_ms    longest time from start to end
---   port, tls    where it is sent: a port of the emulator's; over TLS
---   options      of the client
---   message      asks for the delivery of this message id
---   status       err.http_status
---   text         a pattern that err.message or err.description matches
---   check        further checks: function(outcome, e)
---   unusable     no good call can follow on this client
---   own          a client of its own (what is tried again has one anyway)
---
--- Every row runs inline and threaded, all at the same time, and is checked for
--- the promises: ended exactly once, in time, never with another value, no
--- hidden load, no secret in any text, counters that add up, a client that
--- works right afterwards, nothing left open.

local agora_chat = require "agora_chat"
local assert = require "luassert"
local emulator = require "spec.emulator.client"
local process = require "spec.support.process"
local socket = require "socket"

local harness = {}

harness.app_id = "970ca35de60c44645bbae8a215061b33"
harness.token = "S3CRET-that-no-text-may-hold"
harness.message = "1234567890123456788"
harness.lua = arg and arg[-1] or "lua"

--- The test profile.
harness.profile = {
  connect_timeout_ms = 200, attempt_timeout_ms = 500, timeout_ms = 2000,
  backoff_ms = 20, max_attempts = 4, max_in_flight = 8, rate_per_s = false,
}

local DEADLINE_MS = 2100
local SLACK_MS = 1500                  -- the machine may be busy
local STALL_MS = 1000                  -- ours; a name server's silence lasts longer

local now = socket.gettime

--- A client with the test profile; its events are in client.seen.
function harness.client(e, options)
  local all = { base_url = e.url, app_id = harness.app_id, credentials = { token = harness.token } }
  for name, value in pairs(harness.profile) do all[name] = value end
  for name, value in pairs(options or {}) do all[name] = value end
  local seen = {}
  all.on_event = function(event) seen[#seen + 1] = event end
  local client, err = agora_chat.new(all)
  if not client then error(tostring(err), 2) end
  client.seen = seen
  return client
end

--- Starts a call; what becomes of it stands in the outcome that is returned:
--- count (of ends), res, err, elapsed_ms.
function harness.start(client, operation, arguments, opts)
  local outcome = { client = client, user = arguments[1], count = 0 }
  local began = now()
  local call, err = client:start(operation, arguments, function(res, why)
    outcome.count = outcome.count + 1
    outcome.res, outcome.err = res, why
    outcome.elapsed_ms = (now() - began) * 1000
  end, opts)
  if not call then
    outcome.count, outcome.err, outcome.elapsed_ms, outcome.refused = 1, err, 0, true
  end
  return outcome
end

--- Ticks all clients in turn until all outcomes are there, at most limit_s.
--- Returns the longest tick in ms.
function harness.run(clients, outcomes, limit_s)
  local stop = now() + (limit_s or 20)
  local longest, left = 0, #outcomes
  while left > 0 and now() < stop do
    for _, client in ipairs(clients) do
      if not client.closed and client:pending() > 0 then
        local began = now()
        client:tick()
        longest = math.max(longest, (now() - began) * 1000)
      end
    end
    left = 0
    for _, outcome in ipairs(outcomes) do
      if outcome.count == 0 then left = left + 1 end
    end
    if left > 0 then socket.sleep(0.001) end
  end
  return longest
end

--- Calls with the same client, one after the other or all at once; returns
--- their outcomes.
function harness.all(client, users, opts, limit_s)
  local outcomes = {}
  for i, user in ipairs(users) do
    outcomes[i] = harness.start(client, "offline_msg_count", { user }, opts)
  end
  harness.run({ client }, outcomes, limit_s)
  return outcomes
end

function harness.pause(seconds) socket.sleep(seconds) end

--- An emulator for rows that are told one by one, and what makes clients for it.
function harness.emulator(options)
  local e = emulator.start(options)
  return e, function(client_options) return harness.client(e, client_options) end
end

-- --------------------------------------------------------------- promises

--- Waits until there are no more than so many descriptors and threads; how many there are.
function harness.comes_back(descriptors, threads)
  local stop = now() + 10
  while true do
    local open, running = process.descriptors(), process.threads()
    if (open <= descriptors and running <= threads) or now() > stop then return open, running end
    socket.sleep(0.02)
  end
end

--- Runs a Lua program in a process of its own, with this spec's modules.
---   env       variables: { http_proxy = "..." }
---   before    shell words in front: "ulimit -n 30;"
--- Returns what it printed, as one table: lines "name value" under their names.
function harness.child(program, settings)
  settings = settings or {}
  local function quoted(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end
  local file = os.tmpname()
  local f = assert(io.open(file, "w"))
  f:write(program)
  f:close()
  local words = { settings.before or "", "env", "LUA_PATH=" .. quoted(package.path),
                  "LUA_CPATH=" .. quoted(package.cpath) }
  for name, value in pairs(settings.env or {}) do words[#words + 1] = name .. "=" .. quoted(value) end
  words[#words + 1] = quoted(harness.lua) .. " " .. file .. " 2>&1"
  local p = assert(io.popen(table.concat(words, " ")))
  local text = p:read "*a"
  p:close()
  os.remove(file)
  local result = { text = text }
  for name, value in text:gmatch "([%w_]+) ([^\n]*)\n" do result[name] = tonumber(value) or value end
  return result
end

--- When the emulator saw the requests of a user, in ms.
function harness.times(e, user)
  local times = {}
  for _, request in ipairs(e:log()) do
    if request.path:find("/users/" .. user .. "/", 1, true) then times[#times + 1] = request.time_ms end
  end
  return times
end

--- Raises when a text anywhere in the value holds the token.
function harness.no_secret(value, path)
  path = path or "value"
  if type(value) == "table" then
    for key, inner in pairs(value) do harness.no_secret(inner, path .. "." .. tostring(key)) end
  end
  if tostring(value):find(harness.token, 1, true) then error("a secret in " .. path, 2) end
end

--- The counters of a client that has nothing to do.
function harness.check_stats(client)
  local s = client:stats()
  assert.equal(0, s.in_flight)
  assert.equal(0, s.queued)
  assert.equal(s.accepted, s.ok + s.failed + s.cancelled)
  assert.equal(0, client:pending())
end

local function is_transient(kind, code)
  return kind == "network" or kind == "timeout" or kind == "server" or (kind == "bad_response" and code == "truncated")
end

--- Compares an outcome with a number, a boolean or "kind/code".
function harness.check_end(want, outcome)
  local res, err = outcome.res, outcome.err
  assert.equal(1, outcome.count, "it ended so many times")
  local got
  if err then
    got = err.kind .. (err.code and "/" .. err.code or "")
    if type(want) == "string" and not want:find("/", 1, true) then got = err.kind end
  elseif type(want) == "boolean" then
    got = res.delivered
  else
    got = res.count
  end
  assert.equal(want, got, err and tostring(err) or ("an answer: " .. tostring(got)))
  if res then assert.equal(outcome.user, res.username) end
end

-- ---------------------------------------------------------------- sections

local function wanted(row, seed)
  if type(row[3]) == "table" then return row[3][seed] end
  return row[3]
end

local function kind_of(want)
  if type(want) ~= "string" then return end
  return want:match "^[^/]+", want:match "/(.+)$"
end

local function seeds_of(row)
  if row.seeds then return row.seeds end
  local seeds = {}
  for i = 1, row.variants or (type(row[3]) == "table" and #row[3]) or 1 do seeds[i] = i end
  return seeds
end

local MODES = { "inline", "threaded" }

-- Rows that may fail for the service's sake have a client of their own: 20
-- failures in a row, and a client leaves the service alone for a while.
local function client_for(row, want, mode, e, shared, clients)
  local own = row.own or row.options or row.port or row.tls or is_transient(kind_of(want))
  if not own and shared[mode] then return shared[mode] end
  local options = { threaded = mode == "threaded" }
  for name, value in pairs(row.options or {}) do options[name] = value end
  if row.port then options.base_url = e.ports[row.port] end
  if row.tls then options.base_url, options.ca_file = e.tls_url, e.ca_file end
  if options.proxy then options.proxy = e.ports[options.proxy] or options.proxy end
  local client = harness.client(e, options)
  clients[#clients + 1] = client
  if not own then shared[mode] = client end
  return client
end

local function segment(user)
  return (user:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- How many requests the emulator has seen for each user.
function harness.requests(e)
  local seen = {}
  for _, request in ipairs(e:log()) do
    local user = request.path:match "/users/([^/]+)"
    if user then seen[user] = (seen[user] or 0) + 1 end
  end
  return seen
end

-- The operation is part of it: a row may be asked both questions.
local function key_of(row, seed, mode)
  return ("%s.%s.%s%s"):format(row[1], seed, mode, row.message and "-status" or "")
end

local function begin(rows, e, clients)
  local outcomes, shared = {}, {}
  for _, mode in ipairs(MODES) do
    for _, row in ipairs(rows) do
      for index, seed in ipairs(seeds_of(row)) do
        local user = row.user or "f." .. key_of(row, seed, mode)
        local client = client_for(row, wanted(row, index), mode, e, shared, clients)
        local outcome = row.message
          and harness.start(client, "offline_msg_status", { user, row.message })
          or harness.start(client, "offline_msg_count", { user })
        outcome.row, outcome.mode, outcome.want = row, mode, wanted(row, index)
        outcomes[#outcomes + 1] = outcome
        outcomes[key_of(row, seed, mode)] = outcome
      end
    end
  end
  return outcomes
end

local function check(outcome, e)
  local row = outcome.row
  harness.check_end(outcome.want, outcome)
  local transient = is_transient(kind_of(outcome.want))
  local most = (row.within_ms or DEADLINE_MS) + SLACK_MS
  assert.is_true(outcome.elapsed_ms <= most, "it took ms: " .. outcome.elapsed_ms)
  local most_requests = row.at_most or row.requests or (transient and 4 or 1)
  assert.is_true(outcome.requests <= most_requests, "requests seen: " .. outcome.requests)
  if most_requests > 0 then assert.is_true(outcome.requests > 0) end
  local err = outcome.err
  if row.status then assert.equal(row.status, err.http_status) end
  if row.text then
    assert.is_truthy((err.message .. "\n" .. (err.description or "")):find(row.text), tostring(err))
  end
  if err then
    assert.equal(row.message and "offline_msg_status" or "offline_msg_count", err.operation)
    assert.is_nil(tostring(err):find "[%z\1-\31\127]", "control bytes in the text")
    assert.is_true(#tostring(err) < 1000)
    if transient and err.kind ~= "timeout" and row.retryable ~= false then assert.equal(4, err.attempts) end
    if not transient and err.kind ~= "rate_limited" then assert.equal(1, err.attempts) end
    if row.retryable ~= nil then assert.equal(row.retryable, err.retryable) end
  end
  harness.no_secret(outcome.res)
  harness.no_secret(err)
  if row.check then row.check(outcome, e) end
end

--- A section: rows that run together, once, when the first is asked for.
---
---   describe("B: cut transfers", function()
---     local section = harness.section({ tls = true }, { ...rows... })
---     setup(section.run)
---     teardown(section.stop)
---     for _, case in ipairs(section.cases) do it(case.name, case.check) end
---   end)
function harness.section(emulator_options, rows)
  local e, clients, outcomes, before, longest
  local section, cases = {}, {}

  function section.run()
    e = emulator.start(emulator_options)
    clients = {}
    -- What is there once and for all counts as well: our connection to its
    -- control port, the thread that a sanitizer starts with the first one.
    e:reset()
    local first = harness.client(e, { threaded = true })
    harness.all(first, { "alice" })
    first:close()
    harness.pause(0.05)
    before = { process.descriptors(), process.threads() }
    outcomes = begin(rows, e, clients)
    longest = harness.run(clients, outcomes)
    local seen = harness.requests(e)
    for _, outcome in ipairs(outcomes) do outcome.requests = seen[segment(outcome.user)] or 0 end
  end

  function section.stop()
    for _, client in ipairs(clients) do client:close() end
    e:stop()
  end

  local function case(name, check_it)
    cases[#cases + 1] = { name = name, check = check_it }
  end

  for _, row in ipairs(rows) do
    for _, seed in ipairs(seeds_of(row)) do
      for _, mode in ipairs(MODES) do
        case(("%s: %s"):format(key_of(row, seed, mode), row[2]), function()
          check(outcomes[key_of(row, seed, mode)], e)
        end)
      end
    end
  end

  case("never held the program up", function()
    assert.is_true(longest < STALL_MS, "the longest tick, in ms: " .. longest)
  end)

  case("leaves clients whose counters add up, and who told no secret", function()
    for _, client in ipairs(clients) do
      harness.check_stats(client)
      harness.no_secret(client.seen, "events")
      harness.no_secret(tostring(client))
    end
  end)

  case("leaves clients that work", function()
    local able, good = {}, {}
    for _, outcome in ipairs(outcomes) do
      if not outcome.row.unusable and not able[outcome.client] then
        able[outcome.client] = true
        good[#good + 1] = harness.start(outcome.client, "offline_msg_count", { "alice" })
      end
    end
    harness.run(clients, good)
    for _, outcome in ipairs(good) do harness.check_end(2, outcome) end
    for _, outcome in ipairs(outcomes) do assert.equal(1, outcome.count) end
  end)

  case("leaves nothing open", function()
    for _, client in ipairs(clients) do client:close() end
    local descriptors, threads = harness.comes_back(before[1], before[2])
    assert.is_true(descriptors <= before[1], "descriptors: " .. before[1] .. " before, now " .. descriptors)
    assert.is_true(threads <= before[2], "threads: " .. before[2] .. " before, now " .. threads)
  end)

  section.cases = cases
  return section
end

return harness
