local redis = require 'redis'

-- SNIPPET

local function work()
  local way = os.getenv('WORK')
  if way == 'nothing' then error(did_nothing) end
  print('ran')
  if way == 'timeout' then error('the answer timed out') end
  return 'the response'
end

local born = tonumber(os.getenv('BORN'))
local key, call, hold = os.getenv('KEY'), os.getenv('CALL'), os.getenv('HOLD') ~= nil
local worked, answer = pcall(once, key, call, work, born, hold)
if worked then
  print('answer ' .. (answer or '(none)'))
elseif answer == forgotten then
  print('forgotten')
elseif answer == did_nothing or string.find(answer, 'the answer timed out', 1, true) then
  print('failed')
  os.exit(1)
else
  error(answer)
end
