--- connection: one accepted socket, and everything rude one can do with it.
---
--- RST: a closed socket sends one when SO_LINGER is on with no time. cqueues
--- has no name for that option, LuaSocket has one and can be lent a file
--- descriptor; without LuaSocket an RST becomes a plain FIN and `can_reset`
--- is false.

local cqueues = require "cqueues"
local errno = require "cqueues.errno"
local has_luasocket, luasocket = pcall(require, "socket")

local EAGAIN = errno.EAGAIN
local poll = cqueues.poll

local Connection = {}
Connection.__index = Connection

local connection = { can_reset = has_luasocket }

local function keep_code(_, _, code) return code end

function connection.new(sock, number, port)
  sock:onerror(keep_code)
  sock:setmode("bn", "bn")
  -- `seen`: calls per fault id on this connection, see F05.
  return setmetatable({ sock = sock, number = number, port = port,
                        requests = 0, seen = {}, open = true }, Connection)
end

--- Some bytes, or nil at the end. `timeout_s`: nil waits for ever.
function Connection:receive(timeout_s)
  local sock = self.sock
  while self.open do
    local bytes, err = sock:recv(-16384)
    if bytes then return bytes end
    if err ~= EAGAIN then return nil, err or "end" end
    if timeout_s then
      if poll(sock, timeout_s) ~= sock then return nil, "timeout" end
    else
      poll(sock)
    end
  end
  return nil, "closed"
end

--- Sends everything; false when the peer does not want it any more.
function Connection:send(bytes)
  local sock = self.sock
  local at, n, blocked = 1, #bytes, false
  while at <= n do
    if not self.open then return false end
    local sent, err = sock:send(bytes, at, n, "bn")
    at = at + (sent or 0)
    if at <= n or err then
      if err ~= EAGAIN then return false end
      blocked = true
      if not poll(sock, 60) then return false end
    end
  end
  if blocked then                       -- cqueues holds the tail back
    while self.open do
      local _, waiting = sock:pending()
      if waiting == 0 then return true end
      if not sock:flush("bn", 60) then return false end
    end
  end
  return self.open
end

function Connection:close()
  if self.open then
    self.open = false
    self.sock:close()
  end
end

function Connection:reset()
  if not self.open then return end
  if has_luasocket then
    local lent = luasocket.tcp()
    lent:setfd(self.sock:pollfd())
    lent:setoption("linger", { on = true, timeout = 0 })
    lent:setfd(-1)
  end
  self:close()
end

--- FIN now, and no RST later: a socket that is closed while bytes of the peer
--- wait in it sends one, so they are read away first.
function Connection:end_output()
  self.sock:shutdown("w")
  local stop = cqueues.monotime() + 1
  while self.open and cqueues.monotime() < stop do
    if not self:receive(0.1) then break end
  end
  self:close()
end

--- Says goodbye: close_notify under TLS, then FIN.
function Connection:finish()
  if self.open and self.tls then
    self.sock:shutdown("w")
    poll(0.01)
  end
  self:close()
end

--- Neither answers nor closes; ends when the peer does, or after a minute.
function Connection:hold()
  local stop = cqueues.monotime() + 60
  while self.open and cqueues.monotime() < stop do
    local bytes, why = self:receive(1)
    if not bytes and why ~= "timeout" then break end
  end
  self:close()
end

-- Plans: what to do instead of one plain answer. ----------------------------

local steps = {}

function steps.send(self, step) return self:send(step.send) end

function steps.sleep_ms(self, step)
  cqueues.sleep(step.sleep_ms / 1000)
  return self.open
end

-- The bytes in pieces of `size`, a pause between them.
function steps.drip(self, step)
  local size = step.size or 1
  for at = 1, #step.drip, size do
    if not self:send(step.drip:sub(at, at + size - 1)) then return false end
    cqueues.sleep((step.every_ms or 0) / 1000)
  end
  return true
end

-- The same bytes until the peer has enough, or `times` times; bounded all
-- the same. Others get their turn between two of them.
function steps.endless(self, step)
  for _ = 1, step.times or math.ceil(1024 ^ 3 / #step.endless) do
    if not self:send(step.endless) then return false end
    cqueues.sleep((step.every_ms or 0) / 1000)
  end
  return step.times ~= nil
end

local KINDS = { "send", "sleep_ms", "drip", "endless" }

--- Runs a plan: a list of steps, and `after`: keep (nil), fin, rst, notify,
--- hold. True when the connection is still good for another request.
function Connection:run(plan)
  for _, step in ipairs(plan) do
    for _, kind in ipairs(KINDS) do
      if step[kind] ~= nil then
        if not steps[kind](self, step) then
          self:close()
          return false
        end
      end
    end
  end
  local after = plan.after
  if after == "fin" or after == "close" then self:close()
  elseif after == "rst" or after == "reset" then self:reset()
  elseif after == "notify" then self:finish()
  elseif after == "hold" then self:hold()
  end
  return self.open
end

return connection
