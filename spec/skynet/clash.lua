-- clash: a service with a message type 230 of its own.
local skynet = require "skynet"

skynet.register_protocol { name = "mine", id = 230, unpack = function() end, dispatch = function() end }

local client = require("spec.skynet.client_of").new()

skynet.start(function()
  skynet.dispatch("lua", function()
    skynet.ret(skynet.pack(client:offline_msg_count "u3"))
  end)
end)
