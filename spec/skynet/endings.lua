-- endings: services end without closing their clients, or are killed, calls
-- under way, while other services' sockets are used. Counts what is left.
local skynet = require "skynet"
require "skynet.manager"
local socket = require "skynet.socket"

local ROUNDS = tonumber(os.getenv "AC_ROUNDS") or 6
local SERVICES, AT_ONCE, CALLS = 100, 20, 20
local PORT = tonumber(os.getenv "AC_PORT")

local function say(word, name, text) print(("spec: %s\t%s\t%s"):format(word, name, text or "")) end

local function threads_and_kb()
  local file = assert(io.open "/proc/self/status")
  local text = file:read "a"
  file:close()
  return tonumber(text:match "Threads:%s*(%d+)"), tonumber(text:match "VmRSS:%s*(%d+)")
end

--- /proc/self/fdinfo/N is there when descriptor N is.
local function descriptors()
  local count = 0
  for n = 0, 1023 do
    local file = io.open("/proc/self/fdinfo/" .. n)
    if file then
      file:close()
      count = count + 1
    end
  end
  return count
end

local function wait_until(f)
  for _ = 1, 1000 do
    if f() then return true end
    skynet.sleep(1)
  end
  return false
end

-- Somebody else's socket, in use all the time.
local echoes, wrong, ended = 0, 0, false

local function echo_service()
  local listener = socket.listen("127.0.0.1", PORT)
  socket.start(listener, function(id)
    socket.start(id)
    skynet.fork(function()
      local line = socket.readline(id)
      while line do
        socket.write(id, line .. "\n")
        line = socket.readline(id)
      end
      socket.close(id)
    end)
  end)
  return listener
end

local function use_socket()
  local id = assert(socket.open("127.0.0.1", PORT))
  while not ended do
    local text = "line " .. echoes
    socket.write(id, text .. "\n")
    if socket.readline(id) ~= text then
      wrong = wrong + 1
      break
    end
    echoes = echoes + 1
    skynet.sleep(1)
  end
  socket.close(id)
end

local WAYS = { "exit", "kill", "exit", "kill", "close" }

local function round()
  for first = 1, SERVICES, AT_ONCE do
    local left = 0
    for i = first, first + AT_ONCE - 1 do
      local worker = skynet.newservice "worker"
      left = left + 1
      skynet.fork(function()
        skynet.call(worker, "lua", "fly", CALLS, i % 7)
        local way = WAYS[i % #WAYS + 1]
        if way == "kill" then skynet.kill(worker) else skynet.send(worker, "lua", way) end
        left = left - 1
      end)
    end
    assert(wait_until(function() return left == 0 end), "workers did not start")
  end
end

--- Runs f, and says what went wrong with it.
local function check(name, f)
  local ok, err = xpcall(f, debug.traceback)
  say(ok and "ok" or "FAIL", name, ok and "" or tostring(err):gsub("%s*\n%s*", " | "))
end

skynet.start(function()
  echo_service()
  skynet.fork(use_socket)
  assert(wait_until(function() return echoes > 0 end), "no echo")
  local threads, kb = threads_and_kb()
  local fds = descriptors()
  local kb_after = {}

  check("no thread and no descriptor is left", function()
    for i = 1, ROUNDS do
      round()
      local now
      assert(wait_until(function()
        now = threads_and_kb()
        return now == threads
      end), ("%d threads, %d before"):format(now, threads))
      assert(wait_until(function()
        now = descriptors()
        return now == fds
      end), ("%d descriptors, %d before"):format(now, fds))
      kb_after[i] = select(2, threads_and_kb())
    end
  end)
  check("no memory is left", function()
    local growth = (kb_after[ROUNDS] - kb_after[ROUNDS // 2]) / (ROUNDS - ROUNDS // 2)
    assert(growth < SERVICES * 30, ("%.0f KiB more in each round of %d services"):format(growth, SERVICES))
  end)
  ended = true
  skynet.sleep(5)
  check("other services' sockets stay usable", function()
    assert(wrong == 0 and echoes > 20, ("%d echoes, %d wrong"):format(echoes, wrong))
  end)
  say("figure", "endings", ("%d services; %d threads and %d descriptors before and after; RSS %d KiB, then %s; %d echoes")
    :format(ROUNDS * SERVICES, threads, fds, kb, table.concat(kb_after, ", "), echoes))
  skynet.abort()
end)
