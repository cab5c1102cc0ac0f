--- agora_chat: a client for the offline messages of Agora Chat's REST API.
---
---   local client = assert(agora_chat.new { base_url = "https://a61.chat.agora.io",
---     app_id = "970c...", credentials = { app_certificate = cert } })
---   local res, err = client:offline_msg_count("alice")

local core = require "agora_chat.core"
local Client = require "agora_chat.client"
local Error = require "agora_chat.error"

local agora_chat = {
  version = core.version,
  app_token = core.app_token,
  user_token = core.user_token,
  read_token = core.read_token,
}

local function copy(from)
  local to = {}
  for name, value in pairs(from) do to[name] = value end
  return to
end

--- A certificate may be given as a function, so that it stands in no table of
--- the program's. It is called once, here; what it raises is not repeated,
--- because it may hold what it was about to return.
local function with_certificate(options)
  local credentials = options.credentials
  local give = type(credentials) == "table" and credentials.app_certificate
  if type(give) ~= "function" then return options end
  local ok, certificate = pcall(give)
  if not ok then
    return nil, core.error("argument", nil, "credentials.app_certificate: the function raised an error")
  end
  if type(certificate) ~= "string" then
    return nil, core.error("argument", nil, "credentials.app_certificate: the function must return a string, got "
      .. type(certificate))
  end
  options = copy(options)
  options.credentials = copy(credentials)
  options.credentials.app_certificate = certificate
  return options
end

local function check_loop(loop)
  if type(loop) ~= "table" then
    error(("loop must be a table, such as require 'agora_chat.loop.tick', got %s"):format(type(loop)), 3)
  end
  if type(loop.wait) ~= "function" then error("loop.wait must be a function", 3) end
  for _, name in ipairs { "wake", "admit", "started", "spawn", "attach", "detach" } do
    local given = loop[name]
    if given ~= nil and type(given) ~= "function" then
      error(("loop.%s must be a function, got %s"):format(name, type(given)), 3)
    end
  end
  local threaded = loop.threaded
  if threaded ~= nil and type(threaded) ~= "boolean" then
    error("loop.threaded must be a boolean, got " .. type(threaded), 3)
  end
end

--- Makes a client. Wrong types and unknown options raise; values that cannot
--- work are nil, err (kind argument), and nothing has been opened then.
---@param options agora_chat.Options
---@return agora_chat.Client? client
---@return agora_chat.Error? err
function agora_chat.new(options)
  if type(options) ~= "table" then
    error("agora_chat.new takes a table of options, got " .. type(options), 2)
  end
  local loop = options.loop
  if loop == nil then loop = require "agora_chat.loop.blocking" end
  check_loop(loop)
  local threaded = options.threaded
  if threaded == nil then threaded = loop.threaded end
  threaded = threaded and true or false         -- of another type: core.new raises, by its name

  local resolved, problem = with_certificate(options)
  if not resolved then return nil, problem end
  local ok, handle, err = pcall(core.new, resolved, threaded)
  if not ok then error(handle, 2) end
  if not handle then return nil, err end

  local client
  client, err = Client.new(handle, loop, options, threaded)
  return client, err
end

--- Is it one of ours? Also one that lost its metatable between processes.
---@return boolean
function agora_chat.is_error(value)
  if getmetatable(value) == Error then return true end
  if type(value) ~= "table" then return false end
  local kind = rawget(value, "kind")            -- raw: a strict table would raise
  return type(kind) == "string" and core.kinds[kind] == true and type(rawget(value, "message")) == "string"
end

return agora_chat
