--- worlds: how a program runs in each world of Lua, for specs that all of them
--- have to pass; each world with the client inline and on its I/O thread.
---
---     worlds.each(function(world)
---       it("answers", function()
---         local client = world.client { base_url = e.url }
---         world.run(function() assert.equal(2, client:offline_msg_count("alice").count) end)
---       end)
---     end)
---
--- A world has
---   name, threaded
---   client(options)   a client of this world; nobody closes it
---   go(f)             begins f, where calls wait as they do there
---   run(f)            begins f, then runs until nothing is left to do; raises
---                     what f or any other task raised
---   side_by_side      tasks wait beside each other
local agora_chat = require "agora_chat"
local socket = require "socket"

local worlds = {}

worlds.is_puc_51 = _VERSION == "Lua 5.1" and rawget(_G, "jit") == nil

local APP_ID = "970ca35de60c44645bbae8a215061b33"
local PATIENCE_S = 20              -- then a world that does not come to rest is an error

-- ------------------------------------------------------------ what all share

local base = {}
base.__index = base

function base:note(value)
  self.problem = self.problem or { value }
end

--- Raises what a task or a callback raised since the last time.
function base:raise_problem()
  local problem = self.problem
  self.problem = nil
  if problem then error(problem[1], 0) end
end

function base:make_client(options)
  local all = {
    app_id = APP_ID,
    credentials = { token = "a-token-for-the-emulator" },
    rate_per_s = false,
    max_attempts = 1,
    timeout_ms = 20000,
    loop = self.loop,
    threaded = self.threaded,
    on_error = function(value) self:note(value) end,
  }
  for name, value in pairs(options) do all[name] = value end
  local client = assert(agora_chat.new(all))
  self.clients[client] = true
  return client
end

function base:busy()
  for client in pairs(self.clients) do
    if not client.closed and client:pending() > 0 then return client end
  end
end

--- Resumes a task of a world whose loop resumes it from then on.
function base.begin(_, f)
  local co = coroutine.create(f)
  local ok, value = coroutine.resume(co)
  if not ok then error(value, 0) end
  return co
end

local function too_late(from)
  if socket.gettime() - from > PATIENCE_S then error("this world did not come to rest", 0) end
end

-- ---------------------------------------------------------------- the worlds

local kinds = {}

kinds.blocking = {
  loop = require "agora_chat.loop.blocking",
  begin_task = function(_, f) f() end,
  rest = function(self)
    local from = socket.gettime()
    local client = self:busy()
    while client do
      client:poll(100)
      too_late(from)
      client = self:busy()
    end
  end,
}

kinds.tick = {
  side_by_side = true,
  loop = require "agora_chat.loop.tick",
  begin_task = base.begin,
  rest = function(self)
    local from = socket.gettime()
    while self:busy() do
      local open = {}
      for client in pairs(self.clients) do
        if not client.closed then open[#open + 1] = client end
      end
      for _, client in ipairs(open) do client:tick() end
      socket.sleep(0.001)
      too_late(from)
    end
  end,
}

kinds.cqueues = {
  side_by_side = true,
  loop = require "agora_chat.loop.cqueues",
  begin_task = function(self, f)
    local cqueues = require "cqueues"
    local controller = cqueues.running() or self.controller
    if not controller then
      controller = cqueues.new()
      self.controller = controller
    end
    controller:wrap(f)
  end,
  rest = function(self)
    local controller = self.controller
    self.controller = nil
    if not controller then return end
    local ok, why = controller:loop(PATIENCE_S)
    if not ok then error(why, 0) end
    if not controller:empty() then error("this world did not come to rest", 0) end
  end,
}

kinds.luv = {
  side_by_side = true,
  loop = require "agora_chat.loop.luv",
  begin_task = base.begin,
  rest = function()
    local uv = require "luv"
    local guard, late = uv.new_timer(), false
    uv.update_time()          -- the loop's idea of now may be as old as its last run
    guard:start(PATIENCE_S * 1000, 0, function()
      late = true
      uv.stop()
    end)
    guard:unref()
    uv.run()
    guard:close()
    uv.run "nowait"
    if late then error("this world did not come to rest", 0) end
  end,
}

-- ------------------------------------------------------------------- outside

local function new_world(kind, threaded)
  local self = setmetatable({
    kind = kind,
    name = kind .. (threaded and ", threaded" or ", inline"),
    threaded = threaded,
    side_by_side = kinds[kind].side_by_side or false,
    loop = kinds[kind].loop,
    clients = setmetatable({}, { __mode = "k" }),
  }, base)
  local world = {
    kind = kind, name = self.name, threaded = threaded, side_by_side = self.side_by_side,
  }

  function world.client(options)
    return self:make_client(options)
  end

  function world.go(f)
    return kinds[kind].begin_task(self, f)
  end

  function world.rest()
    kinds[kind].rest(self)
    self:raise_problem()
  end

  function world.run(f)
    self.problem = nil
    local ended = false
    self.task = world.go(function()      -- held: where a frame ticks, nobody else holds a task
      f()
      ended = true
    end)
    world.rest()
    self.task = nil
    if not ended then error("the task did not end", 2) end
  end

  --- Lets go of what this world holds itself: what the spec holds no more can
  --- then be collected.
  function world.forget()
    self.controller = nil
  end

  return world
end

--- Calls f(world) for every world.
function worlds.each(f)
  for _, kind in ipairs { "blocking", "tick", "cqueues", "luv" } do
    f(new_world(kind, false))
    f(new_world(kind, true))
  end
end

return worlds
