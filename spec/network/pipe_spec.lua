--- SIGPIPE ends a program that does not expect it, and we leave signals alone.
local emulator = require "spec.emulator.client"
local programs = require "spec.support.programs"

describe("a program with the default SIGPIPE", function()
  local e

  setup(function() e = emulator.start { tls = true, settings = { auto_users = true } } end)
  teardown(function() e:stop() end)

  for _, url in ipairs { "url", "tls_url" } do
    for _, kind in ipairs { "inline", "threaded" } do
      it(("survives connections that the peer resets, %s, %s"):format(url == "url" and "plain" or "TLS", kind), function()
        local text = programs.run(("env --default-signal=PIPE LUA_PATH='%s' LUA_CPATH='%s' %s spec/support/pipe_program.lua %s %s %s")
          :format(package.path, package.cpath, programs.quoted(programs.interpreter()), e[url], e.ca_file, kind))
        assert.equal("100 calls\n", text)
      end)
    end
  end
end)
