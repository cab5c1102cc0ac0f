--- skynet: a service waits by skynet.wait; the client's I/O thread posts it a
--- message when something has ended. Where it cannot (an inline client, or a
--- process without skynet_send), the service looks every 10 ms while calls are
--- under way.
---
--- No descriptor is lent to skynet's sockets: skynet forgets a foreign
--- descriptor late, and when the client of a service that ended is collected
--- before, the number may already be another service's socket.
---
--- Nothing here yields but `wait`, so agora_chat.new may stand at the top of a
--- service's file. Coroutines of the service's own must be skynet.coroutine's,
--- as for everything that waits in skynet.

local skynet = require "skynet"

local isyieldable = rawget(coroutine, "isyieldable")
local EVERY_CS = 1                         -- skynet's ticks, 10 ms

local clients = setmetatable({}, { __mode = "k" })
local loop = { threaded = true }

local function look_later(client)
  if client.looks then return end
  client.looks = true
  skynet.timeout(EVERY_CS, function() loop.look(client) end)
end

--- The thread posts again only after everything was taken. What stops a tick
--- half-way (a service's memlimit) must not be the end of it.
local function tick(client)
  local ok, problem = pcall(client.tick, client)
  if not ok then
    look_later(client)
    client:report(problem)
  end
end

--- A look without a message, and the next one if there is still something to
--- wait for.
function loop.look(client)
  client.looks = false
  if client.closed then return end
  tick(client)
  if not client.closed and not client.posted and (client:pending() or 0) > 0 then look_later(client) end
end

local function dispatch()
  local all = {}                           -- ticking may add and remove
  for client in pairs(clients) do all[#all + 1] = client end
  for _, client in ipairs(all) do
    if not client.closed then tick(client) end
  end
end

--- A message type of our own. Which one nobody needs to know, so that one which
--- the service uses itself does no harm.
local function register()
  local problem
  for id = 230, 255 do
    local ok
    ok, problem = pcall(skynet.register_protocol, {
      name = "agora_chat", id = id, unpack = function() end, dispatch = dispatch,
    })
    if ok then return id end
  end
  error("agora_chat: skynet has no free message type: " .. tostring(problem), 0)
end

local message_type = register()

function loop.attach(client)
  clients[client] = true
  client.posted = client.core:wake_skynet(skynet.self(), message_type)
end

function loop.detach(client)
  clients[client] = nil
end

function loop.started(client)
  if not client.posted then look_later(client) end
end

function loop.admit(_, call)
  if call.callback or isyieldable() then return true end
  if select(2, coroutine.running()) then
    return nil, "a call waits here only inside skynet.start, skynet.fork or a dispatch function, "
      .. "not while the service's file is loaded"
  end
  return nil, "this coroutine cannot wait here, below a C function such as table.sort or string.gsub"
end

function loop.wait(_, call)
  local co = coroutine.running()
  call.waiter = co
  repeat skynet.wait(co) until call.done       -- others may wake it too
end

--- It runs when this message is done with; skynet knows whether it still sleeps.
function loop.wake(_, call)
  skynet.wakeup(call.waiter)
end

--- A callback gets a coroutine of its own, so that it may wait.
function loop.spawn(client, call)
  skynet.fork(client.call_back, client, call)
end

return loop
