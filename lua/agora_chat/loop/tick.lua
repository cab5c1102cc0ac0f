--- tick: a game frame calls client:tick(); waiting is yielding to the frame.

local isyieldable = rawget(coroutine, "isyieldable")
local is_puc_51 = _VERSION == "Lua 5.1" and rawget(_G, "jit") == nil

--- Lua 5.1 tells of a yield it cannot make only when it is made. What can be
--- seen before is a C function on the way (pcall, xpcall, sort, gsub); a
--- metamethod or a for iterator shows none. Then the yield raises, and since no
--- pcall is on the way either, the coroutine is dead: nobody wakes it.
local function has_c_frame()
  local level = 2
  local info = debug.getinfo(level, "S")
  while info do
    if info.what == "C" then return true end
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  return false
end

--- May this coroutine yield, as far as this Lua can say before it does?
---@return boolean? yes
---@return string? why_not
local function can_yield()
  local co, main = coroutine.running()
  if not co or main then
    return nil, "a call waits here only inside a coroutine; or use client:start with a callback, or client:poll"
  end
  if isyieldable then
    if isyieldable() then return true end
    return nil, "this coroutine cannot wait here, below a C function such as table.sort or string.gsub"
  end
  if is_puc_51 and has_c_frame() then
    return nil, "Lua 5.1 cannot wait inside pcall, xpcall or another C function; "
      .. "use coxpcall, or client:start with a callback"
  end
  return true
end

local loop = { threaded = true, can_yield = can_yield }

function loop.admit(_, call)
  if call.callback then return true end
  return can_yield()
end

function loop.wait(_, call)
  call.waiter = coroutine.running()
  repeat coroutine.yield() until call.done     -- others may resume it too
end

function loop.wake(client, call)
  local co = call.waiter
  if coroutine.status(co) ~= "suspended" then return end
  local ok, value = coroutine.resume(co)
  if not ok then client:report(value, debug.traceback(co, tostring(value))) end
end

--- A callback gets a coroutine of its own, so that it may wait.
function loop.spawn(client, call)
  coroutine.wrap(client.call_back)(client, call)
end

return loop
