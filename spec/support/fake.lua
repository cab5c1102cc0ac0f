--- fake: clients whose transport is the spec itself, on a frozen clock.
---
---     local client = fake.core { max_attempts = 1 }
---     client:submit("offline_msg_count", nil, "alice")
---     local request = fake.answer(client, 200, '{"data":{"alice":3}}')
---     local result, err = fake.result(client)
---
--- Nothing here sleeps, and nothing goes over a network.
local fake = {}

fake.origin = "https://chat.example"
fake.app_id = "970ca35de60c44645bbae8a215061b33"
fake.token = "a-fixed-token"
fake.now_ms = 5000000
fake.wall_s = 1700000000

local function with_defaults(options)
  local all = {
    base_url = fake.origin,
    app_id = fake.app_id,
    credentials = { token = fake.token },
    rate_per_s = false,
    transport = "lua",
    frozen_ms = fake.now_ms,
    frozen_wall_s = fake.wall_s,
    seed = 1,
  }
  if options and options.org_name then all.app_id = nil end
  for name, value in pairs(options or {}) do all[name] = value end
  return all
end

--- A client as programs see it.
function fake.client(options)
  return assert(require("agora_chat").new(with_defaults(options)))
end

--- The C client below it (module agora_chat.core).
function fake.core(options)
  return assert(require("agora_chat.core").new(with_defaults(options), false))
end

local function core_of(client)
  return type(client) == "userdata" and client or client.core
end

--- The next request: { id, method, url, headers, body }; raises when there is none.
function fake.outgoing(client)
  return assert(core_of(client):next_outgoing(), "nothing is to be sent")
end

--- Answers the next request and returns it. status: a number, or a transport's verdict such as
--- { kind = "network", code = "reset" }.
function fake.answer(client, status, body, headers)
  local request = fake.outgoing(client)
  local reply = status
  if type(status) ~= "table" then
    reply = { http_status = status, body = body or "", headers = headers }
  end
  core_of(client):deliver(request.id, reply)
  return request
end

--- Everything that may go now, unanswered: a list of requests.
function fake.hold(client)
  local requests = {}
  local request = core_of(client):next_outgoing()
  while request do
    requests[#requests + 1] = request
    request = core_of(client):next_outgoing()
  end
  return requests
end

--- Answers requests until there are none; answer(request) -> status, body, headers, or a
--- transport's verdict. Without one, everybody has 7 messages. Returns the requests.
function fake.serve(client, answer)
  local requests = {}
  local request = core_of(client):next_outgoing()
  while request do
    requests[#requests + 1] = request
    local status, body, headers = (answer or fake.seven)(request)
    local reply = status
    if type(status) ~= "table" then reply = { http_status = status, body = body or "", headers = headers } end
    core_of(client):deliver(request.id, reply)
    request = core_of(client):next_outgoing()
  end
  return requests
end

--- 200: whoever is asked for has 7 messages.
function fake.seven(request)
  return 200, ('{"data":{"%s":7}}'):format(request.url:match "/users/([^/]+)/" or "nobody")
end

--- The token of a request's header; nil without.
function fake.token_of(request)
  return (request.headers.Authorization or ""):match "^Bearer (.+)$"
end

--- What the next ended call gave: result, or nil and an error. Core clients only.
function fake.result(client)
  client:poll(0)
  local id, result, err = client:next_done()
  assert(id, "no call has ended")
  return result, err
end

--- One call from ask to answer, tried once, on a client of its own: result, err, request.
--- arguments: a list.
function fake.ask(operation, arguments, status, body, headers)
  local client = fake.core { max_attempts = 1 }
  assert(client:submit(operation, nil, arguments[1], arguments[2]))
  local request = fake.answer(client, status, body, headers)
  local result, err = fake.result(client)
  client:close()
  return result, err, request
end

--- The text of a file in spec/fixtures.
function fake.fixture(name)
  local file = assert(io.open("spec/fixtures/" .. name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

return fake
