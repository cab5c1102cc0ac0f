local programs = require "spec.support.programs"
local server = require "spec.nginx.server"
local world = require "spec.nginx.world"

-- Where one may wait. $1 of each location is the phase's own way of asking.
local WAITING = [[
  location = /rewrite {
    rewrite_by_lua_block { ngx.ctx.res, ngx.ctx.err = chat:offline_msg_count "alice" }
    content_by_lua_block { inside.say(ngx.ctx.res, ngx.ctx.err) }
  }
  location = /access {
    access_by_lua_block { ngx.ctx.res, ngx.ctx.err = chat:offline_msg_count "alice" }
    content_by_lua_block { inside.say(ngx.ctx.res, ngx.ctx.err) }
  }
  location = /timer { content_by_lua_block {
    local ready = require("ngx.semaphore").new()
    local box = { ready = ready }
    ngx.timer.at(0, function(_, where)
      where.res, where.err = chat:offline_msg_count "alice"
      where.ready:post()
    end, box)
    ready:wait(5)
    inside.say(box.res, box.err)
  } }
  location = /subrequest { content_by_lua_block { ngx.print(ngx.location.capture("/count?user=alice").body) } }
  location = /spawned { content_by_lua_block {
    local one = ngx.thread.spawn(chat.offline_msg_count, chat, "alice")
    local two = ngx.thread.spawn(chat.offline_msg_count, chat, "alice")
    local _, res, err = ngx.thread.wait(two)
    ngx.thread.wait(one)
    inside.say(res, err)
  } }
  location = /coroutine { content_by_lua_block {
    local co = coroutine.wrap(function() return chat:offline_msg_count "alice" end)
    inside.say(co())
  } }
  location = /pcall { content_by_lua_block {
    local _, res, err = pcall(function() return chat:offline_msg_count "alice" end)
    inside.say(res, err)
  } }
  location = /started { content_by_lua_block {
    local count = assert(chat:start("offline_msg_count", { "alice" }))
    local status = assert(chat:start("offline_msg_status", { "alice", "1029457500870543736" }))
    local s, why = status:wait()
    if not s then return inside.say(s, why) end
    inside.say(count:wait())
  } }
  location = /batch { content_by_lua_block {
    local results, failed, failures = chat:batch("offline_msg_count", { "alice", "bob", "nobody" })
    ngx.say(results[1].count, " ", results[2].count, " ", failed[3].kind, " ", failures)
  } }
  location = /each { content_by_lua_block {
    local sum = 0
    for _, res in chat:each("offline_msg_count", { "alice", "bob" }) do sum = sum + res.count end
    ngx.say(sum)
  } }
]]

describe("waiting", function()
  local w

  setup(function() w = world.start { locations = WAITING } end)
  teardown(function() w:stop() end)

  for _, phase in ipairs { "rewrite", "access", "timer", "subrequest", "spawned", "coroutine", "pcall", "started" } do
    it("works in: " .. phase, function()
      local status, body = w:get("/" .. phase)
      assert.equal("2\n", body)
      assert.equal(200, status)
    end)
  end

  it("works for many calls at once", function()
    assert.same({ 200, "2 0 not_found 1\n" }, { w:get "/batch" })
    assert.same({ 200, "2\n" }, { w:get "/each" })
  end)

  it("gives errors as everywhere", function()
    local status, body = w:get "/count?user=a/b"
    assert.equal(502, status)
    assert.matches("^argument/%-", body)
    assert.matches("^not_found/user", select(2, w:get "/count?user=nobody"))
  end)

  it("leaves nothing in the log", function()
    w:get "/count?user=alice"
    assert.equal("", w:log())
  end)

  it("costs nothing when nobody waits", function()
    assert.equal(200, (w:get "/count?user=alice"))
    local pid = w:workers()[1]
    local function switches()
      return tonumber(programs.read(("/proc/%d/task/%d/status"):format(pid, pid))
        :match("\nvoluntary_ctxt_switches:%s*(%d+)"))
    end
    os.execute("sleep 0.3")                       -- the connection just closed
    local before = switches()
    os.execute("sleep 3")
    assert.equal(before, switches())
  end)

  it("keeps signals away from the I/O thread, and only from it", function()
    local pid = w:workers()[1]
    local blocked = {}
    local pipe = io.popen(("ls /proc/%d/task"):format(pid))
    for tid in pipe:lines() do
      local status = programs.read(("/proc/%d/task/%s/status"):format(pid, tid))
      blocked[status:match("Name:%s*(%S+)")] = status:match("SigBlk:%s*(%x+)")
    end
    pipe:close()
    assert.equal("fffffffe7ffbfeff", blocked.agora_chat)
    assert.equal("0000000000000000", blocked.nginx)
  end)
end)

describe("a client without an I/O thread (threaded = false)", function()
  it("works too, in the worker's own thread", function()
    local w = world.start { client = "threaded = false," }
    finally(function() w:stop() end)
    assert.same({ 200, "2\n" }, { w:get "/count?user=alice" })
    assert.equal("1", tostring(server.holdings(w:workers()[1]).threads))
  end)
end)

describe("below a C function", function()
  it("raises as nginx's own functions do, and the call is given up", function()
    local w = world.start { locations = [[
      location = /gsub { content_by_lua_block {
        local ok, why = pcall(string.gsub, "x", "x", function() chat:offline_msg_count "f.E04.3000" end)
        ngx.say(tostring(ok), " ", why)
      } }
    ]] }
    finally(function() w:stop() end)
    assert.matches("^false .*attempt to yield across C%-call boundary", select(2, w:get "/gsub"))
    assert.is_true(server.eventually(2, function()
      w:get "/count?user=alice"
      return w:facts().calls == 0
    end))
  end)
end)

describe("waiting in ssl_certificate_by_lua", function()
  it("works, and shows in the handshake", function()
    local tls = require "spec.nginx.tls"
    local files = tls.make()
    local w = world.start {
      listen = "ssl",
      server = ([[
        ssl_certificate %s; ssl_certificate_key %s;
        ssl_certificate_by_lua_block {
          local res, err = chat:offline_msg_count "alice"
          inside.note(res and res.count or tostring(err))
        }
      ]]):format(files.certificate, files.key),
      locations = [[location = /said { content_by_lua_block { ngx.say(inside.said[#inside.said]) } }]],
    }
    finally(function() w:stop() files:remove() end)
    assert.equal("2\n", tls.get(w.port, "/said", files))
  end)
end)

-- Where one may not.
local REFUSING = [[
  location = /set {
    set_by_lua_block $said { local _, err = chat:offline_msg_count "alice" return err.kind .. "/" .. err.code }
    content_by_lua_block { ngx.say(ngx.var.said) }
  }
  location = /header {
    content_by_lua_block { ngx.say "x" }
    header_filter_by_lua_block {
      local _, err = chat:offline_msg_count "alice"
      inside.note(err.kind .. "/" .. err.code)
    }
  }
  location = /log {
    content_by_lua_block { ngx.say "x" }
    log_by_lua_block {
      local _, err = chat:offline_msg_count "alice"
      inside.note(err.kind .. "/" .. err.code)
    }
  }
  location = /balancer { proxy_pass http://balanced; }
  location = /said { content_by_lua_block { ngx.say(table.concat(inside.said, "\n")) } }
  location = /words { content_by_lua_block { ngx.say(inside.words) } }
  location = /wait_in_log {
    content_by_lua_block {
      ngx.ctx.call = chat:start("offline_msg_count", { "alice" })
      ngx.say "x"
    }
    log_by_lua_block {
      local _, err = ngx.ctx.call:wait()
      inside.note(err.kind .. "/" .. err.code)
      inside.call = ngx.ctx.call
    }
  }
  location = /wait_after { content_by_lua_block { inside.say(inside.call:wait()) } }
]]

describe("where one cannot wait", function()
  local w

  setup(function()
    w = world.start {
      locations = REFUSING,
      init_worker = [[
        local _, err = chat:offline_msg_count "alice"
        inside.note(err.kind .. "/" .. err.code)
        inside.words = err.message
      ]],
      http = [[
        upstream balanced {
          server 127.0.0.1:1;
          balancer_by_lua_block {
            local _, err = chat:offline_msg_count "alice"
            inside.note(err.kind .. "/" .. err.code)
            ngx.exit(503)
          }
        }
      ]],
    }
  end)
  teardown(function() w:stop() end)

  it("init_worker refuses, and says what to do", function()
    assert.matches("^argument/cannot_wait\n", select(2, w:get "/said"))
    local _, words = w:get "/words"
    assert.matches("init_worker_by_lua", words)
    assert.matches("client:start", words)
  end)

  for _, phase in ipairs { "set", "header", "log", "balancer" } do
    it("refuses, sends nothing and stalls nobody: " .. phase, function()
      w.emulator:clear_log()
      local _, body = w:get("/" .. phase)
      if phase ~= "set" then body = select(2, w:get "/said"):match("([^\n]+)\n$") .. "\n" end
      assert.equal("argument/cannot_wait\n", body)
      assert.equal(200, (w:get "/ping"))
      assert.equal(0, #w.emulator:log())
      assert.equal(0, w:facts().pending)
    end)
  end

  it("refuses to wait for a call, which goes on", function()
    w:get "/wait_in_log"
    assert.matches("argument/cannot_wait\n$", select(2, w:get "/said"))
    assert.same({ 200, "2\n" }, { w:get "/wait_after" })
  end)
end)

describe("a client made in init_by_lua", function()
  it("is refused with a sentence, and the master has one thread", function()
    local s = server.start {
      init = [[
        local client, err = require("agora_chat").new { base_url = "http://127.0.0.1:1",
          app_id = ("a"):rep(32), credentials = { token = "t" }, loop = require "agora_chat.loop.resty" }
        refused = tostring(client) .. " " .. tostring(err)
      ]],
      locations = [[location = /refused { content_by_lua_block { ngx.say(refused) } }]],
    }
    finally(function() s:stop() end)
    local _, body = s:get "/refused"
    assert.matches("^nil agora_chat: .*init_worker_by_lua", body)
    assert.equal("1", programs.read(("/proc/%d/status"):format(s.pid)):match("Threads:%s*(%d+)"))
  end)
end)

describe("the loop outside nginx", function()
  it("is refused with a sentence", function()
    local client, err = require("agora_chat").new {
      base_url = "http://127.0.0.1:1", app_id = world.APP_ID, credentials = { token = "t" },
      loop = require "agora_chat.loop.resty",
    }
    assert.is_nil(client)
    assert.equal("argument", err.kind)
    assert.matches("inside nginx", err.message)
  end)
end)

describe("another loop inside nginx", function()
  it("is refused with the name of the right one", function()
    local s = server.start {
      init_worker = [[
        local client, err = require("agora_chat").new { base_url = "http://127.0.0.1:1",
          app_id = ("a"):rep(32), credentials = { token = "t" } }
        refused = tostring(client) .. " " .. tostring(err)
      ]],
      locations = [[location = /refused { content_by_lua_block { ngx.say(refused) } }]],
    }
    finally(function() s:stop() end)
    assert.matches("^nil .*agora_chat%.loop%.resty", select(2, s:get "/refused"))
  end)
end)

describe("close", function()
  it("ends a waiting request at once with kind closed", function()
    local w = world.start { locations = [[
      location = /close { content_by_lua_block {
        local began = ngx.now()
        local waiting = ngx.thread.spawn(chat.offline_msg_count, chat, "alice")
        ngx.sleep(0.1)
        chat:close()
        local _, res, err = ngx.thread.wait(waiting)
        ngx.update_time()
        ngx.say(tostring(res), " ", err.kind, " ", ngx.now() - began < 1)
      } }
    ]] }
    finally(function() w:stop() end)
    w.emulator:silent(3000)
    assert.equal("nil closed true\n", select(2, w:get "/close"))
  end)
end)
