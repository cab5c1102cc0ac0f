-- love: a LÖVE game asks how many messages wait for its players; no frame waits.
--
--   AGORA_CHAT_BASE_URL=https://a61.chat.agora.io AGORA_CHAT_APP_ID=970c... \
--   AGORA_CHAT_TOKEN=007... love examples/love
--
-- AGORA_CHAT_APP_CERTIFICATE instead of a token: tokens are made here. Both
-- administer the whole app: for a tool or a server, never for a game that is
-- shipped to players. With AGORA_CHAT_SECONDS it ends by itself.

local agora_chat = require "agora_chat"

local client, badges, failures, frames
local seconds_left = tonumber(os.getenv "AGORA_CHAT_SECONDS") or math.huge
local players = { "alice", "bob", "小明" }

local function ask(name)
  local res, err = client:offline_msg_count(name)      -- yields; love.update resumes
  if not res then
    failures = failures + 1
    print(err)
  end
  badges[name] = res and res.count
end

function love.load()
  client = assert(agora_chat.new {
    base_url = os.getenv "AGORA_CHAT_BASE_URL",
    app_id = os.getenv "AGORA_CHAT_APP_ID",
    credentials = {
      token = os.getenv "AGORA_CHAT_TOKEN",
      app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE",
    },
    ca_file = os.getenv "AGORA_CHAT_CA_FILE",
    loop = require "agora_chat.loop.tick",
  })
  badges, failures, frames = {}, 0, 0
  for _, name in ipairs(players) do coroutine.wrap(ask)(name) end
end

function love.update(dt)
  client:tick(8)
  frames = frames + 1
  seconds_left = seconds_left - dt
  if seconds_left < 0 then
    love.event.quit(failures == 0 and badges[players[1]] and 0 or 1)
  end
end

function love.draw()
  for i, name in ipairs(players) do
    love.graphics.print(("%s: %s"):format(name, badges[name] or "..."), 20, 20 + 30 * i)
  end
end

function love.quit()
  client:close()
  for _, name in ipairs(players) do
    print(("%s: %s messages wait"):format(name, badges[name] or "?"))
  end
  print(("%d frames"):format(frames))
end
