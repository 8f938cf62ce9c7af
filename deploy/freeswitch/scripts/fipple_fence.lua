-- What is done to calls from outside their threads, under a lock of each call, and only in the right epoch.
--
--   API: lua fipple_fence.lua run <uuid>:<epoch>[,<uuid>:<epoch>] <key or -> <uuid_* command> [<arguments in hex>]
--          the command's own reply, or -ERR and `stale <current epoch>`, `duplicate`, `locked`, `gone`. The command is about
--          these calls and no other: each channel that it names is one of them, or a leg of one. The key, k and sixteen hex
--          digits (0-9, a-f), is kept in the fipple_keys of the call named first, and runs once; it is forgotten again if
--          the command answers with -
--   API: lua fipple_fence.lua take <owner or -> <uuid>:<epoch>...
--          raises the epochs, never lowers one, and names the owner; a line a call: +OK <uuid> <epoch>, or -ERR <uuid> and
--          `epoch <current>`, `gone` or `locked`
--   API: lua fipple_fence.lua raise <uuid>...
--          gives each call that has an owner the next epoch, and leaves the owner; a line a call: +OK <uuid> <epoch>, or
--          -ERR <uuid> and `unclaimed`, `gone` or `locked`
--   API: lua fipple_fence.lua flow <uuid>:<epoch> <flow or ->
--          names the flow of a call, or none: +OK, or -ERR and `stale <current epoch>`, `locked`, `gone`
--   API: lua fipple_fence.lua eject <uuid>[,<uuid>...] <epoch or -> <owner or -> <extension>
--          [<dialplan> [<context> [<lease seconds>]]]
--          takes calls away from their owner, whose queued steps refuse themselves from then on, and transfers them; the
--          answer to the transfer. Otherwise -ERR and `stale <current epoch>`, `owner <current owner>`, `locked`, `gone`, or
--          `busy`: one that is bridged or dialling is left alone, because its other leg would be hung up. With a lease also
--          `renewed`: the owner's is no older than that. With several calls a line for each, the uuid behind its first word
--   API: lua fipple_fence.lua version
--
-- A `-` stands for any epoch, for no key, and for any owner or none. A channel without fipple_epoch is a leg of the call that
-- its fipple_call names, and in that call's epoch; without either it is in epoch 0. The lock is the key fipplelock/<uuid>
-- of the switch's hash. Nothing here is safe from whoever sets these variables by himself.

local VERSION = "fipple_fence 2"

-- The version of the variables of a call.
local FORMAT = 1

-- Above this Lua cannot count in ones.
local NUMBER_END = 2 ^ 53

-- So many commands can be sent again and be known; fipple has at most two unanswered ones a call.
local KEYS_MAX = 8

-- A bridge is about two, and nothing about more.
local CALLS_PER_RUN_MAX = 4

-- In one take, raise or eject; so that the others who wait for the same switch get their turn.
local CALLS_PER_BATCH_MAX = 250

-- Some twenty times the time for which anybody holds the lock.
local LOCK_WAIT_MS = 500

local api = freeswitch.API()

-- The name of this run in the locks that it holds.
local token = api:execute("create_uuid"):match("%S+")

-- Nothing for what is no decimal number without leading zeros.
local function number_of(text)
  local number = text and (text == "0" or text:match("^[1-9]%d*$")) and tonumber(text)
  return number and number < NUMBER_END and number or nil
end

-- A name has no meaning to the switch: in its hash, between variables, between words, or as one variable more.
local function is_name(text)
  return text ~= nil and text ~= "" and not text:find("[%s%c;:,/|'\"\\$]")
end

local function is_epoch(text)
  return text == "-" or number_of(text) ~= nil
end

local function variable(uuid, name)
  local value = api:execute("uuid_getvar", uuid .. " " .. name)
  return value ~= "_undef_" and value or ""
end

local function set(uuid, variables)
  return api:execute("uuid_setvar_multi", uuid .. " " .. variables)
end

-- Nothing for a channel that is not there.
local function epoch_of(uuid)
  local value = variable(uuid, "fipple_epoch")
  return number_of(value) or (value:sub(1, 4) ~= "-ERR" and 0 or nil)
end

local function text_of(epoch)
  return string.format("%d", epoch)
end

-- Calls `action` under the lock of `uuid`; whatever happens, the lock does not stay.
local function with_lock(uuid, action)
  local lock = "fipplelock/" .. uuid
  local waited_ms = 0
  while api:execute("hash", "insert_ifempty/" .. lock .. "/" .. token):sub(1, 3) ~= "+OK" do
    if waited_ms >= LOCK_WAIT_MS then
      return "-ERR locked\n"
    end
    waited_ms = waited_ms + 1
    freeswitch.msleep(1)
  end
  local ran, reply = pcall(action)
  api:execute("hash", "delete_ifmatch/" .. lock .. "/" .. token)
  return ran and reply or "-ERR " .. tostring(reply) .. "\n"
end

-- The locks of several calls, taken in the order of their names by whoever takes them: so nobody waits in a circle.
local function with_locks(uuids, position, action)
  if position > #uuids then
    return action()
  end
  return with_lock(uuids[position], function() return with_locks(uuids, position + 1, action) end)
end

-- The call in whose epoch a channel is.
local function call_of(uuid)
  if variable(uuid, "fipple_epoch") ~= "" then
    return uuid
  end
  local call = variable(uuid, "fipple_call")
  return is_name(call) and call or uuid
end

-- What is wrong with the epoch of a call, if anything is.
local function refusal_of(uuid, epoch)
  local current = epoch_of(uuid)
  if not current then
    return "-ERR gone\n"
  elseif epoch ~= "-" and current ~= number_of(epoch) then
    return "-ERR stale " .. text_of(current) .. "\n"
  end
end

-- `<uuid>:<epoch>,...` as a list, and what is in it; nothing if it is not that.
local function calls_of(text)
  local calls, named = {}, {}
  for part in (text or ""):gmatch("[^,]+") do
    local uuid, epoch = part:match("^(.+):([^:]+)$")
    if not is_name(uuid) or not is_epoch(epoch) or named[uuid] then
      return nil
    end
    named[uuid] = true
    calls[#calls + 1] = { uuid = uuid, epoch = epoch }
  end
  return #calls > 0 and #calls <= CALLS_PER_RUN_MAX and calls or nil, named
end

-- Whom to lock: the named, and the calls of which they are legs.
local function locks_of(calls)
  local uuids, present = {}, {}
  for _, call in ipairs(calls) do
    for _, uuid in ipairs({ call.uuid, call_of(call.uuid) }) do
      if not present[uuid] then
        present[uuid] = true
        uuids[#uuids + 1] = uuid
      end
    end
  end
  table.sort(uuids)
  return uuids, present
end

-- The channels that a command is about: its first word, or the second where an option comes before it; both legs of what
-- is bridged, and the other leg where that is moved.
local function subjects(command, arguments)
  local words = {}
  for word in arguments:gmatch("%S+") do
    words[#words + 1] = word
  end
  if command == "uuid_bridge" then
    return { words[1] or "", words[2] or "" }
  end
  local option = words[1] == "off" or words[1] == "toggle"
  if option and (command == "uuid_hold" or command:match("^uuid_media")) then
    return { words[2] or "" }
  end
  local channels = { words[1] or "" }
  local moves_both = command == "uuid_transfer" and (words[2] or ""):match("^%-") or command == "uuid_dual_transfer"
  local partner = moves_both and is_name(words[1]) and variable(words[1], "bridge_to") or ""
  if is_name(partner) then
    channels[2] = partner
  end
  return channels
end

local function is_about(named, command, arguments)
  local channels = subjects(command, arguments)
  for _, channel in ipairs(channels) do
    if not named[channel] and not (is_name(channel) and named[call_of(channel)]) then
      return false
    end
  end
  return channels[1] ~= channels[2]
end

-- What must not be sent through the fence, whatever the epoch.
local function is_forbidden(command, arguments)
  local lower = arguments:lower()
  if command == "uuid_broadcast" then
    return "-ERR uuid_broadcast runs after the lock is let go: send a step\n"
  end
  -- As an assignment, as the argument of an inline application, and as a name.
  local sets = lower:find("fipple_%w+%s*=") or lower:find(":%s*fipple_")
  if sets or (command:match("^uuid_setvar") and lower:find("fipple_", 1, true)) then
    return "-ERR variables that begin with fipple_ are what the fence stands on\n"
  end
end

-- Runs a command once for its key, which is there before the command runs: whoever finds it knows that it did.
local function run_keyed(uuid, key, command, arguments)
  local keys, words = variable(uuid, "fipple_keys"), {}
  for word in keys:gmatch("%x+") do
    words[#words + 1] = word
  end
  words[#words + 1] = key
  set(uuid, "fipple_keys=" .. table.concat(words, " ", math.max(1, #words - KEYS_MAX + 1)))
  local reply = api:execute(command, arguments)
  if reply:sub(1, 1) == "-" then
    set(uuid, "fipple_keys=" .. keys)
  end
  return reply
end

local function has_key(uuid, key)
  return (" " .. variable(uuid, "fipple_keys") .. " "):find(" " .. key .. " ", 1, true) ~= nil
end

local function run(calls, named, key, command, hex)
  -- FreeSWITCH may take other cases for the same; what is refused here has to have one name only.
  if not command:match("^uuid_[a-z0-9_]+$") then
    return "-ERR only uuid_* commands are fenced\n"
  end
  local arguments = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  local forbidden = is_forbidden(command, arguments)
  if forbidden then
    return forbidden
  end
  local first = calls[1].uuid
  local uuids, locked = locks_of(calls)
  return with_locks(uuids, 1, function()
    if key and has_key(first, key) then
      return "-ERR duplicate\n"
    end
    for _, call in ipairs(calls) do
      local owner = call_of(call.uuid)
      -- It became the leg of another call after that was found.
      if not locked[owner] then
        return "-ERR locked\n"
      end
      local refusal = refusal_of(owner, call.epoch)
      if refusal then
        return refusal
      end
    end
    -- Under the lock: a leg may be moved from one call to another.
    if not is_about(named, command, arguments) then
      return "-ERR the command is about another call\n"
    end
    if key then
      return run_keyed(first, key, command, arguments)
    end
    return api:execute(command, arguments)
  end)
end

-- The epoch is set first. A mark that another run of the switch left is of a step that does not run any more.
local function give_epoch(uuid, epoch, owner, core)
  local given_by = variable(uuid, "fipple_core")
  local left = given_by ~= "" and given_by ~= core and ";fipple_run=" or ""
  local named = owner ~= "-" and ";fipple_owner=" .. owner or ""
  local given = "fipple_epoch=" .. text_of(epoch) .. named .. ";fipple_core=" .. core .. ";fipple_format=" .. FORMAT
  local is_set = set(uuid, given .. left):sub(1, 3) == "+OK"
  return is_set and "+OK " .. text_of(epoch) .. "\n" or "-ERR gone\n"
end

local function take(uuid, epoch, owner, core)
  return with_lock(uuid, function()
    local current = epoch_of(uuid)
    if not current then
      return "-ERR gone\n"
    elseif current >= epoch then
      return "-ERR epoch " .. text_of(current) .. "\n"
    end
    return give_epoch(uuid, epoch, owner, core)
  end)
end

local function raise(uuid, core)
  return with_lock(uuid, function()
    local value = variable(uuid, "fipple_epoch")
    local current = number_of(value)
    if value:sub(1, 4) == "-ERR" then
      return "-ERR gone\n"
    elseif not current or variable(uuid, "fipple_owner") == "" then
      return "-ERR unclaimed\n"
    elseif current + 1 >= NUMBER_END then
      return "-ERR epoch " .. text_of(current) .. "\n"
    end
    return give_epoch(uuid, current + 1, "-", core)
  end)
end

-- The 128th argument of a script is all the rest.
local function words_from(position)
  local words = {}
  for word in table.concat(argv, " ", position):gmatch("%S+") do
    words[#words + 1] = word
  end
  return words
end

local function uuids_of(text)
  local uuids = {}
  for uuid in (text or ""):gmatch("[^,]+") do
    uuids[#uuids + 1] = is_name(uuid) and uuid or nil
  end
  local separators = select(2, (text or ""):gsub(",", ","))
  return #uuids == separators + 1 and uuids or nil
end

-- A line a call: the reply with the call's uuid in it.
local function each(words, action)
  local lines = {}
  for _, word in ipairs(words) do
    local uuid, reply = action(word)
    local verdict, rest = reply:match("^(%S+)(.*)$")
    lines[#lines + 1] = verdict .. " " .. uuid .. rest
  end
  return table.concat(lines)
end

local function take_all(owner, words)
  local core = api:execute("global_getvar", "core_uuid")
  return each(words, function(word)
    local uuid, epoch = word:match("^(.+):([^:]+)$")
    if not is_name(uuid) or not number_of(epoch) then
      return word, "-ERR not a call and an epoch\n"
    end
    return uuid, take(uuid, number_of(epoch), owner, core)
  end)
end

local function raise_all(words)
  local core = api:execute("global_getvar", "core_uuid")
  return each(words, function(uuid)
    return uuid, is_name(uuid) and raise(uuid, core) or "-ERR not a call\n"
  end)
end

local function name_flow(call, flow)
  return with_lock(call.uuid, function()
    local refusal = refusal_of(call.uuid, call.epoch)
    if refusal then
      return refusal
    end
    return set(call.uuid, "fipple_flow=" .. (flow ~= "-" and flow or ""))
  end)
end

-- bridge_to is there as long as a bridge stands; bridge_uuid and current_application stay when it is over. While a bridge
-- dials, its step or its command is still running.
local function is_busy(uuid)
  if variable(uuid, "bridge_to") ~= "" then
    return true
  end
  local runs = variable(uuid, "fipple_run") ~= "" or variable(uuid, "current_loop") ~= ""
  return runs and variable(uuid, "current_application") == "bridge"
end

-- Whoever gives a call to a node has its lease renewed before: so under the call's lock nothing comes between this and the
-- owner that stands there.
local function is_renewed(node, lease_seconds)
  local renewed = tonumber(api:execute("hash", "select/fipplelease/" .. node)) or 0
  local now = tonumber(api:execute("strepoch"):match("%d+"))
  return now - renewed <= lease_seconds
end

local function eject(uuid, epoch, owner, extension, dialplan, context, lease_seconds)
  return with_lock(uuid, function()
    local refusal = refusal_of(uuid, epoch)
    if refusal then
      return refusal
    end
    local present = variable(uuid, "fipple_owner")
    if owner ~= "-" and present ~= owner then
      return "-ERR owner " .. present .. "\n"
    elseif lease_seconds and is_renewed(owner, lease_seconds) then
      return "-ERR renewed\n"
    elseif is_busy(uuid) then
      return "-ERR busy\n"
    end
    set(uuid, "fipple_epoch=" .. text_of(epoch_of(uuid) + 1) .. ";fipple_owner=")
    return api:execute("uuid_transfer", table.concat({ uuid, extension, dialplan, context }, " "))
  end)
end

local USAGE = "-USAGE: fipple_fence.lua run|take|raise|flow|eject|version\n"

local function answer()
  local verb = argv[1]
  if verb == "version" then
    return "+OK " .. VERSION .. "\n"
  elseif verb == "run" then
    local text, key, command, hex = argv[2], argv[3] or "", argv[4], argv[5] or ""
    local digits = #key == 17 and key:match("^k([0-9a-f]+)$") or nil
    local is_hex = #hex % 2 == 0 and not hex:find("%X")
    local calls, named = calls_of(text)
    if calls and (digits or key == "-") and command and is_hex and not argv[6] then
      return run(calls, named, digits, command, hex)
    end
  elseif verb == "take" and is_name(argv[2]) and argv[3] then
    local words = words_from(3)
    return #words <= CALLS_PER_BATCH_MAX and take_all(argv[2], words) or "-ERR too many calls\n"
  elseif verb == "raise" and argv[2] then
    local words = words_from(2)
    return #words <= CALLS_PER_BATCH_MAX and raise_all(words) or "-ERR too many calls\n"
  elseif verb == "flow" and is_name(argv[3]) and not argv[4] then
    local calls = calls_of(argv[2])
    if calls and not calls[2] then
      return name_flow(calls[1], argv[3])
    end
  elseif verb == "eject" and is_epoch(argv[3]) and is_name(argv[4]) and is_name(argv[5]) then
    local uuids, dialplan, context = uuids_of(argv[2]), argv[6] or "XML", argv[7] or "default"
    local lease_seconds = number_of(argv[8])
    local fits = is_name(dialplan) and is_name(context) and (lease_seconds or not argv[8]) and not argv[9]
    if uuids and #uuids <= CALLS_PER_BATCH_MAX and fits then
      local function eject_one(uuid)
        return uuid, eject(uuid, argv[3], argv[4], argv[5], dialplan, context, lease_seconds)
      end
      return uuids[2] and each(uuids, eject_one) or select(2, eject_one(uuids[1]))
    end
  end
  return USAGE
end

local reply = answer()
if stream then
  stream:write(reply)
end
