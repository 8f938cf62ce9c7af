-- What mod_lua gives a script, built on one thing: a question to the switch. A script is a coroutine; asking
-- suspends it, and it is resumed with the answer, at once or when an application has ended.
--
-- Left out so that a run depends on nothing but its inputs: io, os, package, coroutine, load, next, collectgarbage,
-- and chance. Questions cannot be asked inside a function that Lua's library calls back (of gsub, of sort).
local arguments, uuid, writes = ...

local ask, raw_next, raw_tostring = coroutine.yield, next, tostring

argv = arguments

local api = {}
function api:execute(command, argument)
  return ask("api", command, argument or "")
end
function api:executeString(text)
  local command, argument = text:match("^([^ ]*) ?(.*)$")
  return ask("api", command, argument)
end

local event_of = {}
event_of.__index = event_of
function event_of:addHeader(name, value)
  self.count = self.count + 2
  self[self.count - 1], self[self.count] = name, value
  return true
end
function event_of:addBody(body)
  self.body = body
  return true
end
function event_of:fire()
  return ask("fire", self.name, self.subclass, self.body or "", table.unpack(self, 1, self.count))
end

freeswitch = {
  API = function() return api end,
  Event = function(name, subclass)
    return setmetatable({ name = name, subclass = subclass or "", count = 0 }, event_of)
  end,
  consoleLog = function(level, text) ask("log", level, text) end,
  msleep = function(milliseconds) ask("sleep", milliseconds) end,
}

if uuid then
  session = {}
  function session:get_uuid() return uuid end
  function session:ready() return ask("ready") end
  function session:getVariable(name) return ask("get", name) end
  function session:setVariable(name, value) ask("set", name, value or "") end
  function session:execute(application, argument) ask("execute", application, argument or "") end
  function session:hangup(cause) ask("hangup", cause or "") end
  function session:sleep(milliseconds) ask("sleep", milliseconds) end
  function session:consoleLog(level, text) ask("log", level, text) end
end

if writes then
  stream = {}
  function stream:write(text) ask("write", text) end
end

-- In the order of the keys, because the table's own order differs from one process to the next.
function pairs(table_)
  local keys = {}
  for key in raw_next, table_ do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then return a < b end
    return type(a) < type(b)
  end)
  local position = 0
  return function()
    position = position + 1
    local key = keys[position]
    if key ~= nil then return key, table_[key] end
  end
end

-- Without the address that Lua shows.
function tostring(value)
  local kind = type(value)
  if kind == "table" or kind == "function" or kind == "thread" or kind == "userdata" then return kind end
  return raw_tostring(value)
end

function print(...)
  local words = table.pack(...)
  for position = 1, words.n do words[position] = tostring(words[position]) end
  ask("log", "INFO", table.concat(words, "\t"))
end

coroutine, next, load, loadfile, loadstring, dofile, require, collectgarbage = nil
math.random, math.randomseed = nil
