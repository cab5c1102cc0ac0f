--- cqueues: one pump coroutine per client does its work in the controller that
--- uses it; whoever waits for a call waits on a condition.
---
--- One client belongs to one controller at a time: the pump runs in the one in
--- which a call was last started or waited for. Outside of any controller
--- waiting is polling, on the spot. A coroutine of the program's own waits as
--- everywhere in cqueues: when it was made by cqueues.auxlib.

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local tick = require "agora_chat.loop.tick"

local loop = {}

-- Which controller the pump runs in. Weak: an abandoned controller is not kept
-- by a client that it once served.
local controllers = setmetatable({}, { __mode = "kv" })

local function is_pump(client, pump)
  return client.pump == pump and not client.closed
end

local function run_pump(client, pump)
  while is_pump(client, pump) and (client:pending() or 0) > 0 do     -- nil: forked
    local due = client:due_in_ms()
    cqueues.poll(client.pollable, client.kick, due >= 0 and due / 1000 or nil)
    if is_pump(client, pump) then client:tick() end
  end
  if client.pump == pump then client.pump = nil end
end

--- Makes sure that the client is worked on in the running controller.
local function ensure_pump(client)
  local controller = cqueues.running()
  if client.pump and (not controller or controllers[client] == controller) then
    client.kick:signal()                     -- something may be due sooner now
  elseif controller then
    local pump = {}
    client.pump = pump                       -- one in another controller ends with its next step
    controllers[client] = controller
    controller:wrap(run_pump, client, pump)
  end
end

function loop.attach(client)
  client.pollable = { pollfd = client.core:fd(), events = "r" }
  client.kick = condition.new()
  return true
end

function loop.admit(_, call)
  if call.callback or not cqueues.running() then return true end
  return tick.can_yield()
end

function loop.started(client)
  ensure_pump(client)
end

--- A callback may wait: on the pump it would wait for itself.
function loop.spawn(client, call)
  local controller = cqueues.running()
  if not controller then return client:call_back(call) end
  controller:wrap(client.call_back, client, call)
end

function loop.wait(client, call)
  if not cqueues.running() then
    while not call.done do
      if not client:poll_inside(1000) then return end            -- closed or forked
    end
    return
  end
  ensure_pump(client)                        -- it may have been started outside
  local done = condition.new()
  call.waiter = done
  while not call.done do done:wait() end     -- others may resume it too
end

function loop.wake(_, call)
  call.waiter:signal()
end

--- The descriptor is still open. cqueues has to hear of its end before: else the
--- next descriptor of the same number never becomes readable. Not in a forked
--- child: its controllers share what they watch with the parent's.
function loop.detach(client)
  if client.core:forked() then return end
  cqueues.cancel(client.pollable.pollfd)
  client.kick:signal()
end

return loop
