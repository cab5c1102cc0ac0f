---@meta agora_chat
-- Written by `make meta` from the endpoint table; do not edit.

---@class agora_chat
---@field version string  as in src/base/version.h
local agora_chat = {}

---@alias agora_chat.ErrorKind
---| "argument"      # refused locally, nothing sent
---| "network"       # no whole answer came
---| "timeout"       # the deadline or the last attempt's time passed
---| "tls"           # certificate or protocol refused
---| "unauthorized"  # 401 after one renewal, or no token can be made
---| "forbidden"     # 403
---| "not_found"     # 404, or no such message
---| "rejected"      # another 4xx
---| "rate_limited"  # 429 until attempts or deadline ran out
---| "quota"         # 429, the plan is used up
---| "server"        # 5xx, 408
---| "bad_response"  # an answer that is not the documented one
---| "unavailable"   # failing for long; its next try comes after the deadline
---| "overload"      # the local queue is full
---| "cancelled"
---| "closed"
---| "memory"
---| "forked"        # the client was made before this process forked

--- Plain data in raw fields; tostring(err) is a sentence, never with a token.
---@class agora_chat.Error
---@field kind agora_chat.ErrorKind
---@field code string?  what exactly, or the service's error word
---@field message string  a sentence for people
---@field operation string?
---@field attempts integer?
---@field elapsed_ms number?
---@field http_status integer?
---@field description string?  the service's own words
---@field retry_after_ms integer?
---@field value any  the text that was not understood
---@field retryable boolean  may the same call succeed later without a change?
---@operator concat(string): string

--- The service's whole answer: JSON null is nil, arrays are sequences.
---@alias agora_chat.Envelope table<string, any>

--- What every method takes as its last argument.
---@class agora_chat.CallOptions
---@field timeout_ms number?  deadline: queue, attempts and waits together
---@field attempt_timeout_ms number?
---@field max_attempts integer?
---@field envelope boolean?  false leaves the service's whole answer out

---@class agora_chat.StartOptions : agora_chat.CallOptions
---@field data any?  handed to the callback

---@class agora_chat.BatchOptions : agora_chat.CallOptions
---@field window integer?  calls at once, default 32
---@field max_pause_ms number?  how long an outage may hold the list, default 300000
---@field on_progress (fun(done: integer, total: integer?, failures: integer): boolean?)?  false stops

---@class agora_chat.Credentials  exactly one kind
---@field token string?  fixed; a 401 is final
---@field app_certificate (string|fun(): string)?  tokens are made here
---@field app_certificate_file string?
---@field client_id string?
---@field client_secret string?
---@field ttl_s integer?  1 to 86400
---@field exchange boolean?  swap made tokens at the service first

---@alias agora_chat.TokenFunction fun(): string?, (integer|string)?  token and ttl_s, or nil and a message

---@class agora_chat.Options
---@field base_url string  https://host[:port][/prefix]
---@field app_id string?  or org_name and app_name
---@field org_name string?
---@field app_name string?
---@field credentials agora_chat.Credentials|agora_chat.TokenFunction
---@field timeout_ms number?  default 10000: deadline of a call
---@field connect_timeout_ms number?  default 3000
---@field attempt_timeout_ms number?  default 5000
---@field max_attempts integer?  default 4
---@field backoff_ms number?  default 100: full jitter, doubled each time
---@field rate_per_s (number|false)?  default 95; false: no pacing
---@field burst integer?  default 5
---@field shared_limiter (string|table)?  not in this version: refused
---@field max_in_flight integer?  default 32: also the most connections
---@field max_queue integer?  default 10000, then `overload`
---@field threaded boolean?  default: what the loop wants
---@field loop agora_chat.Loop?  default: blocking
---@field envelope boolean?  default true
---@field ca_file string?  default: the system's
---@field proxy string?  default: none, whatever the environment says
---@field user_agent string?  default: agora_chat/VERSION
---@field allow_http boolean?  http:// to other places than this host
---@field on_event fun(event: agora_chat.Event)?  after each attempt
---@field on_error fun(value: any, traceback: string)?  what a callback raised; default: stderr

---@class agora_chat.Event
---@field operation string
---@field attempt integer
---@field kind agora_chat.ErrorKind?
---@field code string?
---@field http_status integer?
---@field elapsed_ms number
---@field reused boolean  over a connection that was there

--- How one world waits. README says how to write another.
---@class agora_chat.Loop
---@field wait fun(client: agora_chat.Client, call: agora_chat.Call)  return when call.done
---@field wake? fun(client: agora_chat.Client, call: agora_chat.Call)  the call has ended: wake call.waiter
---@field admit? fun(client: agora_chat.Client, call: agora_chat.Call): boolean?, string?  nil and a sentence refuse
---@field started? fun(client: agora_chat.Client, call: agora_chat.Call)  make sure somebody will tick
---@field spawn? fun(client: agora_chat.Client, call: agora_chat.Call)  run the callback where it may wait
---@field attach? fun(client: agora_chat.Client): boolean?, string?
---@field detach? fun(client: agora_chat.Client)
---@field threaded boolean?  this world wants the I/O thread
---@field blocks boolean?  waiting never yields here

--- A client: one pace, one set of connections, one owner thread. A wrong type
--- or an unknown option raises; what the world may refuse is `nil, err`.
---@param options agora_chat.Options
---@return agora_chat.Client? client
---@return agora_chat.Error? err
---@nodiscard
function agora_chat.new(options) end

--- Also true for an error that lost its metatable on its way through a
--- serializer.
---@param value any
---@return boolean
---@nodiscard
function agora_chat.is_error(value) end

--- A "007" token that administers the app.
---@param options { app_id: string, app_certificate: string, ttl_s: integer? }
---@return string? token
---@return agora_chat.Error? err
---@nodiscard
function agora_chat.app_token(options) end

--- A "007" token for one user.
---@param options { app_id: string, app_certificate: string, username: string, ttl_s: integer? }
---@return string? token
---@return agora_chat.Error? err
---@nodiscard
function agora_chat.user_token(options) end

---@class agora_chat.Token
---@field app_id string
---@field issued_at_s integer
---@field expires_at_s integer
---@field services { type: integer, user_id: string?, privileges: table<integer, integer> }[]
---@field verified boolean?  true with the right certificate, nil without one

--- What a "007" token says. With a certificate a wrong signature is
--- `nil, err` (kind argument, code signature).
---@param text string
---@param options? { app_certificate: string? }
---@return agora_chat.Token? token
---@return agora_chat.Error? err
---@nodiscard
function agora_chat.read_token(text, options) end

--- One call on its way.
---@class agora_chat.Call
---@field operation string
---@field done boolean
---@field callback function?
---@field waiter any  what the loop wakes
local Call = {}

--- Waits the way the client's loop does. Again: the same again.
---@async
---@return table? result
---@return agora_chat.Error? err
function Call:wait() end

--- It ends with kind `cancelled`, unless it has ended already.
function Call:cancel() end

---@class agora_chat.Stats
---@field accepted integer  always ok + failed + cancelled + in_flight + queued
---@field ok integer
---@field failed integer
---@field cancelled integer
---@field in_flight integer
---@field queued integer
---@field attempts integer
---@field retries integer
---@field renewals integer
---@field connections integer  opened so far
---@field bytes_in integer
---@field bytes_out integer
---@field rate_per_s number|false  now; false: no pacing
---@field ms { queue: number, dns: number, connect: number, tls: number, first_byte: number, body: number }

---@class agora_chat.Client
---@field closed boolean
---@field threaded boolean  an I/O thread works, or every tick does
local Client = {}

--- How many messages wait for a user who is offline.
--- The service keeps a limited number of messages for a limited time.
---
--- Suspends the caller the way this client's loop does.
--- Source: https://doc.easemob.com/document/server-side/offline_msg_count_get.html
---@async
---@param username string  1 to 64 bytes of UTF-8; sent percent-encoded
---@param opts? agora_chat.CallOptions
---@return { username: string, count: integer, envelope: agora_chat.Envelope? }? result
---@return agora_chat.Error? err
---@nodiscard
function Client:offline_msg_count(username, opts) end

--- Was one message delivered to its user?
--- Unknown is an error (kind not_found, code message), never "not delivered".
---
--- Suspends the caller the way this client's loop does.
--- Source: https://doc.easemob.com/document/server-side/offline_msg_status_get.html
---@async
---@param username string  1 to 64 bytes of UTF-8; sent percent-encoded
---@param msg_id string  an id is a string: 19 digits do not survive a double
---@param opts? agora_chat.CallOptions
---@return { username: string, msg_id: string, status: string, delivered: boolean, envelope: agora_chat.Envelope? }? result
---@return agora_chat.Error? err
---@nodiscard
function Client:offline_msg_status(username, msg_id, opts) end

---@alias agora_chat.Operation "offline_msg_count"|"offline_msg_status"

--- Any other operation of the service, with the same credentials, pace,
--- retries and waiting.
---@async
---@param spec agora_chat.Request
---@param opts? agora_chat.CallOptions
---@return { http_status: integer, envelope: agora_chat.Envelope }? result
---@return agora_chat.Error? err
---@nodiscard
function Client:request(spec, opts) end

---@class agora_chat.Request
---@field method string  "GET", "POST", ...
---@field path string[]  the parts after the app's own path
---@field query table<string, string|number|boolean>?
---@field json (table|string)?  a table, or text already encoded
---@field idempotent boolean?  default false: sent once, never retried after it may have arrived

--- Starts a call and does not wait. The callback runs inside tick, poll or
--- close, never in here.
---@param operation agora_chat.Operation|"request"
---@param arguments table  of the method: { "alice" }
---@param callback? fun(result: table?, err: agora_chat.Error?, data: any)
---@param opts? agora_chat.StartOptions
---@return agora_chat.Call? call
---@return agora_chat.Error? err
---@overload fun(self: agora_chat.Client, operation: string, arguments: table, opts: agora_chat.StartOptions): agora_chat.Call?, agora_chat.Error?
function Client:start(operation, arguments, callback, opts) end

--- Many calls, in order: results[i] is the result or false, failed[i] its
--- error. nil, err only when nothing was started.
---@async
---@param operation agora_chat.Operation
---@param items (string|string[])[]
---@param opts? agora_chat.BatchOptions
---@return (table|false)[]? results
---@return table<integer, agora_chat.Error>|agora_chat.Error failed
---@return integer? failures
---@nodiscard
function Client:batch(operation, items, opts) end

--- Many calls, in the order in which answers come; holds at most `window`
--- whatever the length.
---@async
---@generic T
---@param operation agora_chat.Operation
---@param items T[]|fun(): T?  a list or an iterator
---@param opts? agora_chat.BatchOptions
---@return fun(): T?, table?, agora_chat.Error? iterator  item, result, err
---@return nil
---@return nil
---@return { close: fun(self: table) } sweep
---@nodiscard
function Client:each(operation, items, opts) end

--- Waits at most so long, does what is due; 0 at once when nothing is
--- outstanding.
---@param ms? number
---@return integer? ended
---@return agora_chat.Error? err
function Client:poll(ms) end

--- Does what is due without waiting.
---@param max? integer  at most so many ends
---@return integer? ended
---@return agora_chat.Error? err
function Client:tick(max) end

--- The first half of tick: takes ended calls and wakes their waiters; runs no
--- callback.
---@param max? integer
---@return integer? ended
---@return agora_chat.Error? err
function Client:collect(max) end

--- Calls accepted and not yet ended.
---@return integer? count
---@return agora_chat.Error? err
---@nodiscard
function Client:pending() end

--- Readable means: tick. Also for a loop's `detach`.
---@return integer? fd
---@return agora_chat.Error? err
---@nodiscard
function Client:fd() end

---@return integer? ms  until tick has something to do; -1: nothing is due
---@return agora_chat.Error? err
---@nodiscard
function Client:due_in_ms() end

---@param text string
---@param ttl_s? integer
---@return boolean? ok
---@return agora_chat.Error? err
function Client:set_token(text, ttl_s) end

---@return agora_chat.Stats? stats
---@return agora_chat.Error? err
---@nodiscard
function Client:stats() end

--- For a loop's `spawn`: runs the callback of an ended call, once.
---@param call agora_chat.Call
function Client:call_back(call) end

--- For loops: what was raised goes to on_error.
---@param value any
---@param traceback? string
function Client:report(value, traceback) end

--- Ends every outstanding call with kind `closed`; again: does nothing.
function Client:close() end

return agora_chat
