--- fifo: first in, first out. What one side takes while the other adds is
--- taken once, also when taking it makes somebody take the next.

local fifo = {}

---@class agora_chat.Fifo
---@field first integer
---@field last integer

---@return agora_chat.Fifo
function fifo.new()
  return { first = 1, last = 0 }
end

---@param queue agora_chat.Fifo
function fifo.push(queue, value)
  local last = queue.last + 1
  queue.last = last
  queue[last] = value
end

---@param queue agora_chat.Fifo
---@return any? value  nil: empty
function fifo.pop(queue)
  local first, last = queue.first, queue.last
  if first > last then return nil end
  local value = queue[first]
  queue[first] = nil
  if first == last then
    queue.first, queue.last = 1, 0
  else
    queue.first = first + 1
  end
  return value
end

---@param queue agora_chat.Fifo
---@return integer
function fifo.count(queue)
  return queue.last - queue.first + 1
end

return fifo
