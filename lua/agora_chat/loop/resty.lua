--- resty: inside nginx with ngx_lua (OpenResty), on the I/O thread.
---
--- A light thread that waits sleeps on a semaphore of its own for 1 to 5 ms and
--- then looks itself, for everybody: whatever has come is taken, and its owner
--- woken. There is no descriptor, no timer and no leader; whoever is ended from
--- outside is missed by nobody. Calls with a callback have no waiter: for them
--- one timer, the courier, looks in the same rhythm while there are any.
---
--- No closure here outlives the light thread that made it: ngx_lua gives the
--- variables of a light thread that was ended from outside to the next request
--- (openresty/lua-nginx-module issue 2312). Hence objects in fields, and
--- arguments for ngx.timer.at.

local ngx = rawget(_G, "ngx")
local found, semaphore = pcall(require, "ngx.semaphore")

-- Until an answer usually comes, naps are long: up to this part of the shortest
-- wait of late, which grows back by a part of each longer one. From then on an
-- answer is seen late by about a twentieth of the time since. At most by 5 ms,
-- always, and napping needs no clock. nginx cuts a nap below 1 ms to none at all.
local USELESS, FORGETTING = 0.95, 1 / 32
local SHORTEST_NAP_S, LONGEST_NAP_S, GROWTH = 0.001, 0.005, 1 / 20

-- ngx.timer.at may say yes, and nginx then drop the timer with a line in its
-- log (lua_max_running_timers). What has not begun after so long is asked for
-- again; so is what was refused (lua_max_pending_timers), but sooner.
local DROPPED_S, REFUSED_S = 1, 0.05

local ORPHANS_S = 0.25                -- between two looks for orphans

--- What a client has in this world, in its field `resty`.
---@class agora_chat.Resty
---@field expected table<agora_chat.Call, true>  calls that will be called back
---@field handed table<agora_chat.Call, number>  waiting for their timer, since
---@field courier integer  the number of the courier in office
---@field courier_seen number?  when it last looked; nil: there is none
---@field crowded boolean?  a timer did not come: the courier's own may be in the way
---@field checked number  when `handed` was last gone through
---@field swept number  when orphans were last looked for
---@field shortest_s number  the shortest wait of late

--- Wall time, which may be set back.
local function long_ago(then_s, now, long_s)
  return math.abs(now - then_s) >= long_s
end

-- ------------------------------------------------------ the program's own code

-- Callbacks, on_event, on_error and credentials functions run in a timer each:
-- there an error, a sleep or ngx.exit touches nobody else.

local function run(_, client, job)
  client.resty.handed[job] = nil
  client:call_back(job)                 -- once, however many timers came
end

local function hand(client, job, now)
  local ok, why = ngx.timer.at(0, run, client, job)
  client.resty.handed[job] = ok and now or now - DROPPED_S + REFUSED_S
  return ok, why
end

local function hand_again(client, now)
  local state = client.resty
  if next(state.handed) == nil or not long_ago(state.checked, now, REFUSED_S) then return end
  state.checked = now
  for job, since in pairs(state.handed) do
    if long_ago(since, now, DROPPED_S) then
      state.crowded = true
      if not hand(client, job, now) then return end
    end
  end
end

-- --------------------------------------------------------------------- looking

--- Calls whose light thread has been ended, by a client that left for example,
--- and that nobody else knows: they only take the place of others. While its
--- owner lives such a call's semaphore counts -1, one that waits.
local function drop_orphans(client, mine)
  for _, call in pairs(client.calls) do
    local waiter = call.sole and call ~= mine and call.waiter
    if waiter and waiter:count() >= 0 then
      call.waiter = nil
      call:cancel()
    end
  end
end

local ask_courier

--- What has time: timers that did not come, orphans, a courier that was dropped.
local function mend(client, mine)
  local state, now = client.resty, ngx.now()
  hand_again(client, now)
  if client.closed or not long_ago(state.swept, now, ORPHANS_S) then return end
  state.swept = now
  drop_orphans(client, mine)
  if next(state.expected) ~= nil then ask_courier(client) end
end

--- One look, for everybody. Runs none of the program's code. Mostly it finds
--- nothing, and that has to be cheap. nil: the client is closed.
local function look(client, mine)
  local ms = client:due_in_ms()
  if ms ~= -1 or not client.threaded then ms = client:tick() end
  mend(client, mine)
  return ms
end

local function next_nap(slept_s, shortest_s)
  local early_s = shortest_s * USELESS - slept_s
  local nap = early_s > 0 and early_s or SHORTEST_NAP_S - early_s * GROWTH
  return math.max(SHORTEST_NAP_S, math.min(nap, LONGEST_NAP_S))
end

-- ----------------------------------------------------------------- the courier

local function carry(_, client, number)
  local state, slept = client.resty, 0
  while state.courier == number and (next(state.expected) ~= nil or next(state.handed) ~= nil) do
    local nap = next_nap(slept, 0)
    state.courier_seen = ngx.now()
    if state.crowded then
      state.crowded = nil
      if ngx.timer.at(nap, carry, client, number) then return end     -- steps aside, and comes back
    end
    ngx.sleep(nap)
    slept = slept + nap
    look(client)
  end
  if state.courier == number then state.courier_seen = nil end
end

--- Makes sure that there is one. A courier that has not been seen for too long
--- was dropped; should it come after all, another is in office.
function ask_courier(client)
  local state, now = client.resty, ngx.now()
  if state.courier_seen and not long_ago(state.courier_seen, now, DROPPED_S) then return true end
  local ok, why = ngx.timer.at(0, carry, client, state.courier + 1)
  if not ok then return nil, "no timer for the callback: " .. why end
  state.courier = state.courier + 1
  state.courier_seen = now
  return true
end

-- -------------------------------------------------------------------- the loop

local probe                             -- nobody ever posts to it

---@type agora_chat.Loop
local loop = { threaded = true }

function loop.attach(client)
  if not (ngx and ngx.get_phase and found) then
    return nil, "loop.resty works inside nginx with ngx_lua and lua-resty-core only"
  end
  if ngx.get_phase() == "init" then
    return nil, "a client made in init_by_lua would stay behind when nginx forks its workers; "
      .. "make one in each worker, in init_worker_by_lua or on first use"
  end
  local now = ngx.now()
  client.resty = { expected = {}, handed = {}, courier = 0, checked = now, swept = now, shortest_s = 0 }
  return true
end

--- A wait of 0 s never waits, but asks nginx whether one might. (Below a C
--- function, such as table.sort or require, it says yes, and waiting then raises
--- as ngx.sleep does: "attempt to yield across C-call boundary".)
function loop.admit(client, call)
  if call.callback then return ask_courier(client) end
  probe = probe or semaphore.new()
  local _, why = probe:wait(0)
  if why ~= "timeout" then
    return nil, why .. "; here use client:start with a callback, or ngx.timer.at"
  end
  return true
end

function loop.started(client, call)
  if call.callback and call.id and not call.done then client.resty.expected[call] = true end
end

function loop.wait(client, call)
  local state, mine, slept, began = client.resty, semaphore.new(), 0, ngx.now()
  call.waiter = mine
  repeat
    local nap = next_nap(slept, state.shortest_s)
    local woken, why = mine:wait(nap)
    if not woken then
      if why ~= "timeout" then error(why, 0) end      -- it would spin for ever
      slept = slept + nap
      if not look(client, call) and not call.done then return end
    end
  until call.done
  local took, shortest = math.max(ngx.now() - began, 0), state.shortest_s      -- the clock may be set
  state.shortest_s = math.min(took, shortest + (took - shortest) * FORGETTING)
end

function loop.wake(_, call)
  call.waiter:post()
end

--- The last refusal is the caller's to deal with: nobody looks any more.
function loop.spawn(client, job)
  client.resty.expected[job] = nil
  local ok, why = hand(client, job, ngx.now())
  if ok or not client.closed then return end
  client.resty.handed[job] = nil
  error("no timer for the callback: " .. why, 0)
end

return loop
