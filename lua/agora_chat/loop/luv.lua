--- luv: libuv watches the client's descriptor, with one poll handle and one
--- timer, while calls are outstanding. A waiting coroutine is resumed by their
--- callbacks; the main coroutine runs the loop until its call has ended.
---
--- libuv holds its handles, and they hold the client. So they are closed, not
--- only stopped, whenever nothing is outstanding: a client that is forgotten
--- can then be collected, and its descriptor's number used again.

local uv = require "luv"
local tick = require "agora_chat.loop.tick"

local loop = { spawn = tick.spawn, wake = tick.wake }

-- Closed, and libuv has not run since. When the Lua state ends, luv 1.44 frees such
-- a handle before libuv lets go of it, and the process crashes. So its guard, which
-- is younger and therefore finalized first, takes luv's finalizer away.
local closing = {}

local function finalized(f)
  local new_proxy = rawget(_G, "newproxy")               -- Lua 5.1
  if not new_proxy then return setmetatable({}, { __gc = f }) end
  local proxy = new_proxy(true)
  getmetatable(proxy).__gc = f
  return proxy
end

local function close(handle)
  local guard
  guard = finalized(function(self)
    if closing[self] then debug.setmetatable(handle, nil) end
  end)
  closing[guard] = true
  handle:close(function() closing[guard] = nil end)
end

local function unwatch(client)
  local poll, timer = client.uv_poll, client.uv_timer
  client.uv_poll, client.uv_timer = nil, nil
  if poll then close(poll) end               -- never a stop after it: libuv aborts
  if timer then close(timer) end
end

local function arm(client)
  local due = client:due_in_ms()
  if not due or due < 0 then
    client.uv_timer:stop()
  else
    client.uv_timer:start(due, 0, client.uv_ready)
  end
end

--- Something is due. An error that leaves a callback of libuv's ends the
--- process, so none does.
local function ready(client)
  local ok, why = pcall(client.tick, client)
  if not ok then client:report(why) end
  if (client:pending() or 0) > 0 then        -- nil: closed on the way, or forked
    arm(client)
  else
    unwatch(client)
  end
end

local function watch(client)
  client.uv_ready = function() ready(client) end
  client.uv_timer = assert(uv.new_timer())
  client.uv_poll = assert(uv.new_poll(client.core:fd()))
  client.uv_poll:start("r", client.uv_ready)
end

function loop.started(client)
  if not client.uv_poll then watch(client) end
  arm(client)
end

local function on_main()
  local co, main = coroutine.running()
  return not co or main
end

function loop.admit(_, call)
  if call.callback then return true end
  if not on_main() then return tick.can_yield() end
  if uv.loop_mode() == nil then return true end          -- libuv's loop runs in wait
  return nil, "a call waits inside a callback of libuv only in a coroutine: coroutine.wrap(function() ... end)(); "
    .. "or use client:start with a callback"
end

function loop.wait(client, call)
  if not on_main() then return tick.wait(client, call) end
  while not call.done and client:pending() do uv.run "once" end      -- nil: closed or forked
end

--- Not in a forked child: its loop shares what it watches with the parent's.
function loop.detach(client)
  if not client.core:forked() then unwatch(client) end
end

return loop
