--- main: an Agora Chat REST service on loopback, for tests.
---
---   lua5.4 spec/emulator/main.lua [options]      --help lists them

local here = (arg and arg[0] or ""):match("^(.*)/[^/]*$") or "."
package.path = here .. "/../?.lua;" .. package.path

local cqueues = require "cqueues"

local HELP = [[
usage: lua5.4 spec/emulator/main.lua [options]

  --port N               port of the API (default: a free one)
  --control-port N       port of the control door (default: a free one)
  --ipv6                 the API on ::1 too, same port
  --data FILE            users and messages (default: users.lua beside this)
  --token TEXT           accept only this token; may be repeated
  --app-certificate HEX  verify 007 tokens with this certificate
  --app-id HEX           the only app that exists
  --set NAME=VALUE       any setting of the control verb `set`; VALUE is JSON
  --tls                  a TLS port with a certificate of a throw-away CA
  --tls-faults           ports whose TLS is wrong in one way each
  --port-faults          ports whose TCP is wrong in one way each
  --dir DIR              where the CA file goes (default: a temporary folder)
  --parent PID           end when this process ends
  --max-seconds N        end after so long (default 3600)
]]

local FLAGS = { ["--tls"] = "tls", ["--tls-faults"] = "tls_faults",
                ["--port-faults"] = "port_faults", ["--ipv6"] = "ipv6",
                -- for client.lua, whose folder it then is
                ["--remove-dir"] = "remove_dir" }
local VALUES = { ["--port"] = "port", ["--control-port"] = "control_port",
                 ["--data"] = "data", ["--dir"] = "dir",
                 ["--app-certificate"] = "app_certificate",
                 ["--app-id"] = "app_id", ["--parent"] = "parent",
                 ["--max-seconds"] = "max_seconds" }

local function die(message)
  io.stderr:write("emulator: ", message, "\n")
  os.exit(2)
end

local function read_options(list)
  local json = require "emulator.json"
  local options, settings, i = { max_seconds = 3600 }, {}, 1
  local function value(name)
    i = i + 1
    return list[i] or die(name .. " needs a value")
  end
  while i <= #list do
    local name = list[i]
    if name == "--help" then
      io.stdout:write(HELP)
      os.exit(0)
    elseif FLAGS[name] then
      options[FLAGS[name]] = true
    elseif VALUES[name] then
      options[VALUES[name]] = value(name)
    elseif name == "--token" then
      settings.tokens = settings.tokens or {}
      table.insert(settings.tokens, value(name))
      settings.auth = "list"
    elseif name == "--set" then
      local key, text = value(name):match("^([%w_]+)=(.*)$")
      if not key then die("--set needs NAME=VALUE") end
      local decoded = json.decode(text)
      if decoded == nil then decoded = text end
      settings[key] = decoded
    else
      die("unknown option '" .. name .. "'; --help lists them")
    end
    i = i + 1
  end
  settings.app_id = options.app_id
  if options.app_certificate then
    settings.app_certificate = options.app_certificate
    settings.auth = settings.auth or "007"
  end
  options.settings = settings
  return options
end

-- Milliseconds of wall time: cqueues has a monotonic clock only, os.time()
-- whole seconds; together they give a clock that is never ahead.
local function new_clock()
  local base
  local clock = { offset_s = function() return 0 end }
  function clock.mono_ms() return cqueues.monotime() * 1000 end
  function clock.wall_s() return os.time() + clock.offset_s() end
  function clock.wall_ms()
    local mono, now = cqueues.monotime(), os.time()
    if not base or math.floor(base + mono) ~= now then base = now - mono end
    return (base + mono + clock.offset_s()) * 1000
  end
  return clock
end

-- Is a process alive? /proc knows without a signal; elsewhere ask kill.
local function alive(pid)
  local f = io.open("/proc/" .. pid .. "/stat")
  if f then
    local text = f:read("*l") or ""
    f:close()
    return not text:match("^%d+ %(.*%) Z")
  end
  local ok = os.execute("kill -0 " .. pid .. " 2>/dev/null")
  return ok == true or ok == 0
end

local function run(options)
  local control = require "emulator.control"
  local logs = require "emulator.log"
  local servers = require "emulator.server"
  local services = require "emulator.service"

  local chunk, why = loadfile(options.data or here .. "/users.lua")
  if not chunk then die(why) end
  local clock = new_clock()
  local known, service = pcall(services.new, clock, chunk(),
                               options.settings)
  if not known then die(service) end
  clock.offset_s = function() return service.settings.clock_offset_s end

  local queue = cqueues.new()
  local server = servers.new(queue, service, logs.new())
  local stopped = false
  local lines = {}
  local function say(...) lines[#lines + 1] = table.concat({ ... }) end

  local function api(conn) server:serve(conn) end
  local http = assert(server:listen("http", "127.0.0.1",
                                    tonumber(options.port or 0), api))
  if options.ipv6 then
    assert(server:listen("http6", "::1", http.port, api))
  end
  local door = assert(server:listen("control", "127.0.0.1",
    tonumber(options.control_port or 0),
    function(conn) control.serve(server, conn) end))
  door.quiet = true
  say("listening on http://127.0.0.1:", http.port)
  say("control on http://127.0.0.1:", door.port)

  if not require "emulator.connection".can_reset then
    say("note: without LuaSocket an RST is a FIN")
  end

  local clean_up = {}
  if options.tls or options.tls_faults then
    require "emulator.tls".open(server, options, api, say, clean_up)
  end
  if options.port_faults then
    require "emulator.ports".open(server, say)
  end
  say("ready")
  io.stdout:write(table.concat(lines, "\n"), "\n")
  io.stdout:flush()

  function server.stop() stopped = true end
  local deadline = cqueues.monotime() + tonumber(options.max_seconds)
  queue:wrap(function()
    while not stopped do
      cqueues.sleep(0.25)
      if cqueues.monotime() > deadline
         or options.parent and not alive(options.parent) then
        stopped = true
      end
    end
  end)
  while not stopped do
    local ok, err = queue:step(0.5)
    if not ok then
      io.stderr:write("emulator: ", tostring(err), "\n")
    end
  end
  for _, clean in ipairs(clean_up) do clean() end
  if options.remove_dir then
    for _, file in ipairs { "/out", "/err", "" } do
      os.remove(options.dir .. file)
    end
  end
end

local options = read_options(arg)
local ok, err = xpcall(function() run(options) end, debug.traceback)
if not ok then die(tostring(err)) end
os.exit(0)
