-- examples/sweep.lua, run as a user runs it: by itself, interrupted, killed and
-- run again.
local emulator = require "spec.emulator.client"
local programs = require "spec.support.programs"
local socket = require "socket"

local LUA = programs.interpreter()
local APP_ID = "970ca35de60c44645bbae8a215061b33"

local quoted = programs.quoted

describe("examples/sweep.lua", function()
  local e, dir
  setup(function()
    e = emulator.start { settings = { auto_users = true } }
    dir = programs.run "mktemp -d":match "[^\n]+"
  end)
  teardown(function()
    e:stop()
    os.execute("rm -rf " .. quoted(dir))
  end)
  before_each(function()
    e:reset()
    e:set { auto_users = true }
    os.execute(("rm -rf %s/*"):format(quoted(dir)))
  end)

  local function path(name) return dir .. "/" .. name end

  local function read(name) return programs.read(path(name)) end
  local function write(name, text) programs.write(path(name), text) end

  local function users(first, last)
    local list = {}
    for i = first, last do list[#list + 1] = "u" .. i end
    return table.concat(list, "\n") .. "\n"
  end

  local function lines_of(text)
    local list = {}
    for line in text:gmatch "([^\n]*)\n" do list[#list + 1] = line end
    return list
  end

  --- Starts it; where its output goes: the files `out` and `err`.
  local function start(words, settings)
    settings = settings or {}
    local environment = {
      LUA_PATH = package.path, LUA_CPATH = package.cpath,
      AGORA_CHAT_BASE_URL = settings.url or e.url, AGORA_CHAT_APP_ID = APP_ID,
      AGORA_CHAT_TOKEN = settings.token or "a-secret-token",
    }
    local line = { "env -u AGORA_CHAT_APP_CERTIFICATE -u AGORA_CHAT_CA_FILE" }
    for name, value in pairs(environment) do line[#line + 1] = name .. "=" .. quoted(value) end
    line[#line + 1] = quoted(LUA) .. " examples/sweep.lua " .. words
    local command = ("exec %s <%s >%s 2>%s"):format(table.concat(line, " "), quoted(settings.input or "/dev/null"),
      quoted(path "out"), quoted(path "err"))
    local shell = assert(io.popen(("exec 2>/dev/null; (%s) & echo $!; wait $!; echo $?"):format(command)))
    return { shell = shell, pid = shell:read "*l" }
  end

  --- Waits for its end: the exit status.
  local function ended(run)
    local status = tonumber(run.shell:read "*l")
    run.shell:close()
    return status
  end

  local function run(words, settings) return ended(start(words, settings)) end

  --- Waits until the output file has so many lines.
  local function lines_come(name, count)
    local stop = socket.gettime() + 10
    while #lines_of(read(name)) < count do
      assert(socket.gettime() < stop, "the lines do not come: " .. read "err")
      socket.sleep(0.01)
    end
  end

  -- Each user of u<first> .. u<last> has one whole line with the right number.
  local function check_whole(text, first, last)
    local seen = {}
    local lines = lines_of(text)
    assert.equal("\n", text:sub(-1))
    for _, line in ipairs(lines) do
      local user, count = line:match "^(u%d+),(%d+)$"
      assert.is_truthy(user, line)
      assert.equal(user:sub(2), count)
      assert.is_nil(seen[user], line)
      seen[user] = true
    end
    assert.equal(last - first + 1, #lines)
    for i = first, last do assert.is_true(seen["u" .. i]) end
  end

  it("reads names from a file or from standard input, and writes to standard output", function()
    write("names", users(1, 20))
    assert.equal(0, run("--quiet " .. quoted(path "names")))
    check_whole(read "out", 1, 20)
    assert.equal("", read "err")
    assert.equal(0, run("--rate 500", { input = path "names" }))
    check_whole(read "out", 1, 20)
    assert.is_truthy(read "err":find "sweep: 20 of 20 done, 0 failed")
    assert.equal(0, run("-", { input = path "names" }))
    check_whole(read "out", 1, 20)
  end)

  it("quotes names as CSV wants it, and knows them again", function()
    write("names", '\239\187\191alice\r\n\r\na,b\nsay "hi"\nplain\nplain\n小明\n')
    e:users { ["a,b"] = { count = 1 }, ['say "hi"'] = { count = 2 }, plain = { count = 9007199254740991 } }
    local command = "--output " .. quoted(path "counts") .. " " .. quoted(path "names")
    assert.equal(0, run(command))
    local lines = lines_of(read "counts")
    table.sort(lines)
    assert.same({ '"a,b",1', '"say ""hi""",2', "alice,2", "plain,9007199254740991", "小明,1" }, lines)
    e:clear_log()
    assert.equal(0, run(command))
    assert.equal(0, #e:log())
    assert.is_truthy(read "err":find "5 of them before")
  end)

  it("names who fails, writes them no line, and asks them again the next time", function()
    write("names", "u1\nbad/name\nu2\nf.I08.1\nf.I21.1\n")
    local command = ("--output=%s %s"):format(quoted(path "counts"), quoted(path "names"))
    assert.equal(1, run(command))
    local lines = lines_of(read "counts")
    table.sort(lines)
    assert.same({ "f.I21.1,7", "u1,1", "u2,2" }, lines)
    assert.is_truthy(read "err":find "sweep: bad/name: agora_chat: offline_msg_count: argument", 1)
    assert.is_truthy(read "err":find "sweep: f.I08.1: agora_chat: offline_msg_count: forbidden", 1)
    assert.is_truthy(read "err":find "3 of 5 done, 2 failed")
    assert.is_nil(read "err":find("a-secret-token", 1, true))
    e:clear_log()
    write("names", "u1\nu2\nf.I08.1\nf.I21.1\nu3\n")
    assert.equal(1, run(command))
    assert.equal(2, #e:log())                       -- f.I08.1, and the new one
    assert.equal(4, #lines_of(read "counts"))
  end)

  it("leaves a whole file after Ctrl-C, and goes on from there", function()
    if LUA:find("lua_host", 1, true) then
      pending "this interpreter does not take Ctrl-C as lua does"
      return
    end
    write("names", users(1, 150))
    e:set { latency_ms = { 20, 120 } }
    local command = ("--rate 400 --output %s %s"):format(quoted(path "counts"), quoted(path "names"))
    local running = start(command)
    lines_come("counts", 40)
    os.execute("kill -INT " .. running.pid)
    assert.equal(130, ended(running))
    assert.is_truthy(read "err":find("interrupted; the same command goes on", 1, true), read "err")
    local half = #lines_of(read "counts")
    assert.is_true(half >= 40 and half < 150)
    assert.equal("\n", read "counts":sub(-1))
    e:clear_log()
    assert.equal(0, run(command))
    check_whole(read "counts", 1, 150)
    assert.equal(150 - half, #e:log())
  end)

  it("leaves whole lines when it is killed, and mends a line that was cut", function()
    write("names", users(1, 100))
    e:set { latency_ms = { 20, 120 } }
    local command = ("--rate 400 --output %s %s"):format(quoted(path "counts"), quoted(path "names"))
    local running = start(command)
    lines_come("counts", 20)
    os.execute("kill -KILL " .. running.pid)
    ended(running)
    local text = read "counts"
    assert.equal("\n", text:sub(-1))
    write("counts", text:sub(1, -3))                -- as a full disk does it
    assert.equal(0, run(command))
    check_whole(read "counts", 1, 100)
    assert.equal("", read "counts.part")
    write("counts", "u1,")                          -- nothing but half a line
    assert.equal(0, run(command))
    check_whole(read "counts", 1, 100)
  end)

  it("does not touch a file that is no sweep's output", function()
    write("names", users(1, 3))
    write("letter", "Dear Alice,\nhow are you?\n")
    assert.equal(2, run(("--output %s %s"):format(quoted(path "letter"), quoted(path "names"))))
    assert.equal("Dear Alice,\nhow are you?\n", read "letter")
    assert.is_truthy(read "err":find "letter: line 1 is no user,count")
    assert.equal(0, #e:log())
  end)

  it("says why it cannot begin", function()
    for words, why in pairs {
      ["--outptu x"] = "unknown option %-%-outptu",
      ["--output"] = "%-%-output needs a value",
      ["--rate fast"] = "%-%-rate needs a number",
      ["--rate 0"] = "rate_per_s",
      ["one two"] = "one file of names, not two",
      ["/no/such/file"] = "No such file",
      ["--output /no/such/folder/counts"] = "No such file",
    } do
      assert.equal(2, run(words), words)
      assert.is_truthy(read "err":find(why), words .. ": " .. read "err")
    end
    assert.equal(2, run("", { url = "ftp://127.0.0.1" }))
    assert.equal(0, run "--help")
    assert.is_truthy(read "out":find "usage: lua sweep.lua")
    assert.equal(0, #e:log())
  end)

  it("does not ask a thousand users with a token that nobody takes", function()
    write("names", users(1, 1000))
    e:set { auth = "list", tokens = { "another" } }
    assert.equal(1, run(quoted(path "names")))
    assert.is_true(#e:log() <= 40)
    assert.is_truthy(read "err":find "the others would fail the same way")
    assert.equal("", read "out")
  end)

  it("shows a bar on a terminal, plain lines elsewhere", function()
    local found = os.execute "script -qec true /dev/null >/dev/null 2>&1 </dev/null"
    if found ~= true and found ~= 0 then
      pending "script(1) makes no terminal here"
      return
    end
    write("names", users(1, 30))
    write("go.sh", ("exec env LUA_PATH=%s LUA_CPATH=%s AGORA_CHAT_BASE_URL=%s AGORA_CHAT_APP_ID=%s AGORA_CHAT_TOKEN=t "
      .. "%s examples/sweep.lua --output %s %s\n"):format(quoted(package.path), quoted(package.cpath), quoted(e.url),
      APP_ID, quoted(LUA), quoted(path "counts"), quoted(path "names")))
    os.execute(("script -qec 'sh %s/go.sh' %s/typed >/dev/null 2>&1 </dev/null"):format(dir, dir))
    local typed = read "typed"
    assert.is_truthy(typed:find("\r[", 1, true), typed)
    assert.is_truthy(typed:find("[" .. ("#"):rep(24) .. "] 100%  30/30", 1, true), typed)
    check_whole(read "counts", 1, 30)
  end)
end)
