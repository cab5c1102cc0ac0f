--- world: runs a service of this folder in a real skynet and reads what it
--- says. SKYNET names the tree, the module is build/skynet/agora_chat/core.so
--- (make skynet).
---
---   local said = world.run("contract", { AC_WORLD = "posted" })
---   said["ok"]["names of a check"], said["FAIL"][name] = "why", said.lines
local programs = require "spec.support.programs"

local quoted = programs.quoted

local world = {}

world.tree = os.getenv "SKYNET"

local CONFIG = [[
thread = 4
harbor = 0
start = "%s"
bootstrap = "snlua bootstrap"
cpath = "$SKYNET/cservice/?.so"
lualoader = "$SKYNET/lualib/loader.lua"
luaservice = "spec/skynet/?.lua;examples/skynet/?.lua;$SKYNET/service/?.lua"
lua_path = "lua/?.lua;./?.lua;$SKYNET/lualib/?.lua;$SKYNET/lualib/?/init.lua"
lua_cpath = "build/skynet/?.so;$SKYNET/luaclib/?.so"
]]

--- Why nothing can be run; nil: it can.
function world.missing()
  if not world.tree or world.tree == "" then
    return "no SKYNET= that names a built skynet tree (make skynet-test SKYNET=tree)"
  end
  for _, path in ipairs { world.tree .. "/skynet", "build/skynet/agora_chat/core.so" } do
    local file = io.open(path)
    if not file then return "no " .. path .. " (make skynet-test SKYNET=tree)" end
    file:close()
  end
end

--- Runs it to its end, `timeout_s` at most. What it says by `say` (see
--- checks.lua) is sorted by its first word; lines has everything.
function world.run(service, env, timeout_s)
  local config = os.tmpname()
  programs.write(config, CONFIG:format(service))
  local words = { "env" }
  for name, value in pairs(env) do words[#words + 1] = name .. "=" .. quoted(value) end
  words[#words + 1] = ("timeout -k 5 %d %s %s 2>&1"):format(timeout_s or 60,
    quoted(world.tree .. "/skynet"), quoted(config))
  local pipe = assert(io.popen(table.concat(words, " ")))
  local said = { ok = {}, FAIL = {}, figure = {}, lines = {} }
  for line in pipe:lines() do
    said.lines[#said.lines + 1] = line
    local word, name, text = line:match "^spec: (%S+)\t([^\t]*)\t?(.*)$"
    if word then said[word][name] = text end
  end
  pipe:close()
  os.remove(config)
  said.text = table.concat(said.lines, "\n")
  return said
end

return world
