--- Whose turn it is: single calls go first, and a batch is not starved.

local simulated = require "spec.support.simulated"

local function good() return 0, 200 end

--- Who was sent, as one text: s for a single call, b for one of a batch.
local function order(world)
  local list = {}
  for i, request in ipairs(world.sent) do list[i] = request.user:sub(1, 1) end
  return table.concat(list)
end

local function submit(world, singles, batch)
  for i = 1, batch do world:submit("b" .. i, { batch = true }) end
  for i = 1, singles do world:submit("s" .. i) end
end

describe("a slot", function()
  it("goes to single calls first, but for one in five while a batch waits too", function()
    local world = simulated.new({ rate_per_s = 100, burst = 1 }, good)
    submit(world, 12, 10)
    world:run()
    assert.equal("ssssbssssbssssbbbbbbbb", order(world))
  end)

  it("is shared in the same way when places are scarce and not slots", function()
    local world = simulated.new({ max_in_flight = 1 }, function() return 10, 200 end)
    submit(world, 12, 3)
    world:run()
    assert.equal("ssssbssssbssssb", order(world))
  end)

  it("is a single call's at once when only a batch has waited before", function()
    local world = simulated.new({ rate_per_s = 100, burst = 1 }, good)
    submit(world, 0, 20)
    world:run(55)
    assert.equal("bbbbbb", order(world))
    submit(world, 2, 0)
    world:run(95)
    assert.equal("bbbbbbssbb", order(world))
  end)

  it("is nobody's debt: single calls without a batch beside them owe it nothing", function()
    local world = simulated.new({ rate_per_s = 100, burst = 1 }, good)
    submit(world, 20, 0)
    world:run(85)
    assert.equal("sssssssss", order(world))
    submit(world, 0, 5)
    world:run(125)
    assert.equal("sssssssssssss", order(world))      -- the batch waits its four
    world:run(135)
    assert.equal("sssssssssssssb", order(world))
  end)

  it("goes to who came first among equals", function()
    local world = simulated.new({ rate_per_s = 100, burst = 1 }, good)
    submit(world, 8, 4)
    world:run()
    local singles, batch = {}, {}
    for _, request in ipairs(world.sent) do
      local list = request.user:sub(1, 1) == "s" and singles or batch
      list[#list + 1] = tonumber(request.user:sub(2))
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, singles)
    assert.same({ 1, 2, 3, 4 }, batch)
  end)

  it("goes to a retry before those who have not had a turn", function()
    local world = simulated.new({ rate_per_s = 10, burst = 1 }, function(request)
      if request.user == "s1" and request.at_ms == 0 then return 0, 503 end
      return 0, 200
    end)
    submit(world, 8, 0)
    world:run()
    local place
    for i = 2, #world.sent do if world.sent[i].user == "s1" then place = i end end
    assert.is_true(place <= 3)
  end)
end)

describe("single calls beside a sweep", function()
  it("wait little, and the sweep goes on (M14)", function()
    for seed = 1, 3 do
      local world = simulated.new({ rate_per_s = 95, burst = 5, seed = seed }, function() return 150, 200 end)
      local done = 0
      local function more(_, call)
        if call then done = done + 1 end
        if world.now_ms < 30000 then world:submit("b", { batch = true, envelope = false }, more) end
      end
      for _ = 1, 32 do more() end
      local took = {}
      local function note(_, call) took[#took + 1] = call.at_ms - call.submitted_ms end
      -- 15 a second, at no regular moments
      local at = 0
      for i = 1, 450 do
        at = at + 20 + (i * 37 + seed * 11) % 94
        if at < 30000 then world:at(at, function() world:submit("s", nil, note) end) end
      end
      world:run()
      table.sort(took)
      assert.is_true(#took >= 400)
      assert.is_true(took[math.ceil(#took * 0.99)] <= 300, took[math.ceil(#took * 0.99)])
      assert.is_true(done / 30 >= 70, done / 30)
      assert.same({ ok = done + #took }, (world:tally()))
    end
  end)

  it("that take all there is leave it a fifth", function()
    local world = simulated.new({ rate_per_s = 100, burst = 1, timeout_ms = 3600000, max_queue = 100000 }, good)
    submit(world, 2000, 1000)
    world:run(9999)
    local _, batch = order(world):gsub("b", "")
    assert.equal(1000, #world.sent)
    assert.equal(200, batch)
  end)
end)
