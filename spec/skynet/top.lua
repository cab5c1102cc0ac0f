-- top: a service whose file makes a client, tries to wait while it is loaded,
-- and starts a call there.
local skynet = require "skynet"
local client = require("spec.skynet.client_of").new()

local _, at_top = client:offline_msg_count "u1"
local later
client:start("offline_msg_count", { "u5" }, function(res) later = res end)

skynet.start(function()
  skynet.dispatch("lua", function(_, _, what)
    while what == "later" and client:pending() > 0 do skynet.sleep(1) end
    skynet.ret(skynet.pack(what == "top" and at_top or later))
  end)
end)
