-- The skynet adapter on a scripted service and a skynet of the spec's own, which
-- is only its queues. In a real one: spec/network/skynet_spec.lua.
local scripted = require "spec.support.scripted"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local function new_skynet()
  local asleep, woken, forked = {}, {}, {}
  local skynet = { timers = {}, protocols = {} }

  function skynet.self() return 7 end
  function skynet.register_protocol(p)
    assert(not skynet.protocols[p.id], "taken")
    skynet.protocols[p.id] = p
  end
  function skynet.wait(token)
    assert(not asleep[token], "token duplicative")
    asleep[token] = coroutine.running()
    coroutine.yield()
  end
  function skynet.wakeup(token)
    if asleep[token] then woken[#woken + 1] = token end
  end
  function skynet.fork(f, ...)
    local arguments, count = { ... }, select("#", ...)
    forked[#forked + 1] = coroutine.create(function() f(unpack(arguments, 1, count)) end)
  end
  function skynet.timeout(_, f) skynet.timers[#skynet.timers + 1] = f end

  local function resume(co)
    local ok, err = coroutine.resume(co)
    if not ok then error(err, 0) end
  end
  --- What skynet does when a message has been handled.
  function skynet.settle()
    while woken[1] or forked[1] do
      local token = table.remove(woken, 1)
      local co = asleep[token or woken]
      if co then
        asleep[token] = nil
        resume(co)
      elseif forked[1] then
        resume(table.remove(forked, 1))
      end
    end
  end
  function skynet.message(f)
    resume(coroutine.create(f))
    skynet.settle()
  end
  function skynet.pass_10_ms()
    local timers = skynet.timers
    skynet.timers = {}
    for _, f in ipairs(timers) do skynet.message(f) end
  end
  return skynet
end

describe("loop.skynet", function()
  local skynet, loop, client

  local function load_loop(before)
    skynet = new_skynet()
    if before then before() end
    package.loaded.skynet = skynet
    package.loaded["agora_chat.loop.skynet"] = nil
    loop = require "agora_chat.loop.skynet"
    client = scripted.client { loop = loop }
  end

  -- skynet's Lua is 5.4 or newer.
  local function it_on_54(name, f)
    it(name, function()
      if not rawget(coroutine, "close") then
        pending "skynet's Lua is 5.4 or newer"
        return
      end
      load_loop()
      f()
    end)
  end

  after_each(function()
    if client then client:close() end
    package.loaded.skynet = nil
    package.loaded["agora_chat.loop.skynet"] = nil
  end)

  it_on_54("looks every 10 ms while calls are under way, and no longer", function()
    local res
    skynet.message(function() res = client:offline_msg_count "alice" end)
    assert.equal(1, #skynet.timers)
    skynet.pass_10_ms()
    assert.is_nil(res)
    assert.equal(1, #skynet.timers)
    scripted.serve(client)
    skynet.pass_10_ms()
    assert.equal(5, res.count)
    assert.equal(0, #skynet.timers)
  end)

  it_on_54("sets no timer where the thread posts, and looks when it has", function()
    local res
    client.posted = true
    skynet.message(function() res = client:offline_msg_count "alice" end)
    assert.equal(0, #skynet.timers)
    scripted.serve(client)
    skynet.message(skynet.protocols[230].dispatch)
    assert.equal(5, res.count)
    assert.equal(0, #skynet.timers)
  end)

  it_on_54("looks again after a tick that failed", function()
    local heard, res
    client.posted, client.on_error = true, function(value) heard = value end
    skynet.message(function() res = client:offline_msg_count "alice" end)
    scripted.serve(client)
    client.tick = function()
      client.tick = nil
      error("not enough memory", 0)
    end
    skynet.message(skynet.protocols[230].dispatch)
    assert.equal("not enough memory", heard)
    assert.is_nil(res)
    skynet.pass_10_ms()
    assert.equal(5, res.count)
    assert.equal(0, #skynet.timers)
  end)

  it_on_54("stays asleep until the call is done, whoever wakes it", function()
    local res, co
    skynet.message(function()
      co = coroutine.running()
      res = client:offline_msg_count "alice"
    end)
    skynet.wakeup(co)
    skynet.settle()
    assert.is_nil(res)
    scripted.serve(client)
    skynet.pass_10_ms()
    assert.equal(5, res.count)
  end)

  it_on_54("gives a callback a coroutine of its own, where it may wait", function()
    local second
    client:start("offline_msg_count", { "alice" }, function()
      second = client:offline_msg_count "bob"
    end)
    for _ = 1, 2 do
      scripted.serve(client)
      skynet.pass_10_ms()
    end
    assert.equal(3, second.count)
  end)

  it_on_54("lets a waiter close the client; the others hear of it", function()
    local kinds = {}
    skynet.message(function()
      client:offline_msg_count "alice"
      client:close()
    end)
    for i = 1, 3 do
      skynet.message(function() kinds[i] = select(2, client:offline_msg_count "bob").kind end)
    end
    scripted.serve(client, 1)
    skynet.pass_10_ms()
    assert.same({ "closed", "closed", "closed" }, kinds)
    skynet.pass_10_ms()                         -- set before the waiter ran
    assert.equal(0, #skynet.timers)
  end)

  it_on_54("refuses to wait below table.sort, and nothing is sent", function()
    local refused
    skynet.message(function()
      table.sort({ 2, 1 }, function(a, b)
        refused = select(2, client:offline_msg_count "alice")
        return a < b
      end)
    end)
    assert.equal("cannot_wait", refused.code)
    assert.equal(0, client:stats().accepted)
  end)

  it("takes another message type when the service has used the first", function()
    if not rawget(coroutine, "close") then
      pending "skynet's Lua is 5.4 or newer"
      return
    end
    load_loop(function() skynet.register_protocol { id = 230 } end)
    assert.equal("agora_chat", skynet.protocols[231].name)
  end)
end)
