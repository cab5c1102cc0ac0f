-- sweep: how many messages wait for each user of a list, however long it is.
--
-- arguments: examples/users.txt
--
--   AGORA_CHAT_BASE_URL=https://a61.chat.agora.io AGORA_CHAT_APP_ID=970c... \
--   AGORA_CHAT_TOKEN=007... lua examples/sweep.lua --output counts.csv users.txt
--
-- Pace, retries and outages are the client's work; what is left to a program is
-- here: names in, lines out, and going on where it was interrupted.

local agora_chat = require "agora_chat"

local USAGE = [[
usage: lua sweep.lua [options] [FILE]

Asks for each user name in FILE (one in a line; without FILE or with -, standard
input) how many messages wait, and writes lines "user,count" as they come.

  --output FILE   write there instead of to standard output. Users who have a
                  line in FILE already are not asked again, so the same command
                  goes on after an interruption.
  --rate N        at most N calls a second (default 95)
  --quiet         no progress on standard error
  --help          this text

Settings from the environment: AGORA_CHAT_BASE_URL, AGORA_CHAT_APP_ID,
AGORA_CHAT_TOKEN or AGORA_CHAT_APP_CERTIFICATE; AGORA_CHAT_CA_FILE if needed.

Who fails is named on standard error and gets no line. Exit status: 0 when all
were answered, 1 when some were not, 2 when it could not begin, 130 after Ctrl-C.
]]

local SOME_FAILED, CANNOT_BEGIN, INTERRUPTED = 1, 2, 130

-- A problem that ends the program: a sentence and an exit status.
local function stop(status, text)
  error({ status = status, text = text }, 0)
end

-- ------------------------------------------------------------- command line

local VALUES = { ["--output"] = "output", ["--rate"] = "rate" }

local function read_arguments(words)
  local options, i = {}, 1
  while words[i] do
    local word = words[i]
    local name, value = word:match "^(%-%-%w+)=(.*)$"
    name = name or word
    if VALUES[name] then
      if not value then
        i = i + 1
        value = words[i]
      end
      if not value or value == "" then stop(CANNOT_BEGIN, name .. " needs a value") end
      options[VALUES[name]] = value
    elseif word == "--quiet" or word == "--help" then
      options[word:sub(3)] = true
    elseif word == "-h" then
      options.help = true
    elseif word ~= "-" and word:sub(1, 1) == "-" then
      stop(CANNOT_BEGIN, "unknown option " .. word .. "; see --help")
    elseif options.input then
      stop(CANNOT_BEGIN, "one file of names, not two; see --help")
    else
      options.input = word
    end
    i = i + 1
  end
  if options.rate then
    local rate = tonumber(options.rate)
    if not rate then stop(CANNOT_BEGIN, "--rate needs a number") end
    options.rate = rate
  end
  return options
end

-- ------------------------------------------------------------ lines of CSV

local function csv_line(user, count)
  if user:find '[,"]' or user:find "^%s" or user:find "%s$" then
    user = '"' .. user:gsub('"', '""') .. '"'
  end
  return ("%s,%.0f\n"):format(user, count)         -- %d ends at 2^31 on some Luas
end

--- The user of a line of ours; nil: it is none.
local function csv_user(line)
  local quoted = line:match '^"(.*)",%d+\r?$'
  if not quoted then return line:match '^([^,"]+),%d+\r?$' end
  local plain = quoted:gsub('""', "")
  if plain:find('"', 1, true) then return nil end
  return (quoted:gsub('""', '"'))
end

-- ------------------------------------------------------------- names, output

--- The users of an earlier run's output: a set, and how many. A last line that
--- was cut (a full disk, a lost machine) is taken out of the file.
local function read_output(path)
  local seen, count = {}, 0
  local file = io.open(path, "rb")
  if not file then return seen, count end
  local text = file:read "*a"
  file:close()
  if not text then stop(CANNOT_BEGIN, path .. ": cannot be read") end
  local number = 0
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    local user = csv_user(line)
    if not user then
      stop(CANNOT_BEGIN, ("%s: line %d is no user,count: not the output of a sweep"):format(path, number))
    end
    if not seen[user] then count = count + 1 end
    seen[user] = true
  end
  if text ~= "" and text:sub(-1) ~= "\n" then
    -- Beside it first: whatever happens meanwhile, one of the two is whole.
    local beside = path .. ".part"
    local whole, why = io.open(beside, "wb")
    if not whole then stop(CANNOT_BEGIN, why) end
    local ok
    ok, why = whole:write(text:match "^(.*\n)" or "")
    if not whole:close() or not ok then stop(CANNOT_BEGIN, why or (beside .. ": cannot be written")) end
    ok, why = os.rename(beside, path)
    if not ok then stop(CANNOT_BEGIN, why) end
  end
  return seen, count
end

--- The names to ask for, each once, and how many of them are in `seen` already.
local function read_names(path, seen)
  local file, why = io.stdin
  if path and path ~= "-" then
    file, why = io.open(path, "rb")
    if not file then stop(CANNOT_BEGIN, why) end
  end
  local names, known, before = {}, {}, 0
  local line = file:read "*l"
  if line then line = line:gsub("^\239\187\191", "") end      -- some editors begin a file so
  while line do
    local name = line:gsub("\r$", "")
    if name ~= "" and not known[name] then
      known[name] = true
      if seen[name] then before = before + 1 else names[#names + 1] = name end
    end
    line = file:read "*l"
  end
  if file ~= io.stdin then file:close() end
  return names, before
end

--- Whole lines reach the file as they come: line buffered, so that neither
--- Ctrl-C nor the end of the process leaves half of one.
local function open_output(path)
  local file, why = io.stdout
  if path then
    file, why = io.open(path, "ab")
    if not file then stop(CANNOT_BEGIN, why) end
  end
  file:setvbuf "line"
  return file
end

-- ----------------------------------------------------------------- progress

local BAR = 24                         -- characters
local LINE_EVERY_S = 5                 -- where there is no terminal
local WINDOW_S = 10                    -- the rate is that of the last so many seconds

local function is_terminal()
  local ok = os.execute "test -t 2"    -- true on newer Luas, 0 on 5.1
  return ok == true or ok == 0
end

local function clock_text(seconds)
  if seconds >= 3600 then
    return ("%d:%02d:%02d"):format(math.floor(seconds / 3600), math.floor(seconds / 60) % 60, seconds % 60)
  end
  return ("%d:%02d"):format(math.floor(seconds / 60), seconds % 60)
end

--- done: answered or failed, those of earlier runs included.
local function new_progress(total, before, options)
  local now = os.time()
  return {
    total = total, done = before, failures = 0, before = before,
    started = now, marks = { { at = now, done = before } }, said = now,
    terminal = not options.quiet and is_terminal(), quiet = options.quiet,
    drawn = 0,
  }
end

--- Calls a second in the last seconds; nil before the first is over.
local function rate_of(p, now)
  local marks = p.marks
  if now > marks[#marks].at then marks[#marks + 1] = { at = now, done = p.done } end
  while #marks > 2 and marks[2].at <= now - WINDOW_S do table.remove(marks, 1) end
  local first = marks[1]
  return now > first.at and (p.done - first.done) / (now - first.at) or nil
end

local function status_text(p, now)
  local rate = rate_of(p, now)
  local left = rate and rate > 0 and clock_text(math.ceil((p.total - p.done) / rate)) or "?"
  return ("%d/%d  %s/s  %d failed  %s left"):format(
    p.done, p.total, rate and ("%.0f"):format(rate) or "?", p.failures, left)
end

local function draw_bar(p, now)
  local part = p.total > 0 and p.done / p.total or 1
  local full = math.floor(part * BAR)
  local text = ("[%s%s] %3.0f%%  %s"):format(
    ("#"):rep(full), ("."):rep(BAR - full), math.floor(part * 100), status_text(p, now))
  io.stderr:write("\r", text, (" "):rep(p.drawn - #text))
  p.drawn = #text
end

local function show(p)
  local now = os.time()
  if p.terminal then
    if now ~= p.said or p.done % 10 == 0 or p.done == p.total then
      p.said = now
      draw_bar(p, now)
    end
  elseif not p.quiet and now >= p.said + LINE_EVERY_S then
    p.said = now
    io.stderr:write("sweep: ", status_text(p, now), "\n")
  end
end

--- A line of its own on standard error, whatever is drawn there.
local function say(p, text)
  if p.terminal and p.drawn > 0 then
    io.stderr:write("\r", (" "):rep(p.drawn), "\r")
    p.drawn = 0
  end
  io.stderr:write("sweep: ", text, "\n")
end

local function say_end(p)
  if p.quiet then return end
  if p.terminal then draw_bar(p, os.time()) io.stderr:write "\n" p.drawn = 0 end
  local seconds = os.time() - p.started
  say(p, ("%d of %d done, %d failed, in %s%s"):format(p.done - p.failures, p.total, p.failures, clock_text(seconds),
    p.before > 0 and (" (%d of them before)"):format(p.before) or ""))
end

-- ---------------------------------------------------------------- the sweep

--- Would every other user fail in the same way? A single user may be refused
--- for reasons of its own, so after the first answer only a used up plan counts.
local function is_hopeless(err, answered)
  if err.kind == "quota" then return true end
  return answered == 0 and (err.kind == "unauthorized" or err.kind == "tls"
    or (err.kind == "not_found" and err.code == "app"))
end

local function sweep(client, names, output, progress)
  local answered = 0
  for name, res, err in client:each("offline_msg_count", names, { envelope = false }) do
    if res then
      answered = answered + 1
      local ok, why = output:write(csv_line(name, res.count))
      if not ok then stop(SOME_FAILED, "cannot write: " .. tostring(why)) end
    else
      progress.failures = progress.failures + 1
      say(progress, name .. ": " .. tostring(err))
      if is_hopeless(err, answered) then stop(SOME_FAILED, "given up: the others would fail the same way") end
    end
    progress.done = progress.done + 1
    show(progress)
  end
end

local function main(words)
  local options = read_arguments(words)
  if options.help then
    io.stdout:write(USAGE)
    return 0
  end
  local client, problem = agora_chat.new {
    base_url = os.getenv "AGORA_CHAT_BASE_URL",
    app_id = os.getenv "AGORA_CHAT_APP_ID",
    credentials = {
      token = os.getenv "AGORA_CHAT_TOKEN",
      app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE",
    },
    ca_file = os.getenv "AGORA_CHAT_CA_FILE",
    rate_per_s = options.rate,
  }
  if not client then stop(CANNOT_BEGIN, tostring(problem)) end

  local seen = options.output and read_output(options.output) or {}
  local names, before = read_names(options.input, seen)
  local output = open_output(options.output)
  local progress = new_progress(#names + before, before, options)

  -- Ctrl-C raises in here: the interpreter does that. Lines are whole all the same.
  local ok, failure = pcall(sweep, client, names, output, progress)
  client:close()
  if output ~= io.stdout then output:close() end
  if not ok and type(failure) ~= "table" and not tostring(failure):find("interrupted!", 1, true) then
    error(failure, 0)
  end
  say_end(progress)
  if ok then return progress.failures > 0 and SOME_FAILED or 0 end
  if type(failure) == "table" then stop(failure.status, failure.text) end
  stop(INTERRUPTED, options.output and "interrupted; the same command goes on from here" or "interrupted")
end

local ok, status = pcall(main, arg or {})
if not ok then
  local text
  if type(status) == "table" then
    status, text = status.status, status.text
  elseif tostring(status):find("interrupted!", 1, true) then
    status, text = INTERRUPTED, "interrupted"
  else
    status, text = CANNOT_BEGIN, tostring(status)
  end
  io.stderr:write("sweep: ", text, "\n")
end
os.exit(status, true)               -- true: the Lua state too, where this Lua can
