require 'redis'
require 'securerandom'

def work
  raise DidNothing if ENV['WORK'] == 'nothing'

  puts 'ran'
  raise IOError, 'the answer timed out' if ENV['WORK'] == 'timeout'

  'the response'
end

# SNIPPET
begin
  answer = once(ENV['KEY'], born: ENV['BORN'], hold: ENV.key?('HOLD')) { work }
  puts "answer #{answer || '(none)'}"
rescue Forgotten
  puts 'forgotten'
rescue DidNothing, IOError
  puts 'failed'
  exit 1
end
