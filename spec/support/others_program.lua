--- others_program: another library in this process uses libcurl, cJSON and the
--- locale for itself, as libraries do, while our clients live. LuaJIT only.
---
---   luajit others_program.lua URL TLS_URL CA_FILE
local url, tls_url, ca_file = arg[1], arg[2], arg[3]
local agora_chat = require "agora_chat"
local ffi = require "ffi"

ffi.cdef [[
  int curl_global_init(long flags);
  void curl_global_cleanup(void);
  struct cJSON_Hooks { void *(*malloc_fn)(size_t); void (*free_fn)(void *); };
  void cJSON_InitHooks(struct cJSON_Hooks *hooks);
  void *malloc(size_t);
  void free(void *);
  char *setlocale(int category, const char *name);
]]
local curl, cjson = ffi.load "libcurl.so.4", ffi.load "libcjson.so.1"

local clients = {}
for _, threaded in ipairs { true, false } do
  for _, base_url in ipairs { url, tls_url } do
    clients[#clients + 1] = assert(agora_chat.new {
      base_url = base_url, ca_file = base_url == tls_url and ca_file or nil, app_id = ("a"):rep(32),
      credentials = { app_certificate = ("b"):rep(32) }, threaded = threaded, rate_per_s = false,
    })
  end
end

local ok = 0
local function ask_all()
  local fresh = assert(agora_chat.new { base_url = tls_url, ca_file = ca_file, app_id = "a", credentials = { token = "t" } })
  clients[#clients + 1] = fresh
  for _, client in ipairs(clients) do
    local res, err = client:offline_msg_count "u7"
    if not res then error(tostring(err)) end
    assert(res.count == 7)
    ok = ok + 1
  end
  table.remove(clients):close()
end

ask_all()
curl.curl_global_init(3)
curl.curl_global_cleanup()
ask_all()
curl.curl_global_cleanup()                -- once too often: what others began ends
curl.curl_global_cleanup()
ask_all()
cjson.cJSON_InitHooks(ffi.new("struct cJSON_Hooks", { ffi.C.malloc, ffi.C.free }))
ask_all()
cjson.cJSON_InitHooks(nil)
ffi.C.setlocale(6, "de_DE.UTF-8")         -- LC_ALL
ask_all()
for _, client in ipairs(clients) do client:close() end
print(ok .. " calls")
