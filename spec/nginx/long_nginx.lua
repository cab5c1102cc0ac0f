local programs = require "spec.support.programs"
local server = require "spec.nginx.server"
local tls = require "spec.nginx.tls"
local upstream = require "spec.nginx.upstream"
local world = require "spec.nginx.world"

describe("200,000 requests", function()
  it("leave memory and descriptors as they were", function()
    local up = upstream.start {}
    local w = world.start { url = up.url }
    finally(function() w:stop() up:stop() end)
    local pid = w:workers()[1]

    local function until_seen(count)
      local seen
      repeat
        programs.run(("wrk -t1 -c32 -d1s http://127.0.0.1:%d/count?user=alice"):format(w.port))
        seen = tonumber(select(2, up:get "/seen"))
      until seen >= count
      return server.holdings(pid)
    end

    local before = until_seen(20000)
    local after = until_seen(200000)
    assert.is_true(after.rss_kb - before.rss_kb < 1024, after.rss_kb - before.rss_kb .. " KiB more")
    assert.is_true(after.descriptors - before.descriptors <= 2)
    assert.is_true(w:facts().calls == 0)
    assert.equal("", w:log())
  end)
end)

describe("nginx with TLS and HTTP/2 of its own", function()
  it("and a service behind TLS, new handshakes on both sides", function()
    local files = tls.make()
    local certificate = ("ssl_certificate %s; ssl_certificate_key %s; "):format(files.certificate, files.key)
    local up = upstream.start { scheme = "https", listen = "ssl", server = certificate .. "keepalive_timeout 0;" }
    local w = world.start {
      url = up.url, listen = "ssl http2", server = certificate,
      client = ("ca_file = %q,"):format(files.certificate),
      locations = [[location = /stats { content_by_lua_block { ngx.say(chat:stats().connections) } }]],
    }
    finally(function() w:stop() up:stop() files:remove() end)
    local function ask(target)
      return programs.run(("curl -sS --http2 --cacert %s --max-time 20 -w '%%{http_version}' https://localhost:%d%s"):format(
        files.certificate, w.port, target))
    end
    for _ = 1, 50 do assert.equal("3\n2", ask "/count?user=alice") end
    assert.equal("50\n2", ask "/stats")
    assert.equal("", w:log())
  end)
end)
