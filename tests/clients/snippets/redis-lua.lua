local redis = require 'redis'

local key, call, answer = os.getenv('KEY'), os.getenv('CALL'), nil

local function work()
  print('ran')
  return 'the response'
end

-- SNIPPET
print('answer ' .. (answer or '(none)'))
