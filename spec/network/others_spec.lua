--- Other libraries of a program may use what we use: libcurl's global state,
--- cJSON's hooks, the locale.
local emulator = require "spec.emulator.client"
local programs = require "spec.support.programs"

describe("beside another library that uses libcurl, cJSON and the locale", function()
  it("calls go on, old clients' and new ones'", function()
    if not rawget(_G, "jit") then return pending "its program needs LuaJIT's ffi" end
    local e = emulator.start { tls = true, settings = { auto_users = true, auth = "any" } }
    finally(function() e:stop() end)
    assert.equal("25 calls\n", programs.run_lua { "spec/support/others_program.lua", e.url, e.tls_url, e.ca_file })
  end)
end)
