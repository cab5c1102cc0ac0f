-- What the skynet adapter does in a real skynet, and what the module does in the
-- one moment that real skynet seldom reaches.
local emulator = require "spec.emulator.client"
local programs = require "spec.support.programs"
local world = require "spec.skynet.world"
local checks = require "spec.skynet.checks"

local build = os.getenv "AGORA_CHAT_BUILD" or "build"
local lua = rawget(_G, "jit") and "luajit" or _VERSION:lower():gsub(" ", "")

describe("skynet_send", function()
  local host = build .. "/" .. lua .. "/skynet_host"

  local function run(argument)
    local file = io.open(host)
    if not file then
      pending("no " .. host .. " (make specs-one)")
      return
    end
    file:close()
    local said = programs.run(("LUA_PATH='lua/?.lua;;' LUA_CPATH='%s/%s/?.so;;' timeout -k 1 60 %s %s %s; echo $?")
      :format(build, lua, host, "spec/support/skynet_chunk.lua", argument))
    assert.equal("0\n", said)
  end

  it("may be where the service's state is closed: nothing hangs, nothing is left", function()
    run ""
  end)

  it("may be where a finalizer closes the client by hand", function()
    run "nosy"
  end)
end)

describe("skynet", function()
  local e

  local function env(name)
    return {
      AC_WORLD = name,
      AGORA_CHAT_BASE_URL = e.url,
      AGORA_CHAT_APP_ID = "970ca35de60c44645bbae8a215061b33",
      AGORA_CHAT_TOKEN = "a-token-for-the-emulator",
    }
  end

  local missing = world.missing()
  if missing then
    it("runs real services", function() pending(missing) end)
    return
  end

  lazy_setup(function()
    e = emulator.start()
    e:many_users { prefix = "u", first = 1, count = 100 }
    e:user("slow", { count = 7 })
    e:user("hang", { count = 1 })
    e:script("slow", { { delay_ms = 400, times = 1000 } })
    e:script("hang", { { delay_ms = 30000, times = 100000 } })
  end)

  lazy_teardown(function()
    if e then e:stop() end
  end)

  for _, name in ipairs { "posted", "polled", "inline" } do
    describe("(" .. name .. ")", function()
      local said

      for _, check in ipairs(checks) do
        it(check.name, function()
          said = said or world.run("contract", env(name))
          local why = said.FAIL[check.name]
          if not why and not said.ok[check.name] then why = "it was not run:\n" .. said.text end
          assert.is_nil(why)
        end)
      end

      -- AC_ROUNDS=30: 3,000 of them, and the figures are printed.
      it("ends 600 services with calls under way, and nothing of them is left", function()
        local settings = env(name)
        settings.AC_PORT = programs.free_port()
        local ended = world.run("endings", settings, 120)
        if os.getenv "AC_ROUNDS" then print(("\n%s: %s"):format(name, ended.figure.endings)) end
        local text = ("%s\n%s"):format(ended.figure.endings, ended.text)
        for _, check in ipairs {
          "no thread and no descriptor is left", "no memory is left", "other services' sockets stay usable",
        } do
          assert.is_nil(ended.FAIL[check])
          assert(ended.ok[check], text)
        end
      end)
    end)
  end
end)
