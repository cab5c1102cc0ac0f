--- service: what the real service would say.
---
--- Everything here is a value in, a value out: no socket, no clock of its own.
--- Shapes and words are those of the public documentation of the REST API.

local http = require "emulator.http"
local json = require "emulator.json"
local Limits = require "emulator.limits"
local tokens = require "emulator.token"

local service = {}

local SECURITY = "EasemobSecurityException"
local FORBIDDEN = "EasemobForbiddenOpException"

-- name = { status, error, exception, description }
local ERRORS = {
  oauth = { 401, "unauthorized",
    "com.easemob.im.exceptions.EasemobSecurityException",
    "Unable to authenticate (OAuth)" },
  oauth_short = { 401, "unauthorized", SECURITY,
    "Unable to authenticate (OAuth)" },
  expired = { 401, "unauthorized", SECURITY,
    "Unable to authenticate due to expired access token" },
  corrupt = { 401, "auth_bad_access_token", SECURITY,
    "Unable to authenticate due to corrupt access token" },
  other_cluster = { 401, "auth_bad_access_token", SECURITY,
    "Unable to authenticate" },
  shiro = { 401, "unauthorized",
    "org.apache.shiro.authz.UnauthorizedException",
    "Subject does not have permission [applications:get:"
    .. "8be024f0-e978-11e8-b697-5d598d5f8402:/users/"
    .. "4759aa70-eba5-11e8-925f-6fa0510823ba]" },
  no_admin = { 401, "unauthorized",
    "org.apache.usergrid.rest.exceptions.SecurityException",
    "No admin user access authorized" },
  no_organization = { 401, "unauthorized",
    "org.apache.usergrid.rest.exceptions.SecurityException",
    "No organization access authorized" },
  group = { 401, "group_authorization",
    "com.easemob.group.exception.GroupAuthorizationException",
    "token is blank!" },
  registration = { 401, "unauthorized", SECURITY,
    "registration is not open, please contact the app admin" },
  illegal_argument = { 400, "illegal_argument",
    "java.lang.IllegalArgumentException", "This is an invalid request." },
  batch_too_long = { 400, "illegal_argument",
    "java.lang.IllegalArgumentException",
    "request body exceeds maximum limit, maximum limit is 100" },
  json_parse = { 400, "json_parse",
    "com.fasterxml.jackson.core.JsonParseException",
    "Unexpected character." },
  invalid_grant = { 400, "invalid_grant", SECURITY,
    "client_id does not match" },
  forbidden = { 403, "forbidden_op", FORBIDDEN,
    "message recall service is unopened" },
  banned = { 403, "forbidden_service_operation", FORBIDDEN,
    "Service operation not allowed" },
  unknown_user = { 404, "service_resource_not_found",
    "UserNotFoundException", "Service resource not found" },
  unknown_app = { 404, "organization_application_not_found", nil,
    "Could not find application for %s from URI: "
    .. "management/organizations/%s/applications/%s" },
  unsupported_media = { 415, "web_application",
    "javax.ws.rs.WebApplicationException", "Unsupported Media Type" },
  reach_limit = { 429, "reach_limit", FORBIDDEN,
    "This request has reached api limit" },
  resource_limited = { 429, "resource_limited", FORBIDDEN,
    "You have exceeded the limit of the Free edition. "
    .. "Please upgrade to higher edition." },
  unsupported_operation = { 500, "unsupported_service_operation",
    "UnsupportedServiceOperationException",
    "Service operation not supported" },
  unknown_url = { 500, "web_application",
    "javax.ws.rs.WebApplicationException",
    "javax.ws.rs.WebApplicationException" },
  internal = { 500, "internal_error", "java.lang.RuntimeException",
    "internal error" },
  bad_gateway = { 502, "bad_gateway", nil, "bad gateway" },
  unavailable = { 503, "service_unavailable", nil,
    "service is unavailable" },
  gateway_timeout = { 504, "gateway_timeout", nil, "gateway timeout" },
}
service.ERRORS = ERRORS

local function error_body(name, now_ms, ...)
  local e = ERRORS[name]
  local description = e[4]
  if select("#", ...) > 0 then description = description:format(...) end
  return '{"error":"' .. e[2] .. '",'
    .. (e[3] and ('"exception":"' .. e[3] .. '",') or "")
    .. ('"timestamp":%.0f,"duration":0,"error_description":%s}')
       :format(now_ms, json.quote(description)), e[1]
end

local OF_STATUS = {
  [400] = "illegal_argument", [401] = "oauth", [403] = "banned",
  [404] = "unknown_user", [415] = "unsupported_media",
  [429] = "reach_limit", [500] = "internal", [502] = "bad_gateway",
  [503] = "unavailable", [504] = "gateway_timeout",
}

--- The usual body of a status; empty when there is none.
function service.error_of_status(status, now_ms)
  local name = OF_STATUS[status]
  return name and (error_body(name, now_ms)) or ""
end

local function decode_path(text)
  if not text:find("%", 1, true) then return text end
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- Names are compared without case; only ASCII has one here.
local function fold(name)
  return (name:gsub("%u", string.lower))
end

-- Settings: one flat table, all of it reachable from the control port. -------

local DEFAULTS = {
  auth = "any",              -- any | list | 007
  tokens = {},               -- for "list"; issued tokens are accepted too
  app_certificate = false,   -- for "007"
  certificates = false,      -- more of them: { app_id = certificate }
  app_id = false,            -- for "007" and the only app when set
  apps = false,              -- list of the only apps, "app-id/X" or "org/app"
  unauthorized = "oauth",    -- which 401 a bad token gets
  refuse = false,            -- name of the error every call gets
  clients = false,           -- { client_id = client_secret }
  token_ttl_s = 1024000,
  clock_offset_s = 0,        -- the server's clock against the real one
  latency_ms = 0,            -- number or { least, most }
  seed = 1,                  -- of latency and chaos
  limit = false,             -- see limits.lua
  limit_path = false,        -- only paths that contain this text are limited
  echo = "asked",            -- key in `data`: asked | registered
  count_as_text = false,     -- "data": {"alice": "2"}
  auto_users = false,        -- every unknown name is a user, see automatic()
  extra_fields = "",         -- header lines for every answer
  connection_requests = 0,   -- close after so many, without saying; 0: never
  idle_timeout_ms = 0,       -- close idle connections; 0: never
  chaos = false,             -- { p = 0.1, rows = { "B01", ... } }
}
service.DEFAULTS = DEFAULTS

local Service = {}
Service.__index = Service

--- clock: { mono_ms = function, wall_s = function, wall_ms = function }
function service.new(clock, data, settings)
  local self = setmetatable({ clock = clock, data = data,
                              initial = settings or {} }, Service)
  self:reset()
  return self
end

--- Back to how it was started.
function Service:reset()
  self.settings, self.users, self.known_tokens = {}, {}, {}
  self.generations, self.issued, self.scripts = 0, 0, {}
  self.fault_calls, self.limit, self.apps, self.listed = {}, nil, nil, nil
  self.random_state = nil
  for name, value in pairs(DEFAULTS) do self.settings[name] = value end
  self.unknown_apps = {}
  for _, app in ipairs(self.data.unknown_apps or {}) do
    self.unknown_apps[app] = true
  end
  for name, user in pairs(self.data.users or {}) do
    self:put_user(name, user)
  end
  local ok, err = self:set(self.initial)
  if not ok then error(err, 0) end
end

--- Changes settings; says which name it does not know.
function Service:set(changes)
  local new = {}
  for name, value in pairs(changes) do
    if DEFAULTS[name] == nil then
      return nil, "unknown setting '" .. tostring(name) .. "'"
    end
    if value == json.null then value = DEFAULTS[name] end
    new[name] = value
  end
  if new.unauthorized and not ERRORS[new.unauthorized] then
    return nil, "unknown error '" .. tostring(new.unauthorized) .. "'"
  end
  if new.refuse and not ERRORS[new.refuse] then
    return nil, "unknown error '" .. tostring(new.refuse) .. "'"
  end
  if new.limit then
    local limit, err = Limits.new(new.limit, self.clock.mono_ms())
    if not limit then return nil, err end
    self.limit = limit
  elseif new.limit == false then
    self.limit = nil
  end
  for name, value in pairs(new) do self.settings[name] = value end
  if new.seed then self.random_state = nil end
  if new.app_certificate ~= nil or new.certificates ~= nil then
    for _, record in pairs(self.known_tokens) do record.parsed = nil end
  end
  if new.tokens then
    self.listed = {}
    for _, text in ipairs(new.tokens) do self.listed[text] = true end
  end
  if new.apps ~= nil or new.app_id ~= nil then
    self.apps = nil
    if self.settings.apps or self.settings.app_id then
      self.apps = {}
      for _, app in ipairs(self.settings.apps or {}) do
        self.apps[app] = true
      end
      if self.settings.app_id then
        self.apps["app-id/" .. self.settings.app_id] = true
      end
    end
  end
  return true
end

--- Our own generator: the same seed gives the same run on every Lua.
function Service:random()
  local state = self.random_state
    or (self.settings.seed * 7919 + 1) % 2147483647
  state = (state * 16807) % 2147483647
  self.random_state = state
  return state / 2147483647
end

-- Users ---------------------------------------------------------------------

local function recount(user)
  local count = 0
  for _, delivered in pairs(user.status) do
    if delivered == "undelivered" then count = count + 1 end
  end
  user.waiting = count
end

--- user: { messages = { { id, delivered | status } }, online, refuse, count,
--- data }. `count` overrules the number of undelivered messages.
function Service:put_user(name, user)
  local record = { name = name, status = {}, online = user.online or false,
                   refuse = user.refuse, count = user.count }
  for _, message in ipairs(user.messages or {}) do
    record.status[message.id] = message.status
      or (message.delivered and "delivered" or "undelivered")
  end
  recount(record)
  self.users[fold(name)] = record
end

function Service:put_message(name, id, status)
  local user = self.users[fold(name)]
  if not user then return nil, "no user '" .. name .. "'" end
  user.status[id] = status
  recount(user)
  return true
end

function Service:remove_user(name)
  self.users[fold(name)] = nil
end

-- A user that nobody entered: the name says how much waits, "u42" has 42
-- messages; a message id that ends in an even digit is delivered.
local automatic_status = setmetatable({}, { __index = function(_, id)
  local digit = tonumber(id:match("(%d)$"))
  if not digit then return "msg_not_found" end
  return digit % 2 == 0 and "delivered" or "undelivered"
end })

local function automatic(name)
  local digits = name:match("(%d+)$")
  return { name = name, status = automatic_status, online = false,
           waiting = digits and tonumber(digits:sub(-6)) or 0 }
end

function Service:find_user(name)
  local user = self.users[fold(name)]
  if user then return user end
  if name:find("^f%.%u%d%d%.") then             -- faults have their own user
    return { name = name, status = automatic_status, online = false,
             waiting = 7 }
  end
  if self.settings.auto_users then return automatic(name) end
end

-- Tokens --------------------------------------------------------------------

--- The record of a token text; made at first sight.
function Service:token(text)
  local record = self.known_tokens[text]
  if not record then
    self.generations = self.generations + 1
    record = { generation = self.generations, sha = tokens.sha(text) }
    self.known_tokens[text] = record
  end
  return record
end

--- Revokes one token, or all seen so far; new ones stay welcome.
function Service:revoke(text, as)
  if text == "all" then
    for _, record in pairs(self.known_tokens) do
      record.revoked = as or "expired"
    end
  else
    self:token(text).revoked = as or "expired"
  end
end

-- nil when the token is good, else the name of the error.
function Service:refuse_token(record, text, app)
  local settings = self.settings
  if not record then return settings.unauthorized end
  if record.revoked then return record.revoked end
  if record.expires_s and record.expires_s <= self.clock.wall_s() then
    return "expired"
  end
  if settings.auth == "any" or record.issued then return nil end
  if settings.auth == "list" then
    if self.listed and self.listed[text] then return nil end
    return settings.unauthorized
  end
  if record.parsed == nil then
    local parsed, why = tokens.parse(text)
    record.parsed, record.why = parsed or false, why
    local more = settings.certificates
    record.signed = parsed and tokens.verify(parsed,
      more and more[parsed.app_id] or settings.app_certificate) or false
  end
  local token = record.parsed
  if not token then return "corrupt", record.why end
  if not record.signed then return "other_cluster", "signature" end
  local app_id = app:match("^app%-id/(.+)$") or settings.app_id
  if token.app_id ~= app_id then return "other_cluster", "app id" end
  local now_s = self.clock.wall_s()
  if token.issue_ts > now_s then return "oauth", "issued in the future" end
  if token.issue_ts + token.expire <= now_s then return "expired" end
  local chat = token.services[5]
  if not chat then return "no_admin", "no chat service" end
  local privilege = chat.privileges[2] or chat.privileges[1]
  if not privilege then return "no_admin", "no privilege" end
  if token.issue_ts + privilege <= now_s then return "expired" end
  return nil
end

-- Operations ----------------------------------------------------------------

local function envelope(self, call, action, data, more)
  return '{"action":"' .. action .. '","uri":' .. json.quote(call.uri)
    .. ',"entities":[],"data":' .. data .. ',"timestamp":'
    .. ("%.0f"):format(self.clock.wall_ms()) .. ',"duration":1'
    .. (more or ',"count":0') .. "}"
end

local operations = {}

local function key_of(self, user, asked)
  return json.quote(self.settings.echo == "registered" and user.name or asked)
end

function operations.offline_msg_count(self, call, user)
  local count = user.count or user.waiting
  if type(count) == "number" then
    count = ("%.0f"):format(count)
    if self.settings.count_as_text then count = '"' .. count .. '"' end
  else
    count = json.encode(count)
  end
  return envelope(self, call, "get",
    "{" .. key_of(self, user, call.user) .. ":" .. count .. "}")
end

function operations.offline_msg_status(self, call, user)
  local status = user.status[call.msg_id] or "msg_not_found"
  return envelope(self, call, "get",
    "{" .. json.quote(call.msg_id) .. ":" .. json.quote(status) .. "}")
end

function operations.status(self, call, user)
  return envelope(self, call, "get", "{" .. key_of(self, user, call.user)
    .. ":" .. (user.online and '"online"' or '"offline"') .. "}")
end

function operations.disconnect(self, call, user)
  user.online = false
  return envelope(self, call, "get", '{"result":true}')
end

function operations.resources(self, call, user)
  return envelope(self, call, "get", user.online
    and '[{"res":"android_1","device_uuid":"1","device_name":"phone"}]'
    or "[]")
end

function operations.batch_status(self, call)
  local body = json.decode(call.request.body)
  local names = type(body) == "table" and body.usernames
  if type(body) ~= "table" then return nil, "json_parse" end
  if type(names) ~= "table" then return nil, "illegal_argument" end
  if #names > 100 then return nil, "batch_too_long" end
  local list = {}
  for i, name in ipairs(names) do
    name = tostring(name)
    local user = self:find_user(name)
    list[i] = "{" .. json.quote(name) .. ":"
      .. (user and user.online and '"online"' or '"offline"') .. "}"
  end
  return ('{"action":"get batch user status","data":[%s],'
    .. '"timestamp":%.0f,"duration":4}')
    :format(table.concat(list, ","), self.clock.wall_ms())
end

function operations.send_message(self, call)
  local body = json.decode(call.request.body)
  if type(body) ~= "table" then return nil, "json_parse" end
  if type(body.to) ~= "table" then return nil, "illegal_argument" end
  local list = {}
  for i, name in ipairs(body.to) do
    name = tostring(name)
    self.sent = (self.sent or 0) + 1
    local id = ("10294575008%08d"):format(self.sent)
    local user = self:find_user(name)
    if user and user.status ~= automatic_status then
      user.status[id] = user.online and "delivered" or "undelivered"
      recount(user)
    end
    list[i] = json.quote(name) .. ':"' .. id .. '"'
  end
  return ('{"path":"/messages/users","uri":%s,"timestamp":%.0f,'
    .. '"action":"post","data":{%s},"duration":0}')
    :format(json.quote(call.uri), self.clock.wall_ms(),
            table.concat(list, ","))
end

local APPLICATION = "8be024f0-e978-11e8-b697-5d598d5f8402"

function operations.token(self, call)
  local body = json.decode(call.request.body)
  if type(body) ~= "table" then return nil, "json_parse" end
  local settings, ttl_s = self.settings, self.settings.token_ttl_s
  local grant = body.grant_type
  if grant == "client_credentials" then
    if type(body.client_id) ~= "string"
       or type(body.client_secret) ~= "string" then
      return nil, "illegal_argument"
    end
    if settings.clients
       and settings.clients[body.client_id] ~= body.client_secret then
      return nil, "invalid_grant"
    end
    if type(body.ttl) == "number" then ttl_s = body.ttl end
  elseif grant == "agora" then
    local text = call.bearer
    if not text or text:sub(1, 3) ~= "007" then return nil, "corrupt" end
    if settings.auth == "007" then
      local refused = self:refuse_token(self:token(text), text, call.app)
      if refused then return nil, refused end
    end
  else
    return nil, "illegal_argument"
  end
  self.issued = self.issued + 1
  local text = "YWMt" .. tokens.random_text()
  local record = self:token(text)
  local expires_s = self.clock.wall_s() + ttl_s
  record.issued = true
  record.expires_s = ttl_s > 0 and expires_s or nil
  if grant == "agora" then
    return ('{"access_token":"%s","expire_timestamp":%.0f}')
      :format(text, expires_s * 1000)
  end
  return ('{"access_token":"%s","expires_in":%.0f,"application":"%s"}')
    :format(text, ttl_s, APPLICATION)
end

-- Routes: the end of the path decides, what is before it is prefix and app.

-- Not gmatch("[^/]*"): Lua 5.1 finds an empty piece after each part.
local function split(path)
  local list, at = {}, 1
  while true do
    local slash = path:find("/", at, true)
    list[#list + 1] = path:sub(at, (slash or 0) - 1)
    if not slash then return list end
    at = slash + 1
  end
end

local USER_GETS = {
  offline_msg_count = "offline_msg_count", status = "status",
  disconnect = "disconnect", resources = "resources",
}

-- { operation, method, app, user, msg_id } or nil
local function route(path)
  path = path:gsub("%?.*", "")
  local base, user, last = path:match("^(.*)/users/([^/]*)/([^/]*)$")
  if base then
    if last == "status" and user == "batch" then
      return { operation = "batch_status", method = "POST", base = base }
    end
    if USER_GETS[last] then
      return { operation = last, method = "GET", base = base, user = user }
    end
    return nil
  end
  local msg_id
  base, user, msg_id =
    path:match("^(.*)/users/([^/]*)/offline_msg_status/([^/]*)$")
  if base then
    return { operation = "offline_msg_status", method = "GET", base = base,
             user = user, msg_id = msg_id }
  end
  base = path:match("^(.*)/messages/users$")
  if base then
    return { operation = "send_message", method = "POST", base = base }
  end
  base = path:match("^(.*)/token$")
  if base then
    return { operation = "token", method = "POST", base = base, free = true }
  end
end

local routes, routes_kept = {}, 0

-- Sweeps ask the same paths again and again, so a route is worth keeping.
function service.route(path)
  local call = routes[path]
  if call ~= nil then return call end
  call = route(path) or false
  if call then
    local parts = split(call.base)
    local n = #parts
    local first, second = parts[n - 1], parts[n]
    if n < 3 or first == "" or second == "" then
      call = false
    else
      call.app = decode_path(first) .. "/" .. decode_path(second)
      call.user = call.user and decode_path(call.user)
      call.msg_id = call.msg_id and decode_path(call.msg_id)
    end
  end
  if routes_kept >= 20000 then routes, routes_kept = {}, 0 end
  routes[path], routes_kept = call, routes_kept + 1
  return call
end

--- The documented answer to one request.
---@return integer status
---@return string body
---@return string? fields  header lines
function Service:answer(request, record)
  local now_ms = self.clock.wall_ms
  local route_ = service.route(request.path)
  if not route_ then
    local body, status = error_body("unknown_url", now_ms())
    return status, body
  end
  local settings = self.settings
  local name, fields = settings.refuse, nil
  local limited = not route_.free         -- tokens have a budget of their own
  if settings.limit_path then
    limited = request.path:find(settings.limit_path, 1, true) ~= nil
  end
  if self.limit and limited then
    if not self.limit:admit(self.clock.mono_ms()) then
      name = "reach_limit"
      if self.limit.retry_after_s then
        fields = "Retry-After: " .. self.limit.retry_after_s .. "\r\n"
      end
    end
  end
  if not name and (self.apps and not self.apps[route_.app]
                   or self.unknown_apps[route_.app]) then
    local org, app = route_.app:match("^(.-)/(.*)$")
    local body, status =
      error_body("unknown_app", now_ms(), route_.app, org, app)
    return status, body
  end
  if not name and not route_.free then
    name = self:refuse_token(record, request.bearer, route_.app)
  end
  if not name and request.method ~= route_.method then
    name = "unsupported_operation"
  end
  local user
  if not name and route_.user then
    user = self:find_user(route_.user)
    name = not user and "unknown_user" or user.refuse
  end
  if not name then
    local body
    body, name = operations[route_.operation](self, {
      user = route_.user, msg_id = route_.msg_id, app = route_.app,
      request = request, bearer = request.bearer,
      uri = "http://localhost" .. request.path,
    }, user)
    if body then return 200, body, fields end
  end
  local body, status = error_body(name, now_ms())
  return status, body, fields
end

function Service:render(status, body, fields, content_type)
  return http.answer(status, http.date(self.clock.wall_s()),
    (fields or "") .. self.settings.extra_fields, body, content_type)
end

-- Scripts: the next answers, for a user, a part of a path, or anybody. -------

--- script: { user = "alice", path = "/token", answers = { answer... } }
--- answer: { status, headers, body, raw, delay_ms, cut, drip, after, times }
function Service:add_script(script)
  if type(script.answers) ~= "table" or #script.answers == 0 then
    return nil, "a script needs answers"
  end
  local queue = {}
  for _, answer in ipairs(script.answers) do
    if answer.error ~= nil and not ERRORS[answer.error] then
      return nil, ("unknown error '%s'"):format(tostring(answer.error))
    end
    for _ = 1, answer.times or 1 do queue[#queue + 1] = answer end
  end
  self.scripts[#self.scripts + 1] = {
    user = script.user and fold(script.user), path = script.path,
    queue = queue, at = 1,
  }
  return true
end

-- Reachable from an instance as well, for those who are given one.
Service.error_body = error_body
Service.error_of_status = service.error_of_status
Service.ERRORS = ERRORS
Service.route = service.route

function Service:next_scripted(request)
  local call = service.route(request.path)
  for i, script in ipairs(self.scripts) do
    if (not script.user or script.user == "*"
        or call and call.user and fold(call.user) == script.user)
       and (not script.path or request.path:find(script.path, 1, true)) then
      local answer = script.queue[script.at]
      script.at = script.at + 1
      if script.at > #script.queue then table.remove(self.scripts, i) end
      return answer
    end
  end
end

return service
