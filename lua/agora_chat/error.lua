--- error: what makes an error object readable. The object itself is plain data
--- in raw fields, made in C; one that lost this metatable on its way through
--- skynet.pack or cjson still says everything. No __pairs: skynet.pack would
--- follow it.

local core = require "agora_chat.core"

local Error = core.error_metatable

Error.__name = "agora_chat.Error"

function Error.__tostring(err)
  return "agora_chat: " .. tostring(err.message)
end

local function text(value)
  if getmetatable(value) == Error then return tostring(value) end
  return value
end

--- "chat: " .. err, err .. "!"; with anything else Lua's own complaint.
function Error.__concat(left, right)
  return text(left) .. text(right)
end

return Error
