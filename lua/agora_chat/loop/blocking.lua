--- blocking: a plain script. Waiting is polling, on the spot.

---@type agora_chat.Loop
return {
  threaded = false,
  blocks = true,            -- never yields: a for iterator waits on Lua 5.1 too

  attach = function()
    local ngx = rawget(_G, "ngx")
    if type(ngx) == "table" and ngx.get_phase then
      return nil, "a blocking client would stop every request of this worker; inside OpenResty use "
        .. "loop = require 'agora_chat.loop.resty'"
    end
    return true
  end,

  wait = function(client, call)
    while not call.done do
      if not client:poll_inside(1000) then return end     -- closed or forked
    end
  end,
}
