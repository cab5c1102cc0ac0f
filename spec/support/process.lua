--- process: what this process holds, as Linux's /proc tells it; elsewhere 0.
local process = {}

local function own_pid()
  local f = io.open "/proc/self/stat"
  if not f then return nil end
  local pid = f:read "*n"
  f:close()
  return pid
end

--- Open descriptors. The least of three: the pipe that is used to look counts
--- once or twice, as it happens.
function process.descriptors()
  local pid = own_pid()
  if not pid then return 0 end
  local least = math.huge
  for _ = 1, 3 do
    local p = assert(io.popen(("ls /proc/%d/fd 2>/dev/null | wc -l"):format(pid)))
    least = math.min(least, p:read "*n")
    p:close()
  end
  return least
end

local function status(name)
  local f = io.open "/proc/self/status"
  if not f then return 0 end
  local number = tonumber(f:read "*a":match(name .. ":%s*(%d+)"))
  f:close()
  return number
end

function process.threads() return status "Threads" end

--- Memory that is resident, in KiB.
function process.resident_kib() return status "VmRSS" end

return process
