-- One step of a call, or one command, checked and run in the channel's own thread: no controller that lost the call, no
-- step that is already done, and no command that already ran, gets past this.
--
--   application: lua fipple_step.lua <epoch> <step> <application> [<argument in hex>]      with event-lock: true
--   API:         lua fipple_step.lua version
--
-- <step> is a number: step n runs if the epoch is <epoch> and fipple_done is n - 1. While it runs fipple_run is
-- "<step>:<epoch>"; afterwards fipple_done is n.
--
-- Or <step> is k and sixteen hex digits (0-9, a-f), a command's idempotency key: it runs if the epoch is <epoch> (- for any)
-- and the key is not among fipple_keys, where it is put before it runs.
--
-- The epoch is the channel's fipple_epoch; a leg that has none is in that of the call which its fipple_call names; a
-- channel that has neither is in epoch 0.
--
-- The events of the application carry "<channel>-<step>" as their Application-UUID. A CUSTOM event fipple::step says what
-- became of it:
--
--   done         it ran to its end, or was broken off by uuid_break
--   stale        the epoch is another
--   duplicate    it is done already, or running
--   gap          the step before it is not done
--   interrupted  it ran until the call was hung up or transferred, or did not begin because it was; it is not done
--   locked       a command whose call stayed locked: it did not run

local VERSION = "fipple_step 2"

-- Above this Lua cannot count in ones.
local NUMBER_END = 2 ^ 53

-- So many commands can be sent again and be known; fipple has at most two unanswered ones a call.
local KEYS_MAX = 8

-- Some twenty times the time for which anybody holds the lock.
local LOCK_WAIT_MS = 500

if not session or argv[1] == "version" then
  local answer = argv[1] == "version" and "+OK " .. VERSION or "-ERR fipple_step.lua runs in a channel"
  if stream then
    stream:write(answer .. "\n")
  end
  return
end

-- Nothing for what is no decimal number without leading zeros.
local function number_of(text)
  local number = text and (text == "0" or text:match("^[1-9]%d*$")) and tonumber(text)
  return number and number < NUMBER_END and number or nil
end

local epoch, step, application, hex = argv[1], argv[2], argv[3], argv[4] or ""
local number = number_of(step)
local key = not number and step and #step == 17 and step:match("^k([0-9a-f]+)$")
local in_order = (number and number > 0 and number_of(epoch)) or (key and (epoch == "-" or number_of(epoch)))
local runnable = application and application:match("^[%w_]+$") and #hex % 2 == 0 and not hex:find("%X")
if not in_order or not runnable or argv[5] then
  freeswitch.consoleLog("ERR", "fipple_step.lua: wrong arguments: " .. table.concat(argv, " ") .. "\n")
  return
end
local argument = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)

local api, uuid = freeswitch.API(), session:get_uuid()

local function variable(name)
  return session:getVariable(name) or ""
end

-- The call whose epoch counts here.
local function call_of_channel()
  local call = variable("fipple_call")
  return variable("fipple_epoch") == "" and call ~= "" and call or uuid
end

-- Nothing where the call is gone, whose epoch nobody knows.
local function current_epoch(call)
  local value = call == uuid and variable("fipple_epoch") or api:execute("uuid_getvar", call .. " fipple_epoch")
  return number_of(value) or (value:sub(1, 4) ~= "-ERR" and 0 or nil)
end

local function tell(result)
  local current = current_epoch(call_of_channel())
  local event = freeswitch.Event("CUSTOM", "fipple::step")
  event:addHeader("Unique-ID", uuid)
  event:addHeader("Step", step)
  event:addHeader("Epoch", epoch)
  event:addHeader("Result", result)
  event:addHeader("Current-Epoch", current and string.format("%d", current) or "")
  event:addHeader("Done", session:getVariable("fipple_done") or "0")
  event:fire()
end

-- A switch goes on with what is queued on a channel that was hung up or sent elsewhere; what begins then could not end.
--
-- Marked before it is checked. A taker raises the epoch before it reads the mark, so one of the two sees the other: either
-- this step is refused here, or the taker finds it running.
local function begin_step()
  local running = variable("fipple_run")
  session:setVariable("fipple_run", step .. ":" .. epoch)
  local current, done = current_epoch(call_of_channel()), number_of(variable("fipple_done")) or 0
  local refusal
  if current ~= number_of(epoch) then
    refusal = "stale"
  elseif number <= done or running:match("^(%d+):") == step then
    refusal = "duplicate"
  elseif number ~= done + 1 then
    refusal = "gap"
  elseif not session:ready() then
    refusal = "interrupted"
  end
  if refusal then
    session:setVariable("fipple_run", running)
  end
  return refusal
end

-- Under the lock of the call, because fipple_fence.lua keeps its keys in the same variable. It is let go before the
-- command runs: whoever takes the call then finds the key.
local function begin_command(call)
  local keys, words = variable("fipple_keys"), {}
  for word in keys:gmatch("%x+") do
    words[#words + 1] = word
    if word == key then
      return "duplicate"
    end
  end
  if epoch ~= "-" and current_epoch(call) ~= number_of(epoch) then
    return "stale"
  elseif not session:ready() then
    return "interrupted"
  end
  words[#words + 1] = key
  session:setVariable("fipple_keys", table.concat(words, " ", math.max(1, #words - KEYS_MAX + 1)))
end

local function with_lock(call, action)
  local lock, token = "fipplelock/" .. call, api:execute("create_uuid")
  local waited_ms = 0
  while api:execute("hash", "insert_ifempty/" .. lock .. "/" .. token):sub(1, 3) ~= "+OK" do
    if waited_ms >= LOCK_WAIT_MS then
      return "locked"
    end
    waited_ms = waited_ms + 1
    freeswitch.msleep(1)
  end
  local ran, result = pcall(action, call)
  api:execute("hash", "delete_ifmatch/" .. lock .. "/" .. token)
  if not ran then
    freeswitch.consoleLog("ERR", "fipple_step.lua: " .. tostring(result) .. "\n")
    return "locked"
  end
  return result
end

local refusal
if key then
  refusal = with_lock(call_of_channel(), begin_command)
else
  refusal = begin_step()
end
if refusal then
  tell(refusal)
  return
end

session:setVariable("app_uuid", uuid .. "-" .. step)
-- Whatever goes wrong, the mark does not stay: it would hold the call for ever.
local ran, problem = pcall(session.execute, session, application, argument)
local finished = ran and session:ready()
if not ran then
  freeswitch.consoleLog("ERR", "fipple_step.lua: " .. tostring(problem) .. "\n")
end
if not key then
  if finished then
    session:setVariable("fipple_done", step)
  end
  session:setVariable("fipple_run", "")
end
tell(finished and "done" or "interrupted")
