--- limits: the server's own idea of "too many". All times in ms.
---
--- { kind = "fixed" | "sliding" | "bucket", rate = 100, burst = 100,
---   count_refused = false, foreign_rate = 0, retry_after_s = nil }
--- `foreign_rate`: somebody else's calls per second, counted in.

local Limit = {}
Limit.__index = Limit

local function new(options, now_ms)
  local kind = options.kind or "fixed"
  if kind ~= "fixed" and kind ~= "sliding" and kind ~= "bucket" then
    return nil, "limit kind is fixed, sliding or bucket"
  end
  if type(options.rate) ~= "number" then return nil, "limit needs a rate" end
  return setmetatable({
    kind = kind, rate = options.rate, burst = options.burst or options.rate,
    count_refused = options.count_refused,
    foreign_rate = options.foreign_rate or 0,
    retry_after_s = options.retry_after_s,
    foreign_at = now_ms, window = nil, used = 0,
    times = {}, first = 1, last = 0,
    tokens = options.burst or options.rate, filled_at = now_ms,
  }, Limit)
end

local admit = {}

function admit.fixed(self, now)
  local window = math.floor(now / 1000)
  if window ~= self.window then self.window, self.used = window, 0 end
  local ok = self.used < self.rate
  if ok or self.count_refused then self.used = self.used + 1 end
  return ok
end

function admit.sliding(self, now)
  local times = self.times
  while self.first <= self.last and times[self.first] <= now - 1000 do
    times[self.first] = nil
    self.first = self.first + 1
  end
  local ok = self.last - self.first + 1 < self.rate
  if ok or self.count_refused then
    self.last = self.last + 1
    times[self.last] = now
  end
  return ok
end

function admit.bucket(self, now)
  local tokens = self.tokens + (now - self.filled_at) * self.rate / 1000
  self.tokens, self.filled_at = math.min(tokens, self.burst), now
  local ok = self.tokens >= 1
  if ok or self.count_refused then
    self.tokens = math.max(self.tokens - 1, -self.burst)
  end
  return ok
end

--- May this call pass?
function Limit:admit(now_ms)
  if self.foreign_rate > 0 then
    local gap = 1000 / self.foreign_rate
    while self.foreign_at + gap <= now_ms do
      self.foreign_at = self.foreign_at + gap
      admit[self.kind](self, self.foreign_at)
    end
  end
  return admit[self.kind](self, now_ms)
end

return { new = new }
