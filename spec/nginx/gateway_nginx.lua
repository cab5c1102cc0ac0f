local emulator = require "spec.emulator.client"
local server = require "spec.nginx.server"

describe("examples/openresty", function()
  local e, s

  before_each(function()
    e = emulator.start()
    s = server.start {
      env = ("AGORA_CHAT_BASE_URL=%s AGORA_CHAT_APP_ID=970ca35de60c44645bbae8a215061b33 AGORA_CHAT_TOKEN=t"):format(e.url),
      main = "env AGORA_CHAT_BASE_URL; env AGORA_CHAT_APP_ID; env AGORA_CHAT_TOKEN;",
      http = "lua_shared_dict badges 1m;",
      server = "lua_check_client_abort on;",
      init = [[package.loaded.gateway = require "examples.openresty.gateway"]],
      init_worker = [[require("gateway").start()]],
      locations = [[
        location = /badge { content_by_lua_block { require("gateway").badge() } }
        location = /badges { content_by_lua_block { require("gateway").badges() } }
      ]],
    }
  end)
  after_each(function() s:stop() e:stop() end)

  local function targets(count)
    local list = {}
    for i = 1, count do list[i] = "/badge?user=alice" end
    return list
  end

  local function unread(answer)
    return answer[1] == 200 and answer[2]:match '"unread":(%d+)'
  end

  it("asks the service once for all who ask at the same time", function()
    e:set { latency_ms = 200 }
    for _, answer in ipairs(server.answers(s:ask_all(targets(20)))) do assert.equal("2", unread(answer)) end
    assert.equal(1, #e:log())
    assert.equal("2", unread { s:get "/badge?user=alice" })        -- from the cache
    assert.equal(1, #e:log())
  end)

  it("answers the others when the first to ask has left", function()
    e:set { latency_ms = 300 }
    local first = s:ask_all(targets(1))
    assert.is_true(server.eventually(5, function() return #e:log() == 1 end))
    local others = s:ask_all(targets(5))
    server.abort(first)
    for _, answer in ipairs(server.answers(others)) do assert.equal("2", unread(answer)) end
    assert.equal(1, #e:log())
  end)

  it("asks for several side by side", function()
    e:set { latency_ms = 300 }
    local began = require("socket").gettime()
    local _, body = s:get "/badges?users=alice,bob,nobody"
    assert.matches('"alice":2', body)
    assert.matches('"bob":0', body)
    assert.matches('"nobody":{"error":"not_found"}', body)
    assert.is_true(require("socket").gettime() - began < 0.85)
  end)
end)
