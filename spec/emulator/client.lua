--- client: starts, steers and stops an emulator from a spec.
---
---   local emulator = require "spec.emulator.client"
---   local e = emulator.start { tls = true }
---   e:user("alice", { messages = { { id = "1029457500870543736" } } })
---   ... talk to e.url, or to e.tls_url with e.ca_file ...
---   assert.equal(1, #e:log())
---   e:stop()
---
--- Blocking, needs LuaSocket, works on Lua 5.1, 5.4 and LuaJIT. Everything
--- raises when it fails: a spec cannot go on without its server anyway.

local socket = require "socket"

local name = ... or "spec.emulator.client"
local json = require((name:gsub("client$", "json")))

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."

local Emulator = {}
Emulator.__index = Emulator

local client = {}

local function quoted(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local function read_file(path)
  local f = io.open(path)
  if not f then return "" end
  local text = f:read("*a") or ""       -- of /proc: its process may just have gone
  f:close()
  return text
end

local FLAGS = { tls = "--tls", tls_faults = "--tls-faults",
                port_faults = "--port-faults", ipv6 = "--ipv6" }
local VALUES = { port = "--port", control_port = "--control-port",
                 data = "--data", app_id = "--app-id",
                 app_certificate = "--app-certificate", dir = "--dir",
                 max_seconds = "--max-seconds" }

local function command_line(options, default_dir)
  local words = { quoted(options.lua or os.getenv("EMULATOR_LUA")
                         or "lua5.4"), quoted(here .. "/main.lua") }
  local function add(...)
    for _, word in ipairs { ... } do words[#words + 1] = quoted(word) end
  end
  for key, value in pairs(options) do
    if FLAGS[key] then
      if value then add(FLAGS[key]) end
    elseif VALUES[key] then
      add(VALUES[key], value)
    elseif key == "tokens" then
      for _, text in ipairs(value) do add("--token", text) end
    elseif key == "settings" then
      for k, v in pairs(value) do add("--set", k .. "=" .. json.encode(v)) end
    elseif key ~= "lua" and key ~= "timeout_s" then
      error("unknown option '" .. tostring(key) .. "'", 3)
    end
  end
  if not options.dir then
    words[#words + 1] = '--remove-dir --dir "' .. default_dir .. '"'
  end
  return table.concat(words, " ")
end

local function alive(pid)
  if read_file("/proc/self/stat") == "" then          -- not Linux
    local ok = os.execute("kill -0 " .. pid .. " 2>/dev/null")
    return ok == true or ok == 0
  end
  local stat = read_file("/proc/" .. pid .. "/stat")
  return stat ~= "" and not stat:match("^%d+ %(.*%) Z")
end

--- Starts one and waits until it listens.
---
--- options: tls, tls_faults, port_faults, ipv6 (true), port, control_port,
--- data, app_id, app_certificate, dir, max_seconds, tokens (list),
--- settings (see set), lua ("lua5.4"), timeout_s (10)
---@return table e  url, control_url, tls_url, ca_file, ports, pid
function client.start(options)
  options = options or {}
  -- In a shell that popen made, $PPID is this process: the emulator ends
  -- when we do, however we end.
  local shell = assert(io.popen("d=$(mktemp -d) || exit 1; "
    .. command_line(options, "$d")
    .. ' --parent $PPID >"$d/out" 2>"$d/err" </dev/null & '
    .. 'echo $! "$d"'))
  local line = shell:read("*l") or ""
  shell:close()
  local pid, dir = line:match("^(%d+) (.+)$")
  assert(pid, "the emulator did not start")

  local self = setmetatable({ pid = pid, dir = dir, ports = {} }, Emulator)
  local stop = socket.gettime() + (options.timeout_s or 10)
  local text
  repeat
    text = read_file(dir .. "/out")
    local up = text:find("\nready\n", 1, true)
    if not up then
      if socket.gettime() > stop or not alive(pid) then
        local why = read_file(dir .. "/err")
        self:stop()
        error("the emulator did not start: " .. why, 2)
      end
      socket.sleep(0.01)
    end
  until up
  self.url = text:match("listening on (http://[^\n]+)")
  self.port = tonumber(self.url:match(":(%d+)$"))
  self.control_url = text:match("control on (http://[^\n]+)")
  self.control_port = tonumber(self.control_url:match(":(%d+)$"))
  self.tls_url = text:match("listening on (https://[^\n]+)")
  self.ca_file = text:match("ca file ([^\n]+)")
  for port, url in text:gmatch("port (%S+) (%S+://%S+)") do
    self.ports[port] = url
  end
  return self
end

local function exchange(self, verb, text)
  local c = self.connection
  if not c then
    c = assert(socket.connect("127.0.0.1", self.control_port))
    c:settimeout(30)
    c:setoption("tcp-nodelay", true)
    self.connection = c
  end
  assert(c:send(("POST /%s HTTP/1.1\r\nHost: control\r\n"
    .. "Content-Length: %d\r\n\r\n%s"):format(verb, #text, text)))
  local length
  repeat
    local line = assert(c:receive("*l"))
    length = tonumber(line:match("^Content%-Length: (%d+)")) or length
  until line == ""
  return assert(c:receive(length))
end

-- json.null out of an answer is nil for a spec.
local function plain(value)
  if value == json.null then return nil end
  if type(value) == "table" then
    for k, v in pairs(value) do value[k] = plain(v) end
  end
  return value
end

--- Any control verb; see README.md.
function Emulator:control(verb, body)
  if not self.pid then error("the emulator was stopped", 2) end
  local result = assert(json.decode(exchange(self, verb,
                                             json.encode(body or {}))))
  if not result.ok then error(result.message, 3) end
  return plain(result)
end

--- Settings: e:set { limit = { kind = "sliding", rate = 100 } }
function Emulator:set(settings) self:control("set", settings) end

--- One user: { online, count, refuse, messages = {{ id, delivered }} };
--- false removes it.
function Emulator:user(user, record)
  if record == nil then record = {} end
  self:control("users", { [user] = record })
end

function Emulator:users(records) self:control("users", records) end

--- u1 .. uN in one go: { prefix = "u", first = 1, count = 3000, waiting = 3 }
function Emulator:many_users(what) self:control("many_users", what) end

--- Enters or changes a message; no status removes it.
function Emulator:message(user, id, status)
  self:control("message", { user = user, id = id, status = status })
end

--- The next answers for a user ("*": for anybody), or for { user, path }.
--- e:script("alice", { { status = 503 }, { raw = "HTTP/1.1 2",
---   after = "rst" } })
function Emulator:script(target, answers)
  local script = type(target) == "table" and target or { user = target }
  self:control("script", { user = script.user, path = script.path,
                           answers = json.array(answers) })
end

function Emulator:clear_scripts() self:control("clear_scripts") end

--- Revokes a token, or "all" that were seen so far; `as`: name of the 401.
function Emulator:revoke(token, as)
  self:control("revoke", { token = token, as = as })
end

--- Refuses everything for so long, then is back on the same ports.
function Emulator:dead(ms, how)
  self:control("dead", { ms = ms, how = how })
end

--- Ends the next `count` connections as soon as they are there.
function Emulator:drop(count, how)
  self:control("drop", { count = count, how = how })
end

--- Answers nothing for so long, and closes nothing; "open": what is connected
--- now is never answered again, new connections are.
function Emulator:silent(what)
  self:control("silent", what == "open" and { open = true } or { ms = what })
end

--- What the TLS port shows new connections: "good", "expired", ...
function Emulator:certificate(kind)
  self:control("certificate", { name = kind })
end

--- On every open connection: send bytes, and/or after = "fin" | "rst".
function Emulator:idle(what) return self:control("idle", what).connections end

--- The last `limit` requests, oldest first; `brief`: time, connection, token
--- and status only.
function Emulator:log(limit, brief)
  return self:control("log", { limit = limit, brief = brief }).log
end

function Emulator:clear_log() self:control("clear_log") end

--- Numbers. answered[status] = how many; per_second = { { second, n }, ... }
function Emulator:counters()
  local counters = self:control("counters").counters
  local answered = {}
  for _, pair in ipairs(counters.answered) do answered[pair[1]] = pair[2] end
  counters.answered = answered
  return counters
end

--- { B01 = 1, J03 = 9, ... }: fault ids and how many variants they have.
function Emulator:faults() return self:control("faults").faults end

function Emulator:settings() return self:control("settings").settings end

--- Everything as after the start, with an empty log.
function Emulator:reset() self:control("reset") end

--- Ends it. Safe to call twice; leaves no process and no file behind.
function Emulator:stop()
  local pid = self.pid
  if not pid then return end
  if self.control_port then pcall(exchange, self, "shutdown", "{}") end
  if self.connection then self.connection:close() end
  self.pid, self.connection = nil, nil
  local stop = socket.gettime() + 2
  while alive(pid) and socket.gettime() < stop do
    if not self.control_port then os.execute("kill " .. pid) end
    socket.sleep(0.01)
  end
  if alive(pid) then os.execute("kill -9 " .. pid .. " 2>/dev/null") end
  os.execute("rm -rf " .. quoted(self.dir))
end

return client
