-- needs: socket
-- game_tick: a 60 Hz loop with a coroutine per player; how long did the slowest
-- frame work for the client?
--
--   AGORA_CHAT_BASE_URL=https://a61.chat.agora.io AGORA_CHAT_APP_ID=970c... \
--   AGORA_CHAT_TOKEN=007... lua examples/game_tick.lua [seconds]
--
-- AGORA_CHAT_APP_CERTIFICATE instead of a token: tokens are made here. The time
-- is what a clock shows, so a busy machine makes it longer.

local agora_chat = require "agora_chat"
local socket = require "socket"          -- for its clock and its sleep

local client, problem = agora_chat.new {
  base_url = os.getenv "AGORA_CHAT_BASE_URL",
  app_id = os.getenv "AGORA_CHAT_APP_ID",
  credentials = {
    token = os.getenv "AGORA_CHAT_TOKEN",
    app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE",
  },
  ca_file = os.getenv "AGORA_CHAT_CA_FILE",
  loop = require "agora_chat.loop.tick", -- with a thread of the client's own
}
if not client then
  io.stderr:write(tostring(problem), "\n")
  os.exit(2)
end

local FRAME_S = 1 / 60
local duration_s = tonumber(arg and arg[1]) or 3

local names = { "alice", "bob", "小明" }
local players = {}
for i = 1, 30 do
  players[i] = { id = names[i % #names + 1], online = true, next_look = i % 60 }
end

local answers, failures = 0, 0

-- Waiting is yielding to the frame: this reads like a straight line.
local function refresh_badge(player)
  local res, err = client:offline_msg_count(player.id)
  if not player.online then return end   -- time has passed: look again before touching anything
  if res then
    answers = answers + 1
    player.badge = res.count
  else
    failures = failures + 1
    print(err)
  end
end

local frames, slowest_s, sum_s = 0, 0, 0

local function frame()
  local from = socket.gettime()
  for _, player in ipairs(players) do
    if player.online and frames >= player.next_look then
      player.next_look = frames + 60     -- once a second
      coroutine.wrap(refresh_badge)(player)
    end
  end
  client:tick(8)                         -- at most 8 answers a frame
  local work_s = socket.gettime() - from
  slowest_s = math.max(slowest_s, work_s)
  sum_s = sum_s + work_s
  frames = frames + 1
end

local start = socket.gettime()
while socket.gettime() < start + duration_s do
  frame()
  -- ... the rest of the game ...
  local left_s = start + frames * FRAME_S - socket.gettime()
  if left_s > 0 then socket.sleep(left_s) end
end
for _, player in ipairs(players) do player.online = false end
client:close()                           -- ends what is still under way

print(("%d frames, %d answers, %d failures"):format(frames, answers, failures))
print(("the client's work in a frame: %.3f ms on average, %.3f ms in the slowest")
  :format(1000 * sum_s / frames, 1000 * slowest_s))
os.exit(answers > 0 and failures == 0 and 0 or 1)
