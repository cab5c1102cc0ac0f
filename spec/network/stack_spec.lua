--- A program may run us on a thread with a small stack; 64 KiB are enough for
--- whatever an answer brings (brackets by the thousand among it).
local emulator = require "spec.emulator.client"
local programs = require "spec.support.programs"

describe("on a stack of 64 KiB", function()
  it("every spoilt answer is read, tokens are made and read", function()
    local lua = rawget(_G, "jit") and "luajit" or _VERSION:lower():gsub(" ", "")
    local e = emulator.start { settings = { auth = "any" } }
    finally(function() e:stop() end)
    local words, asked = {}, 0
    for id, variants in pairs(e:faults()) do
      if id:find "^J" then
        words[#words + 1] = ("%s=%d"):format(id, variants)
        asked = asked + 2 * variants
      end
    end
    local text = programs.run(("env LUA_PATH='%s' LUA_CPATH='%s' %s/%s/stack_host spec/support/stack_chunk.lua %s %s; echo status $?")
      :format(package.path, package.cpath, os.getenv "AGORA_CHAT_BUILD" or "build", lua, e.url, table.concat(words, " ")))
    assert.is_true(asked > 100)
    assert.equal(("ok    %d answers on a small stack\nstatus 0\n"):format(asked), text)
  end)
end)
