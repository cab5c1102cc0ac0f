--- server: a real nginx for a spec, with a configuration of its own.
---
---   local server = require "spec.nginx.server"
---   local s = server.start { init_worker = [[...]], locations = [[...]] }
---   local status, body = s:get("/badge?user=alice")
---   s:reload()  s:quit()  s:stop()
---
--- Debian's nginx with libnginx-mod-http-lua, or the OpenResty tree that
--- OPENRESTY= names. Everything lives in a folder that goes away at the end.
--- Blocking, needs LuaSocket.

local programs = require "spec.support.programs"
local socket = require "socket"

local run, read_file, write_file = programs.run, programs.read, programs.write

-- No nginx outlives a spec that was killed for longer.
local LONGEST_LIFE_S = 300

local Server = {}
Server.__index = Server

local server = { methods = Server }

local function here()
  return (run("pwd"):gsub("\n$", ""))
end

local function binary()
  local tree = os.getenv("OPENRESTY")
  if tree and tree ~= "" then return tree .. "/nginx/sbin/nginx", "" end
  local path = run("command -v nginx || ls /usr/sbin/nginx"):match("^(/[^\n]+)\n")
  if not path then return nil end
  local modules = "/usr/share/nginx/modules/"
  return path, "load_module " .. modules .. "ndk_http_module.so;\nload_module "
    .. modules .. "ngx_http_lua_module.so;\n"
end

local CONF = [[
%(modules)user %(user);
worker_processes %(workers);
daemon %(daemon);
pid %(dir)/nginx.pid;
error_log %(dir)/error.log %(log_level);
%(main)
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %(dir)/body;
  proxy_temp_path %(dir)/proxy;
  fastcgi_temp_path %(dir)/fastcgi;
  uwsgi_temp_path %(dir)/uwsgi;
  scgi_temp_path %(dir)/scgi;
  lua_package_path "%(root)/lua/?.lua;%(root)/?.lua;;";
  lua_package_cpath "%(root)/%(build)/luajit/?.so;;";
  %(http)
  %(init)
  init_worker_by_lua_block { %(init_worker) }
  server {
    listen 127.0.0.1:%(port) %(listen) backlog=4096;
    keepalive_requests 1000000;
    %(server)
    location = /ping { content_by_lua_block { ngx.say("pong") } }
    %(locations)
  }
}
]]

--- options, all texts of configuration: init_worker, locations; http, server,
--- main, init, listen ("ssl"); workers (1), daemon (false), log_level ("warn"), env (of the
--- process: "A=1 B=2").
function server.start(options)
  local path, modules = binary()
  assert(path, "there is no nginx here")
  local dir = run("mktemp -d"):match("^(/[^\n]+)\n")
  run("chmod 755 " .. dir)
  local self = setmetatable({ dir = dir, port = programs.free_port(), path = path }, Server)
  local values = {
    modules = modules, dir = dir, root = here(), port = self.port,
    build = os.getenv("AGORA_CHAT_BUILD") or "build",
    user = run("id -un"):match("%S+") .. " " .. run("id -gn"):match("%S+"),
    workers = options.workers or 1, daemon = options.daemon and "on" or "off",
    log_level = options.log_level or "warn", main = options.main or "",
    http = options.http or "", listen = options.listen or "", server = options.server or "",
    init = options.init and "init_by_lua_block { " .. options.init .. " }" or "",
    init_worker = options.init_worker or "", locations = options.locations or "",
  }
  write_file(dir .. "/nginx.conf", (CONF:gsub("%%%(([%w_]+)%)", function(key)
    return tostring(assert(values[key], key))
  end)))
  os.execute(("%s timeout -k 5 %d %s -p %s -c %s/nginx.conf >%s/out 2>&1 </dev/null &"):format(
    options.env or "", LONGEST_LIFE_S, path, dir, dir, dir))
  local limit = socket.gettime() + 10
  repeat
    local c = socket.connect("127.0.0.1", self.port)
    if c then
      c:close()
      self.pid = tonumber(read_file(dir .. "/nginx.pid"):match("%d+"))
    else
      socket.sleep(0.02)
    end
    if socket.gettime() > limit then
      local why = read_file(dir .. "/out") .. self:log()
      self:stop()
      error("nginx did not start: " .. why, 2)
    end
  until self.pid
  return self
end

--- The error log so far.
function Server:log()
  return read_file(self.dir .. "/error.log")
end

local function connect(self)
  local c = assert(socket.connect("127.0.0.1", self.port))
  c:settimeout(20)
  c:setoption("tcp-nodelay", true)
  return c
end

local function ask(c, target)
  assert(c:send("GET " .. target .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"))
end

local function read_chunks(c)
  local parts = {}
  while true do
    local size = tonumber(assert(c:receive("*l")):match("^%x+"), 16)
    if size == 0 then
      c:receive("*l")
      return table.concat(parts)
    end
    parts[#parts + 1] = assert(c:receive(size))
    c:receive("*l")
  end
end

local function answer(c)
  local line, why = c:receive("*l")
  if not line then return nil, why end
  local status = tonumber(line:match("^HTTP/1%.1 (%d+)"))
  local length, chunked
  repeat
    line = assert(c:receive("*l"))
    local name, value = line:match("^([^:]+):%s*(.*)$")
    name = name and name:lower()
    if name == "content-length" then length = tonumber(value) end
    if name == "transfer-encoding" then chunked = true end
  until line == ""
  if chunked then return status, read_chunks(c) end
  return status, length and length > 0 and c:receive(length) or ""
end

--- One request on a connection of its own: status, body; nil, why.
function Server:get(target)
  local c = connect(self)
  ask(c, target)
  local status, body = answer(c)
  c:close()
  return status, body
end

--- Asks many at once, each on a connection of its own, and waits for no
--- answer: a list for `answers` or `abort`.
function Server:ask_all(targets)
  local connections = {}
  for i, target in ipairs(targets) do
    connections[i] = connect(self)
    ask(connections[i], target)
  end
  return connections
end

--- What they were answered: a list of { status, body } or { nil, why }.
function server.answers(connections)
  local answers = {}
  for i, c in ipairs(connections) do
    answers[i] = { answer(c) }
    c:close()
  end
  return answers
end

--- The clients leave without waiting for an answer.
function server.abort(connections)
  for _, c in ipairs(connections) do c:close() end
end

local function children(pid)
  local pids = {}
  for child in run("pgrep -P " .. pid):gmatch("%d+") do pids[#pids + 1] = tonumber(child) end
  return pids
end

--- The workers' process ids.
function Server:workers()
  return children(self.pid)
end

local function status_number(pid, name)
  return tonumber(read_file("/proc/" .. pid .. "/status"):match(name .. ":%s*(%d+)"))
end

--- What a process has: threads, resident memory, open descriptors.
function server.holdings(pid)
  local names = run(("ls /proc/%d/fd"):format(pid))
  return {
    threads = status_number(pid, "Threads"), rss_kb = status_number(pid, "VmRSS"),
    descriptors = select(2, names:gsub("%d+", "")),
  }
end

--- Waits until `condition()` holds; false when it did not within limit_s.
function server.eventually(limit_s, condition)
  local limit = socket.gettime() + limit_s
  repeat
    if condition() then return true end
    socket.sleep(0.01)
  until socket.gettime() > limit
  return false
end

local function signal(self, name)
  os.execute(("kill -%s %d"):format(name, self.pid))
end

--- New workers, the old ones leave when their work is done.
function Server:reload()
  signal(self, "HUP")
end

local function alive(pid)
  local stat = read_file("/proc/" .. pid .. "/stat")
  return stat ~= "" and not stat:match("^%d+ %(.*%) Z")
end
server.alive = alive

--- Tells nginx to leave ("QUIT": gracefully, "TERM": at once); returns the
--- seconds that took, or nil after limit_s.
function Server:leave(name, limit_s)
  local began = socket.gettime()
  signal(self, name)
  if not server.eventually(limit_s, function() return not alive(self.pid) end) then return nil end
  return socket.gettime() - began
end

--- The end, whatever state it is in.
function Server:stop()
  if self.pid and alive(self.pid) and not self:leave("TERM", 3) then
    for _, pid in ipairs(self:workers()) do os.execute("kill -KILL " .. pid .. " 2>/dev/null") end
    signal(self, "KILL")
  end
  os.execute("rm -rf " .. self.dir)
end

return server
