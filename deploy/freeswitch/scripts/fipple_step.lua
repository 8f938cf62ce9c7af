-- One step of a call, checked, run and marked done in the channel's own thread: no controller that lost the call, and no
-- step that is already done, gets past this.
--
--   application: lua fipple_step.lua <epoch> <step> <application> [<argument in hex>]      with event-lock: true
--   API:         lua fipple_step.lua version
--
-- Step n runs if the channel's fipple_epoch is <epoch> and fipple_done is n - 1. While it runs fipple_run is
-- "<step>:<epoch>"; afterwards fipple_done is n. The events of the application carry "<channel>-<step>" as their
-- Application-UUID. A CUSTOM event fipple::step says what became of it:
--
--   done         it ran to its end, or was broken off by uuid_break
--   stale        the epoch is another
--   duplicate    it is done already, or running
--   gap          the step before it is not done
--   interrupted  it ran until the call was hung up or transferred; it does not count as done

local VERSION = "fipple_step 1"

if argv[1] == "version" or not session then
  stream:write(argv[1] == "version" and "+OK " .. VERSION .. "\n" or "-ERR fipple_step.lua runs in a channel\n")
  return
end

local epoch, step, application = argv[1], argv[2], argv[3]
local number = tonumber(step)
if not tonumber(epoch) or not number or not application then
  freeswitch.consoleLog("ERR", "fipple_step.lua: wrong arguments: " .. table.concat(argv, " ") .. "\n")
  return
end
local argument = (argv[4] or ""):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
local uuid = session:get_uuid()

local function tell(result)
  local event = freeswitch.Event("CUSTOM", "fipple::step")
  event:addHeader("Unique-ID", uuid)
  event:addHeader("Step", step)
  event:addHeader("Epoch", epoch)
  event:addHeader("Result", result)
  event:addHeader("Current-Epoch", session:getVariable("fipple_epoch") or "")
  event:addHeader("Done", session:getVariable("fipple_done") or "0")
  event:fire()
end

-- Marked before it is checked. A taker raises the epoch before it reads the mark, so one of the two sees the other: either
-- this step is refused here, or the taker finds it running.
local running = session:getVariable("fipple_run") or ""
session:setVariable("fipple_run", step .. ":" .. epoch)

local current, done = session:getVariable("fipple_epoch"), tonumber(session:getVariable("fipple_done") or "0") or 0
local refusal
if tonumber(current or "") ~= tonumber(epoch) then
  refusal = "stale"
elseif number <= done or running:match("^(%d+):") == step then
  refusal = "duplicate"
elseif number ~= done + 1 then
  refusal = "gap"
end
if refusal then
  session:setVariable("fipple_run", running)
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
if finished then
  session:setVariable("fipple_done", step)
end
session:setVariable("fipple_run", "")
tell(finished and "done" or "interrupted")
