-- chaos: hundreds of calls at once, over every fault the emulator knows, while clients come and go; checks all the
-- time what is promised always (FAULTS: each call ends once, no wrong value, deadlines, sums, nothing left, no secret).
-- `make chaos` runs it.
--
--   CHAOS_SECONDS=60  CHAOS_SEED=1  CHAOS_CALLS=200 (in flight)  CHAOS_ALL=1 (rows that fill memory or time, too)
--   CHAOS_KINDS=inline,threaded   CHAOS_RSS_KIB=8192 (0: do not look; sanitizers and valgrind keep memory)
--   CHAOS_LATE_MS=2000            how late an end may be on a busy machine, besides the longest gap between two ticks
--
-- Ends by itself. Prints what was seen, then one line; the exit status is 1 when a promise was broken.

local agora_chat = require "agora_chat"
local emulator = require "spec.emulator.client"
local process = require "spec.support.process"
local socket = require "socket"

local SECONDS = tonumber(os.getenv "CHAOS_SECONDS" or 60)
local SEED = tonumber(os.getenv "CHAOS_SEED" or os.time() % 100000)
local CALLS = tonumber(os.getenv "CHAOS_CALLS" or 200)
local RSS_KIB = tonumber(os.getenv "CHAOS_RSS_KIB" or 8192)
local LATE_MS = tonumber(os.getenv "CHAOS_LATE_MS" or 2000)
local KINDS = os.getenv "CHAOS_KINDS" or "inline,threaded"
local APP_ID = "970ca35de60c44645bbae8a215061b33"
local CLIENTS = 6
local SECRET = "secret%-of%-chaos"

math.randomseed(SEED)
local function roll(n) return math.random(1, n) end
local function chance(p) return math.random() < p end

-- ------------------------------------------------------------------- verdict

local broken, said = 0, {}

local function break_promise(what, ...)
  broken = broken + 1
  said[what] = (said[what] or 0) + 1
  if said[what] <= 3 then print("FAIL  " .. what .. ": " .. table.concat({ ... }, " ")) end
end

local function promise(good, what, ...)
  if not good then break_promise(what, ...) end
end

-- --------------------------------------------------------- what a process holds

local function collect()
  for _ = 1, 3 do collectgarbage() end
end

-- -------------------------------------------------------------------- users

-- These take so much of one machine that nothing else would be tested.
local HEAVY = { D01 = true, D02 = true, D03 = true, D06 = true }

local e = emulator.start { tls = true, max_seconds = SECONDS + 120,
                           settings = { auto_users = true, latency_ms = { 0, 20 }, seed = SEED } }

local fault_ids, variants = {}, e:faults()
for id in pairs(variants) do
  if os.getenv "CHAOS_ALL" or not HEAVY[id] then fault_ids[#fault_ids + 1] = id end
end
table.sort(fault_ids)

local function some_user()
  if chance(0.6) then return "u" .. roll(5000) end
  local id = fault_ids[roll(#fault_ids)]
  return ("f.%s.%d%s"):format(id, roll(math.max(variants[id], 3)), chance(0.3) and ".once" or "")
end

-- These say "too many" again and again, or ask for a minute; a batch has that patience, this program has not.
local PATIENT = { I14 = true, I19 = true, I20 = true }

local function some_user_of_many()
  local user = some_user()
  return PATIENT[user:match "^f%.(%u%d%d)"] and "u1" or user
end

-- J: bodies that say other numbers, rightly.
local function right_count(user, count)
  local asked = user:match "^u(%d+)$"
  if asked then return count == tonumber(asked) end
  if user:find "^f%.J" then return count ~= 999 end
  return count == 7
end

local KIND_OF_ERROR = {}
for word in ([[network timeout tls unauthorized forbidden not_found rejected rate_limited quota server
               bad_response unavailable overload cancelled closed]]):gmatch "%S+" do KIND_OF_ERROR[word] = true end

-- ------------------------------------------------------------------- clients

local clients, live, counts = {}, {}, {}
local outstanding, forgotten, made, rest_s = 0, 0, 0, 0
local gap_ms, tick_ms = 0, socket.gettime() * 1000

local function now_ms() return socket.gettime() * 1000 end

local function count(what) counts[what] = (counts[what] or 0) + 1 end

local kinds = {}
for word in KINDS:gmatch "%a+" do kinds[#kinds + 1] = word end

local function new_client()
  local tls, threaded = chance(0.4), kinds[roll(#kinds)] == "threaded"
  made = made + 1
  local client, err = agora_chat.new {
    base_url = tls and e.tls_url or e.url, ca_file = tls and e.ca_file or nil, app_id = APP_ID,
    credentials = { token = "secret-of-chaos-" .. made }, loop = require "agora_chat.loop.tick", threaded = threaded,
    timeout_ms = 1000, connect_timeout_ms = 200, attempt_timeout_ms = 300, backoff_ms = 20,
    rate_per_s = chance(0.8) and false or 500, max_in_flight = ({ 1, 8, 32, 100 })[roll(4)],
    max_queue = chance(0.2) and 20 or 10000,
    on_event = chance(0.3) and function(event) promise(event.operation, "an event has an operation") end or nil,
    on_error = function(value) break_promise("a callback raised", tostring(value)) end,
  }
  if not client then
    return break_promise("a new client", tostring(err))
  end
  count(("clients %s %s"):format(tls and "TLS" or "plain", threaded and "threaded" or "inline"))
  return { client = client, accepted = 0 }
end

-- What every end is looked at for.
local function judge(ask, res, err)
  ask.ends = ask.ends + 1
  promise(ask.ends == 1, "a call ends once", ask.user, ask.ends)
  promise(not ask.client_gone, "nobody hears of a collected client's calls", ask.user)
  outstanding = outstanding - 1
  live[ask] = nil
  local late = now_ms() - ask.at_ms - ask.timeout_ms
  promise(ask.many or late <= LATE_MS + gap_ms, "a call keeps its deadline", ask.user, late, "ms late, gap", gap_ms)
  if res then
    count "ok"
    promise(res.username == ask.user, "a result belongs to its user", ask.user, tostring(res.username))
    promise(right_count(ask.user, res.count), "no wrong value", ask.user, tostring(res.count))
    return
  end
  local text = ("%s %s %s %s"):format(tostring(err), tostring(err and err.message), tostring(err and err.description),
    tostring(err and err.value))
  promise(type(err) == "table" and KIND_OF_ERROR[err.kind], "an error of a known kind", ask.user, text)
  promise(not text:find(SECRET), "no secret in an error", text)
  count("err " .. tostring(err and err.kind))
end

local function asked(slot, user, options, many)
  local ask = { ends = 0, user = user, at_ms = now_ms(), timeout_ms = options.timeout_ms or 1000, slot = slot, many = many }
  outstanding = outstanding + 1
  live[ask] = true
  return ask
end

local function take_back(ask)
  live[ask], outstanding = nil, outstanding - 1
end

local function some_options()
  return { timeout_ms = chance(0.3) and roll(400) or nil, envelope = chance(0.5), max_attempts = chance(0.3) and roll(4) or nil }
end

local function in_coroutine(f)
  local co = coroutine.create(f)
  local ok, value = coroutine.resume(co)
  if not ok then break_promise("a coroutine runs", tostring(value)) end
end

-- The ways to ask.
local ways = {}

function ways.callback(slot)
  local user, options = some_user(), some_options()
  local ask = asked(slot, user, options)
  local call, err = slot.client:start("offline_msg_count", { user }, function(res, why) judge(ask, res, why) end, options)
  if not call then
    take_back(ask)
    count("refused " .. err.kind)
    promise(err.kind == "overload", "a start is refused only for want of room", tostring(err))
    return
  end
  ask.call = call
end

function ways.coroutine(slot)
  local user, options = some_user(), some_options()
  local ask = asked(slot, user, options)
  ask.waits = true
  in_coroutine(function() judge(ask, slot.client:offline_msg_count(user, options)) end)
end

function ways.wait_later(slot)
  local user, options = some_user(), some_options()
  local ask = asked(slot, user, options)
  ask.waits = true
  in_coroutine(function()
    local call, err = slot.client:start("offline_msg_count", { user }, nil, options)
    if not call then return judge(ask, nil, err) end
    ask.call = call
    judge(ask, call:wait())
  end)
end

function ways.batch(slot)
  local users, asks = {}, {}
  for i = 1, roll(10) do
    users[i] = some_user_of_many()
    asks[i] = asked(slot, users[i], {}, true)
    asks[i].waits = true
  end
  in_coroutine(function()
    local results, failed = slot.client:batch("offline_msg_count", users, { window = roll(6), max_pause_ms = 500 })
    for i, ask in ipairs(asks) do
      if results then judge(ask, results[i] or nil, failed[i]) else judge(ask, nil, failed) end
    end
  end)
end

-- Whatever `each` has not given when the loop is left counts as ended.
function ways.each(slot)
  if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return ways.batch(slot) end
  local asks, users = {}, {}
  for _ = 1, roll(10) do
    local user = some_user_of_many()
    if not asks[user] then
      users[#users + 1] = user
      asks[user] = asked(slot, user, {}, true)
      asks[user].waits = true
    end
  end
  in_coroutine(function()
    local iterator, _, _, sweep = slot.client:each("offline_msg_count", users, { window = roll(6), max_pause_ms = 500 })
    if iterator then
      for user, res, err in iterator do
        judge(asks[user], res, err)
        if chance(0.1) then break end
      end
      sweep:close()
    end
    for _, user in ipairs(users) do
      if asks[user].ends == 0 then take_back(asks[user]) end
    end
  end)
end

local NAMES = { "callback", "callback", "callback", "coroutine", "wait_later", "batch", "each" }

-- ------------------------------------------------------------- what is done

-- Ends of calls come only in ticks, so the sums can be looked at in between.
local function check_sums(slot)
  local s, err = slot.client:stats()
  if not s then return break_promise("stats of an open client", tostring(err)) end
  promise(s.accepted == s.ok + s.failed + s.cancelled + s.in_flight + s.queued, "the sums of stats",
    s.accepted, s.ok, s.failed, s.cancelled, s.in_flight, s.queued)
end

local function end_client(i)
  local slot = clients[i]
  if not slot then return end
  check_sums(slot)
  slot.client:close()
  clients[i] = nil
  for ask in pairs(live) do
    promise(ask.slot ~= slot, "close ends every call", ask.user)
    if ask.slot == slot then take_back(ask) end
  end
  count "closed"
end

-- Only a client that nobody waits for can be collected.
local collected = setmetatable({}, { __mode = "k" })
local function forget_client(i)
  local slot = clients[i]
  if not slot then return end
  for ask in pairs(live) do
    if ask.slot == slot and ask.waits then return end
  end
  for ask in pairs(live) do
    if ask.slot == slot then
      ask.client_gone, ask.call = true, nil
      take_back(ask)
    end
  end
  collected[slot.client] = true
  forgotten = forgotten + 1
  clients[i] = nil
  if chance(0.3) then collect() end
end

local function cancel_some()
  for ask in pairs(live) do
    if ask.call and chance(0.1) then ask.call:cancel() end
  end
end

local function disturb()
  local what = roll(8)
  if what == 1 then e:drop(roll(3), chance(0.5) and "rst" or "fin")
  elseif what == 2 then e:idle { after = chance(0.5) and "rst" or "fin" }
  elseif what == 3 then e:silent(roll(200))
  elseif what == 4 then e:dead(roll(200), "rst")
  elseif what == 5 then e:idle { send = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"data\":{\"victim\":999}}     " }
  elseif what == 6 then e:revoke("all", "expired")
  elseif what == 7 then e:silent "open"
  else e:reset(); e:set { auto_users = true, latency_ms = { 0, 20 } } end
  count "disturbances"
end

local function round(asking)
  for i = 1, CLIENTS do
    if asking and not clients[i] then clients[i] = new_client() end
    local slot = clients[i]
    if slot then
      if asking then
        for _ = 1, 4 do
          if outstanding < CALLS and not slot.client.closed then ways[NAMES[roll(#NAMES)]](slot) end
        end
      end
      local at = now_ms()
      gap_ms, tick_ms = math.max(gap_ms, at - tick_ms), at
      if chance(0.5) then slot.client:poll(chance(0.3) and roll(3) or 0) else slot.client:tick(roll(64)) end
      if chance(0.05) then check_sums(slot) end
    end
  end
end

-- A promise about time is one about this gap: the emulator's control and a garbage collection stop us, too.
local function run(seconds)
  local stop = socket.gettime() + seconds
  while socket.gettime() < stop do
    round(true)
    if chance(0.02) then cancel_some() end
    if chance(0.01) then end_client(roll(CLIENTS)) end
    if chance(0.01) then forget_client(roll(CLIENTS)) end
    if chance(0.01) then collectgarbage() end
    if chance(0.003) then disturb() end
    if chance(0.05) and clients[1] then
      made = made + 1
      clients[1].client:set_token("secret-of-chaos-" .. made, chance(0.5) and 60 or nil)
    end
  end
end

-- What is still out has its deadline, or the longest pause of a batch.
local function come_to_rest()
  local began = socket.gettime()
  local stop = began + 30
  while outstanding > 0 and socket.gettime() < stop do
    round(false)
    socket.sleep(0.001)
  end
  rest_s = rest_s + socket.gettime() - began
  for ask in pairs(live) do break_promise("a call ends", ask.user, ask.many and "(of many)" or "") end
end

local function all_closed()
  come_to_rest()
  for i = 1, CLIENTS do end_client(i) end
  collect()
end

-- ----------------------------------------------------------------- the run

print(("chaos: seed %d, %d s, %d calls at once, %s, %s"):format(SEED, SECONDS, CALLS, KINDS,
  rawget(_G, "jit") and "LuaJIT" or _VERSION))
e:reset()
e:set { auto_users = true, latency_ms = { 0, 20 } }
-- One good call, also at the end.
local function good_call(threaded)
  local client = assert(agora_chat.new { base_url = e.url, app_id = APP_ID, credentials = { token = "a-token" },
                                         threaded = threaded })
  local res, err = client:offline_msg_count("u42", { timeout_ms = 9000 })
  promise(res and res.count == 42, "a good call", tostring(err))
  client:close()
end

good_call(true)                        -- a sanitizer may start a thread of its own with the first
collect()
local fds_before, threads_before = process.descriptors(), process.threads()

run(SECONDS / 3)
all_closed()
local warm_kib = process.resident_kib()
run(SECONDS * 2 / 3)
all_closed()

local stop = socket.gettime() + 5
while (process.descriptors() > fds_before or process.threads() > threads_before) and socket.gettime() < stop do
  socket.sleep(0.05)
  collect()
end
promise(process.descriptors() <= fds_before, "no descriptor is left", process.descriptors() - fds_before)
promise(process.threads() <= threads_before, "no thread is left", process.threads() - threads_before)
promise(next(collected) == nil, "a forgotten client is collected")
local grown_kib = process.resident_kib() - warm_kib
if RSS_KIB > 0 then promise(grown_kib <= RSS_KIB, "memory is back", grown_kib, "KiB more") end

e:reset()
e:set { auto_users = true }
good_call(false)
good_call(true)
e:stop()

local names = {}
for name in pairs(counts) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do print(("      %-24s %d"):format(name, counts[name])) end
print(("      %d clients, %d of them collected; longest gap %.0f ms; came to rest in %.1f s; %d KiB grown"):format(
  made, forgotten, gap_ms, rest_s, grown_kib))
print(broken == 0 and "chaos: every promise kept" or ("chaos: promises broken: %d (seed %d)"):format(broken, SEED))
io.stdout:flush()
os.exit(broken == 0 and 0 or 1, true)
