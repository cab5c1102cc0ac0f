--- programs: what specs and benches need to run other programs.
---
--- Blocking. Nothing here raises because a program failed: what it said is the
--- answer.

local programs = {}

--- A word for the shell.
function programs.quoted(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

--- What shell commands say, on both outputs.
function programs.run(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

--- The Lua that runs this spec; nil where a host gives no `arg`.
function programs.interpreter()
  local i = 0
  while arg and arg[i - 1] do i = i - 1 end
  return arg and arg[i]
end

--- What a Lua program says that runs in a process of its own, with the modules
--- of this one.
---@param words string[]  its file and arguments
---@param environment? table<string, string>
---@return string
function programs.run_lua(words, environment)
  local line = { "env", "LUA_PATH=" .. programs.quoted(package.path), "LUA_CPATH=" .. programs.quoted(package.cpath) }
  for name, value in pairs(environment or {}) do line[#line + 1] = name .. "=" .. programs.quoted(value) end
  line[#line + 1] = programs.quoted(programs.interpreter())
  for _, word in ipairs(words) do line[#line + 1] = programs.quoted(word) end
  return programs.run(table.concat(line, " "))
end

--- The exit status of a forked child that runs `check`: 0 when it did not raise.
function programs.in_child(check)
  local forker = require "forker"
  local pid = forker.fork()
  if pid == 0 then
    local ok, problem = pcall(check)
    if not ok then io.stderr:write(tostring(problem), "\n") end
    forker.leave(ok and 0 or 1)
  end
  return forker.wait(pid)
end

--- A file's bytes; "" when it is not there.
function programs.read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("*a") or ""    -- of /proc: its process may just have gone
  file:close()
  return text
end

function programs.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- A port that was free a moment ago.
function programs.free_port()
  local socket = assert(require("socket").bind("127.0.0.1", 0))
  local _, port = socket:getsockname()
  socket:close()
  return tonumber(port)
end

return programs
