-- quickstart: how many messages wait for three users, have two messages been
-- delivered, and what an error looks like.
--
--   AGORA_CHAT_BASE_URL=https://a61.chat.agora.io AGORA_CHAT_APP_ID=970c... \
--   AGORA_CHAT_TOKEN=007... lua examples/quickstart.lua [user ...]
--
-- AGORA_CHAT_APP_CERTIFICATE instead of a token: tokens are made here. The
-- users and ids below are the emulator's (make demo).

local agora_chat = require "agora_chat"

local client, problem = agora_chat.new {
  base_url = os.getenv "AGORA_CHAT_BASE_URL",
  app_id = os.getenv "AGORA_CHAT_APP_ID",
  credentials = {
    token = os.getenv "AGORA_CHAT_TOKEN",
    app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE",
  },
  ca_file = os.getenv "AGORA_CHAT_CA_FILE",
}
if not client then                               -- assert would do, but for Lua 5.1's, which wants a string
  io.stderr:write(tostring(problem), "\n")
  os.exit(2)
end

-- 1. One call, one line.
local users = arg and arg[1] and arg or { "alice", "bob", "小明" }
local failures = 0
for _, name in ipairs(users) do
  local res, err = client:offline_msg_count(name)
  if res then
    print(("%s: %d messages wait"):format(name, res.count))
  else
    failures = failures + 1
    print(("%s: %s"):format(name, tostring(err)))
  end
end

-- 2. Two calls on their way together.
local ids = { "1029457500870543736", "1028442084794698104" }
local calls = {}
for i, id in ipairs(ids) do
  calls[i] = client:start("offline_msg_status", { users[1], id })
end
for i, call in ipairs(calls) do
  local res, err = call:wait()
  if not res then failures = failures + 1 end
  print(("message %s for %s: %s"):format(ids[i], users[1], res and res.status or tostring(err)))
end

-- 3. An error is an object that reads like a sentence.
local res, err = client:offline_msg_count "nobody-of-that-name"
if not res then
  print("an error: " .. err)
  print(("  kind %s, code %s, may succeed later: %s"):format(err.kind, tostring(err.code), tostring(err.retryable)))
end

client:close()
os.exit(failures == 0 and 0 or 1)
