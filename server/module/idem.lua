#!lua name=idem
-- idem.lua - the contract as a library of Functions, for services that take no modules: FCALL idem_claim 1 key ...
--
-- The records are those of the module (layout.h), so a key may be served by either. There is no waiting, no BIND and no BORN:
-- who waits subscribes to the channel that is called like the key (SSUBSCRIBE, so that it is in the key's slot) and asks
-- again with idem_fetch or idem_claim when a message comes, and when the lease that BUSY told is over. Limits of sizes are
-- those of the defaults. Tokens are below 2^53, which a Lua number holds.

local MAGIC = '\255i\1'
local DONE, EXTRA, HOLD, BIND, NOBODY, MOVED, LATER, WIDE = 1, 2, 4, 8, 16, 32, 64, 128
local LEASE, LEASE_MAX, TTL, TTL_MAX, RETENTION = 60000, 3600000, 86400000, 2678400000, 86400000
local EPOCH_US, TOKENS_PER_US = 1704067200000000, 4.194304
local TOKEN_LIMIT = 9007199254740992
local LIMITS = {key = 1024, FP = 64, OWNER = 128, STAGE = 1024, META = 65536, body = 16777216}
local NAMES = {FP = 'fingerprint', OWNER = 'owner', STAGE = 'stage', META = 'meta'}

local WRONGTYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value'
local MISMATCH = 'MISMATCH the key is in use by a request with another fingerprint'
local CONFLICT = 'CONFLICT this grant has already stored other bytes; the first ones stay'
local STALE = {ABSENT = 'STALE ABSENT the key has no record', DONE = 'STALE STORED a response is stored already',
               OTHER = "STALE OVERTAKEN the token is not the current owner's"}

-- ---- time and tokens ----

local function now()
  local time = redis.call('TIME')
  local us = time[1] * 1000000 + time[2]
  return math.floor(us / 1000), us
end

local function next_token(us, record)
  -- In the upper half of its millisecond, in steps of half a microsecond: the module counts from the begin of each, so the
  -- two never give the same one.
  local late_us = us - us % 1000 + 500 + us % 1000 / 2
  local token = math.floor((late_us - EPOCH_US) * TOKENS_PER_US) + 1
  if record and token <= record.token then token = record.token + 1 end
  return token
end

-- ---- the layout ----

local function has(flags, flag) return math.floor(flags / flag) % 2 == 1 end

local function text_at(value, at, length, absent)
  if length == absent then return nil, at end
  assert(at + length <= #value + 1)
  return string.sub(value, at, at + length - 1), at + length
end

local function read_grant(value, at, flags, record)
  record.lease, at = struct.unpack('<I3', value, at)
  record.deadline = record.since + record.lease
  if has(flags, MOVED) then record.deadline, at = struct.unpack('<I6', value, at) end
  record.attempt = 1
  if has(flags, LATER) then record.attempt, at = struct.unpack('<I4', value, at) end
  return at
end

-- The phases that follow from a deadline. Whole milliseconds: it has come when it certainly has.
local function derive(record, ms)
  if record.phase == 'HELD' and record.deadline < ms then
    record.phase = record.hold and 'UNKNOWN' or 'LAPSED'
    record.ended = record.deadline
  end
  return record
end

-- Fails if these are not the bytes of a record.
local function read(value)
  assert(string.sub(value, 1, 3) == MAGIC)
  local flags = string.byte(value, 4)
  local size, absent = '<I1', 255
  if has(flags, WIDE) then size, absent = '<I2', 65535 end
  local record = {hold = has(flags, HOLD), bind = has(flags, BIND), nobody = has(flags, NOBODY)}
  local fp, owner, extra, at = nil, absent, nil, nil
  fp, at = struct.unpack(size, value, 5)
  if not has(flags, DONE) then owner, at = struct.unpack(size, value, at) end
  record.token, record.since, at = struct.unpack('<I7I6', value, at)
  if has(flags, DONE) then
    record.phase = 'DONE'
    record.deadline, at = struct.unpack('<I6', value, at)
  else
    record.phase = 'HELD'
    at = read_grant(value, at, flags, record)
  end
  if has(flags, EXTRA) then extra, at = struct.unpack('<I4', value, at) end
  record.fp, at = text_at(value, at, fp, absent)
  record.owner, at = text_at(value, at, owner, absent)
  if extra then record.extra, at = text_at(value, at, extra) end
  if record.phase == 'DONE' then record.body, at = string.sub(value, at), #value + 1 end
  assert(at == #value + 1 and record.token > 0 and record.token < TOKEN_LIMIT and record.attempt ~= 0)
  return record
end

-- nil: there is none. nil, error: another value is there.
local function load(key, ms)
  local value = redis.pcall('GET', key)
  if not value then return nil end
  local refused = type(value) == 'table' and string.sub(value.err, 1, 9) ~= 'WRONGTYPE'
  if refused then return nil, value end
  local fine, record = pcall(read, value)
  if not fine then return nil, redis.error_reply(WRONGTYPE) end
  return derive(record, ms)
end

local function write_grant(record, ended)
  local deadline = ended or record.deadline
  local moved = deadline ~= record.since + record.lease
  local later = record.attempt ~= 1
  local flags = (record.hold and HOLD or 0) + (record.bind and BIND or 0) + (record.nobody and NOBODY or 0)
    + (moved and MOVED or 0) + (later and LATER or 0)
  return flags, struct.pack('<I3', record.lease) .. (moved and struct.pack('<I6', deadline) or '')
    .. (later and struct.pack('<I4', record.attempt) or '')
end

local function length_of(text, wide)
  return wide and struct.pack('<I2', text and #text or 65535) or struct.pack('<I1', text and #text or 255)
end

-- ended: when the grant ended, of LAPSED and UNKNOWN.
local function save(key, record, ended)
  local done = record.phase == 'DONE'
  local owner = not done and record.owner or nil
  local wide = #(record.fp or '') > 254 or #(owner or '') > 254
  local flags, numbers, last = DONE, nil, nil
  if done then numbers, last = struct.pack('<I6', record.deadline), record.deadline
  else
    flags, numbers = write_grant(record, ended)
    if not record.hold then last = (ended or record.deadline) + RETENTION end
  end
  local value = MAGIC .. string.char(flags + (record.extra and EXTRA or 0) + (wide and WIDE or 0))
    .. length_of(record.fp, wide) .. (done and '' or length_of(owner, wide)) .. struct.pack('<I7I6', record.token, record.since)
    .. numbers .. (record.extra and struct.pack('<I4', #record.extra) or '') .. (record.fp or '')
    .. (owner or '') .. (record.extra or '') .. (done and record.body or '')
  if last then redis.call('SET', key, value, 'PXAT', string.format('%.0f', last))
  else redis.call('SET', key, value) end
end

-- Tells those that wait. The channel is in the key's slot.
local function tell(key, what) redis.call('SPUBLISH', key, what) end

local function remove(key)
  redis.call('UNLINK', key)
  tell(key, 'free')
end

-- ---- requests ----

local function fail(text) return nil, redis.error_reply(text) end

-- As the module reads it: strict, of 64 bits.
local function natural(name, text)
  local digits = string.match(text, '^%-?(%d+)$')
  local fits = digits and (#digits < 19 or (#digits == 19 and digits <= '9223372036854775807'))
  if not fits or (string.sub(digits, 1, 1) == '0' and text ~= '0') then
    return fail('ERR ' .. name .. ' is not an integer or out of range')
  end
  if string.sub(text, 1, 1) == '-' then return fail('ERR ' .. name .. ' must not be negative') end
  return tonumber(text)
end

local NUMBERS, BYTES = {LEASE = true, TTL = true, TAKEOVER = true}, {FP = true, OWNER = true, STAGE = true, META = true}

local function too_big(name, limit)
  return fail('TOOBIG ' .. name .. ' ' .. limit .. ' the ' .. name .. ' is over its limit of bytes')
end

local function option_value(found, word, text)
  if BYTES[word] then
    if #text > LIMITS[word] then return too_big(NAMES[word], LIMITS[word]) end
    found[word] = text
    return true
  end
  local number, problem = natural(word, text)
  if not number then return nil, problem end
  found[word] = number
  return true
end

local function within(found, word, least, most)
  local value = found[word]
  if value and (value < least or value > most) then
    return fail(string.format('ERR %s must be between %d and %d milliseconds', word, least, most))
  end
  return true
end

-- The options from args[first] on. allowed: their words, with blanks around.
local function options(keys, args, first, allowed)
  local found, at = {}, first
  if #keys ~= 1 then return fail('ERR one key is needed') end
  if #keys[1] > LIMITS.key then return too_big('key', LIMITS.key) end
  while args[at] do
    local word = string.upper(args[at])
    if not string.find(allowed, ' ' .. word .. ' ', 1, true) then
      return fail("ERR syntax error: unknown option '" .. string.gsub(args[at], '[^%w]', '?') .. "'")
    end
    if found[word] ~= nil then return fail("ERR syntax error: repeated option '" .. word .. "'") end
    if NUMBERS[word] or BYTES[word] then
      if not args[at + 1] then return fail("ERR syntax error: option '" .. word .. "' needs a value") end
      local fine, problem = option_value(found, word, args[at + 1])
      if not fine then return nil, problem end
      at = at + 1
    else
      found[word] = true
    end
    at = at + 1
  end
  if found.OWNER == '' then return fail('ERR OWNER must not be empty') end
  if found.UNSURE and found.CLEAR then return fail('ERR syntax error: UNSURE and CLEAR exclude each other') end
  local fine, problem = within(found, 'LEASE', 1, LEASE_MAX)
  if fine then fine, problem = within(found, 'TTL', 0, TTL_MAX) end
  if not fine then return nil, problem end
  local takes_ttl = string.find(allowed, ' TTL ', 1, true)
  if takes_ttl and (found.TTL or TTL) ~= 0 and (found.UNSURE or found.CLEAR) then
    return fail('ERR ' .. (found.CLEAR and 'CLEAR' or 'UNSURE') .. ' needs TTL 0')
  end
  return found
end

-- ---- replies ----

local function or_null(text)
  if text == nil then return false end
  return text
end

local function claimed(record)
  return {'CLAIMED', record.token, record.lease, record.attempt, or_null(record.extra)}
end

local function say(record, ms)
  local age = math.max(ms - record.since, 0)
  if record.phase == 'DONE' then return {'DONE', record.body, or_null(record.extra), age, record.deadline - ms} end
  if record.phase == 'HELD' then
    return {'BUSY', math.max(record.deadline - ms, 1), age, or_null(record.owner), or_null(record.extra)}
  end
  return {record.phase, record.token, age, record.attempt, or_null(record.owner), or_null(record.extra)}
end

-- ---- the rules ----

local function grant(key, record, found, ms, us)
  local granted = {phase = 'HELD', token = next_token(us, record), since = ms, lease = found.LEASE or LEASE, attempt = 1,
                   fp = found.FP, owner = found.OWNER, hold = found.HOLD}
  if record then
    granted.attempt, granted.extra = math.min(record.attempt + 1, 4294967295), record.extra
    granted.hold = record.hold or found.HOLD
  end
  granted.deadline = ms + granted.lease
  save(key, granted)
  return claimed(granted)
end

local function again(key, record, found, ms)
  record.lease, record.hold, record.bind = found.LEASE or LEASE, record.hold or found.HOLD, false
  record.deadline = ms + record.lease
  save(key, record)
  return claimed(record)
end

local function claim(keys, args)
  local key = keys[1]
  local found, problem = options(keys, args, 1, ' FP OWNER LEASE HOLD TAKEOVER ')
  if not found then return problem end
  local ms, us = now()
  local record, other = load(key, ms)
  if other then return other end
  if not record then return grant(key, nil, found, ms, us) end
  if record.fp ~= found.FP then return redis.error_reply(MISMATCH) end
  if record.phase == 'HELD' and found.OWNER and record.owner == found.OWNER then return again(key, record, found, ms) end
  local taken = record.phase == 'LAPSED' or (record.phase == 'UNKNOWN' and found.TAKEOVER == record.token)
  if taken then return grant(key, record, found, ms, us) end
  return say(record, ms)
end

local function is_current(record, token)
  return record and record.phase ~= 'DONE' and record.token == token
end

local function stale(record)
  if not record then return redis.error_reply(STALE.ABSENT) end
  return redis.error_reply(record.phase == 'DONE' and STALE.DONE or STALE.OTHER)
end

-- RELEASE with a token that is current.
local function finish(key, record, found, ms, us)
  if found.CLEAR or (not found.UNSURE and record.attempt == 1 and not record.nobody) then
    remove(key)
    return 1
  end
  if found.UNSURE and record.phase ~= 'HELD' then return 1 end
  if not found.UNSURE then
    if record.nobody then return 0 end
    record.attempt, record.token, record.since = record.attempt - 1, next_token(us, record), ms
    record.owner, record.bind, record.nobody = nil, false, true
  end
  save(key, record, ms - 1)
  tell(key, 'ended')
  return 1
end

-- What an owner calls: a token, the body of STORE, options. call has all of it, and the moment.
local function of_owner(name, with_body, allowed, run)
  local least = with_body and 2 or 1
  return function(keys, args)
    if not args[least] then return redis.error_reply("ERR wrong number of arguments for 'idem_" .. name .. "' function") end
    local token, problem = natural('token', args[1])
    if not token then return problem end
    if with_body and #args[2] > LIMITS.body then return select(2, too_big('body', LIMITS.body)) end
    local found, wrong = options(keys, args, least + 1, allowed)
    if not found then return wrong end
    local ms, us = now()
    local record, other = load(keys[1], ms)
    if other then return other end
    return run(record, {key = keys[1], token = token, body = with_body and args[2], found = found, ms = ms, us = us})
  end
end

local function store(record, call)
  local found, ms = call.found, call.ms
  local ttl = found.TTL or TTL
  if record and record.phase == 'DONE' and record.token == call.token then
    if record.body == call.body and record.extra == found.META then return 0 end
    return redis.error_reply(CONFLICT)
  end
  if not is_current(record, call.token) then return stale(record) end
  if ttl == 0 then
    tell(call.key, 'done')
    finish(call.key, record, found, ms, call.us)
    return 0
  end
  record.phase, record.since, record.deadline = 'DONE', ms, ms + ttl
  record.extra, record.body = found.META, call.body
  save(call.key, record)
  tell(call.key, 'done')
  return 0
end

local function renew(record, call)
  if not is_current(record, call.token) or record.nobody then return stale(record) end
  record.phase, record.lease = 'HELD', call.found.LEASE or record.lease
  record.deadline = call.ms + record.lease
  record.extra = call.found.STAGE or record.extra
  save(call.key, record)
  return record.lease
end

local function release(record, call)
  if not is_current(record, call.token) then return 0 end
  return finish(call.key, record, call.found, call.ms, call.us)
end

local function fetch(keys, args)
  local found, problem = options(keys, args, 1, ' FP ')
  if not found then return problem end
  local ms = now()
  local record, other = load(keys[1], ms)
  if other then return other end
  if not record then return false end
  if found.FP and record.fp ~= found.FP then return redis.error_reply(MISMATCH) end
  return say(record, ms)
end

-- At the limit of memory owners go on, and nobody is granted.
local function register(name, callback, ...)
  redis.register_function{function_name = 'idem_' .. name, callback = callback, flags = {...}}
end

register('claim', claim)
register('store', of_owner('store', true, ' TTL META UNSURE CLEAR ', store), 'allow-oom')
register('renew', of_owner('renew', false, ' LEASE STAGE ', renew), 'allow-oom')
register('release', of_owner('release', false, ' UNSURE CLEAR ', release), 'allow-oom')
register('fetch', fetch, 'no-writes')
